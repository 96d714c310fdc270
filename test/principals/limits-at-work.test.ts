// A principal's limits over the whole way of a call, in the broker with its services before a simulated qubesd.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Reply } from '../../daemon/qrexec/door.ts';
import { ASKING, QUIET } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import { type Approver, startApprover } from '../confirm/approver.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { enrollIn } from './enrolling.ts';
import { enrolled, freshNumber, seal, unsignedFile } from './signing.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const SPAWN = 'qmcp.SpawnAIManagedQube';
const REFUSED = { ok: false, error: 'not found' };
const NO_TEMPLATE = { ok: false, error: 'template must reference an ai-managed qube' };
const GIB = 2 ** 30;
/** A Monday. */
const MONDAY_NOON = Date.parse('2026-11-16T12:00:00Z');

interface Place {
  readonly broker: InProcess;
  readonly clock: { ms: number };
  /** An unsigned call. */
  readonly call: (service: string, request: unknown) => Promise<Reply>;
  /** The same, signed by the principal `web`. */
  readonly signed: (service: string, request: unknown, argument?: string) => Promise<Reply>;
}

const place = async (
  files: Record<string, string>,
  { operatorFiles = QUIET, fleet = FLEET_F0 }: { operatorFiles?: Record<string, string>; fleet?: typeof FLEET_F0 } = {},
): Promise<Place> => {
  const clock = { ms: MONDAY_NOON };
  const broker = await temporaryBroker({ operatorFiles, fleet, now: () => clock.ms });
  enrollIn(broker.etc, files);
  const signed = (service: string, request: unknown, argument = ''): Promise<Reply> =>
    broker.call(
      service,
      seal({
        source: 'mcp-control',
        service,
        argument,
        principal: 'web',
        time: ++clock.ms,
        number: freshNumber(),
        call: JSON.stringify(request),
      }),
      'mcp-control',
      argument,
    );
  return { broker, clock, signed, call: (service, request) => broker.call(service, request) };
};

const life = (name: string, action: string) => ({ name, action });
const rules = async ({ broker }: Place): Promise<unknown[]> =>
  (await broker.lines()).filter(({ type }) => type === 'decision').map(({ rule }) => rule);
const tagsOf = ({ broker }: Place, name: string): string[] =>
  [...broker.world.qube(name).tags].filter((tag) => tag.startsWith('qmcp-'));

describe('the ceiling', () => {
  test('holds over what the tags of a qube grant', async () => {
    const at = await place({ 'all.json': unsignedFile({ ceiling: 'net' }) });
    expect(await at.call(LIFECYCLE, life('ai-full1', 'start'))).toEqual(REFUSED);
    expect(await at.call('qmcp.GetPropertyAIManaged', { name: 'ai-full1', property: 'klass' })).toEqual({
      ok: true,
      value: 'AppVM',
    });
    expect(await rules(at)).toEqual(['insufficient:full']);
    expect(at.broker.qubesd.changes()).toEqual([]);
  });

  test('of full leaves the tiers as they are', async () => {
    const at = await place({ 'all.json': unsignedFile() });
    expect(await at.call(LIFECYCLE, life('ai-full1', 'start'))).toEqual({ ok: true });
    expect(await at.call(LIFECYCLE, life('ai-exec1', 'start'))).toEqual(REFUSED);
  });
});

