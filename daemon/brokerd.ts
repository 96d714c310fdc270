// qmcp-brokerd: flags, wiring, signals. Everything that touches the outside world is made here and handed down.
import { randomBytes } from 'node:crypto';
import { chmodSync, readFileSync, unlinkSync } from 'node:fs';
import { createConnection, type Server } from 'node:net';
import { join } from 'node:path';
import pino from 'pino';
import packageJson from '../package.json' with { type: 'json' };
import { Broker } from './broker.ts';
import { Acquaintance } from './confirm/acquaintance.ts';
import type { Shown } from './confirm/confirmer.ts';
import { Nonces } from './confirm/nonces.ts';
import { Restraint } from './confirm/restraint.ts';
import { openControl } from './control/socket.ts';
import { controlOver } from './control/verbs.ts';
import { flagsOf } from './flags.ts';
import { FleetView } from './fleet/view.ts';
import { collectGarbage } from './heap.ts';
import { type Health, type Opening, openJournal } from './journal/journal.ts';
import type { UnfinishedIntent } from './journal/open-intents.ts';
import { UndoStore } from './journal/undo-store.ts';
import { Ledger } from './principals/ledger.ts';
import { Principals } from './principals/principals.ts';
import { Registry } from './principals/registry.ts';
import { openDoor } from './qrexec/door.ts';
import { adminOver } from './qubesadmin/admin.ts';
import { adminCallsTo } from './qubesadmin/client.ts';
import { followEvents } from './qubesadmin/events.ts';
import { toolsIn } from './qubesadmin/tool.ts';
import { startReaper } from './reaper/reaper.ts';
import { type Settled, settledText, settleLeft, startSettling } from './services/debris.ts';
import { Quarantine } from './services/quarantine.ts';
import { openSettings } from './settings/open.ts';
import { type Complaint, complaintText } from './settings/settings.ts';
import { stateFilesIn } from './state-files.ts';
import { notifierIn, passedSocket, reportReady, watchdogMs } from './systemd.ts';

/** How long open calls may take to end after SIGTERM; systemd would kill us later. */
const STOP_DEADLINE_MS = 4_000;
/** How long the end waits for what principals used to be written down; a start after less of it assumes the worst. */
const LEDGER_DEADLINE_MS = 500;
/** How long the start waits for what an earlier one left to be cleared away; it goes on behind the open door. */
const SETTLING_MS = 10_000;
/** How long the start waits for qubesd's event stream. Without it reads go live, so nothing depends on the wait. */
const FIRST_EVENTS_MS = 1_000;

const flags = flagsOf(process.argv.slice(2));
if (typeof flags === 'string') {
  process.stderr.write(`qmcp-brokerd: ${flags}\n`);
  process.exit(2);
}

const log = pino(
  { base: { name: 'qmcp-brokerd' }, timestamp: pino.stdTimeFunctions.isoTime },
  pino.destination({ sync: true }),
);
const now = (): number => Date.now();
const monotonicMs = (): number => performance.now();

