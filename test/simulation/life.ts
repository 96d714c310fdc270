// One life of the broker: the real parts, wired as the daemon wires them (brokerd.ts), over a simulated outside.
import type { AsyncLocalStorage } from 'node:async_hooks';
import { Broker, type BrokerParts } from '../../daemon/broker.ts';
import type { reachApprover } from '../../daemon/confirm/approver.ts';
import { Nonces } from '../../daemon/confirm/nonces.ts';
import { Restraint } from '../../daemon/confirm/restraint.ts';
import type { ControlParts } from '../../daemon/control/parts.ts';
import { controlOver } from '../../daemon/control/verbs.ts';
import { FleetView } from '../../daemon/fleet/view.ts';
import type { OpeningFinding } from '../../daemon/journal/establish.ts';
import { type Journal, type JournalOptions, openJournal } from '../../daemon/journal/journal.ts';
import type { JournalFiles } from '../../daemon/journal/journal-files.ts';
import type { UnfinishedIntent } from '../../daemon/journal/open-intents.ts';
import type { RotationLimits } from '../../daemon/journal/rotation.ts';
import { UndoStore } from '../../daemon/journal/undo-store.ts';
import { Ledger } from '../../daemon/principals/ledger.ts';
import { Principals } from '../../daemon/principals/principals.ts';
import { Registry } from '../../daemon/principals/registry.ts';
import { type Call, type Door, openDoor, type Reply } from '../../daemon/qrexec/door.ts';
import { adminOver } from '../../daemon/qubesadmin/admin.ts';
import type { AdminCall } from '../../daemon/qubesadmin/client.ts';
import type { Tools } from '../../daemon/qubesadmin/tool.ts';
import { startReaper } from '../../daemon/reaper/reaper.ts';
import { settleLeft, startSettling } from '../../daemon/services/debris.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import type { SettingsReader } from '../../daemon/settings/open.ts';
import type { StateFiles } from '../../daemon/state-files.ts';
import type { Deed } from './deed.ts';

/** All that a life stands on. Any of it can be broken, which is how the simulation shows that it would notice. */
export interface Ground {
  readonly files: JournalFiles;
  /** Files small enough to follow one another in an episode. */
  readonly rotation: RotationLimits;
  /** Told what is found where the journal is opened. */
  readonly found: (findings: readonly OpeningFinding[]) => void;
  readonly ledger: StateFiles;
  readonly stateFiles: StateFiles;
  readonly settings: SettingsReader;
  readonly call: AdminCall;
  readonly tools: Tools;
  readonly reach: typeof reachApprover;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly after: (ms: number, run: () => void) => () => void;
  readonly randomBytes: (count: number) => Buffer;
  readonly random: () => number;
  /** A real directory for what reads its files by itself: `<etc>/principals`. */
  readonly etc: string;
  readonly unplanned: (error: unknown) => void;
  readonly deeds: AsyncLocalStorage<Deed>;
  readonly deed: (kind: Deed['kind']) => Deed;
  readonly nonces?: (randomBytes: (count: number) => Buffer, monotonicMs: () => number) => Nonces;
  readonly restraint?: (files: StateFiles, monotonicMs: () => number) => Restraint;
  readonly door?: typeof openDoor;
  readonly quarantine?: (files: StateFiles) => Quarantine;
  readonly left?: BrokerParts['left'];
  /** What becomes of a reply on its way to the caller. */
  readonly replies?: (reply: Reply, call: Call) => Reply;
}

export interface Life {
  readonly broker: Broker;
  readonly door: Door;
  /** As the door's calls are answered. */
  readonly handle: (call: Call) => Reply | Promise<Reply>;
  readonly fleet: FleetView;
  readonly journal: Journal;
  readonly undo: UndoStore;
  /** Whether it has read, and settled, what earlier lives wrote down: it starts without where the disk fails. */
  readonly hasSettled: () => boolean;
  readonly restraint: Restraint;
  readonly operate: ReturnType<typeof controlOver>;
  /** Resolves when all is written down. */
  stop(): Promise<void>;
}

/** The journal as a life opens it. */
export const journalOf = ({ files, rotation, now, monotonicMs, after }: Ground): JournalOptions => ({
  ...{ dir: '/log', state: '/state', bootId: 'simulated', files, rotation, now, monotonicMs, after },
  compress: async () => {},
});

