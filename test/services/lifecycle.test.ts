import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { entombs } from '../../daemon/services/lifecycle.ts';
import { ASKING, QUIET } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { Fault } from '../qubesd/faults.ts';
import type { QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker, HOSTILE } from './asking.ts';

const SERVICE = 'qmcp.LifecycleAIManaged';
const OK = { ok: true };
const NOT_FOUND = { ok: false, error: 'not found' };
const FAILED = { ok: false, error: 'action failed' };
const UNKNOWN_ACTION = {
  ok: false,
  error: "action must be one of: ['kill', 'pause', 'remove', 'shutdown', 'start', 'unpause']",
};
const ACTIONS = ['kill', 'pause', 'remove', 'shutdown', 'start', 'unpause'];
const NOW = 1_800_000_000_000;
const MARKER = 'qmcp-tombstone_1800000000';

const act = (broker: InProcess, action: unknown, name: unknown) => broker.call(SERVICE, { name, action });
const withQubes = (qubes: Record<string, QubeSpec>) => ({ ...FLEET_F0, qubes: { ...FLEET_F0.qubes, ...qubes } });
const tagsOf = (broker: InProcess, name: string): string[] => [...broker.world.qube(name).tags].sort();
const TOMBSTONES = { ...QUIET, tombstones: 'on\n' };

describe('a request', () => {
  test.each<[string, unknown, object]>([
    ['is no JSON', '{"name":', { ok: false, error: 'invalid input' }],
    ['is empty', '', UNKNOWN_ACTION],
    ['is a list', [1], UNKNOWN_ACTION],
    ['is null', null, UNKNOWN_ACTION],
    ['has no action', { name: 'ai-work' }, UNKNOWN_ACTION],
    ['has a null action', { name: 'ai-work', action: null }, UNKNOWN_ACTION],
    ['has a list for an action', { name: 'ai-work', action: ['kill'] }, UNKNOWN_ACTION],
    ['has an empty action', { name: 'ai-work', action: '' }, UNKNOWN_ACTION],
    ['has an action in other letters', { name: 'ai-work', action: 'Kill' }, UNKNOWN_ACTION],
    ['has an action with a NUL', { name: 'ai-work', action: 'kill\0' }, UNKNOWN_ACTION],
    ['has an action of objects', { name: 'ai-work', action: 'constructor' }, UNKNOWN_ACTION],
    ['has neither a known action nor a name', { action: 'destroy' }, UNKNOWN_ACTION],
    ['has no name', { action: 'kill' }, NOT_FOUND],
    ['has a null name', { action: 'kill', name: null }, NOT_FOUND],
    ['has an empty name', { action: 'kill', name: '' }, NOT_FOUND],
    ['has a list for a name', { action: 'kill', name: ['ai-work'] }, NOT_FOUND],
    ['has a number for a name', { action: 'kill', name: 5 }, NOT_FOUND],
    ...HOSTILE.map((name): [string, unknown, object] => [
      `has the name ${JSON.stringify(name.slice(0, 30))}`,
      { action: 'kill', name },
      NOT_FOUND,
    ]),
  ])('that %s is answered without a call', async (_, request, want) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, request)).toEqual(want);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test.each(ACTIONS)('to %s what the caller has no power over is not found', async (action) => {
    const broker = await temporaryBroker({
      fleet: withQubes({ 'ai-dead': { tags: ['qmcp-tombstone_5'] } }),
      operatorFiles: { ...QUIET, 'tier-default': 'ro\n' },
    });
    for (const name of ['ghost', 'vault', 'dom0', 'ai-dead', 'ai-work', 'ai-exec1', 'ai-net1']) {
      expect(await act(broker, action, name), name).toEqual(NOT_FOUND);
    }
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('fails where qubesd is away', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    for (const action of ACTIONS) expect(await act(broker, action, 'ai-work')).toEqual(FAILED);
    expect(await act(broker, 'kill', '')).toEqual(NOT_FOUND);
  });
});

