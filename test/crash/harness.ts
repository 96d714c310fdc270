// Killing a broker at one step of a scenario, starting another on what is left, and holding that against the invariants.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { openIntents, type Seen, type UnfinishedIntent } from '../../daemon/journal/open-intents.ts';
import type { Source } from '../../daemon/journal/sources.ts';
import { verifyJournal } from '../../daemon/journal/verify.ts';
import { openSettings, type SettingsReader } from '../../daemon/settings/open.ts';
import { Approver, type Asked } from '../confirm/approver.ts';
import { type MemoryFiles, memoryFiles } from '../journal/memory-files.ts';
import { World } from '../qubesd/world.ts';
import { quarantineFiles } from '../services/quarantine-files.ts';
import { Gate } from './gate.ts';
import { gatedFiles } from './gated-files.ts';
import { AN_HOUR_LATER, begin, type Life, NOW, type Outside } from './life.ts';
import { DISPOSABLE, FLEET, PLAN_NONCES, type Position, type Scenario, textOf } from './scenarios.ts';

/** After so many kills one life goes on to be used; signatures take their time. */
const THOROUGH_EVERY = 5;

const TAKES_AWAY: ReadonlySet<string> = new Set(['admin.vm.Kill', 'admin.vm.Remove']);

type Record = Readonly<{ type: string; [field: string]: unknown }>;

/** A scenario in directories of its own, with somebody before the screen. */
export class Stage {
  readonly scenario: Scenario;
  readonly root: string;
  readonly settings: SettingsReader;
  readonly approver: Approver;
  /** The states of the world that it goes through when nothing happens, and how many steps that takes. */
  states: readonly string[] = [];
  steps: readonly string[] = [];
  #gate = new Gate();

  private constructor(scenario: Scenario, root: string, approver: Approver) {
    this.scenario = scenario;
    this.root = root;
    this.settings = openSettings(join(root, 'etc'));
    this.approver = approver;
    this.approve();
  }

  static async open(scenario: Scenario): Promise<Stage> {
    const root = await mkdtemp(join(tmpdir(), 'qmcp-'));
    for (const name of ['etc', 'run', 'state', 'log']) await mkdir(join(root, name));
    for (const [name, text] of Object.entries(scenario.operatorFiles)) await writeFile(join(root, 'etc', name), text);
    const approver = new Approver();
    await approver.listen(join(root, 'run', 'confirm.sock'));
    await writeFile(join(root, 'etc', 'confirm.pub'), `${approver.publicKey}\n`);
    const stage = new Stage(scenario, root, approver);
    await stage.#rehearse();
    return stage;
  }

  async close(): Promise<void> {
    this.approver.close();
    await rm(this.root, { recursive: true, force: true });
  }

  /** The person says yes from now on. */
  approve(answer: (asked: Asked) => void = (asked) => asked.approve()): void {
    this.approver.reflex = async (asked) => {
      await this.#gate.point('the question is shown');
      answer(asked);
      await this.#gate.point('the question is answered');
    };
  }

