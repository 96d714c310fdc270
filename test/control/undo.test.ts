// Undoing what calls did, through the same verbs that qmcpctl uses, on a broker in this process.
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Undoable, Undone } from '../../daemon/control/answers.ts';
import type { ControlParts } from '../../daemon/control/parts.ts';
import { controlOver } from '../../daemon/control/verbs.ts';
import { KEPT_FOR_MS } from '../../daemon/journal/undo-entries.ts';
import { QUIET, startDaemon } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import { qmcpctlOf } from '../operator/stage.ts';
import type { Fault } from '../qubesd/faults.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';

const NOW = 1_800_000_000_000;
const RULES = 'action=accept dsthost=example.com comment=of mine\naction=drop\n';
const TAGS = ['ai-full', 'ai-managed', 'mine', 'qmcp-egress-locked_ai-net', 'qmcp-owner_x'];
const FLEET: FleetSpec = {
  qubes: {
    'mcp-control': { klass: 'StandaloneVM', state: 'Running', tags: [] },
    'ai-debian': { klass: 'TemplateVM', tags: ['ai-managed'] },
    'ai-net': { tags: ['ai-managed'], props: { provides_network: 'True' } },
    'ai-work': {
      tags: TAGS,
      props: { template: 'ai-debian', label: 'blue', netvm: 'ai-net' },
      features: { 'menu-items': 'a.desktop' },
      firewall: RULES,
    },
  },
};
const FILES = { ...QUIET, tombstones: 'on\n' };

const SET = 'qmcp.SetPropertyAIManaged';
const FEATURE = 'qmcp.SetFeatureAIManaged';
const FIREWALL = 'qmcp.SetFirewallAIManaged';
const LIFECYCLE = 'qmcp.LifecycleAIManaged';

interface Case {
  readonly title: string;
  readonly service: string;
  readonly request: object;
  /** The value there is, in one text. */
  readonly look: (broker: InProcess) => string | null | undefined;
}
const work = (broker: InProcess) => broker.world.qube('ai-work');
const property = (name: string, value: unknown): Case => ({
  title: `the property ${name}, set to ${value}`,
  service: SET,
  request: { name: 'ai-work', property: name, value },
  look: (broker) => work(broker).props.get(name),
});
const feature = (name: string, value: unknown): Case => ({
  title: `the feature ${name}`,
  service: FEATURE,
  request: { name: 'ai-work', feature: name, value },
  look: (broker) => work(broker).features.get(name),
});
const firewall: Case = {
  title: 'the firewall',
  service: FIREWALL,
  request: { name: 'ai-work', rules: ['action=drop'] },
  look: (broker) => work(broker).firewall,
};
const removal: Case = {
  title: 'a removal',
  service: LIFECYCLE,
  request: { name: 'ai-work', action: 'remove' },
  look: (broker) => [...work(broker).tags].sort().join(' '),
};
const VALUES = [property('label', 'red'), property('vcpus', '03'), property('netvm', null), feature('ai-x', 'y')];
const CASES: readonly Case[] = [...VALUES, feature('menu-items', ''), firewall, removal];

const open = async () => {
  const clock = { ms: NOW };
  const broker = await temporaryBroker({ fleet: FLEET, operatorFiles: FILES, now: () => clock.ms });
  const { admin, view: fleet, journal, undo } = broker;
  const monotonicMs = () => performance.now();
  const parts = { broker: broker.broker, admin, fleet, journal, undo, now: () => clock.ms, monotonicMs };
  const control = controlOver(parts as Partial<ControlParts> as ControlParts);
  const changes = async (): Promise<Undoable['changes']> => {
    const said = await control({ v: 1, verb: 'undo-list', args: {} });
    return said.ok ? (said.result as Undoable).changes : expect.unreachable();
  };
  const tell = async (args: { readonly seq?: number; readonly dry_run?: boolean } = {}) => {
    const seq = args.seq ?? (await changes())[0]?.seq ?? expect.unreachable();
    return control({ v: 1, verb: 'undo', args: { seq, dry_run: args.dry_run ?? false } });
  };
  return {
    broker,
    clock,
    changes,
    call: async (service: string, request: object): Promise<void> => {
      expect(await broker.call(service, request)).toMatchObject({ ok: true });
      broker.qubesd.reset();
    },
    /** Undoes the newest change unless told which; gives the result. */
    undone: async (args = {}): Promise<Undone> => {
      const said = await tell(args);
      if (!said.ok) throw new Error(said.error);
      return said.result as Undone;
    },
    declined: async (args = {}): Promise<string> => {
      const said = await tell(args);
      if (said.ok) throw new Error(`done: ${JSON.stringify(said.result)}`);
      return said.error;
    },
  };
};

