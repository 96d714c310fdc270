// The broker in this process, without its door: real settings, journal, view and Admin API client, in directories of its
// own, before a simulated qubesd. Faster than a daemon per test, and the test can look inside.
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { Broker } from '../../daemon/broker.ts';
import { Nonces } from '../../daemon/confirm/nonces.ts';
import { Restraint } from '../../daemon/confirm/restraint.ts';
import { FleetView } from '../../daemon/fleet/view.ts';
import { type Journal, openJournal } from '../../daemon/journal/journal.ts';
import { UndoStore } from '../../daemon/journal/undo-store.ts';
import type { QubeName } from '../../daemon/names.ts';
import { Ledger } from '../../daemon/principals/ledger.ts';
import { Principals } from '../../daemon/principals/principals.ts';
import { Registry } from '../../daemon/principals/registry.ts';
import type { Reply } from '../../daemon/qrexec/door.ts';
import { parseBody } from '../../daemon/qrexec/frame.ts';
import { type Admin, adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo, DEADLINES, type Deadlines } from '../../daemon/qubesadmin/client.ts';
import { type EventStream, followEvents } from '../../daemon/qubesadmin/events.ts';
import { toolsIn } from '../../daemon/qubesadmin/tool.ts';
import { type Settled, settleLeft } from '../../daemon/services/debris.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import { openSettings, type SettingsReader } from '../../daemon/settings/open.ts';
import { stateFilesIn } from '../../daemon/state-files.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { type Qubesd, startQubesd } from '../qubesd/server.ts';
import type { World } from '../qubesd/world.ts';
import { QUIET } from './daemon.ts';

/** Shorter than the daemon's own, for tools that are made to hang. */
const TOOL_DEADLINE_MS = 500;

export interface InProcessOptions {
  readonly fleet?: FleetSpec;
  /** Name to content below `<etc>`; null makes an entry that cannot be read. QUIET unless told. */
  readonly operatorFiles?: Readonly<Record<string, string | null>>;
  /** Name to content below `<state>`. */
  readonly stateFiles?: Readonly<Record<string, string>>;
  /** Whether a qubesd listens; true unless told. */
  readonly qubesd?: boolean;
  /** Wall clock, milliseconds since 1970. */
  readonly now?: () => number;
  /** Milliseconds since some moment. */
  readonly monotonicMs?: () => number;
  /** What waiting so many milliseconds comes to; whoever waits for qubesd need not wait in a test, unless told. */
  readonly pause?: (ms: number) => Promise<void>;
  /** Of Admin API calls. */
  readonly deadlines?: Deadlines;
}

export type JournalLine = Readonly<Record<string, unknown>>;

export class InProcess {
  readonly root: string;
  readonly etc: string;
  readonly run: string;
  readonly log: string;
  /** The directory of the platform's tools; empty at first. */
  readonly tools: string;
  readonly qubesd: Qubesd;
  readonly admin: Admin;
  readonly view: FleetView;
  readonly settings: SettingsReader;
  readonly journal: Journal;
  readonly undo: UndoStore;
  readonly quarantine: Quarantine;
  readonly broker: Broker;
  readonly restraint: Restraint;
  /** What nobody planned; a test that ends with any of it has failed. */
  readonly unplanned: unknown[] = [];
  /** What the broker told the operator's log. */
  readonly notices: string[] = [];
  /** What became of what calls left. */
  readonly settled: Settled[] = [];
  readonly #events: EventStream;
  #later: { readonly ms: number; readonly work: () => Promise<void> }[] = [];
  readonly #stopping = new AbortController();