  /** A life with its own world and files, at the point where the call is made; `files` gives those it uses. */
  async start(files = gatedFiles): Promise<{ act: Act; life: Life }> {
    this.#gate = new Gate();
    const memory = memoryFiles();
    const act = new Act(this, new World(FLEET), memory, this.#gate);
    const life = await act.begin(files(memory, this.#gate));
    await this.scenario.earlier?.(life);
    await life.journal.recover();
    act.before = textOf(act.world);
    act.effects.length = 0;
    return { act, life };
  }

  async #rehearse(): Promise<void> {
    const { act, life } = await this.start();
    const states = [act.before];
    act.world.subscribe(() => {
      const state = textOf(act.world);
      if (state !== states.at(-1)) states.push(state);
    });
    act.gate.arm(Number.POSITIVE_INFINITY);
    expect(await act.run(life)).toMatchObject({ ok: true });
    const last = textOf(act.world);
    if (last !== states.at(-1)) states.push(last);
    expect(states.length).toBeGreaterThan(1);
    this.states = states;
    this.steps = [...act.gate.steps];
    await act.check(life);
    life.end();
  }

  async #restart(act: Act): Promise<Life> {
    act.died = act.gate.steps.at(-1) ?? '';
    const life = await act.beginAgain();
    this.#gate = act.gate;
    return life;
  }

  /** Kills the process at every step, and looks at what the next start makes of each. Gives the steps with unsynced bytes. */
  async killAtEach(): Promise<readonly number[]> {
    const unsynced: number[] = [];
    // How many records share a write is not the same every time, and so neither is the number of steps.
    for (let step = 0, ended = false; !ended || step < this.steps.length; step++) {
      const left = await this.#killAt(step, (act) => act.memory);
      ended = left === null;
      if (left?.hadUnsynced) unsynced.push(step);
    }
    return unsynced;
  }

  /** The same with the power, at these steps: of what was not synced as much is left as `survives` says. */
  async cutPowerAt(steps: readonly number[], survives: (unsynced: number) => number): Promise<void> {
    for (const step of steps) await this.#killAt(step, (act) => act.memory.crash(survives));
  }

  /** Null where it had ended before that step. */
  async #killAt(step: number, disk: (act: Act) => MemoryFiles): Promise<{ readonly hadUnsynced: boolean } | null> {
    const { act, life } = await this.start();
    act.gate.arm(step);
    await Promise.race([act.run(life), act.gate.killed]);
    if (!act.gate.isDead) {
      await act.check(life);
      life.end();
      return null;
    }
    // What was under way inside when it died comes to rest.
    await new Promise((resolve) => setImmediate(resolve));
    const hadUnsynced = act.isUnsynced;
    act.memory = disk(act);
    life.end();
    try {
      await this.aftermath(act, life, step % THOROUGH_EVERY === 0);
    } catch (error) {
      const what = error instanceof Error ? error.message : error;
      throw new Error(`killed at step ${step}, ${act.died}: ${what}`, { cause: error });
    }
    return { hadUnsynced };
  }

  /** Starts again on what the first life left, and holds that against the invariants. */
  async aftermath(act: Act, dead: Life, isThorough: boolean): Promise<void> {
    const { scenario } = this;
    const atCrash = textOf(act.world);
    const left = act.records();
    const open = unfinished(left);
    act.effects.length = 0;
    const known = new Set([...act.world.qubes.values()].map(({ uuid }) => uuid));
    const life = await this.#restart(act);

    // I4: every intent has an outcome or a finding, and only what was left by a creation is touched.
    act.isExplained();
    const settled = life.settled.filter(({ finding }) => finding !== null);
    expect(settled.map(({ intent }) => intent.seq).sort()).toEqual(open.map(({ seq }) => seq).sort());
    expect(act.records().filter(({ type }) => type === 'finding')).toHaveLength(open.length);
    const born = open.flatMap(({ steps }) => steps.flatMap(({ qube }) => (qube ? [qube.uuid] : [])));
    for (const { uuids } of act.effects) expect(born.length > 0 || uuids.every((uuid) => known.has(uuid))).toBe(true);
    if (!scenario.isCreation && scenario.service !== 'qmcp.Commit') {
      expect(act.effects).toEqual([]);
      expect(textOf(act.world)).toBe(atCrash);
    }

    // One whose name nobody knew is disarmed, in quarantine, and for the operator to remove.
    if (scenario.service === DISPOSABLE) {
      for (const { name } of life.quarantine.qubes) {
        expect(act.world.qube(name).tags.has('ai-managed')).toBe(false);
        act.world.remove(name);
      }
    }
    const position = this.#position(act);
    this.#tellsTheTruth(act, life, position);
    if (isThorough) {
      await this.#nothingWorksTwice(act, dead, life, position);
      await this.#goesOn(act, life, position);
    }
    await act.check(dead, life);
    life.end();
  }