const main = async (): Promise<void> => {
  const startedMs = monotonicMs();
  // Sockets and files are for root and the group qubes, never for the world.
  process.umask(0o007);
  const ofSettings = complainer(flags.etc, (complaints) => journal.note({ type: 'settings', complaints }));
  const settings = openSettings(flags.etc, now, {
    policyDir: flags.policy,
    changed: ({ complaints }) => ofSettings.changed(complaints),
  });
  ofSettings.first(settings.current().complaints);
  const ofRegistry = complainer(flags.etc, (complaints) => journal.note({ type: 'settings', complaints }));
  const registry = new Registry(flags.etc, { changed: ofRegistry.changed });
  ofRegistry.first(registry.complaints);
  const ledger = new Ledger(flags.state, { complain: (sentence) => log.error(sentence) });

  const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  // A journal that could only be opened later has what earlier starts left, too.
  let canSettle = (_: SettleLater): void => {};
  const settler = new Promise<SettleLater>((resolve) => {
    canSettle = resolve;
  });
  const { journal, unfinished, findings } = await openJournal({
    dir: flags.log,
    state: flags.state,
    now,
    monotonicMs,
    bootId,
    healthChanged: tellHealth,
    reopened: ({ unfinished, findings }) => {
      tellFindings(findings);
      if (unfinished.length > 0) void settler.then((settle) => settle(unfinished));
    },
  });
  tellFindings(findings);
  const complain = (complaint: string | null): void =>
    complaint === null ? log.info('Old values can be kept for qmcpctl undo again.') : log.error(complaint);
  const undo = await UndoStore.open({ dir: flags.state, now, complain });
  journal.note({ type: 'start', version: packageJson.version, unfinished: unfinished.length });

  const stateFiles = stateFilesIn(flags.state);
  const quarantine = new Quarantine(stateFiles, (sentence) => log.error(sentence));
  if (quarantine.complaint) log.error(quarantine.complaint);
  for (const { name, uuid } of quarantine.qubes)
    log.warn({ name, uuid }, `In quarantine. To remove it: qvm-remove ${name}. See qmcpctl doctor.`);
  const call = adminCallsTo(flags.qubesd);
  const admin = adminOver(call);
  // I8: whatever callers see or change, they see and change through one of these two.
  const callers = adminOver(call, quarantine.holds);
  const fleet = new FleetView(adminOver(call, quarantine.keeps));
  quarantine.watch((name) => fleet.changed(name));
  const events = followEvents(flags.qubesd, fleet);

  const restraint = new Restraint(stateFiles, monotonicMs);
  if (restraint.complaint) log.error(restraint.complaint);
  for (const source of restraint.frozen) log.warn({ source }, `Frozen. To end that: qmcpctl thaw ${source}`);

  const stopping = new AbortController();
  const confirmSocket = join(flags.run, 'confirm.sock');
  const tools = toolsIn(flags['tool-path'], {
    stopping: stopping.signal,
    report: (tool, end, said) => log.warn({ tool, end, said }, 'A tool of the platform did not do what it was asked.'),
  });
  const acquaintance = new Acquaintance(flags.state, (sentence) => log.warn(sentence));
  const principals = new Principals({ registry, ledger, now });
  let onScreen: Shown | null = null;
  const broker = new Broker({
    call,
    admin: callers,
    tools,
    fleet,
    settings,
    principals,
    journal,
    undo,
    quarantine,
    left: (left) => settleLeft(settlingParts, left),
    nonces: new Nonces(randomBytes, monotonicMs),
    restraint,
    restrained: (sentence, source) => log.warn({ source }, sentence),
    acquaintance,
    onScreen: (shown) => {
      onScreen = shown;
    },
    socket: confirmSocket,
    key: () => settings.current().confirmKey,
    stopping: stopping.signal,
    now,
    monotonicMs,
    randomBytes,
    unplanned: (error, service) =>
      log.error({ err: error, service }, 'A call ended in a fault of the broker and was refused.'),
    notice: (sentence, service) => log.warn({ service }, sentence),
  });

  await Promise.race([events.firstTry, wait(FIRST_EVENTS_MS)]);
  const settlingParts = {
    ...{ admin, journal, undo, quarantine, now, alone: broker.housekeeping, betweenCreations: broker.betweenCreations },
    after: (ms: number, work: () => Promise<void>) => {
      const failed = (error: unknown): void =>
        log.error({ err: error }, 'What was left is looked into no more till the next start.');
      setTimeout(() => void work().catch(failed), ms).unref();
    },
    report: (settled: Settled) => {
      const { intent, finding, qubes, why } = settled;
      log.warn({ intent_seq: intent.seq, finding, qubes, why }, settledText(settled));
    },
  };
  const settling = startSettling({ ...settlingParts, unfinished });
  canSettle((late) => void startSettling({ ...settlingParts, unfinished: late }, false));
  await Promise.race([settling, wait(SETTLING_MS)]);
  void quarantine.review(admin, now());
  const door = openDoor(broker.handle);
  const control = openControl(
    controlOver({
      ...{ broker, restraint, journal, undo, quarantine, fleet, admin, callers, tools, settings, registry, principals },
      ...{ now, monotonicMs },
      ...{
        acquaintance,
        confirmSocket,
        etc: flags.etc,
        pid: process.pid,
        startedMs,
        calls: door.calls,
        onScreen: () => onScreen,
      },
    }),
    {
      version: packageJson.version,
      unplanned: (error) => log.error({ err: error }, 'A request of qmcpctl ended in a fault of the broker.'),
    },
  );
  await listen(control.server, join(flags.run, 'control.sock'));
  await listen(door.server, passedSocket('qrexec', process.env, process.pid) ?? join(flags.run, 'qrexec.sock'));

  const reaperAtRest = startReaper({
    admin,
    fleet,
    settings,
    journal,
    alone: broker.housekeeping,
    stopping: stopping.signal,
    now,
    monotonicMs,
    random: Math.random,
    after: (ms, work) => {
      const timer = setTimeout(work, ms).unref();
      return () => clearTimeout(timer);
    },
    failed: (error) =>
      log.warn({ err: error }, 'A pass of the reaper ended early. The next one, in an hour, tries again.'),
  });

  let endSigns = (): void => {};
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    log.info({ signal }, 'stopping');
    endSigns();
    stopping.abort();
    control.close();
    await Promise.race([Promise.all([door.close(), reaperAtRest()]), wait(STOP_DEADLINE_MS)]);
    events.stop();
    await Promise.race([Promise.all([ledger.close(), restraint.settled()]), wait(LEDGER_DEADLINE_MS)]);
    journal.note({ type: 'stop', reason: signal });
    await journal.close();
    await undo.close();
    process.exit(0);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  log.info({ version: packageJson.version, qubesd: fleet.isStanding }, 'ready');
  const notifier = notifierIn(process.env, (_tool, end, said) =>
    log.warn({ end, said }, 'systemd could not be told how the broker is; its unit may start it again for that.'),
  );
  endSigns = await reportReady(notifier, watchdogMs(process.env, process.pid), (ms, work) => {
    const timer = setInterval(work, ms).unref();
    return () => clearInterval(timer);
  });
  collectGarbage();
};

