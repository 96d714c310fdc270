// One life of a broker, from its start until it is killed or done: real stations over files in memory, a simulated world and
// a dialog's stand-in, wired as the daemon wires them. The next life begins on what the last one left.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Broker } from '../../daemon/broker.ts';
import { Nonces } from '../../daemon/confirm/nonces.ts';
import { Restraint } from '../../daemon/confirm/restraint.ts';
import type { ControlParts } from '../../daemon/control/parts.ts';
import { controlOver } from '../../daemon/control/verbs.ts';
import { FleetView } from '../../daemon/fleet/view.ts';
import { type Journal, openJournal } from '../../daemon/journal/journal.ts';
import type { JournalFiles } from '../../daemon/journal/journal-files.ts';
import { UndoStore } from '../../daemon/journal/undo-store.ts';
import type { QubeName } from '../../daemon/names.ts';
import { Ledger } from '../../daemon/principals/ledger.ts';
import { Principals } from '../../daemon/principals/principals.ts';
import { Registry } from '../../daemon/principals/registry.ts';
import type { Reply } from '../../daemon/qrexec/door.ts';
import { type Admin, adminOver } from '../../daemon/qubesadmin/admin.ts';
import type { AdminCall } from '../../daemon/qubesadmin/client.ts';
import type { Tools } from '../../daemon/qubesadmin/tool.ts';
import type { AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import { type Settled, settleLeft, startSettling } from '../../daemon/services/debris.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import type { SettingsReader } from '../../daemon/settings/open.ts';
import { type StateFiles, stateFilesIn } from '../../daemon/state-files.ts';
import { isStateChanging } from '../qubesd/methods.ts';
import type { World } from '../qubesd/world.ts';
import type { Gate } from './gate.ts';
import type { Caller } from './scenarios.ts';
import { callTo, eventsOf } from './world-admin.ts';

export const NOW = 1_800_000_000_000;
export const AN_HOUR_LATER = NOW + 3_600_000;

/** What outlives a broker. */
export interface Outside {
  /** Holds etc, run, state and log; only etc and run have anything in them. */
  readonly root: string;
  /** Wall clock, milliseconds since 1970. A life that begins an hour after the last one has nothing of it that may still come. */
  readonly now: number;
  readonly settings: SettingsReader;
  readonly world: World;
  /** As the broker uses them, with gates or faults of the test's. */
  readonly files: JournalFiles;
  readonly quarantineFiles: StateFiles;
  readonly gate: Gate;
  /** Runs right before a call or a tool changes anything. */
  readonly onEffect: (what: string, uuids: readonly string[]) => void;
}

export interface Life extends Caller {
  readonly broker: Broker;
  readonly journal: Journal;
  readonly undo: UndoStore;
  readonly admin: Admin;
  readonly quarantine: Quarantine;
  /** What became of what earlier lives left, as far as it is known by now. */
  readonly settled: readonly Settled[];
  /** What nobody planned. */
  readonly unplanned: readonly unknown[];
  readonly notices: readonly string[];
  call(service: string, request: object, argument?: string): Promise<Reply>;
  /** Takes the change of that intent back, through the operator's verb. */
  takeBack(seq: number): Promise<{ readonly ok: boolean }>;
  /** Some time passes: what waits for it to look into what calls left looks, once. Resolves when it has. */
  later(): Promise<void>;
  /** Lets go of timers and of the world. Whatever was open is refused; of a killed life nothing gets anywhere. */
  end(): void;
}

/** Starts a broker on what is there, and has it look into what was left. */
export const begin = async (outside: Outside): Promise<Life> => {
  const { root, settings, world, files, quarantineFiles, gate, onEffect } = outside;
  const now = (): number => outside.now;
  const monotonicMs = (): number => performance.now();
  const unplanned: unknown[] = [];
  const notices: string[] = [];
  const stopping = new AbortController();

  const { journal, unfinished } = await openJournal({
    dir: join(root, 'log'),
    now,
    monotonicMs,
    bootId: 'test',
    files,
  });
  const undo = await UndoStore.open({ dir: join(root, 'state'), now, files });
  journal.note({ type: 'start', version: 'test', unfinished: unfinished.length });

  const uuidOf = ({ dest }: AdminRequest): string[] => (dest !== 'dom0' && 'uuid' in dest ? [dest.uuid] : []);
  const call: AdminCall = (request) =>
    gate.pass(`${request.method} ${request.arg ?? ''}`, async () => {
      if (isStateChanging(request.method)) onEffect(request.method, uuidOf(request));
      return callTo(world, request);
    });
  const quarantine = new Quarantine(quarantineFiles, (sentence) => notices.push(sentence));
  const admin = adminOver(call);
  const fleet = new FleetView(adminOver(call, quarantine.keeps));
  quarantine.watch((name) => fleet.changed(name));
  const endEvents = eventsOf(world, fleet);
  const broker = new Broker({
    call,
    admin: adminOver(call, quarantine.holds),
    quarantine,
    left: (left) => settleLeft(parts, left),
    tools: gatedTools(outside),
    fleet,
    settings,
    principals: new Principals({
      registry: new Registry(join(root, 'etc')),
      ledger: new Ledger(join(root, 'state'), { complain: (sentence) => notices.push(sentence) }),
      now,
    }),
    journal,
    undo,
    nonces: new Nonces(randomBytes, monotonicMs),
    restraint: new Restraint(stateFilesIn(join(root, 'state')), monotonicMs),
    restrained: (sentence) => notices.push(sentence),
    socket: join(root, 'run', 'confirm.sock'),
    key: () => settings.current().confirmKey,
    stopping: stopping.signal,
    now,
    monotonicMs,
    randomBytes,
    unplanned: (error) => unplanned.push(error),
    notice: (sentence) => notices.push(sentence),
    pause: () => new Promise((resolve) => setImmediate(resolve)),
  });

  const controlParts = { broker, journal, undo, admin, fleet: { changed: () => {} }, now, monotonicMs: () => 0 };
  const control = controlOver(controlParts as unknown as ControlParts);
  const takeBack: Life['takeBack'] = (seq) => control({ v: 1, verb: 'undo', args: { seq, dry_run: false } });

  const settled: Settled[] = [];
  let due: (() => Promise<void>)[] = [];
  const parts = {
    ...{ admin, journal, undo, quarantine, now, alone: broker.housekeeping, betweenCreations: broker.betweenCreations },
    after: (_: number, work: () => Promise<void>) => due.push(work),
    report: (each: Settled) => settled.push(each),
  };
  await startSettling({ ...parts, unfinished });
  const later = async (): Promise<void> => {
    const works = due;
    due = [];
    await Promise.all(works.map((work) => work()));
  };
  // An order without an answer is looked for some minutes.
  for (let looks = 0; looks < 10 && due.length > 0; looks++) await later();
  return {
    broker,
    journal,
    undo,
    admin,
    quarantine,
    settled,
    unplanned,
    notices,
    takeBack,
    later,
    undoFirst: () => takeBack(undo.list()[0]?.seq ?? 0),
    call: async (service, request, argument = '') =>
      broker.handle({ service, argument, source: 'mcp-control' as QubeName, body: { json: request } }),
    end: () => {
      endEvents();
      stopping.abort();
    },
  };
};

/** qvm-device, which attaches what it is told to. */
const gatedTools = ({ world, gate, onEffect }: Outside): Tools => ({
  has: (name) => gate.pass(`look for ${name}`, async () => true),
  run: (name, [devclass, verb, frontend = '', port = '']) =>
    gate.pass(`${name} ${verb}`, async () => {
      const [backend = ''] = port.split(':');
      onEffect(name, [world.qube(frontend).uuid, world.qube(backend).uuid]);
      world.qube(frontend).devices.set(`${devclass}.Attached`, [port]);
      world.emit(frontend, `device-attach:${devclass}`, { device: port, options: '{}' });
      return { kind: 'done' };
    }),
});
