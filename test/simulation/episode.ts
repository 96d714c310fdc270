// One episode: a machine, its broker in life after life, and all that happens to them, by chance from one seed.

import { CHECKPOINT_AFTER_MS } from '../../daemon/journal/journal.ts';
import type { World } from '../qubesd/world.ts';
import { Acts } from './acts.ts';
import { Agents } from './agents.ts';
import type { SimulatedApprover } from './approver.ts';
import { HOUR_MS, idle } from './clock.ts';
import type { Ground } from './life.ts';
import { Lives } from './lives.ts';
import { Machine } from './machine.ts';
import { Pace } from './pace.ts';
import { Qubesd } from './qubesd.ts';
import { approverOn } from './questions.ts';
import { faultOf } from './verified.ts';

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

/** More steps than this without a call being made are a standstill. */
const PATIENCE = 200_000;

export const runEpisode = async (options: EpisodeOptions): Promise<Told> => {
  const episode = new Episode(options);
  try {
    return await episode.run();
  } finally {
    episode.close();
  }
};

class Episode {
  readonly #options: EpisodeOptions;
  readonly #machine: Machine;
  readonly #qubesd: Qubesd;
  readonly #agents: Agents;
  readonly #approver: SimulatedApprover;
  readonly #lives: Lives;
  readonly #pace: Pace;
  #at: Told['at'] = null;

  constructor(options: EpisodeOptions) {
    const { seed, episode, hours, trace, breaks, progress } = options;
    this.#options = options;
    const machine = new Machine({ seed, episode, isDay: Boolean(hours), trace });
    this.#machine = machine;
    this.#qubesd = new Qubesd(machine);
    this.#agents = new Agents(machine, progress);
    this.#approver = approverOn(machine);
    this.#lives = new Lives(machine, {
      ...{ qubesd: this.#qubesd, agents: this.#agents, approver: this.#approver },
      breaks: breaks && ((ground) => breaks(ground, machine)),
    });
    this.#pace = new Pace(machine, this.#agents, new Acts(machine, this.#qubesd, this.#agents, this.#lives));
  }

  close(): void {
    this.#machine.close();
  }

  async run(): Promise<Told> {
    const { clock, history, record, watch } = this.#machine;
    const restore = clock.install((run) => {
      void this.#machine.wait('turn', () => {
        this.#qubesd.events.deliver(Number.POSITIVE_INFINITY);
        run();
      });
    });
    try {
      let idleSteps = 0;
      while (this.#goesOn() && idleSteps < PATIENCE && this.#isWell()) {
        const before = this.#agents.calls;
        await this.#turn(true);
        idleSteps = this.#agents.calls === before ? idleSteps + 1 : 0;
      }
      if (idleSteps >= PATIENCE) watch.wrong('nothing happens any more');
      await this.#end();
    } finally {
      restore();
    }
    const { violations, effects, replies } = watch;
    return {
      hours: clock.monotonicMs() / HOUR_MS,
      ...{ calls: this.#agents.calls, steps: history.step },
      ...{ effects: effects.count, compared: replies.compared, violations },
      questions: this.#approver.questions,
      lives: this.#machine.lives,
      records: record.records,
      digest: history.digest(),
      at: this.#at,
      last: history.last,
    };
  }

  #goesOn(): boolean {
    const { calls, hours } = this.#options;
    return hours === undefined ? this.#agents.calls < calls : this.#machine.clock.monotonicMs() < hours * HOUR_MS;
  }

  #isWell(): boolean {
    return this.#machine.watch.violations.length === 0;
  }

  async #turn(mayAct: boolean): Promise<void> {
    const { history, outside, life, isStarting, frozen, disk, watch } = this.#machine;
    history.step += 1;
    if (outside.isDead) await this.#lives.died();
    else if (!life && !isStarting) this.#lives.start();
    else this.#pace.next(mayAct);
    await idle();
    frozen.look();
    if (this.#lives.isUnverified && disk.condition === 'well') {
      this.#lives.isUnverified = false;
      await this.#verify();
    }
    if (!this.#isWell() && this.#at === null) {
      this.#at = { step: history.step, call: this.#agents.calls };
      for (const violation of watch.violations) history.tell(`WRONG: ${violation}`);
    }
  }

  /** Everything comes to rest, in good weather, and what is left is looked at. */
  async #end(): Promise<void> {
    const machine = this.#machine;
    const { disk, history, record, watch, weather } = machine;
    if (!this.#isWell()) return;
    disk.condition = 'well';
    this.#qubesd.isAway = false;
    this.#qubesd.faults = 0;
    if (!this.#qubesd.events.isFollowed && machine.life) this.#qubesd.connect(machine.life.fleet);
    for (let turns = 0; turns < 20_000 && this.#isWell(); turns++) {
      const isAtRest = machine.life && this.#agents.held === 0 && machine.outside.held === 0;
      if (isAtRest) break;
      machine.outside.deadly = 0;
      await this.#turn(false);
    }
    const { life } = machine;
    if (life && this.#isWell()) {
      if (this.#agents.held > 0) watch.wrong(`${this.#agents.held} calls are never answered`);
      await this.#throughHere(() => life.journal.recover());
      record.read();
      await this.#inTime();
      await this.#settled();
      record.read();
      watch.births.debris();
      watch.births.areDisarmed();
      watch.settled();
    }
    await this.#verify();
    if (weather.tampers && this.#isWell()) await this.#lives.tampering.lookAtAll();
    if (!this.#isWell() && this.#at === null) this.#at = { step: history.step, call: this.#agents.calls };
  }

  /** What is on disk now is covered once the time for it is over. */
  async #inTime(): Promise<void> {
    const { clock, outside, record, watch } = this.#machine;
    const { last } = record;
    outside.deadly = 0;
    clock.pass(CHECKPOINT_AFTER_MS);
    for (let turns = 0; turns < 5_000; turns++) {
      await idle();
      if (outside.held === 0) break;
      outside.release();
    }
    watch.seals.isCoveredUpTo(last);
  }

  /** What is left is looked into, some seconds after the reply, and again where something stood in the way. */
  async #settled(): Promise<void> {
    const { clock, outside } = this.#machine;
    for (let rounds = 0; rounds < 3; rounds++) {
      clock.pass(40_000);
      for (let turns = 0; turns < 5_000; turns++) {
        await idle();
        if (outside.held === 0) break;
        outside.release();
      }
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
      if (this.#machine.outside.held > 0) this.#machine.outside.release();
    }
    return result;
  }

  async #verify(): Promise<void> {
    const fault = await faultOf(this.#machine.disk);
    if (fault !== null) this.#machine.watch.wrong(`the journal does not verify: ${fault}`);
  }
}