type SettleLater = (unfinished: readonly UnfinishedIntent[]) => void;

const tellFindings = (findings: Opening['findings']): void => {
  for (const finding of findings)
    log.warn({ finding }, 'The journal did not end where it should. See qmcpctl audit verify.');
};

const tellHealth = (health: Health): void => {
  if (!health.ok) log.error(health.reason);
  else if (health.warning !== undefined) log.warn(health.warning);
  else log.info('The journal is written again.');
};

/** Tells the journal of every change of operator files, and the log what is wrong with them whenever that is new. */
const complainer = (etc: string, note: (texts: readonly string[]) => void) => {
  let told: readonly string[] = [];
  const first = (complaints: readonly Complaint[]): void => {
    const texts = complaints.map((each) => complaintText(etc, each));
    for (const text of texts.filter((each) => !told.includes(each))) log.warn(text);
    told = texts;
  };
  const changed = (complaints: readonly Complaint[]): void => {
    first(complaints);
    note(told);
  };
  return { first, changed };
};

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

/**
 * Listens on the descriptor, or at the path. A socket file that nobody answers on is what a killed broker left, and is
 * replaced.
 */
const listen = async (server: Server, at: number | string): Promise<void> => {
  if (typeof at === 'number') return listening(server, { fd: at });
  const path = at;
  if (await answers(path)) throw new Error(`Another qmcp-brokerd already answers on ${path}. Stop it first.`);
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  await listening(server, { path });
  chmodSync(path, 0o660);
};

const listening = (server: Server, where: { path: string } | { fd: number }): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, resolve);
  });

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createConnection(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });

main().catch((error: unknown) => {
  log.fatal({ err: error }, error instanceof Error ? error.message : 'The broker could not start.');
  process.exit(1);
});