  #position(act: Act): Position {
    const state = textOf(act.world);
    if (state === this.states.at(-1)) return 'after';
    if (state === act.before) return 'before';
    // I8: a qube that was being created is whole or gone.
    expect(this.scenario.isCreation).toBe(false);
    const reached = this.scenario.service === 'qmcp.Commit' ? this.#wholeStates() : this.states;
    expect(reached).toContain(state);
    return 'between';
  }

  /** Those that a plan may be left in: where one of its steps was whole. */
  #wholeStates(): readonly string[] {
    const isWhole = (state: string): boolean => {
      const qubes = JSON.parse(state) as { name: string; tags: string[]; props: [string, string][] }[];
      const made = qubes.find(({ name }) => name === 'ai-new');
      const owned = made?.tags.includes('qmcp-owner_mcp-control') && !made.tags.includes('ai-dump');
      return !made || (owned === true && made.props.some(([name, value]) => name === 'netvm' && value === 'ai-router'));
    };
    return this.states.filter(isWhole);
  }

  #tellsTheTruth(act: Act, life: Life, position: Position): void {
    const { service, findings, undoable } = this.scenario;
    const intent = act.records().findLast((record) => record.type === 'intent' && record.service === service);
    if (!intent || intent.seq === act.earlierSeq) {
      expect(position).toBe('before');
      return;
    }
    const found = life.settled.findLast(({ intent: { seq } }) => seq === intent.seq)?.finding;
    if (found) expect(findings[position]).toContain(found);
    else if (outcomeOf(intent, act.records())?.ok === true) expect(position).toBe('after');
    else if (service === 'qmcp.Commit') expect(position).not.toBe('after');
    else expect(position).toBe('before');
    if (undoable && position !== 'before') expect(life.undo.get(Number(intent.seq))).not.toBeNull();
  }

  /** I2, I3: neither a plan nor an approval from before the crash is worth anything. */
  async #nothingWorksTwice(act: Act, dead: Life, life: Life, position: Position): Promise<void> {
    const state = textOf(act.world);
    const nonce = PLAN_NONCES.get(dead);
    if (nonce !== undefined) {
      expect(await life.call('qmcp.Commit', {}, nonce)).toEqual({ ok: false, error: 'not found' });
    }
    const { approver } = this;
    const [question] = approver.questions.splice(0);
    if (this.scenario.asked && question && position === 'before') {
      const receipt = approver.signed(approver.statement(question, 'approved'));
      this.approve((asked) => asked.answer(`${receipt}\n`));
      expect(await this.scenario.run(life)).toMatchObject({ ok: false });
      this.approve();
      approver.questions.length = 0;
    }
    expect(textOf(act.world)).toBe(state);
  }

  /** What was not done can be done now, and what was done can be undone. */
  async #goesOn(act: Act, life: Life, position: Position): Promise<void> {
    const { run, undoable, service } = this.scenario;
    if (position === 'before') {
      expect(await run(life)).toMatchObject({ ok: true });
      expect(textOf(act.world)).toBe(this.states.at(-1));
    } else if (undoable) {
      const intent = act.records().findLast((record) => record.type === 'intent' && record.service === service);
      expect(await life.takeBack(Number(intent?.seq))).toMatchObject({ ok: true });
      expect(textOf(act.world)).toBe(act.before);
    }
    await life.journal.recover();
  }
}

/** A world and a disk, over the lives of brokers that end on them. */
export class Act {
  readonly stage: Stage;
  readonly world: World;
  memory: MemoryFiles;
  readonly quarantineFiles = quarantineFiles();
  gate: Gate;
  before = '';
  /** What changed something, by whoever. */
  readonly effects: { readonly what: string; readonly uuids: readonly string[] }[] = [];
  /** Until it is killed. */
  isFirstLife = true;
  /** At which step. */
  died = '';
  /** What must not have happened, in sentences. */
  readonly violations: string[] = [];
  #earlier: number | null = null;
  #isUnderWay = false;
  /** The uuids before the call. */
  #known: ReadonlySet<string> = new Set();

  constructor(stage: Stage, world: World, memory: MemoryFiles, gate: Gate) {
    this.stage = stage;
    this.world = world;
    this.memory = memory;
    this.gate = gate;
  }