describe.each(CASES)('$title', ({ service, request, look }) => {
  test('is put back as it was, and that is journalled as the operator’s', async () => {
    const { broker, call, changes, undone } = await open();
    const before = look(broker);
    await call(service, request);
    const after = look(broker);
    expect(after).not.toBe(before);
    const [change] = await changes();
    expect(await undone()).toMatchObject({ seq: change?.seq, qube: 'ai-work', done: true });
    expect(look(broker)).toBe(before);
    const { call: number, type: _, ...of } = (await broker.lines()).findLast(({ type }) => type === 'intent') ?? {};
    expect(of).toMatchObject({
      source: 'dom0',
      principal: 'operator',
      service: 'qmcpctl',
      action: 'undo',
      args: { name: 'ai-work', seq: change?.seq },
      qubes: [{ role: 'target', name: 'ai-work', uuid: work(broker).uuid }],
    });
    expect((await broker.lines()).at(-1)).toMatchObject({ type: 'outcome', call: number, ok: true });
  });

  test('is only looked at in a dry run', async () => {
    const { broker, call, undone } = await open();
    const before = look(broker);
    await call(service, request);
    const after = look(broker);
    const lines = (await broker.lines()).length;
    const dry = await undone({ dry_run: true });
    expect(look(broker)).toBe(after);
    expect(broker.qubesd.changes()).toEqual([]);
    expect(await broker.lines()).toHaveLength(lines);
    expect(await undone()).toEqual({ ...dry, done: true });
    expect(look(broker)).toBe(before);
  });

  test('is not put back twice', async () => {
    const { broker, call, changes, undone, declined } = await open();
    await call(service, request);
    const [change] = await changes();
    await undone();
    broker.qubesd.reset();
    expect(await declined({ seq: change?.seq })).toContain('was undone already');
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is not put back on another qube of the same name', async () => {
    const { broker, call, declined } = await open();
    await call(service, request);
    broker.world.recreate('ai-work', { tags: TAGS });
    expect(await declined()).toContain('another has its name now');
    expect(await declined({ dry_run: true })).toContain('another has its name now');
    expect(broker.qubesd.changes()).toEqual([]);
    broker.world.remove('ai-work');
    expect(await declined()).toContain('There is no qube ai-work');
    expect(await declined({ dry_run: true })).toContain('There is no qube ai-work');
  });

  test('is not put back while the journal takes no intent', async () => {
    const { broker, call, declined } = await open();
    await call(service, request);
    await broker.journal.close();
    expect(await declined()).toContain('the journal cannot be written');
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is not put back while qubesd is away', async () => {
    const { broker, call, declined } = await open();
    await call(service, request);
    await broker.qubesd.stop();
    expect(await declined()).toContain('qubesd cannot be asked');
    expect(await declined({ dry_run: true })).toContain('qubesd cannot be asked');
  });

  test.each<[string, Fault]>([
    ['refuses', { exception: ['QubesException', 'not today'] }],
    ['answers nothing', 'empty'],
    ['does it and answers nothing', 'lost'],
  ])('is put back later when qubesd %s at any one call', async (_, fault) => {
    const { broker, call, changes, undone } = await open();
    const before = look(broker);
    await call(service, request);
    const after = look(broker);
    const seq = broker.undo.list()[0]?.seq;
    for (let skip = 0; ; skip++) {
      broker.qubesd.reset();
      const withdraw = broker.qubesd.faults.inject({ skip, fault });
      const done = await undone({ seq }).then(
        () => true,
        () => false,
      );
      const isHit = broker.qubesd.calls.length > skip;
      withdraw();
      if (look(broker) !== before && look(broker) !== after) expect(service).toBe(LIFECYCLE);
      // An undo that never came about is nothing to undo.
      if (!done && look(broker) === after) expect((await changes()).map((each) => each.seq)).toEqual([seq]);
      if (done) break;
      expect(isHit).toBe(true);
      if (look(broker) === before) break;
      expect(skip).toBeLessThan(30);
    }
    if (look(broker) !== before) await undone({ seq });
    expect(look(broker)).toBe(before);
  });
});