describe('an action', () => {
  test.each([
    ['start', 'ai-idle', 'admin.vm.Start', 'Running'],
    ['shutdown', 'ai-work', 'admin.vm.Shutdown', 'Halted'],
    ['kill', 'ai-work', 'admin.vm.Kill', 'Halted'],
    ['pause', 'ai-work', 'admin.vm.Pause', 'Paused'],
  ])('%s is one call, addressed by uuid', async (action, name, method, state) => {
    const broker = await temporaryBroker();
    expect(await act(broker, action, name)).toEqual(OK);
    expect(broker.qubesd.changes()).toEqual([[method, name]]);
    const { uuid } = broker.world.qube(name);
    expect(broker.qubesd.calls.find((call) => call.method === method)?.rawDest).toBe(`uuid:${uuid}`);
    expect(broker.world.qube(name).state).toBe(state);
  });

  test('unpause lets a paused qube go on', async () => {
    const broker = await temporaryBroker();
    await act(broker, 'pause', 'ai-work');
    expect(await act(broker, 'unpause', 'ai-work')).toEqual(OK);
    expect(broker.world.qube('ai-work').state).toBe('Running');
  });

  test('that qubesd refuses fails with one word, whatever qubesd says', async () => {
    const broker = await temporaryBroker();
    expect(await act(broker, 'shutdown', 'ai-idle')).toEqual(FAILED);
    expect(await act(broker, 'unpause', 'ai-work')).toEqual(FAILED);
    for (const fault of [
      'empty',
      { exception: ['QubesVMError', 'vault is in the way'] },
      { cut: 1 },
    ] satisfies Fault[]) {
      broker.qubesd.faults.inject({ method: 'admin.vm.Kill', fault });
      expect(await act(broker, 'kill', 'ai-work')).toEqual(FAILED);
    }
    const causes = (await broker.lines()).filter(({ type }) => type === 'outcome').map(({ cause }) => cause);
    expect(causes).toEqual(['QubesVMNotStartedError', 'QubesVMNotPausedError', 'empty', 'QubesVMError', 'malformed']);
  });

  test('removes a qube at once where no tombstones are wanted', async () => {
    const broker = await temporaryBroker();
    expect(await act(broker, 'remove', 'ai-idle')).toEqual(OK);
    expect(broker.qubesd.changes()).toEqual([['admin.vm.Remove', 'ai-idle']]);
    expect(await act(broker, 'remove', 'ai-debian-13')).toEqual(FAILED);
    expect(await act(broker, 'remove', 'ai-work')).toEqual(FAILED);
  });

  test('is decided by the tags as they are, although their event has not come', async () => {
    const broker = await temporaryBroker();
    await broker.view.snapshot();
    broker.qubesd.streams.hold();
    broker.world.removeTag('ai-idle', 'ai-managed');
    broker.world.addTag('ai-full1', 'qmcp-guarded');
    expect((await broker.view.snapshot()).get('ai-idle' as never)?.tags).toContain('ai-managed');
    expect(await act(broker, 'start', 'ai-idle')).toEqual(NOT_FOUND);
    expect(await act(broker, 'start', 'ai-full1')).toEqual(NOT_FOUND);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is seen by the next read, although its event has not come', async () => {
    const broker = await temporaryBroker();
    const state = () => broker.call('qmcp.GetPropertyAIManaged', { name: 'ai-idle', property: 'power_state' });
    expect(await state()).toEqual({ ok: true, value: 'Halted' });
    broker.qubesd.streams.hold();
    await act(broker, 'start', 'ai-idle');
    expect(await state()).toEqual({ ok: true, value: 'Running' });
    await act(broker, 'kill', 'ai-idle');
    expect(await state()).toEqual({ ok: true, value: 'Halted' });
  });

  test('waits for another on the same qube, and for none on a different one', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ method: 'admin.vm.Start', dest: 'ai-idle', fault: 'hang' });
    const begun = broker.qubesd.nextCall('admin.vm.Start');
    const first = act(broker, 'start', 'ai-idle');
    await begun;
    const second = act(broker, 'kill', 'ai-idle');
    expect(await act(broker, 'start', 'ai-full1')).toEqual(OK);
    expect(broker.qubesd.changes()).toEqual([
      ['admin.vm.Start', 'ai-idle'],
      ['admin.vm.Start', 'ai-full1'],
    ]);
    broker.qubesd.release();
    expect([await first, await second]).toEqual([OK, OK]);
    expect(broker.qubesd.changes().at(-1)).toEqual(['admin.vm.Kill', 'ai-idle']);
  });
});