  begin(files: Outside['files']): Promise<Life> {
    const { root, settings } = this.stage;
    const { world, gate } = this;
    const { quarantineFiles: kept } = this;
    return begin({
      now: this.isFirstLife ? NOW : AN_HOUR_LATER,
      ...{ root, settings, world, files, gate, onEffect: (what, uuids) => this.#onEffect(what, uuids) },
      // Replaced whole or not at all, as the real one is.
      quarantineFiles: {
        ...{ pathOf: kept.pathOf, read: (name) => kept.read(name) },
        write: (name, text) => gate.pass('the quarantine', () => kept.write(name, text)),
      },
    });
  }

  /** Another life on what is there, whose records are on disk. */
  async beginAgain(): Promise<Life> {
    this.gate = new Gate();
    this.isFirstLife = false;
    const life = await this.begin(this.memory);
    await life.journal.recover();
    return life;
  }

  /** Makes the call, until its last record is on disk, where that is possible. */
  async run(life: Life): Promise<{ readonly ok: boolean }> {
    this.#earlier = this.records().length;
    this.#known = new Set([...this.world.qubes.values()].map(({ uuid }) => uuid));
    this.#isUnderWay = true;
    const reply = await this.stage.scenario.run(life);
    this.#isUnderWay = false;
    await life.journal.recover();
    return reply;
  }

  /** The number of the newest record before the call. */
  get earlierSeq(): number | null {
    return this.#earlier;
  }

  get #journalPath(): string {
    return join(this.stage.root, 'log', 'audit.jsonl');
  }

  /** Whether a power failure would take anything away. */
  get isUnsynced(): boolean {
    const durable = this.memory.crash(() => 0);
    const namesOf = (memory: MemoryFiles): string[] => memory.names().sort();
    const names = namesOf(this.memory);
    return (
      names.join() !== namesOf(durable).join() || names.some((name) => this.memory.text(name) !== durable.text(name))
    );
  }

  /** All whole records, as they are or as only the durable ones are. */
  records(memory = this.memory): Record[] {
    const text = memory.names().includes(this.#journalPath) ? memory.text(this.#journalPath) : '';
    return text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record);
  }

  /** I1, I3, I4: at this moment the intent is on disk, with its nonce where one was asked for, and what it will take away. */
  #onEffect(what: string, uuids: readonly string[]): void {
    this.effects.push({ what, uuids });
    const durable = this.memory.crash(() => 0);
    // Taking away what the call made needs no more than the order on disk.
    const isRollback = TAKES_AWAY.has(what) && uuids.every((uuid) => !this.#known.has(uuid));
    const covers = ({ qubes, steps }: UnfinishedIntent): boolean =>
      // What an order left is named by nobody: only a later start may touch it then.
      (uuids.length === 0 || !this.isFirstLife || isRollback) && steps.some(({ step }) => step === 'create')
        ? true
        : uuids.some((uuid) =>
            [...qubes, ...steps.flatMap(({ qube }) => qube ?? [])].some((qube) => qube.uuid === uuid),
          );
    const open = unfinished(this.records(durable));
    const covering = open.filter(covers);
    if (covering.length === 0) this.violations.push(`${what} without an intent on disk`);
    const { asked, undoable } = this.stage.scenario;
    if (!this.#isUnderWay || !this.isFirstLife) return;
    if (asked && !covering.some(({ nonce }) => nonce !== null)) {
      this.violations.push(`${what} without a nonce that is used up on disk`);
    }
    const kept = join(this.stage.root, 'state', 'undo');
    if (undoable && !covering.some(({ seq }) => durable.text(kept).includes(`"seq":${seq},`))) {
      this.violations.push(`${what} without what would undo it on disk`);
    }
  }

  /** That every intent has an outcome, or what was found instead. */
  isExplained(): void {
    expect(unfinished(this.records())).toEqual([]);
  }

  /** That nothing went as nobody planned, and that the journal is whole and verifies. */
  async check(...lives: readonly Life[]): Promise<void> {
    expect(this.violations).toEqual([]);
    for (const life of lives) expect(life.unplanned).toEqual([]);
    const report = await verifyJournal([this.#source()], {
      keys: [],
      anchor: null,
      knownBreaks: new Set(),
      whole: true,
    });
    expect(report).toMatchObject({ ok: true, fault: null, breaks: [] });
    expect(report.records).toBe(this.records().length);
  }

  #source(): Source {
    const bytes = Buffer.from(this.memory.text(this.#journalPath));
    const chunks = async function* () {
      yield bytes;
    };
    return { path: this.#journalPath, old: null, chunks, close: async () => {} };
  }
}

const outcomeOf = ({ call }: Record, records: readonly Record[]): Record | undefined =>
  records.findLast((record) => record.type === 'outcome' && record.call === call);

export const unfinished = (records: readonly Record[]): UnfinishedIntent[] => {
  const open = openIntents();
  for (const record of records) open.see(record as unknown as Seen);
  return open.list();
};