describe('name patterns', () => {
  const NAMES = { names: ['ai-work', 'ai-n*', 'ai-debian-13'] };

  test('make the other managed qubes unmanaged, in every reading', async () => {
    const at = await place({ 'all.json': unsignedFile(NAMES) });
    const list = (await at.call('qmcp.ListAIManagedQubes', '')) as unknown as {
      qubes: { name: string; template: string | null }[];
    };
    expect(list.qubes.map(({ name }) => name)).toEqual(['ai-debian-13', 'ai-net-router', 'ai-net1', 'ai-work']);
    expect(await at.call('qmcp.GetPropertyAIManaged', { name: 'ai-idle', property: 'klass' })).toEqual(REFUSED);
    expect(await at.call('qmcp.ListAttachedDevicesAIManaged', { name: 'ai-idle', device_class: 'block' })).toEqual(
      REFUSED,
    );
    expect(await at.call('qmcp.GetFirewallAIManaged', { name: 'ai-idle' })).toEqual(REFUSED);
    expect(await at.call('qmcp.AIManagedEvents', { duration: 1, qube: 'ai-idle', events: null })).toEqual(REFUSED);
    expect(await at.call('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'netvm' })).toEqual({
      ok: true,
      value: 'ai-net-router',
    });
  });

  test('redact the names of the others', async () => {
    const at = await place({ 'all.json': unsignedFile({ names: ['ai-work'] }) });
    expect(await at.call('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'netvm' })).toEqual({
      ok: true,
      value: '<out-of-scope>',
    });
    expect(await at.call('qmcp.ListAIManagedQubes', '')).toMatchObject({
      qubes: [{ name: 'ai-work', template: '<out-of-scope>' }],
    });
  });

  test('do not change the sums over all', async () => {
    const at = await place({});
    const before = await at.call('qmcp.GetPoolStats', '');
    enrollIn(at.broker.etc, { 'all.json': unsignedFile(NAMES) });
    expect(await at.call('qmcp.GetPoolStats', '')).toEqual(before);
  });

  test('hold for changes, for what they refer to, and for what is created', async () => {
    const at = await place({ 'all.json': unsignedFile(NAMES) });
    expect(await at.call(LIFECYCLE, life('ai-work', 'pause'))).toEqual({ ok: true });
    expect(await at.call(LIFECYCLE, life('ai-idle', 'start'))).toEqual(REFUSED);
    expect(
      await at.call('qmcp.SetPropertyAIManaged', { name: 'ai-work', property: 'default_dispvm', value: 'ai-dvmt' }),
    ).toEqual({
      ok: false,
      error: "cross-ref property 'default_dispvm' must reference an ai-managed qube",
    });
    expect(
      await at.call('qmcp.SetFeatureAIManaged', { name: 'ai-work', feature: 'audiovm', value: 'ai-idle' }),
    ).toEqual({
      ok: false,
      error: "cross-VM feature 'audiovm' must reference an ai-managed qube",
    });
    expect(await at.call(SPAWN, { name: 'ai-fresh', template: 'ai-debian-13' })).toEqual(NO_TEMPLATE);
    expect(await at.call(SPAWN, { name: 'ai-new', template: 'ai-debian-13' })).toMatchObject({ ok: true });
    expect(await at.call('qmcp.CloneAIManagedQube', { source: 'ai-idle', name: 'ai-new2' })).toEqual(REFUSED);
    expect((await rules(at)).filter((rule) => String(rule).startsWith('principal'))).toEqual([
      'principal-names',
      'principal-names',
      'principal-names',
    ]);
  });
});

describe('owned only', () => {
  test('leaves a principal what it had created, by its own tag, and nothing of the unsigned callers of its source', async () => {
    const at = await place({ 'web.json': enrolled({ owned_only: true }), 'all.json': unsignedFile() });
    expect(await at.signed(SPAWN, { name: 'ai-mine', template: 'ai-debian-13' })).toMatchObject({ ok: true });
    expect(await at.call(SPAWN, { name: 'ai-theirs', template: 'ai-debian-13' })).toMatchObject({ ok: true });
    expect(tagsOf(at, 'ai-mine')).toEqual(['qmcp-owner__web']);
    expect(tagsOf(at, 'ai-theirs')).toEqual(['qmcp-owner_mcp-control']);
    expect(await at.signed(LIFECYCLE, life('ai-mine', 'start'))).toEqual({ ok: true });
    for (const name of ['ai-theirs', 'ai-idle'])
      expect(await at.signed(LIFECYCLE, life(name, 'start'))).toEqual(REFUSED);
    expect((await rules(at)).slice(-2)).toEqual(['principal-owner', 'principal-owner']);
  });

  test('for unsigned calls is what the source had created, before anybody was enrolled as well', async () => {
    const at = await place({});
    expect(await at.call(SPAWN, { name: 'ai-old', template: 'ai-debian-13' })).toMatchObject({ ok: true });
    enrollIn(at.broker.etc, { 'all.json': unsignedFile({ owned_only: true }) });
    expect(await at.call(LIFECYCLE, life('ai-old', 'start'))).toEqual({ ok: true });
    expect(await at.call(LIFECYCLE, life('ai-idle', 'start'))).toEqual(REFUSED);
  });

  test('holds for what a clone and a disposable are tagged with', async () => {
    const at = await place({ 'web.json': enrolled({ owned_only: true }) });
    expect(await at.signed('qmcp.CloneAIManagedQube', { source: 'ai-idle', name: 'ai-copy' })).toMatchObject({
      ok: true,
    });
    const reply = await at.signed('qmcp.SpawnDisposableAIManaged', { template: 'ai-dvmt' });
    expect(tagsOf(at, 'ai-copy')).toEqual(['qmcp-owner__web']);
    expect(tagsOf(at, (reply as unknown as { name: string }).name)).toEqual(['qmcp-owner__web']);
  });
});