  constructor(
    root: string,
    qubesd: Qubesd,
    settings: SettingsReader,
    journal: Journal,
    undo: UndoStore,
    { now = Date.now, monotonicMs = elapsed, pause = immediately, deadlines = DEADLINES }: InProcessOptions,
  ) {
    this.root = root;
    this.etc = join(root, 'etc');
    this.run = join(root, 'run');
    this.log = join(root, 'log');
    this.tools = join(root, 'bin');
    this.qubesd = qubesd;
    const adminCall = adminCallsTo(qubesd.path, deadlines);
    this.admin = adminOver(adminCall);
    this.quarantine = new Quarantine(stateFilesIn(join(root, 'state')), (sentence) => this.notices.push(sentence));
    this.view = new FleetView(adminOver(adminCall, this.quarantine.keeps));
    this.quarantine.watch((name) => this.view.changed(name));
    this.settings = settings;
    this.journal = journal;
    this.undo = undo;
    this.#events = followEvents(qubesd.path, this.view);
    this.restraint = new Restraint(stateFilesIn(join(root, 'state')), monotonicMs);
    this.broker = new Broker({
      call: adminCall,
      randomBytes,
      admin: adminOver(adminCall, this.quarantine.holds),
      quarantine: this.quarantine,
      left: (left) => settleLeft(settlingParts, left),
      tools: toolsIn(this.tools, { deadlineMs: TOOL_DEADLINE_MS }),
      fleet: this.view,
      settings,
      principals: new Principals({
        registry: new Registry(this.etc),
        ledger: new Ledger(join(root, 'state'), { complain: (sentence) => this.notices.push(sentence) }),
        now,
      }),
      journal,
      undo,
      nonces: new Nonces(randomBytes, monotonicMs),
      restraint: this.restraint,
      restrained: (sentence) => this.notices.push(sentence),
      socket: join(this.run, 'confirm.sock'),
      key: () => settings.current().confirmKey,
      stopping: this.#stopping.signal,
      now,
      monotonicMs,
      unplanned: (error) => this.unplanned.push(error),
      notice: (sentence) => this.notices.push(sentence),
      pause,
    });
    const settlingParts = {
      ...{
        admin: this.admin,
        journal,
        undo,
        quarantine: this.quarantine,
        now,
        alone: this.broker.housekeeping,
        betweenCreations: this.broker.betweenCreations,
      },
      after: (ms: number, work: () => Promise<void>) => this.#later.push({ ms, work }),
      report: (settled: Settled) => this.settled.push(settled),
    };
  }

  /** After how many milliseconds it would look. */
  get due(): readonly number[] {
    return this.#later.map(({ ms }) => ms);
  }

  /** Some time passes: what waits for it to look into what calls left looks, once. Resolves when it has. */
  async later(): Promise<void> {
    await this.journal.recover();
    const due = this.#later;
    this.#later = [];
    await Promise.all(due.map(({ work }) => work()));
  }

  get world(): World {
    return this.qubesd.world;
  }

  /** As SIGTERM begins; `close` ends it. */
  beginToStop(): void {
    this.#stopping.abort();
  }

  /** Resolves when the first try at the event stream is over. */
  ready(): Promise<void> {
    return this.#events.firstTry;
  }

  /** One call; a string is the body as it is. The reply as it would reach the caller. */
  async call(service: string, request: unknown, source = 'mcp-control', argument = ''): Promise<Reply> {
    const text = typeof request === 'string' ? request : JSON.stringify(request);
    const reply = await this.broker.handle({
      service,
      argument,
      source: source as QubeName,
      body: parseBody(Buffer.from(text)),
    });
    return JSON.parse(JSON.stringify(reply));
  }

  /** Tells everybody who waits that the broker stops. */
  abort(): void {
    this.#stopping.abort();
  }

  /** The journal's lines so far that are on disk. */
  async lines(): Promise<JournalLine[]> {
    await this.journal.recover();
    const text = await readFile(join(this.log, 'audit.jsonl'), 'utf8');
    return text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#events.stop();
    await this.journal.close();
    await this.undo.close();
    await this.qubesd.stop();
    await rm(this.root, { recursive: true, force: true });
  }
}

const elapsed = (): number => performance.now();
const immediately = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A broker that is ready; the caller stops it. */
export const openBroker = async (options: InProcessOptions = {}): Promise<InProcess> => {
  const { fleet = FLEET_F0, operatorFiles = QUIET, stateFiles = {}, now = Date.now } = options;
  const root = await mkdtemp(join(tmpdir(), 'qmcp-'));
  for (const name of ['etc', 'run', 'state', 'log', 'bin']) await mkdir(join(root, name));
  for (const [name, text] of Object.entries(operatorFiles)) {
    const path = join(root, 'etc', name);
    await mkdir(dirname(path), { recursive: true });
    await (text === null ? mkdir(path) : writeFile(path, text));
  }
  for (const [name, text] of Object.entries(stateFiles)) await writeFile(join(root, 'state', name), text);
  const qubesd = await startQubesd({ path: join(root, 'qubesd'), fleet });
  if (options.qubesd === false) await qubesd.stop();
  const settings = openSettings(join(root, 'etc'));
  const { journal } = await openJournal({
    dir: join(root, 'log'),
    now,
    monotonicMs: elapsed,
    bootId: 'test',
  });
  const undo = await UndoStore.open({ dir: join(root, 'state'), now });
  const broker = new InProcess(root, qubesd, settings, journal, undo, options);
  await broker.ready();
  return broker;
};

/** A broker that is ready, for one test; the test fails if anything in it went as nobody planned. */
export const temporaryBroker = async (options: InProcessOptions = {}): Promise<InProcess> => {
  const broker = await openBroker(options);
  onTestFinished(async () => {
    await broker.stop();
    expect(broker.unplanned).toEqual([]);
    expect(broker.qubesd.errors).toEqual([]);
  });
  return broker;
};
