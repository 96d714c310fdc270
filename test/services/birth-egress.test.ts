import { describe, expect, test } from 'vitest';
import { readQube } from '../../daemon/fleet/live.ts';
import type { QubeName } from '../../daemon/names.ts';
import type { Qube } from '../../daemon/qube.ts';
import { adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo } from '../../daemon/qubesadmin/client.ts';
import { inheritedEgress, requestedEgress } from '../../daemon/services/birth-egress.ts';
import type { Scene } from '../../daemon/services/service.ts';
import { parseSettings } from '../../daemon/settings/files.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';

const UNRESOLVED = 'birth egress could not be resolved';
const UNMANAGED = 'netvm must reference an ai-managed qube';
const MISMATCH = 'netvm must match the inherited birth egress';

/** A machine where each link of the chain is what the case says; undefined is the machine's default. */
interface Links {
  readonly klass?: string;
  readonly source?: string | null;
  readonly caller?: string | null;
  readonly file?: string;
  readonly fail?: FleetSpec['fail'];
}

const setUp = async ({ klass = 'TemplateVM', source, caller, file, fail = {} }: Links) => {
  const provider = (...tags: string[]) => ({ tags, props: { provides_network: 'True', netvm: null } });
  const qubesd = await temporaryQubesd({
    fleet: {
      default_netvm: 'sys-firewall',
      fail,
      qubes: {
        'sys-firewall': provider(),
        'ai-a': provider('ai-managed'),
        'ai-b': provider('ai-managed'),
        'ai-c': provider('ai-managed'),
        unreadable: provider('ai-managed'),
        'ai-source': { klass, tags: ['ai-managed'], props: source === undefined ? {} : { netvm: source } },
        caller: { tags: [], props: caller === undefined ? {} : { netvm: caller } },
      },
    },
  });
  const admin = adminOver(adminCallsTo(qubesd.path));
  const files = new Map(file === undefined ? [] : [['birth-egress' as const, { kind: 'text' as const, text: file }]]);
  const asking: Pick<Scene, 'admin' | 'settings' | 'caller'> = {
    admin,
    settings: parseSettings(files),
    caller: { source: 'caller' as QubeName, principal: 'default' },
  };
  const qube = (await readQube(admin, 'ai-source')) as Qube;
  qubesd.reset();
  return { qubesd, asking, qube };
};

const said = (outcome: Awaited<ReturnType<typeof inheritedEgress>>): string | null =>
  'error' in outcome ? outcome.error : (outcome.netvm?.name ?? null);

const refused = ['QubesException', 'x'] as const;

describe('the network that is inherited', () => {
  test.each<[string, Links, string | null]>([
    ['is the source’s own where that is managed', { source: 'ai-a', caller: 'ai-b', file: 'ai-c' }, 'ai-a'],
    ['is the source’s own for any klass', { klass: 'AppVM', source: 'ai-a', caller: 'ai-b' }, 'ai-a'],
    ['is none for a qube without one', { klass: 'AppVM', source: null, caller: 'ai-b', file: 'ai-c' }, null],
    [
      'is not resolved for a qube on another one',
      { klass: 'AppVM', source: 'sys-firewall', caller: 'ai-b' },
      UNRESOLVED,
    ],
    ['is not resolved for a qube on the machine’s default', { klass: 'AppVM', caller: 'ai-b' }, UNRESOLVED],
    ['is not resolved for a disposable on another one', { klass: 'DispVM', source: 'sys-firewall' }, UNRESOLVED],
    ['is the caller’s for a template without one', { source: null, caller: 'ai-b', file: 'ai-c' }, 'ai-b'],
    ['is the caller’s for a template on another one', { source: 'sys-firewall', caller: 'ai-b' }, 'ai-b'],
    [
      'is the operator’s where the caller’s is not managed',
      { source: null, caller: 'sys-firewall', file: 'ai-c' },
      'ai-c',
    ],
    ['is the operator’s where the caller has none', { source: null, caller: null, file: 'ai-c # default' }, 'ai-c'],
    ['is not resolved where nothing holds', { source: null, caller: 'sys-firewall' }, UNRESOLVED],
    [
      'is not resolved by an operator’s that is not managed',
      { source: null, caller: null, file: 'sys-firewall' },
      UNRESOLVED,
    ],
    ['is not resolved by an operator’s that is not there', { source: null, caller: null, file: 'ai-gone' }, UNRESOLVED],
    ['may have any name', { source: 'unreadable' }, 'unreadable'],
  ])('%s', async (_, links, expected) => {
    const { asking, qube } = await setUp(links);
    expect(said(await inheritedEgress(qube, asking))).toBe(expected);
  });

  test.each<[string, FleetSpec['fail'], string | null]>([
    ['the source’s', { 'admin.vm.property.Get+netvm@ai-source': refused }, UNRESOLVED],
    ['the caller’s', { 'admin.vm.property.Get+netvm@caller': 'empty' }, UNRESOLVED],
    ['the tags of the source’s', { 'admin.vm.tag.List@ai-a': refused }, 'ai-b'],
  ])('with %s unreadable is never guessed', async (_, fail, expected) => {
    const { asking, qube } = await setUp({ source: 'ai-a', caller: 'ai-b', file: 'ai-c', fail: fail ?? {} });
    const { asking: other, qube: bare } = await setUp({ source: null, caller: 'ai-b', file: 'ai-c', fail: fail ?? {} });
    const outcomes = [said(await inheritedEgress(qube, asking)), said(await inheritedEgress(bare, other))];
    expect(outcomes).toContain(expected);
    expect(outcomes).not.toContain('ai-c');
  });

  test('is the operator’s for a caller that the machine does not have', async () => {
    const { asking, qube, qubesd } = await setUp({ source: null, file: 'ai-c' });
    qubesd.world.remove('caller');
    expect(said(await inheritedEgress(qube, asking))).toBe('ai-c');
  });

  test('is an error of qubesd’s where qubesd is away', async () => {
    const { asking, qube, qubesd } = await setUp({ source: 'ai-a' });
    await qubesd.stop();
    await expect(inheritedEgress(qube, asking)).rejects.toMatchObject({ kind: 'unreachable' });
  });
});

describe('the network that is asked for', () => {
  test('is none for null, whatever would be inherited, and nobody is asked', async () => {
    const { asking, qube, qubesd } = await setUp({ klass: 'AppVM' });
    expect(said(await requestedEgress(null, qube, asking))).toBeNull();
    expect(qubesd.calls).toEqual([]);
  });

  test.each<[unknown, string | null]>([
    [undefined, 'ai-b'],
    ['ai-b', 'ai-b'],
    ['ai-a', MISMATCH],
    ['', UNMANAGED],
    ['ghost', UNMANAGED],
    ['sys-firewall', UNMANAGED],
    ['ai-b\n', UNMANAGED],
    [5, UNMANAGED],
    [['ai-b'], UNMANAGED],
    [false, UNMANAGED],
  ])('as %j beside an inherited ai-b: %s', async (netvm, expected) => {
    const { asking, qube } = await setUp({ source: null, caller: 'ai-b' });
    expect(said(await requestedEgress(netvm, qube, asking))).toBe(expected);
  });

  test.each<[string, Links]>([
    ['nothing is', { source: null, caller: null }],
    ['none is', { klass: 'AppVM', source: null }],
  ])('is a mismatch where %s inherited', async (_, links) => {
    const { asking, qube } = await setUp(links);
    expect(said(await requestedEgress('ai-a', qube, asking))).toBe(MISMATCH);
  });
});