test('classes of risk hold: what only reads cannot change, and what changes cannot destroy', async () => {
  const at = await place({ 'all.json': unsignedFile({ risks: ['read', 'change'] }) });
  expect(await at.call(LIFECYCLE, life('ai-work', 'pause'))).toEqual({ ok: true });
  expect(await at.call(LIFECYCLE, life('ai-work', 'kill'))).toEqual(REFUSED);
  enrollIn(at.broker.etc, { 'all.json': unsignedFile({ risks: ['read'] }) });
  expect(await at.call(LIFECYCLE, life('ai-idle', 'start'))).toEqual(REFUSED);
  expect(await at.call('qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
  enrollIn(at.broker.etc, { 'all.json': unsignedFile({ risks: [] }) });
  expect(await at.call('qmcp.ListAIManagedQubes', '')).toEqual(REFUSED);
  const step = { service: 'qmcp.GetPropertyAIManaged', request: { name: 'ai-work', property: 'label' } };
  expect(await at.call('qmcp.Prepare', { calls: [step] })).toEqual(REFUSED);
});

test('hours hold for changes, on the clocks of their zone, and not for reads', async () => {
  const at = await place({
    'all.json': unsignedFile({ changes: { zone: 'Europe/Berlin', hours: ['mon-fri 08:00-14:00'] } }),
  });
  expect(await at.call(LIFECYCLE, life('ai-work', 'pause'))).toEqual({ ok: true });
  at.clock.ms += 3_600_000;
  expect(await at.call(LIFECYCLE, life('ai-work', 'unpause'))).toEqual(REFUSED);
  expect(await at.call('qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
  at.clock.ms += 19 * 3_600_000;
  expect(await at.call(LIFECYCLE, life('ai-work', 'unpause'))).toEqual({ ok: true });
  expect(await rules(at)).toEqual(['ladder', 'principal-hours', 'ladder']);
});

describe('quotas', () => {
  test('of calls let the next hour begin anew', async () => {
    const at = await place({ 'all.json': unsignedFile({ per_hour: { calls: 2 } }) });
    expect(await at.call('qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
    expect(await at.call(LIFECYCLE, life('ai-idle', 'start'))).toEqual({ ok: true });
    expect(await at.call('qmcp.ListAIManagedQubes', '')).toEqual(REFUSED);
    expect(await at.call(LIFECYCLE, life('ai-work', 'pause'))).toEqual(REFUSED);
    at.clock.ms += 61 * 60_000;
    expect(await at.call(LIFECYCLE, life('ai-work', 'pause'))).toEqual({ ok: true });
  });

  test('of qubes count those that the principal had created and that are still there', async () => {
    const at = await place({ 'web.json': enrolled({ total: { qubes: 2 } }), 'all.json': unsignedFile() });
    expect(await at.signed(SPAWN, { name: 'ai-a', template: 'ai-debian-13' })).toMatchObject({ ok: true });
    expect(await at.signed('qmcp.CloneAIManagedQube', { source: 'ai-idle', name: 'ai-b' })).toMatchObject({ ok: true });
    expect(await at.signed(SPAWN, { name: 'ai-c', template: 'ai-debian-13' })).toEqual(NO_TEMPLATE);
    expect(await at.signed('qmcp.CloneAIManagedQube', { source: 'ai-idle', name: 'ai-c' })).toEqual(REFUSED);
    expect(await at.signed('qmcp.SpawnDisposableAIManaged', { template: 'ai-dvmt' })).toEqual(REFUSED);
    expect(await at.call(SPAWN, { name: 'ai-d', template: 'ai-debian-13' })).toMatchObject({ ok: true });
    expect(await at.signed(LIFECYCLE, life('ai-a', 'remove'))).toEqual({ ok: true });
    expect(await at.signed(SPAWN, { name: 'ai-c', template: 'ai-debian-13' })).toMatchObject({ ok: true });
  });

  test('of bytes count what those qubes may hold', async () => {
    const at = await place({ 'web.json': enrolled({ total: { bytes: 5 * GIB } }) });
    expect(await at.signed(SPAWN, { name: 'ai-a', template: 'ai-debian-13', private_size: 3 * GIB })).toMatchObject({
      ok: true,
    });
    expect(await at.signed(SPAWN, { name: 'ai-b', template: 'ai-debian-13', private_size: 2 * GIB + 1 })).toEqual(
      NO_TEMPLATE,
    );
    expect(await at.signed(SPAWN, { name: 'ai-b', template: 'ai-debian-13', private_size: 2 * GIB })).toMatchObject({
      ok: true,
    });
    expect(await at.signed('qmcp.SpawnDisposableAIManaged', { template: 'ai-dvmt' })).toEqual(REFUSED);
  });

  test('of nothing leave nothing to create', async () => {
    const at = await place({ 'all.json': unsignedFile({ total: { qubes: 0 } }) });
    expect(await at.call(SPAWN, { name: 'ai-a', template: 'ai-debian-13' })).toEqual(NO_TEMPLATE);
    expect(at.broker.qubesd.changes()).toEqual([]);
  });

  test.each([
    ['qubes', { qubes: 1 }],
    ['bytes', { bytes: 5 * GIB }],
  ])(
    'of %s are told to be used up without asking for all tags of the machine, which would take its time',
    async (_, total) => {
      const at = await place({ 'web.json': enrolled({ total }), 'all.json': unsignedFile() });
      const ask = { name: 'ai-a', template: 'ai-debian-13', private_size: 4 * GIB };
      expect(await at.signed(SPAWN, ask)).toMatchObject({ ok: true });
      await at.broker.view.snapshot();
      at.broker.qubesd.calls.length = 0;
      expect(await at.signed(SPAWN, { ...ask, name: 'ai-b' })).toEqual(NO_TEMPLATE);
      const read = at.broker.qubesd.calls.filter(({ method }) => method === 'admin.vm.tag.List');
      expect(read.length).toBeLessThan(5);
      expect(read.length).toBeLessThan(at.broker.world.qubes.size);
    },
  );
});

describe('where a person is asked', () => {
  const asking = async (files: Record<string, string>): Promise<Place & { approver: Approver }> => {
    const at = await place(files, { operatorFiles: ASKING });
    const approver = await startApprover(join(at.broker.run, 'confirm.sock'));
    writeFileSync(join(at.broker.etc, 'confirm.pub'), `${approver.publicKey}\n`);
    return { ...at, approver };
  };

  test('the question names the principal, and so does every line of the journal', async () => {
    const at = await asking({ 'web.json': enrolled() });
    const reply = at.signed(LIFECYCLE, life('ai-work', 'kill'));
    const asked = await at.approver.next();
    expect(asked.question.view.lines).toContain('Asked by: mcp-control (gray), web agent');
    asked.approve();
    expect(await reply).toEqual({ ok: true });
    const lines = (await at.broker.lines()).filter(({ service }) => service === LIFECYCLE);
    expect(new Set(lines.map(({ principal }) => principal))).toEqual(new Set(['web']));
    expect(lines.map(({ type }) => type)).toEqual(['decision', 'question', 'answer', 'decision', 'intent', 'outcome']);
  });

  test('the quota of questions ends them, without one being shown', async () => {
    const at = await asking({ 'all.json': unsignedFile({ per_hour: { questions: 1 } }) });
    at.approver.reflex = (asked) => asked.deny();
    expect(await at.call(LIFECYCLE, life('ai-work', 'kill'))).toEqual(REFUSED);
    expect(await at.call(LIFECYCLE, life('ai-work', 'kill'))).toEqual(REFUSED);
    expect(await at.call(LIFECYCLE, life('ai-idle', 'start'))).toEqual({ ok: true });
    expect(at.approver.questions).toHaveLength(1);
    expect((await rules(at)).at(2)).toBe('principal-questions');
    at.approver.reflex = (asked) => asked.approve();
    at.clock.ms += 61 * 60_000;
    expect(await at.call(LIFECYCLE, life('ai-work', 'kill'))).toEqual({ ok: true });
  });

  test('a plan is one question of its principal, whose limits hold for every step', async () => {
    const at = await asking({ 'web.json': enrolled({ per_hour: { questions: 1 }, names: ['ai-work', 'ai-idle'] }) });
    const step = (name: string, action: string) => ({ service: LIFECYCLE, request: life(name, action) });
    expect(await at.signed('qmcp.Prepare', { calls: [step('ai-work', 'kill'), step('ai-exec1', 'start')] })).toEqual(
      REFUSED,
    );
    const prepared = await at.signed('qmcp.Prepare', { calls: [step('ai-work', 'kill'), step('ai-idle', 'start')] });
    const { nonce } = prepared as unknown as { nonce: string };
    // Another principal of the same source does not know of it.
    enrollIn(at.broker.etc, { 'all.json': unsignedFile() });
    expect(await at.broker.call('qmcp.Commit', {}, 'mcp-control', nonce)).toEqual(REFUSED);
    const reply = at.signed('qmcp.Commit', {}, nonce);
    const asked = await at.approver.next();
    expect(asked.question.view.lines).toContain('Asked by: mcp-control (gray), web agent');
    asked.approve();
    expect(await reply).toMatchObject({ ok: true, state: 'done' });
    expect(await at.signed(LIFECYCLE, life('ai-idle', 'kill'))).toEqual(REFUSED);
    expect(at.approver.questions).toHaveLength(1);
    const lines = (await at.broker.lines()).filter(({ principal }) => principal !== undefined);
    expect(JSON.stringify(lines)).not.toContain('limits');
  });

  test.each<[string, Record<string, string>]>([
    ['narrowed', { 'web.json': enrolled({ ceiling: 'ro' }) }],
    ['taken away', { 'web.json': '{}' }],
  ])('a yes is worth nothing if the principal was %s meanwhile', async (_, change) => {
    const at = await asking({ 'web.json': enrolled() });
    const reply = at.signed(LIFECYCLE, life('ai-work', 'kill'));
    const asked = await at.approver.next();
    enrollIn(at.broker.etc, change);
    asked.approve();
    expect(await reply).toEqual(REFUSED);
    expect(at.broker.qubesd.changes()).toEqual([]);
  });

  test('nobody is asked about what a limit refuses', async () => {
    const at = await asking({ 'all.json': unsignedFile({ risks: ['read', 'change'] }) });
    expect(await at.call(LIFECYCLE, life('ai-work', 'kill'))).toEqual(REFUSED);
    expect(at.approver.questions).toEqual([]);
  });
});

test('a principal limited to names learns of no other name whether it is taken, nor of a network whether it is managed', async () => {
  const { call } = await place({ 'plain.json': unsignedFile({ names: ['ai-debian*', 'ai-mine*'] }) });
  for (const name of ['ai-work', 'ai-secret', 'ai-free'])
    expect(await call(SPAWN, { name, template: 'ai-debian-13' })).toEqual(NO_TEMPLATE);
  const unmanaged = { ok: false, error: 'netvm must reference an ai-managed qube' };
  for (const netvm of ['ai-tor', 'ai-net-router', 'sys-whonix', 'ghost'])
    expect(await call(SPAWN, { name: 'ai-mine', template: 'ai-debian-13', netvm })).toEqual(unmanaged);
  expect(await call(SPAWN, { name: 'ai-mine', template: 'ai-debian-13' })).toEqual({ ok: true, name: 'ai-mine' });
  const taken = { ok: false, error: "qube 'ai-mine' already exists" };
  expect(await call(SPAWN, { name: 'ai-mine', template: 'ai-debian-13' })).toEqual(taken);
});