describe.each([...VALUES, firewall])('$title', ({ service, request, look }) => {
  test('is not put back after a later change, but after that was', async () => {
    const { broker, call, changes, undone, declined } = await open();
    const before = look(broker);
    await call(service, request);
    const [first] = await changes();
    const after = look(broker);
    const value = service === SET ? { value: LATER[Object(request).property] } : { value: 'z' };
    await call(service, { ...request, ...(service === FIREWALL ? { rules: ['action=accept'] } : value) });
    if (look(broker) !== after) {
      expect(await declined({ seq: first?.seq })).toContain('was changed again since');
      expect(broker.qubesd.changes()).toEqual([]);
      await undone();
    }
    expect(look(broker)).toBe(after);
    await undone({ seq: first?.seq });
    expect(look(broker)).toBe(before);
  });

  test('can be put back and forth, each time by the number of what came last', async () => {
    const { broker, call, undone } = await open();
    const before = look(broker);
    await call(service, request);
    const after = look(broker);
    await undone();
    expect(look(broker)).toBe(before);
    await undone();
    expect(look(broker)).toBe(after);
    await undone();
    expect(look(broker)).toBe(before);
  });

  test('is not put back on a qube that is not managed any more', async () => {
    const { broker, call, declined } = await open();
    await call(service, request);
    broker.world.removeTag('ai-work', 'ai-managed');
    expect(await declined()).toMatch(
      /is not managed any more.* Or do it yourself: qvm-(?:prefs|features|firewall) ai-work$/,
    );
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is left alone where somebody has put it back already', async () => {
    const { broker, call, declined } = await open();
    const { props, features, firewall } = work(broker);
    const before = [[...props], [...features]] as const;
    await call(service, request);
    props.clear();
    features.clear();
    for (const [name, value] of before[0]) props.set(name, value);
    for (const [name, value] of before[1]) features.set(name, value);
    work(broker).firewall = firewall;
    expect(await declined()).toContain('is as it was before already');
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is not put back where what would undo that cannot be kept', async () => {
    const { broker, call, declined, undone } = await open();
    await call(service, request);
    const state = join(broker.root, 'state');
    await rename(state, `${state}.away`);
    expect(await declined()).toMatch(/^Nothing was done\. Old values cannot be kept/);
    expect(broker.qubesd.changes()).toEqual([]);
    await rename(`${state}.away`, state);
    expect(await undone()).toMatchObject({ done: true });
  });
});

const LATER: Readonly<Record<string, unknown>> = { label: 'green', vcpus: 4, netvm: null };

