// The built daemon killed with SIGKILL at every call that an effect makes to qubesd, before and after it is performed, and
// started again on what that left: the journal says what became of it, what a creation left is gone, and nothing is repeated
// (I3, I4, I8, R23).
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Status, Undoable } from '../../daemon/control/answers.ts';
import { readPublicKey, type VerifyingKey } from '../../daemon/journal/checkpoint.ts';
import { journalIn } from '../../daemon/journal/sources.ts';
import { verifyJournal } from '../../daemon/journal/verify.ts';
import { type Daemon, startDaemon } from '../broker/daemon.ts';
import { startApprover } from '../confirm/approver.ts';
import { ask, result } from '../control/ask.ts';
import { isStateChanging } from '../qubesd/methods.ts';
import type { Qubesd, RecordedCall } from '../qubesd/server.ts';
import { World } from '../qubesd/world.ts';
import { unfinished } from './harness.ts';
import { type Caller, DISPOSABLE, FLEET, type Position, SCENARIOS, type Scenario, textOf } from './scenarios.ts';

interface Stage {
  readonly daemon: Daemon;
  readonly qubesd: Qubesd;
  /** Changes that came without an intent. */
  readonly violations: string[];
}

const open = async ({ operatorFiles, asked }: Scenario): Promise<Stage> => {
  const { daemon, qubesd } = await startDaemon({ fleet: FLEET, operatorFiles: { ...operatorFiles } });
  const violations: string[] = [];
  if (asked) {
    const approver = await startApprover(join(daemon.run, 'confirm.sock'));
    approver.reflex = (asked) => asked.approve();
    daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
  }
  await isConnected(daemon);
  return { daemon, qubesd, violations };
};

/** No yes counts while the broker does not see what happens to qubes. */
const isConnected = (daemon: Daemon): Promise<void> =>
  expect.poll(async () => (await result<Status>(join(daemon.run, 'control.sock'), 'status')).qubesd).toBe('connected');

/** The journal has so many records before what it does. */
const callerOf = (daemon: Daemon, since: number): Caller => ({
  call: async (service, request, argument = '') => ({
    ok: false,
    ...(await daemon.call(service, request, { argument })),
  }),
  undoFirst: async () => {
    const control = join(daemon.run, 'control.sock');
    const { changes } = await result<Undoable>(control, 'undo-list');
    const seq = Math.min(...changes.map(({ seq }) => seq).filter((seq) => seq > since));
    return ask(control, 'undo', { seq, dry_run: false });
  },
});

// A kill at a read is one before the next change, and kill.test.ts has them all: of the reads of long effects one in so many.
const READS_OF_LONG = 6;
const isLong = ({ isCreation, service }: Scenario): boolean => isCreation || service === 'qmcp.Commit';

const recordsOf = (daemon: Daemon) => daemon.journal() as unknown as Parameters<typeof unfinished>[0];
const newest = (daemon: Daemon): number => Number(daemon.journal().at(-1)?.seq);

/** Makes the world what it was at first, as an operator could; what was changed is another qube of the same name. */
const restore = (world: World): void => {
  const texts = (of: World) => new Map(of.sorted().map((qube, index) => [qube.name, JSON.parse(textOf(of))[index]]));
  const [present, wanted] = [texts(world), texts(new World(FLEET))];
  for (const name of present.keys()) if (!wanted.has(name)) world.remove(name);
  for (const [name, spec] of Object.entries(FLEET.qubes)) {
    if (!present.has(name)) world.add(name, spec);
    else if (JSON.stringify(present.get(name)) !== JSON.stringify(wanted.get(name))) world.recreate(name, spec);
  }
  expect(textOf(world)).toBe(textOf(new World(FLEET)));
};

/** The states that the world goes through when nothing happens. */
const statesOf = async (scenario: Scenario, caller: Caller, world: World): Promise<readonly string[]> => {
  await scenario.earlier?.(caller);
  const states = [textOf(world)];
  const end = world.subscribe(() => states.push(textOf(world)));
  expect(await scenario.run(caller)).toMatchObject({ ok: true });
  end();
  return [...states, textOf(world)];
};

/** I4: when it arrives at qubesd, its intent is in the journal's file. */
const hasIntent = (daemon: Daemon, { world }: Qubesd, { rawDest }: RecordedCall): boolean => {
  const uuid = rawDest === 'dom0' ? null : world.resolve(rawDest).uuid;
  return unfinished(recordsOf(daemon)).some(
    ({ qubes, steps }) =>
      steps.some(({ step, qube }) => step === 'create' || qube?.uuid === uuid) ||
      qubes.some((qube) => qube.uuid === uuid),
  );
};

interface Kill {
  /** The call that it was killed at; null while it lives. */
  call: RecordedCall | null;
  dead: Promise<unknown>;
}

