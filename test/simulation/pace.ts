// What comes next: a call, something beside calls, an answer that is waited for, or time.
import type { Acts } from './acts.ts';
import type { Agents } from './agents.ts';
import { HOUR_MS } from './clock.ts';
import type { Machine } from './machine.ts';

const MAX_HELD_CALLS = 24;
/** Of a day: two busy agents call so often, in the mean, and so often something else happens. */
const CALL_EACH_MS = 1_800;
const ACT_EACH_MS = 300_000;

export class Pace {
  readonly #machine: Machine;
  readonly #agents: Agents;
  readonly #acts: Acts;
  /** Of a day: when the next of them are due. */
  #callAt = 0;
  #actAt = 0;

  constructor(machine: Machine, agents: Agents, acts: Acts) {
    this.#machine = machine;
    this.#agents = agents;
    this.#acts = acts;
  }

  /** Without acts, only what is under way goes on. */
  next(mayAct: boolean): void {
    if (mayAct && this.#machine.isDay) this.#inDay();
    else this.#byChance(mayAct);
  }

  #byChance(mayAct: boolean): void {
    const { chance, clock, weather, outside } = this.#machine;
    const { held } = outside;
    if (mayAct && chance.is(weather.acts)) this.#acts.act();
    else if (mayAct && this.#isOpen() && chance.is(held > 0 ? 0.06 : this.#agents.held > 0 ? 0.4 : 0.9))
      this.#agents.call();
    else if (held > 0) this.#goOn();
    else {
      const ms = clock.untilNext();
      // Whoever waits for a person or an hour is not waited for each time.
      if (ms !== null && (ms < 2_000 || chance.is(0.3))) clock.pass(ms);
    }
  }

  /** What is under way goes on at once, and otherwise time passes until the next thing. */
  #inDay(): void {
    const { chance, clock, outside } = this.#machine;
    const now = clock.monotonicMs();
    const later = (meanMs: number): number => now - meanMs * Math.log(1 - chance.fraction());
    if (outside.held > 0) this.#goOn();
    else if (now >= this.#callAt) {
      this.#callAt = later(CALL_EACH_MS);
      if (this.#isOpen()) this.#agents.call();
    } else if (now >= this.#actAt) {
      this.#actAt = later(ACT_EACH_MS);
      this.#acts.act();
    } else clock.pass(Math.min(clock.untilNext() ?? HOUR_MS, this.#callAt - now, this.#actAt - now));
  }

  #isOpen(): boolean {
    const { life, isStopping } = this.#machine;
    return life !== null && !isStopping && this.#agents.held < MAX_HELD_CALLS;
  }

  #goOn(): void {
    const { chance, clock, outside } = this.#machine;
    clock.pass(chance.fraction());
    // What was due then may have been its end.
    if (!outside.isDead) outside.release();
  }
}