export const begin = async (ground: Ground, connect: (fleet: FleetView) => void): Promise<Life> => {
  const { files, settings, call, tools, now, monotonicMs, after, randomBytes, unplanned, deeds } = ground;
  const stopping = new AbortController();
  const registry = new Registry(ground.etc, { monotonicMs });
  const ledger = new Ledger('/state', { files: ground.ledger, after: (ms, work) => void after(ms, work) });
  let settleLate = (_: readonly UnfinishedIntent[]): void => {};
  const { journal, unfinished, findings } = await openJournal({
    ...journalOf(ground),
    reopened: (late) => {
      ground.found(late.findings);
      settleLate(late.unfinished);
    },
  });
  ground.found(findings);
  const undo = await UndoStore.open({ dir: '/state', now, files });
  journal.note({ type: 'start', version: 'simulated', unfinished: unfinished.length });

  const quarantine = (ground.quarantine ?? ((kept) => new Quarantine(kept)))(ground.stateFiles);
  const admin = adminOver(call);
  const callers = adminOver(call, quarantine.holds);
  const fleet = new FleetView(adminOver(call, quarantine.keeps));
  quarantine.watch((name) => fleet.changed(name));
  connect(fleet);
  const restraint = (ground.restraint ?? ((kept, clock) => new Restraint(kept, clock)))(ground.stateFiles, monotonicMs);
  const principals = new Principals({ registry, ledger, now });
  const nonces = (ground.nonces ?? ((bytes, clock) => new Nonces(bytes, clock)))(randomBytes, monotonicMs);
  const broker = new Broker({
    ...{ call, admin: callers, quarantine, tools, fleet, settings, principals, journal, undo, nonces, restraint },
    ...{ now, monotonicMs, randomBytes, unplanned, reach: ground.reach },
    restrained: () => {},
    left: ground.left ?? ((left) => settleLeft(settlingParts, left)),
    socket: '/run/confirm.sock',
    key: () => settings.current().confirmKey,
    stopping: stopping.signal,
    notice: () => {},
    pause: (ms) => new Promise((resolve) => void after(ms, resolve)),
  });
  const settlingParts = {
    ...{ admin, journal, undo, quarantine, now, alone: broker.housekeeping, betweenCreations: broker.betweenCreations },
    after: (ms: number, work: () => Promise<void>) =>
      void after(ms, () => void deeds.run(ground.deed('settling'), work).catch(unplanned)),
    report: () => {},
  };
  const settle = (unfinished: readonly UnfinishedIntent[], isFirst: boolean): Promise<void> =>
    deeds.run(ground.deed('settling'), () => startSettling({ ...settlingParts, unfinished }, isFirst));
  let hasSettled = journal.health().ok;
  settleLate = (late) =>
    void settle(late, false).then(() => {
      hasSettled = true;
    });
  await settle(unfinished, true);
  const atRest = startReaper({
    ...{ admin, fleet, settings, journal, alone: broker.housekeeping, stopping: stopping.signal, now, monotonicMs },
    random: ground.random,
    after: (ms, work) => after(ms, () => deeds.run(ground.deed('reaper'), work)),
    failed: () => {},
  });
  const handle = (call: Call): Reply | Promise<Reply> => {
    const reply = broker.handle(call);
    const leaving = (answer: Reply): Reply => ground.replies?.(answer, call) ?? answer;
    return reply instanceof Promise ? reply.then(leaving) : leaving(reply);
  };
  const door = (ground.door ?? openDoor)(handle, monotonicMs);
  const operate = controlOver({
    ...{
      broker,
      restraint,
      journal,
      undo,
      quarantine,
      fleet,
      admin,
      callers,
      tools,
      settings,
      registry,
      principals,
      now,
      monotonicMs,
    },
    ...{
      confirmSocket: '/run/confirm.sock',
      etc: '/etc',
      pid: 1,
      startedMs: 0,
      calls: door.calls,
      onScreen: () => null,
    },
  } satisfies ControlParts);
  return {
    ...{ broker, door, handle, fleet, journal, undo, restraint, operate, hasSettled: () => hasSettled },
    stop: async () => {
      stopping.abort();
      await Promise.all([door.close(), atRest()]);
      await Promise.all([ledger.close(), restraint.settled()]);
      journal.note({ type: 'stop', reason: 'SIGTERM' });
      await journal.close();
      await undo.close();
    },
  };
};