describe('the journal', () => {
  test('holds decision, intent and outcome, with nothing of the caller but names and words', async () => {
    const broker = await temporaryBroker();
    await act(broker, 'start', 'ai-idle');
    const { uuid } = broker.world.qube('ai-idle');
    const of = {
      service: SERVICE,
      action: 'start',
      source: 'mcp-control',
      args: { name: 'ai-idle', action: 'start' },
      qubes: [{ role: 'target', name: 'ai-idle', uuid }],
    };
    expect(await broker.lines()).toMatchObject([
      { type: 'decision', ...of, verdict: 'allow', rule: 'ladder' },
      { type: 'intent', ...of, nonce: null },
      { type: 'outcome', ...of, ok: true, error: null, cause: null },
    ]);
  });

  test('has the intent on disk before qubesd is told, and the outcome only after', async () => {
    const broker = await temporaryBroker();
    const onDisk: string[] = [];
    broker.qubesd.onCall = ({ method }) => {
      if (method === 'admin.vm.Start') onDisk.push(readFileSync(join(broker.log, 'audit.jsonl'), 'utf8'));
    };
    await act(broker, 'start', 'ai-idle');
    expect(onDisk).toHaveLength(1);
    expect(onDisk[0]).toContain('"type":"intent"');
    expect(onDisk[0]).not.toContain('"type":"outcome"');
  });

  test('that cannot be written lets nothing happen', async () => {
    const broker = await temporaryBroker();
    await broker.journal.close();
    for (const action of ACTIONS) expect(await act(broker, action, 'ai-idle')).toEqual(NOT_FOUND);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('holds a refusal without a name that could be no qube’s', async () => {
    const broker = await temporaryBroker();
    for (const name of HOSTILE) await act(broker, 'kill', name);
    const lines = await broker.lines();
    expect(lines).toHaveLength(HOSTILE.length);
    for (const line of lines) expect(line).toMatchObject({ type: 'decision', verdict: 'refuse', args: { name: null } });
  });
});

describe('a removal', () => {
  test.each([
    ['on', 'shadow', true],
    ['on', 'enforce', true],
    ['off', 'shadow', false],
    ['off', 'strict', true],
    ['off', 'enforce', true],
    ['absent', 'shadow', false],
    ['absent', 'strict', true],
    ['absent', 'enforce', true],
  ] as const)('with tombstones %s in mode %s leaves one: %s', (tombstones, enforceMode, want) => {
    expect(entombs({ tombstones, enforceMode })).toBe(want);
  });

  test('that leaves a tombstone takes the qube out of the caller’s world at once', async () => {
    const broker = await temporaryBroker({ operatorFiles: TOMBSTONES, now: () => NOW });
    expect(await act(broker, 'remove', 'ai-full1')).toEqual(OK);
    expect(broker.qubesd.changes()).toEqual([
      [`admin.vm.tag.Set+${MARKER}`, 'ai-full1'],
      ['admin.vm.tag.Remove+ai-full', 'ai-full1'],
      ['admin.vm.tag.Remove+ai-managed', 'ai-full1'],
    ]);
    expect(tagsOf(broker, 'ai-full1')).toEqual([MARKER]);
    for (const action of ACTIONS) expect(await act(broker, action, 'ai-full1')).toEqual(NOT_FOUND);
    expect(await broker.call('qmcp.GetPropertyAIManaged', { name: 'ai-full1', property: 'klass' })).toEqual(NOT_FOUND);
  });

  test.each<[string, string, Record<string, QubeSpec>, Fault | null]>([
    ['runs', 'ai-work', {}, null],
    ['is paused', 'ai-paused', { 'ai-paused': { state: 'Paused', tags: ['ai-managed'] } }, null],
    ['has crashed', 'ai-crashed', { 'ai-crashed': { state: 'Crashed', tags: ['ai-managed'] } }, null],
    ['is a template in use', 'ai-debian-13', {}, null],
    [
      'is the netvm of others',
      'ai-own',
      { 'ai-own': { tags: ['ai-managed'] }, vault: { tags: [], props: { netvm: 'ai-own' } } },
      null,
    ],
    [
      'is a default disposable template',
      'ai-dvmt',
      { vault: { tags: [], props: { default_dispvm: 'ai-dvmt' } } },
      null,
    ],
    ['starts with the machine', 'ai-own', { 'ai-own': { tags: ['ai-managed'], props: { autostart: 'True' } } }, null],
    ['does not tell its state', 'ai-idle', {}, { exception: ['QubesVMError', 'x'] }],
    ['tells nothing at all', 'ai-idle', {}, 'empty'],
  ])('is refused, unchanged, for a qube that %s', async (_, name, qubes, fault) => {
    const broker = await temporaryBroker({ operatorFiles: TOMBSTONES, fleet: withQubes(qubes) });
    if (fault) broker.qubesd.faults.inject({ method: 'admin.vm.CurrentState', dest: name, fault, times: 9 });
    const before = tagsOf(broker, name);
    expect(await act(broker, 'remove', name)).toEqual(FAILED);
    expect(broker.qubesd.changes()).toEqual([]);
    expect(tagsOf(broker, name)).toEqual(before);
  });

  test('is refused where nobody can tell whether the qube starts with the machine', async () => {
    const broker = await temporaryBroker({ operatorFiles: TOMBSTONES });
    broker.qubesd.faults.inject({ method: 'admin.vm.property.Get+autostart', dest: 'ai-idle', fault: 'empty' });
    expect(await act(broker, 'remove', 'ai-idle')).toEqual(FAILED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('half of which fails is taken back, and the caller learns no more than that', async () => {
    const broker = await temporaryBroker({ operatorFiles: TOMBSTONES });
    broker.qubesd.faults.inject({
      method: 'admin.vm.tag.Remove+ai-managed',
      fault: { exception: ['QubesException', 'x'] },
    });
    expect(await act(broker, 'remove', 'ai-full1')).toEqual(FAILED);
    expect(tagsOf(broker, 'ai-full1')).toEqual(['ai-full', 'ai-managed']);
    expect((await broker.lines()).at(-1)).toMatchObject({ type: 'outcome', ok: false, cause: 'QubesException' });
  });
});

describe('a question', () => {
  const headlines: [string, string, string[], string | null][] = [
    ['kill', 'ai-work', ['Kill ai-work (yellow)', 'Qube: AppVM, running'], 'ai-work'],
    ['remove', 'ai-idle', ['Remove ai-idle (gray)', 'Qube: AppVM, not running'], 'ai-idle'],
    ['start', 'ai-idle', ['Start ai-idle (gray)'], null],
    ['shutdown', 'ai-work', ['Shut down ai-work (yellow)'], null],
    ['pause', 'ai-work', ['Pause ai-work (yellow)'], null],
  ];

  test.each(headlines)('to %s says what is done to whom, and who asks', async (action, name, lines, typed) => {
    const { broker, questions } = await askingBroker();
    expect(await act(broker, action, name)).toEqual(OK);
    expect(questions()).toHaveLength(1);
    const [question] = questions();
    expect(question?.view.lines[0]).toBe(lines[0]);
    expect(question?.view.lines).toEqual(expect.arrayContaining(lines));
    expect(question?.view.lines).toContain('Asked by: mcp-control (gray), default agent');
    expect(question?.view.type_to_confirm).toBe(typed);
    expect(question?.view.risk).toBe(typed ? 'destroy' : 'change');
  });

  test('to remove says what becomes of it, with a tombstone and without', async () => {
    const sentence = async (files: Record<string, string>): Promise<string> => {
      const { broker, questions } = await askingBroker({ operatorFiles: { ...ASKING, ...files } });
      await act(broker, 'remove', 'ai-idle');
      return questions()[0]?.view.lines.at(-1) ?? '';
    };
    expect(await sentence({})).toBe('It and all its files are destroyed at once. This cannot be undone.');
    expect(await sentence({ tombstones: 'on\n' })).toBe(
      'It is out of reach for agents at once and destroyed after 24 hours. Until then, to undo: qmcpctl tombstones restore ai-idle',
    );
    expect(await sentence({ tombstones: 'on\n', 'tombstone-retention': 'x\n' })).toContain(
      'destroyed by nobody but you',
    );
  });

  test('is not raised for what would fail anyway, nor for what the caller may not do', async () => {
    const { broker, questions } = await askingBroker();
    expect(await act(broker, 'remove', 'ai-work')).toEqual(FAILED);
    for (const name of ['ghost', 'vault', 'dom0']) expect(await act(broker, 'kill', name)).toEqual(NOT_FOUND);
    expect(questions()).toEqual([]);
  });

  test('that is denied leaves everything as it was', async () => {
    const { broker, questions } = await askingBroker({}, 'deny');
    expect(await act(broker, 'remove', 'ai-idle')).toEqual(NOT_FOUND);
    expect(questions()).toHaveLength(1);
    expect(broker.qubesd.changes()).toEqual([]);
  });
});