describe('a tombstone', () => {
  test('gets the umbrella after what belongs under it, and loses its marker last', async () => {
    const { broker, call, undone } = await open();
    await call(LIFECYCLE, removal.request);
    await undone();
    expect(broker.qubesd.changes().map(([method]) => method.replace('admin.vm.tag.', ''))).toEqual([
      'Set+ai-full',
      'Set+qmcp-owner_x',
      'Set+ai-managed',
      `Remove+qmcp-tombstone_${NOW / 1000}`,
    ]);
  });

  test.each([
    ['was given another tag of ours', (broker: InProcess) => broker.world.addTag('ai-work', 'qmcp-guarded')],
    ['lost its marker', (broker: InProcess) => broker.world.removeTag('ai-work', `qmcp-tombstone_${NOW / 1000}`)],
    ['was marked anew', (broker: InProcess) => broker.world.addTag('ai-work', 'qmcp-tombstone_1')],
  ])('that %s is left alone', async (_, meanwhile) => {
    const { broker, call, declined } = await open();
    await call(LIFECYCLE, removal.request);
    meanwhile(broker);
    expect(await declined()).toContain('qmcpctl tombstones restore ai-work');
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('keeps the tags that are not of our vocabulary as they are now', async () => {
    const { broker, call, undone } = await open();
    await call(LIFECYCLE, removal.request);
    broker.world.removeTag('ai-work', 'mine');
    broker.world.addTag('ai-work', 'new');
    await undone();
    expect([...work(broker).tags].sort()).toEqual([...TAGS.filter((tag) => tag !== 'mine'), 'new'].sort());
  });
});

describe('what there is to undo', () => {
  test('is listed newest first, without any value', async () => {
    const { broker, call, changes, clock } = await open();
    await call(SET, { name: 'ai-work', property: 'label', value: 'red' });
    clock.ms += 5_000;
    await call(FIREWALL, firewall.request);
    const of = { source: 'mcp-control', principal: 'default', qube: 'ai-work' };
    const list = await changes();
    expect(list).toMatchObject([
      { ...of, service: FIREWALL, kind: 'firewall', name: null, age_s: 0 },
      { ...of, service: SET, kind: 'property', name: 'label', age_s: 5 },
    ]);
    expect(JSON.stringify(list)).not.toMatch(/blue|red|example/);
    expect(broker.undo.complaint).toBeNull();
  });

  test('is gone after its time', async () => {
    const { call, changes, clock, declined } = await open();
    await call(SET, { name: 'ai-work', property: 'label', value: 'red' });
    const [change] = await changes();
    clock.ms += KEPT_FOR_MS;
    expect(await changes()).toHaveLength(1);
    clock.ms += 1;
    expect(await changes()).toEqual([]);
    expect(await declined({ seq: change?.seq })).toContain('is too long ago');
  });

  test('is not what could not be read before it was changed', async () => {
    const { broker, call, declined } = await open();
    broker.qubesd.faults.inject({ method: 'admin.vm.feature.Get', fault: { exception: ['QubesException', 'x'] } });
    await call(FEATURE, { name: 'ai-work', feature: 'ai-x', value: 'y' });
    expect(await declined()).toContain('could not be read at that time');
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('excludes calls to the same qube while it is undone', async () => {
    const { broker, call, undone } = await open();
    await call(SET, { name: 'ai-work', property: 'label', value: 'red' });
    const seq = broker.undo.list()[0]?.seq;
    const [, reply] = await Promise.all([
      undone({ seq }),
      broker.call(SET, { name: 'ai-work', property: 'label', value: 'green' }),
    ]);
    expect(reply).toMatchObject({ ok: true });
    expect(work(broker).props.get('label')).toBe('green');
    expect(broker.undo.list().map(({ change }) => change)).toMatchObject([
      { before: { value: 'red' }, after: 'blue' },
      { before: { value: 'blue' }, after: 'green' },
    ]);
  });
});

test('qmcpctl shows, previews, and puts back, and says what it did', async () => {
  const { daemon, qubesd } = await startDaemon({ fleet: FLEET, operatorFiles: FILES });
  const run = qmcpctlOf(daemon);
  expect(await run('undo', 'list')).toMatchObject({ code: 0, out: 'There is nothing to undo.\n', err: '' });
  await daemon.call(SET, { name: 'ai-work', property: 'label', value: 'red' });
  await daemon.call(FIREWALL, firewall.request);
  await daemon.call(LIFECYCLE, removal.request);
  const seqs = daemon.journal().flatMap(({ type, seq }) => (type === 'intent' ? [Number(seq)] : []));
  const [label, rules, tombstone] = seqs.map(String) as [string, string, string];
  const { out: list } = await run('undo', 'list');
  expect(list.split('\n').map((line) => line.split(/ {2,}/).toSpliced(1, 1))).toMatchObject([
    ['SEQ', 'QUBE', 'CHANGED', 'BY', 'PRINCIPAL'],
    [tombstone, 'ai-work', 'removed', 'mcp-control', 'default'],
    [rules, 'ai-work', 'firewall', 'mcp-control', 'default'],
    [label, 'ai-work', 'label', 'mcp-control', 'default'],
    [''],
  ]);
  expect(await run('undo', label)).toMatchObject({ code: 1, err: expect.stringContaining('is not managed any more') });
  expect(await run('undo', tombstone)).toMatchObject({ code: 0, out: expect.stringMatching(/It is put back\.\n$/) });
  expect(await run('undo', label, '--dry-run')).toMatchObject({
    code: 0,
    out: `ai-work, label\nit is        red\nit would be  blue\nNothing was done. To put it back: qmcpctl undo ${label}\n`,
  });
  expect(qubesd.world.qube('ai-work').props.get('label')).toBe('red');
  expect(await run('undo', label)).toMatchObject({
    code: 0,
    out: 'ai-work, label\nit was     red\nit is now  blue\nIt is put back.\n',
  });
  const { out: json } = await run('undo', rules, '--json');
  expect(JSON.parse(json)).toMatchObject({ seq: Number(rules), kind: 'firewall', from: 'action=drop\n', to: RULES });
  const { props, firewall: now, tags } = qubesd.world.qube('ai-work');
  expect([props.get('label'), now, [...tags].sort()]).toEqual(['blue', RULES, TAGS]);
  expect(await run('undo', '0')).toMatchObject({ code: 2, err: expect.stringContaining('no number of a record') });
  expect(await run('undo')).toMatchObject({ code: 2 });
  expect((await run('audit', 'verify', '--log', daemon.log)).code).toBe(0);
});
