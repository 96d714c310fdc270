// One episode: a machine, its broker in life after life, and all that happens to them, by chance from one seed.
import { AsyncLocalStorage } from 'node:async_hooks';
import { createHash, type Hash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { verifyJournal } from '../../daemon/journal/verify.ts';
import { isQubeName, type QubeName } from '../../daemon/names.ts';
import { MAX_CALLS_PER_SOURCE } from '../../daemon/qrexec/door.ts';
import { parseBody } from '../../daemon/qrexec/frame.ts';
import type { AdminCall } from '../../daemon/qubesadmin/client.ts';
import type { Tools } from '../../daemon/qubesadmin/tool.ts';
import { AdminError, type AdminEvent, type AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import { callTo } from '../crash/world-admin.ts';
import { isStateChanging } from '../qubesd/methods.ts';
import { World } from '../qubesd/world.ts';
import { OPERATOR, SimulatedApprover } from './approver.ts';
import { behaviourOf } from './caller.ts';
import { Callers } from './callers.ts';
import { aCall, type SimulatedCall } from './calls.ts';
import { Chance } from './chance.ts';
import { Clock, idle } from './clock.ts';
import { Disk } from './disk.ts';
import { AGENTS_QUBES, FLEET, SOURCES } from './fleet.ts';
import { begin, type Ground, type Life } from './life.ts';
import { Outside } from './outside.ts';
import { DurableRecord } from './record.ts';
import { type Wishes, wantOf } from './rules.ts';
import { anotherWish, OPERATORS, OperatorFiles } from './settings.ts';
import { enroll, Signers } from './signers.ts';
import { Deed, Watch } from './watch.ts';

export interface EpisodeOptions {
  readonly seed: string | number;
  readonly episode: number;
  readonly calls: number;
  /** For so many hours of the simulated clock, at the pace of agents and people, instead of so many calls. */
  readonly hours?: number;
  /** Puts something broken in the place of what the broker stands on. */
  readonly breaks?: (ground: Ground, episode: { readonly world: World }) => Ground;
  /** Told now and then how many calls there were. */
  readonly progress?: (calls: number) => void;
  /** Told of every step. */
  readonly trace?: (line: string) => void;
}

export interface Told {
  readonly calls: number;
  /** By the simulated clock. */
  readonly hours: number;
  readonly steps: number;
  readonly effects: number;
  readonly questions: number;
  readonly compared: number;
  readonly lives: number;
  readonly records: number;
  /** Of all that happened, in its order. */
  readonly digest: string;
  readonly violations: readonly string[];
  /** The step and the call at which the first of them was seen. */
  readonly at: { readonly step: number; readonly call: number } | null;
  /** The last steps before that. */
  readonly last: readonly string[];
}

const LAST = 60;
const MAX_HELD_CALLS = 24;
/** More steps than this without a call being made are a standstill. */
const PATIENCE = 200_000;
const START_MS = 1_800_000_000_000;
const CALLS_BETWEEN_NEWS = 100;
const HOUR_MS = 3_600_000;
/** Of a day: two busy agents call so often, in the mean, and so often something else happens. */
const CALL_EACH_MS = 1_800;
const ACT_EACH_MS = 300_000;
/** What would make a day longer or shorter than it is. */
const TIMELESS: ReadonlySet<string> = new Set(['time', 'clock']);

export const runEpisode = async (options: EpisodeOptions): Promise<Told> => {
  const episode = new Episode(options);
  try {
    return await episode.run();
  } finally {
    episode.close();
  }
};

/** How rough an episode is: some are calm, so that what is seldom can happen undisturbed. */
interface Weather {
  readonly quick: number;
  readonly faults: number;
  readonly acts: number;
  readonly deadly: number;
  /** How often a new qube can neither be pinned nor removed. */
  readonly stubborn: number;
  readonly reorders: boolean;
}

const A_DAY: Weather = { quick: 0.9, faults: 0.002, acts: 0, deadly: 0.000_001, stubborn: 0.1, reorders: false };

class Episode {
  readonly #options: EpisodeOptions;
  readonly #chance: Chance;
  readonly #clock = new Clock(START_MS);
  readonly #disk: Disk;
  readonly #world = new World(FLEET);
  readonly #calm: Wishes;
  readonly #settings: OperatorFiles;
  readonly #record: DurableRecord;
  readonly #watch: Watch;
  readonly #approver: SimulatedApprover;
  readonly #deeds = new AsyncLocalStorage<Deed>();
  readonly #weather: Weather;
  readonly #root = mkdtempSync(join(tmpdir(), 'qmcp-simulated-'));
  readonly #history: Hash = createHash('sha256');
  readonly #frozen = new Map<string, number>();
  readonly #frozenChanged = new Map<string, number>();
  #outside: Outside;
  #life: Life | null = null;
  #isStarting = false;
  #isStopping = false;
  #lives = 0;
  #step = 0;
  #calls = 0;
  readonly #callers: Callers;
  /** Where somebody is enrolled. */
  readonly #signers: Signers | null;
  #deedCount = 0;
  #plans: { readonly nonce: string; readonly source: string; readonly calls: unknown }[] = [];
  #isQubesdAway = false;
  #faults = 0;
  #events: AdminEvent[] = [];
  #isPumping = false;
  #sink: Life['fleet'] | null = null;
  #isByHand = false;
  #mayHaveFrozen = false;
  #mayVerify = false;
  readonly #last: string[] = [];
  #at: Told['at'] = null;

  constructor(options: EpisodeOptions) {
    this.#options = options;
    const chance = new Chance(options.seed, options.episode);
    this.#chance = chance;
    this.#disk = new Disk(chance);
    this.#calm = chance.pick(OPERATORS);
    this.#settings = new OperatorFiles(OPERATOR.text, this.#calm);
    this.#weather = options.hours
      ? A_DAY
      : {
          quick: chance.pick([0, 0.5, 0.8, 0.9, 0.95]),
          faults: chance.pick([0, 0, 0.002, 0.01, 0.03]),
          acts: chance.pick([0.005, 0.02, 0.05]),
          deadly: chance.pick([0, 0, 0.0003, 0.001]),
          stubborn: chance.pick([0, 0, 0.5]),
          reorders: chance.is(0.2),
        };
    this.#faults = this.#weather.faults;
    this.#outside = new Outside(chance, this.#weather.quick, this.#tell);
    this.#record = new DurableRecord(this.#disk, '/log/audit.jsonl', (sentence) => this.#watch.wrong(sentence));
    const { now } = this.#clock;
    this.#watch = new Watch({
      ...{ world: this.#world, record: this.#record, settings: this.#settings, now },
      ...{ frozen: this.#frozen, frozenChanged: this.#frozenChanged, step: () => this.#step },
      hasSettled: () => this.#life?.hasSettled() ?? false,
    });
    this.#callers = new Callers({
      monotonicMs: this.#clock.monotonicMs,
      wait: (what, work) => this.#outside.wait(what, work),
      wrong: this.#watch.wrong,
      tell: this.#tell,
      isStopping: () => this.#isStopping,
    });
    this.#approver = new SimulatedApprover({
      ...{ chance, now, after: this.#clock.after },
      wait: (what, work) => this.#outside.wait(what, work),
      shown: (question) => {
        const waiting = this.#life?.broker.askers.waiting ?? [];
        this.#watch.isShown(
          question,
          waiting.map(({ source }) => source),
        );
        const deed = this.#deeds.getStore();
        if (deed) {
          deed.isAsked = true;
          this.#bound.set(question.nonce, { deed, bound: this.#watch.boundOf(deed) });
        }
      },
      hidden: () => {
        this.#watch.isHidden();
        // The answer may have been to freeze.
        this.#mayHaveFrozen = true;
      },
      approves: ({ nonce }) => {
        const { deed, bound } = this.#bound.get(nonce) ?? {};
        if (deed && bound !== undefined) deed.approvals.set(nonce, { step: this.#step, bound });
      },
    });
    for (const name of ['etc', 'state']) mkdirSync(join(this.#root, name));
    this.#signers = chance.is(0.3) ? new Signers(chance, this.#clock.now) : null;
    if (this.#signers) enroll(join(this.#root, 'etc'));
    this.#world.subscribe((subject, event, details) => this.#happened(subject, event, details));
  }

  readonly #bound = new Map<string, { readonly deed: Deed; readonly bound: string }>();

  close(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  // ---- the run

  async run(): Promise<Told> {
    const restore = this.#clock.install((run) => {
      void this.#outside.wait('turn', () => {
        this.#deliver(Number.POSITIVE_INFINITY);
        run();
      });
    });
    try {
      let idleSteps = 0;
      while (this.#goesOn() && idleSteps < PATIENCE && this.#isWell()) {
        const before = this.#calls;
        await this.#turn(true);
        idleSteps = this.#calls === before ? idleSteps + 1 : 0;
      }
      if (idleSteps >= PATIENCE) this.#watch.wrong('nothing happens any more');
      await this.#end();
    } finally {
      restore();
    }
    const { violations, effects, compared } = this.#watch;
    return {
      hours: this.#clock.monotonicMs() / HOUR_MS,
      ...{ calls: this.#calls, steps: this.#step, effects, compared, violations },
      questions: this.#approver.questions,
      lives: this.#lives,
      records: this.#record.records,
      digest: this.#history.digest('hex'),
      at: this.#at,
      last: this.#last,
    };
  }

  #goesOn(): boolean {
    const { calls, hours } = this.#options;
    return hours === undefined ? this.#calls < calls : this.#clock.monotonicMs() < hours * HOUR_MS;
  }

  #isWell(): boolean {
    return this.#watch.violations.length === 0;
  }

  async #turn(mayAct: boolean): Promise<void> {
    this.#step += 1;
    if (this.#outside.isDead) await this.#died();
    else if (!this.#life && !this.#isStarting) this.#start();
    else if (mayAct && this.#options.hours) this.#nextInDay();
    else this.#next(mayAct);
    await idle();
    if (this.#mayHaveFrozen) this.#lookAtFrozen();
    if (this.#mayVerify && this.#disk.condition === 'well') {
      this.#mayVerify = false;
      await this.#verify();
    }
    if (!this.#isWell() && this.#at === null) {
      this.#at = { step: this.#step, call: this.#calls };
      for (const violation of this.#watch.violations) this.#tell(`WRONG: ${violation}`);
    }
  }

  #next(mayAct: boolean): void {
    const chance = this.#chance;
    const { held } = this.#outside;
    if (mayAct && chance.is(this.#weather.acts)) this.#act();
    else if (
      mayAct &&
      this.#life &&
      !this.#isStopping &&
      this.#callers.held < MAX_HELD_CALLS &&
      chance.is(held > 0 ? 0.06 : this.#callers.held > 0 ? 0.4 : 0.9)
    )
      this.#call();
    else if (held > 0) {
      this.#clock.pass(chance.fraction());
      if (!this.#outside.isDead) this.#outside.release();
    } else {
      const ms = this.#clock.untilNext();
      // Whoever waits for a person or an hour is not waited for each time.
      if (ms !== null && (ms < 2_000 || chance.is(0.3))) this.#clock.pass(ms);
    }
  }

  #callAt = 0;
  #actAt = 0;

  /** As in a day: what is under way goes on at once, and otherwise time passes until the next thing. */
  #nextInDay(): void {
    const { held } = this.#outside;
    const now = this.#clock.monotonicMs();
    const later = (meanMs: number): number => now - meanMs * Math.log(1 - this.#chance.fraction());
    if (held > 0) {
      this.#clock.pass(this.#chance.fraction());
      if (!this.#outside.isDead) this.#outside.release();
    } else if (now >= this.#callAt) {
      this.#callAt = later(CALL_EACH_MS);
      if (this.#life && !this.#isStopping && this.#callers.held < MAX_HELD_CALLS) this.#call();
    } else if (now >= this.#actAt) {
      this.#actAt = later(ACT_EACH_MS);
      this.#act();
    } else this.#clock.pass(Math.min(this.#clock.untilNext() ?? HOUR_MS, this.#callAt - now, this.#actAt - now));
  }

  /** Everything comes to rest, in good weather, and what is left is looked at. */
  async #end(): Promise<void> {
    if (!this.#isWell()) return;
    this.#disk.condition = 'well';
    this.#isQubesdAway = false;
    this.#faults = 0;
    if (!this.#sink && this.#life) this.#connect(this.#life.fleet);
    for (let turns = 0; turns < 20_000 && this.#isWell(); turns++) {
      const isAtRest = this.#life && this.#callers.held === 0 && this.#outside.held === 0;
      if (isAtRest) break;
      this.#outside.deadly = 0;
      await this.#turn(false);
    }
    if (this.#life && this.#isWell()) {
      if (this.#callers.held > 0) this.#watch.wrong(`${this.#callers.held} calls are never answered`);
      await this.#throughHere(() => (this.#life as Life).journal.recover());
      this.#record.read();
      this.#watch.debris();
      this.#isSettled();
    }
    await this.#verify();
    if (!this.#isWell() && this.#at === null) this.#at = { step: this.#step, call: this.#calls };
  }

  /** I4: of intents of this life none is open when nothing is under way. */
  #isSettled(): void {
    if (this.#record.gaps > 0) return;
    for (const intent of this.#record.open.values()) {
      const isTold = intent.steps.some(
        ({ step, qube }) => step === 'not in quarantine' || (step === 'left behind' && qube === null),
      );
      if (intent.isCurrent && !isTold) this.#watch.wrong(`I4: intent ${intent.seq} (${intent.service}) has no outcome`);
    }
  }

  async #throughHere<T>(work: () => Promise<T>): Promise<T | null> {
    let result: T | null = null;
    let isOver = false;
    void work().then((value) => {
      result = value;
      isOver = true;
    });
    for (let turns = 0; turns < 5_000 && !isOver; turns++) {
      await idle();
      if (this.#outside.held > 0) this.#outside.release();
    }
    return result;
  }

  // ---- lives

  #start(): void {
    this.#lives += 1;
    this.#isStarting = true;
    this.#outside = new Outside(this.#chance, this.#weather.quick, this.#tell);
    const outside = this.#outside;
    const number = this.#lives;
    void begin(this.#ground(), (fleet) => this.#connect(fleet)).then(
      (life) => {
        if (outside.isDead || number !== this.#lives) return;
        this.#life = life;
        this.#isStarting = false;
        outside.deadly = this.#weather.deadly;
        this.#mayVerify = true;
        this.#lookAtFrozen();
        this.#tell(`life ${number}`);
      },
      (error: unknown) => this.#watch.wrong(`the start failed: ${error instanceof Error ? error.stack : error}`),
    );
  }

  async #died(): Promise<void> {
    this.#tell('the broker is dead');
    this.#outside.kill();
    await idle();
    this.#sink = null;
    this.#events = [];
    this.#isPumping = false;
    this.#life = null;
    this.#isStarting = false;
    this.#isStopping = false;
    this.#callers.forget();
    this.#signers?.forget();
    this.#plans = [];
    for (const source of this.#frozenChanged.keys()) this.#frozenChanged.set(source, this.#step);
    this.#clock.forget();
    this.#watch.isGone();
    if (this.#chance.is(0.5)) this.#disk.powerCut();
    else this.#disk.killed();
    this.#record.read();
    this.#start();
  }

  #connect(fleet: Life['fleet']): void {
    if (this.#isQubesdAway) return;
    this.#sink = fleet;
    fleet.established();
  }

  #ground(): Ground {
    const wait: Outside['wait'] = (what, work) => outside.wait(what, work);
    const outside = this.#outside;
    const chance = this.#chance;
    const life = this.#lives;
    const ground: Ground = {
      files: this.#disk.filesOver(wait),
      ledger: this.#disk.stateFilesOver(wait, '/state/principals'),
      quarantineFiles: this.#disk.stateFilesOver(wait, '/state'),
      settings: this.#settings,
      call: this.#adminOver(outside),
      tools: this.#toolsOver(outside),
      reach: this.#approver.reach,
      now: this.#clock.now,
      monotonicMs: this.#clock.monotonicMs,
      after: this.#clock.after,
      randomBytes: chance.bytes,
      random: chance.fraction,
      etc: join(this.#root, 'etc'),
      state: join(this.#root, 'state'),
      unplanned: (error) => this.#watch.wrong(`nobody planned: ${error instanceof Error ? error.stack : error}`),
      deeds: this.#deeds,
      deed: (kind) => this.#deedOf(kind, 'dom0', kind, null, null, life),
    };
    return this.#options.breaks?.(ground, { world: this.#world }) ?? ground;
  }

  // ---- qubesd

  #adminOver(outside: Outside): AdminCall {
    return (request) => {
      const { method, arg } = request;
      const deed = this.#deeds.getStore();
      const changes = isChange(method);
      if (changes && !outside.isDead) this.#watch.effect(deed, request);
      const asked = this.#step;
      const isFaulty = this.#faults > 0 && this.#chance.is(this.#faults);
      const fault = this.#isStubborn(deed, request) ? 'exception' : isFaulty ? this.#chance.pick(FAULTS) : null;
      const work = () => this.#answer(outside, deed, request, asked, fault);
      return outside.wait(
        `${deed?.number ?? '-'} ${method}${arg ? `+${arg}` : ''} ${destOf(request)}${fault ? ` ${fault}` : ''}`,
        work,
        changes,
      );
    };
  }

  #isStubborn(deed: Deed | undefined, { method, dest }: AdminRequest): boolean {
    const isOfChild = typeof dest === 'object' && 'uuid' in dest && deed?.children.has(dest.uuid) === true;
    const { stubborn } = this.#weather;
    return (
      stubborn > 0 && isOfChild && /^admin\.vm\.(?:property\.Set|Remove)$/.test(method) && this.#chance.is(stubborn)
    );
  }

  async #answer(
    outside: Outside,
    deed: Deed | undefined,
    request: AdminRequest,
    asked: number,
    fault: (typeof FAULTS)[number] | null,
  ): Promise<Buffer> {
    if (deed && (fault !== null || this.#isQubesdAway)) deed.isTroubled = true;
    if (this.#isQubesdAway) throw new AdminError('unreachable');
    switch (fault) {
      case 'exception':
        throw new AdminError('exception', this.#chance.pick(['QubesException', 'QubesVMInUseError', 'ProtocolError']));
      case 'empty':
      case 'malformed':
        throw new AdminError(fault);
      case 'unreachable':
        throw new AdminError('unreachable');
      case 'deadline': {
        // It may yet be done, now that nobody waits for it any more.
        this.#clock.pass(5_000);
        const isDone = this.#chance.is(0.5);
        const late = isDone
          ? outside.wait('a late answer', () => this.#perform(deed, request, asked), true)
          : new Promise<Buffer>(() => {});
        late.catch(() => {});
        throw new AdminError('deadline', null, '', isSlow(request.method) ? late : null);
      }
      case 'lost':
        await this.#perform(deed, request, asked);
        throw new AdminError('empty');
      default:
        return this.#perform(deed, request, asked);
    }
  }

  async #perform(deed: Deed | undefined, request: AdminRequest, asked: number): Promise<Buffer> {
    const { method, dest } = request;
    const answer = await callTo(this.#world, request).catch((error: unknown) => {
      if (deed && method === 'admin.vm.List' && typeof dest === 'object' && 'name' in dest) deed.rows.delete(dest.name);
      throw error;
    });
    if (!deed) return answer;
    if (method === 'admin.vm.List' && typeof dest === 'object' && 'name' in dest) {
      const qube = this.#world.qubes.get(dest.name);
      if (qube) {
        deed.rows.set(dest.name, { uuid: qube.uuid, asked });
        const before = deed.tags.get(qube.uuid);
        if (before) deed.tagsBefore.set(qube.uuid, before.tags);
        deed.tags.delete(qube.uuid);
      }
    } else if (method === 'admin.vm.tag.List' && typeof dest === 'object' && 'uuid' in dest) {
      // The first tags after the row are what is decided on; later ones are for the budget, or to see what was written.
      const tags = new Set(answer.toString().split('\n').filter(Boolean));
      if (!deed.tags.has(dest.uuid)) deed.tags.set(dest.uuid, { tags, asked });
    } else if (method.startsWith('admin.vm.Create')) {
      const name =
        method === 'admin.vm.CreateDisposable' ? answer.toString() : /name=(\S+)/.exec(String(request.payload))?.[1];
      const qube = this.#world.qubes.get(name ?? '');
      if (qube) this.#watch.wasBorn(deed, qube.uuid, qube.name);
    }
    return answer;
  }

  #toolsOver(outside: Outside): Tools {
    return {
      has: (name) => outside.wait(`look for ${name}`, () => true),
      run: (name, [devclass = '', verb = '', frontend = '', device = '']) => {
        const deed = this.#deeds.getStore();
        const [backend = ''] = device.split(':');
        if (!outside.isDead) this.#watch.tool(deed, name, frontend, backend);
        const fate =
          this.#faults > 0 && this.#chance.is(0.05)
            ? this.#chance.pick(['failed', 'late', 'missing'] as const)
            : 'done';
        return outside.wait(
          `${name} ${verb}`,
          () => {
            if (fate !== 'done') {
              if (deed) deed.isTroubled = true;
              return fate === 'failed' ? { kind: fate, why: 'status 1' } : { kind: fate };
            }
            const qube = this.#world.qubes.get(frontend);
            if (!qube) return { kind: 'failed', why: 'status 1' };
            const listing = `${devclass}.Attached`;
            qube.devices.set(listing, verb === 'attach' ? [device] : []);
            this.#world.emit(
              frontend,
              `device-${verb}:${devclass}`,
              verb === 'attach' ? { device, options: '{}' } : { port: device },
            );
            return { kind: 'done' };
          },
          true,
        );
      },
    };
  }

  #happened(subject: string, event: string, details: Readonly<Record<string, string | null>>): void {
    const name = subject || details.vm || '';
    this.#watch.changes.set(name, this.#step);
    if (event === 'domain-start' || event === 'domain-spawn') {
      const qube = this.#world.qubes.get(name);
      if (qube) {
        const netvm = qube.props.has('netvm') ? (qube.props.get('netvm') ?? null) : this.#world.defaultNetvm;
        if (!this.#isByHand) this.#watch.ranAs(qube.uuid, name, netvm);
      }
    }
    if (!this.#sink) return;
    const texts = Object.fromEntries(Object.entries(details).map(([key, value]) => [key, value ?? 'None']));
    this.#events.push({ subject, event, details: texts });
    if (this.#isPumping) return;
    this.#isPumping = true;
    // What is read because of an event is nobody's call's doing.
    void this.#deeds.exit(() =>
      this.#outside.wait('events', () => {
        this.#isPumping = false;
        this.#deliver(1 + this.#chance.below(4));
        if (this.#events.length > 0) this.#happenedMore();
      }),
    );
  }

  #happenedMore(): void {
    this.#isPumping = true;
    void this.#outside.wait('more events', () => {
      this.#isPumping = false;
      this.#deliver(Number.POSITIVE_INFINITY);
    });
  }

  /** In their order, but where the weather has it: there some come too soon, and some never. */
  #deliver(count: number): void {
    const { reorders } = this.#weather;
    for (let left = count; left > 0 && this.#events.length > 0; left--) {
      const at = reorders && this.#chance.is(0.2) ? this.#chance.below(this.#events.length) : 0;
      const [event] = this.#events.splice(at, 1);
      if (!event || !this.#sink || (reorders && this.#chance.is(0.02))) continue;
      // Whoever follows events reads what it reads for itself, and not for the deed that an event tells of.
      const sink = this.#sink;
      this.#deeds.exit(() => sink.event(event));
    }
  }

  // ---- what happens

  #deedOf(
    kind: Deed['kind'],
    source: string,
    service: string,
    request: unknown,
    plan: string | null = null,
    life = this.#lives,
    by: Pick<Deed, 'ceiling' | 'signed'> = { ceiling: 'full', signed: 'no' },
  ): Deed {
    const calls =
      by.signed === 'bad'
        ? []
        : plan === null
          ? [{ service, request }]
          : planned(this.#plans.find(({ nonce }) => nonce === plan)?.calls);
    const wants = calls.flatMap((each) => wantOf(each.service, each.request) ?? []);
    this.#deedCount += 1;
    return new Deed({
      number: this.#deedCount,
      kind,
      source,
      service,
      request,
      wants,
      plan,
      arrival: this.#step,
      life,
      ...by,
    });
  }

  #call(call: SimulatedCall = aCall(this.#chance, this.#plans)): void {
    const life = this.#life as Life;
    const envelope = this.#signers && this.#chance.is(0.4) ? this.#signers.signed(call) : null;
    const { source, service, argument, body } = envelope?.call ?? call;
    const behaviour = behaviourOf({ source, service, argument, body }, this.#chance);
    const sent = behaviour.body ? parseBody(behaviour.body)?.json : undefined;
    // What does not arrive whole is no envelope, but an unsigned call that is broken.
    const arrived = envelope && behaviour.body?.equals(body) ? envelope : null;
    const json = arrived ? parseBody(arrived.body)?.json : sent;
    const plan = service === 'qmcp.Commit' ? argument : null;
    const deed = this.#deedOf('call', source, service, json, plan, this.#lives, {
      ceiling: arrived?.ceiling ?? 'full',
      signed: arrived ? (arrived.isGood ? 'good' : 'bad') : 'no',
    });
    this.#calls += 1;
    if (this.#calls % CALLS_BETWEEN_NEWS === 0) this.#options.progress?.(this.#calls);
    const said = body.toString('latin1', 0, 200);
    this.#tell(`call ${deed.number} ${behaviour.manner} ${source} ${service} ${argument} ${said}`);
    const [lives, outside] = [this.#lives, this.#outside];
    this.#callers.call(life.door, {
      ...{ deed, behaviour, sent },
      isCurrent: () => lives === this.#lives && !outside.isDead,
      handle: (request) => this.#deeds.run(deed, () => life.handle(request)),
      answered: (reply) => {
        this.#tell(`reply ${deed.number} ${JSON.stringify(reply)}`);
        // What comes during a stop is refused as if there were no such service.
        if (this.#isStopping) deed.isTroubled = true;
        this.#watch.replied(deed, { ...reply });
        if (arrived && reply.ok) this.#signers?.wasAnswered(arrived);
        if (service === 'qmcp.Prepare' && reply.ok) this.#prepared(String(reply.nonce), source, deed.request);
      },
    });
  }

  /** More calls of one source at once than may be. */
  #burst(): void {
    const { source } = aCall(this.#chance, this.#plans);
    const count = this.#chance.pick([MAX_CALLS_PER_SOURCE, 2 * MAX_CALLS_PER_SOURCE, 3 * MAX_CALLS_PER_SOURCE]);
    if (!this.#life || this.#isStopping) return;
    for (let calls = 0; calls < count; calls++) this.#call({ ...aCall(this.#chance, this.#plans), source });
  }

  #prepared(nonce: string, source: string, request: unknown): void {
    this.#plans.push({ nonce, source, calls: (request as { calls: unknown }).calls });
    if (this.#plans.length > 12) this.#plans.shift();
  }

  #act(): void {
    const chance = this.#chance;
    // What went wrong is mended sooner or later; a machine that stays broken is soon a dull one.
    const act = chance.is(0.3) ? (this.#mend() ?? chance.weighted(ACTS)) : chance.weighted(ACTS);
    if (act === 'kill' && this.#weather.deadly === 0) return;
    if (this.#options.hours && TIMELESS.has(act)) return;
    this.#tell(`act ${act}`);
    const name = chance.pick(Object.keys(AGENTS_QUBES).filter((each) => each !== 'ai-t'));
    const present = this.#world.qubes.get(name);
    switch (act) {
      case 'settings':
        this.#settings.change(this.#step, anotherWish(this.#settings.wishes, chance));
        return;
      case 'calm':
        this.#settings.change(this.#step, this.#calm);
        return;
      case 'return':
        this.#return();
        return;
      case 'thaw':
        this.#ask('operator', 'thaw', { source: chance.pick([...this.#frozen.keys()]) });
        return;
      case 'tags':
        if (present) this.#retag(name);
        return;
      case 'power': {
        const left = chance.is(0.3) ? chance.pick(this.#watch.left) : undefined;
        const qube = left === undefined ? present : this.#world.qubes.get(left);
        if (qube) this.#switch(qube.name, qube.state);
        return;
      }
      case 'replace':
        this.#replace(name);
        return;
      case 'operator':
        this.#operate(name);
        return;
      case 'qubesd':
        this.#isQubesdAway = !this.#isQubesdAway;
        if (this.#isQubesdAway) this.#loseEvents();
        else if (this.#life) this.#connect(this.#life.fleet);
        return;
      case 'events':
        if (this.#sink) this.#loseEvents();
        else if (this.#life) this.#connect(this.#life.fleet);
        return;
      case 'faults':
        this.#faults = chance.pick([0, 0, this.#weather.faults, this.#weather.faults * 5]);
        return;
      case 'disk':
        this.#disk.condition = this.#disk.condition === 'well' ? chance.pick(['full', 'broken'] as const) : 'well';
        return;
      case 'time':
        this.#clock.pass(chance.pick([1_000, 30_000, 600_000, 3_700_000, 90_000_000]));
        return;
      case 'clock':
        this.#clock.set(chance.pick([-86_400_000, -3_600_000, -1_000, 1_000, 3_600_000, 100_000_000]));
        return;
      case 'burst':
        this.#burst();
        return;
      case 'kill':
        this.#outside.kill();
        return;
      case 'stop':
        this.#stop();
    }
  }

  #mend(): 'qubesd' | 'disk' | 'events' | 'thaw' | 'calm' | 'return' | null {
    if (this.#isQubesdAway) return 'qubesd';
    if (this.#disk.condition !== 'well') return 'disk';
    if (!this.#sink) return 'events';
    if (this.#frozen.size > 0) return 'thaw';
    if (this.#settings.wishes !== this.#calm && this.#chance.is(0.3)) return 'calm';
    return this.#chance.is(0.5) ? 'return' : null;
  }

  /** The operator puts one of the agents' qubes back to what it was. */
  #return(): void {
    const lost = Object.keys(AGENTS_QUBES).filter((name) => {
      const qube = this.#world.qubes.get(name);
      return !qube || AGENTS_QUBES[name]?.tags?.some((tag) => !qube.tags.has(tag));
    });
    const name = this.#chance.pick(lost);
    if (name === undefined) return;
    if (this.#world.qubes.has(name)) for (const tag of AGENTS_QUBES[name]?.tags ?? []) this.#world.addTag(name, tag);
    else this.#world.add(name, AGENTS_QUBES[name] ?? {});
  }

  #loseEvents(): void {
    const sink = this.#sink;
    this.#sink = null;
    this.#events = [];
    sink?.lost();
  }

  #retag(name: string): void {
    const tag = this.#chance.pick(['ai-managed', 'ai-full', 'ai-full', 'ai-net', 'ai-exec', 'qmcp-guarded', 'mine']);
    if (this.#world.qube(name).tags.has(tag)) this.#world.removeTag(name, tag);
    else this.#world.addTag(name, tag);
  }

  /** The operator starts or stops it in dom0, whatever the broker thinks of it. */
  #switch(name: string, state: string): void {
    this.#isByHand = true;
    if (state === 'Halted') void this.#world.start(name);
    else this.#world.stop(name);
    this.#isByHand = false;
  }

  /** It is gone; or it is back, as another qube, with the tags it always had or with none. */
  #replace(name: string): void {
    const spec = AGENTS_QUBES[name] ?? {};
    const isBare = this.#chance.is(0.3);
    const again = isBare ? { ...spec, tags: [] } : spec;
    if (!this.#world.qubes.has(name)) this.#world.add(name, again);
    else if (this.#chance.is(0.3)) this.#world.remove(name);
    else this.#world.recreate(name, again);
  }

  #operate(name: string): void {
    const life = this.#life;
    if (!life || this.#isStopping) return;
    const chance = this.#chance;
    const source = chance.pick(SOURCES);
    const tombstones = [...this.#world.qubes.values()].filter(({ tags }) =>
      [...tags].some((tag) => tag.startsWith('qmcp-tombstone_')),
    );
    const dead = chance.pick(tombstones)?.name ?? name;
    const kept = life.undo.list();
    const request = ((): { verb: string; args: Record<string, unknown> } => {
      switch (
        chance.weighted({
          tier: 5,
          freeze: 2,
          thaw: 6,
          undo: 5,
          restore: 5,
          reap: 6,
          status: 2,
          tombstones: 1,
          explain: 3,
        })
      ) {
        case 'tier':
          return {
            verb: 'tier',
            args: {
              name: chance.is(0.2) ? (chance.pick(this.#watch.left) ?? name) : name,
              tier: chance.pick(['none', 'dump', 'ro', 'exec', 'net', 'full', 'full']),
              force: chance.is(0.7),
            },
          };
        case 'freeze':
          return { verb: 'freeze', args: { source } };
        case 'thaw':
          return { verb: 'thaw', args: { source } };
        case 'undo':
          return { verb: 'undo', args: { seq: chance.pick(kept)?.seq ?? 1, dry_run: chance.is(0.2) } };
        case 'restore':
          return { verb: 'restore', args: { name: dead, tier: chance.pick(['ro', 'exec', 'full']) } };
        case 'reap':
          return { verb: 'reap', args: { name: chance.is(0.5) ? null : dead } };
        case 'explain': {
          const call = aCall(chance, []);
          return {
            verb: 'explain',
            args: { service: call.service, body: call.body.toString('latin1', 0, 500), source, principal: null },
          };
        }
        case 'status':
          return { verb: 'status', args: {} };
        case 'tombstones':
          return { verb: 'tombstones', args: {} };
      }
    })();
    // A pass over what is due is the reaper's own, whoever has it made.
    this.#ask(
      request.verb === 'reap' && request.args.name === null ? 'reaper' : 'operator',
      request.verb,
      request.args,
    );
  }

  /** The operator asks something of the daemon. */
  #ask(kind: Deed['kind'], verb: string, args: Readonly<Record<string, unknown>>): void {
    const life = this.#life;
    if (!life || this.#isStopping) return;
    if (verb === 'thaw') this.#frozen.delete(String(args.source));
    // Until it is said, nobody outside knows which it is.
    const changes = verb === 'thaw' || verb === 'freeze';
    if (changes) this.#frozenChanged.set(String(args.source), Number.POSITIVE_INFINITY);
    if (verb === 'tier' && args.tier !== 'none' && args.tier !== 'dump') this.#watch.released(String(args.name));
    const deed = this.#deedOf(kind, 'dom0', verb, args);
    this.#tell(`operator ${deed.number} ${verb} ${JSON.stringify(args)}`);
    const lives = this.#lives;
    void this.#deeds.run(deed, async () => {
      const said = await life.operate({ v: 1, verb, args });
      if (lives !== this.#lives) return;
      this.#mayHaveFrozen = true;
      if (changes) this.#frozenChanged.set(String(args.source), this.#step);
      this.#tell(`said ${deed.number} ${JSON.stringify(said).slice(0, 300)}`);
    });
  }

  #stop(): void {
    const life = this.#life;
    if (!life || this.#isStopping) return;
    this.#isStopping = true;
    const { outside } = { outside: this.#outside };
    void life.stop().then(() => {
      this.#tell('stopped');
      outside.kill();
    });
    // As systemd does it, in the end.
    this.#clock.after(4_000, () => outside.kill());
  }

  /** Who is frozen, by the file that says so. */
  #lookAtFrozen(): void {
    this.#mayHaveFrozen = false;
    const path = join(this.#root, 'state', 'frozen');
    const names = existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(isQubeName) : [];
    for (const name of this.#frozen.keys()) {
      if (names.includes(name as QubeName)) continue;
      this.#frozen.delete(name);
      this.#frozenChanged.set(name, this.#step);
    }
    for (const name of names) {
      if (this.#frozen.has(name)) continue;
      this.#frozen.set(name, this.#step);
      this.#frozenChanged.set(name, this.#step);
    }
  }

  // ---- the journal

  /** Whole, in one chain, and without a break. */
  async #verify(): Promise<void> {
    const disk = this.#disk;
    const names = disk
      .names('/log')
      .filter((name) => /^audit-\d+-\d+\.jsonl$/.test(name))
      .sort();
    const paths = [...names, ...(disk.names('/log').includes('audit.jsonl') ? ['audit.jsonl'] : [])].map(
      (name) => `/log/${name}`,
    );
    const sources = paths.map((path) => ({
      ...{ path, old: null, close: async () => {} },
      chunks: async function* () {
        // Behind the last newline is what is just being written.
        const bytes = disk.bytes(path);
        yield bytes.subarray(0, bytes.lastIndexOf(0x0a) + 1);
      },
    }));
    const report = await verifyJournal(sources, { keys: [], anchor: null, knownBreaks: new Set(), whole: true });
    if (!report.ok) this.#watch.wrong(`the journal does not verify: ${JSON.stringify(report.fault ?? report.breaks)}`);
  }

  readonly #tell = (line: string): void => {
    const text = `${this.#step} ${line}`;
    this.#history.update(text);
    this.#last.push(text);
    if (this.#last.length > LAST * 2) this.#last.splice(0, LAST);
    this.#options.trace?.(text);
  };
}

const FAULTS = ['exception', 'exception', 'empty', 'malformed', 'unreachable', 'deadline', 'lost', 'lost'] as const;

const ACTS = {
  settings: 10,
  tags: 14,
  power: 10,
  replace: 8,
  operator: 22,
  qubesd: 2,
  events: 3,
  faults: 3,
  disk: 2,
  time: 8,
  clock: 1,
  kill: 1,
  stop: 0.3,
  burst: 0.3,
} as const;

const known = new Map<string, boolean>();
const isChange = (method: string): boolean => {
  const before = known.get(method);
  if (before !== undefined) return before;
  const changes = isStateChanging(method);
  known.set(method, changes);
  return changes;
};

const isSlow = (method: string): boolean =>
  /^admin\.vm\.(?:Start|Remove|Create|volume\.(?:CloneTo|Resize))/.test(method);

const destOf = ({ dest }: AdminRequest): string => (dest === 'dom0' ? dest : 'uuid' in dest ? dest.uuid : dest.name);

interface Step {
  readonly service: string;
  readonly request: unknown;
}
const planned = (calls: unknown): readonly Step[] => (Array.isArray(calls) ? (calls as Step[]) : []);