/** Kills the daemon when that call arrives, from 0, of all changes and of one in so many reads; it is performed or not. */
const killAt = (
  { at, isDone, reads }: { at: number; isDone: boolean; reads: number },
  { daemon, qubesd, violations }: Stage,
): Kill => {
  const kill: Kill = { call: null, dead: Promise.resolve() };
  let [seen, seenReads] = [0, 0];
  qubesd.onCall = async (call) => {
    if (call.method === 'admin.Events') return;
    const isChange = isStateChanging(call.method);
    if (isChange && !hasIntent(daemon, qubesd, call)) violations.push(call.row.join(' '));
    if ((!isChange && seenReads++ % reads !== 0) || seen++ !== at) return;
    kill.call = call;
    kill.dead = daemon.end('SIGKILL');
    if (!isDone) qubesd.faults.inject({ fault: 'empty' });
    await kill.dead;
  };
  return kill;
};

/** What the journal says became of the call is what became of it. */
const tellsTheTruth = async (
  { service, findings, undoable }: Scenario,
  position: Position,
  since: number,
  daemon: Daemon,
): Promise<void> => {
  const records = daemon.journal().filter(({ seq }) => Number(seq) > since);
  // Of what was ordered and is not there it is not known for half an hour that it will not come.
  for (const { steps } of unfinished(recordsOf(daemon))) expect(steps.map(({ step }) => step)).toEqual(['create']);
  const intent = records.findLast((record) => record.type === 'intent' && record.service === service);
  if (intent === undefined) {
    expect(position).toBe('before');
    return;
  }
  const outcome = records.find(
    ({ type, call, seq }) => type === 'outcome' && call === intent.call && seq !== intent.seq,
  );
  const finding = records.find(({ type, intent_seq }) => type === 'finding' && intent_seq === intent.seq);
  if (finding !== undefined) expect(findings[position]).toContain(finding.finding);
  else expect(position).toBe(outcome?.ok === true ? 'after' : 'before');
  if (!undoable || position === 'before') return;
  const { changes } = await result<Undoable>(join(daemon.run, 'control.sock'), 'undo-list');
  expect(changes.map(({ seq }) => seq)).toContain(intent.seq);
};

/** A disposable whose name nobody knew is in quarantine for half an hour, in which it may be anybody's, and is removed after that. */
const forgetLeft = async ({ run }: Daemon, world: World): Promise<void> => {
  const { quarantine } = await result<Status>(join(run, 'control.sock'), 'status');
  for (const { name } of quarantine) world.remove(name);
};

const verifies = async ({ log, state }: Daemon): Promise<void> => {
  const key = readPublicKey(readFileSync(join(state, 'journal.pub'), 'utf8')) as VerifyingKey;
  const sources = await journalIn(log);
  const report = await verifyJournal(sources, { keys: [key], anchor: null, knownBreaks: new Set(), whole: true });
  for (const source of sources) await source.close();
  expect(report).toMatchObject({ ok: true, fault: null, breaks: [] });
};

// What a tool does is nothing that qubesd is called for.
describe.each(SCENARIOS.filter(({ title }) => title !== 'an attachment'))('$title', (scenario) => {
  test('is done or not done, and the journal says which', async () => {
    const stage = await open(scenario);
    const { daemon, qubesd, violations } = stage;
    const { world } = qubesd;
    const states = await statesOf(scenario, callerOf(daemon, 0), world);
    let kills = 0;

    const round = async (at: number, isDone: boolean): Promise<RecordedCall | null> => {
      restore(world);
      const since = newest(daemon);
      const caller = callerOf(daemon, since);
      await scenario.earlier?.(caller);
      const before = textOf(world);
      const kill = killAt({ at, isDone, reads: isLong(scenario) ? READS_OF_LONG : 1 }, stage);
      const reply = await scenario.run(caller).catch(() => null);
      await kill.dead;
      if (kill.call === null) {
        expect(reply).toMatchObject({ ok: true });
        return null;
      }
      kills += 1;
      await daemon.start();
      await isConnected(daemon);
      if (scenario.service === DISPOSABLE) await forgetLeft(daemon, world);
      const state = textOf(world);
      const position = state === states.at(-1) ? 'after' : state === before ? 'before' : 'between';
      if (scenario.isCreation) expect(position).not.toBe('between');
      else if (scenario.service !== 'qmcp.Commit') expect(states).toContain(state);
      await tellsTheTruth(scenario, position, since, daemon);
      return kill.call;
    };

    for (let at = 0; ; at++) {
      const call = await round(at, false);
      if (call === null) break;
      if (isStateChanging(call.method)) await round(at, true);
    }
    expect(kills).toBeGreaterThan(2);
    expect(violations).toEqual([]);
    await verifies(daemon);
  }, 120_000);
});
