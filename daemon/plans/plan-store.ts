// The plans there are: each belongs to who prepared it, is open for ten minutes, and is committed once. In memory only,
// so a restart voids all of them (I3); bounded, so that nobody can fill it.
import type { Digest, Nonce, QubeName } from '../names.ts';
import type { Reply } from '../qrexec/door.ts';
import type { Caller } from '../services/service.ts';
import type { Stage } from './rehearse.ts';

export const MAX_OPEN_PER_SOURCE = 8;
export const MAX_ENDED_PER_SOURCE = 8;
/** Over all sources: each is a qube, but a machine may have many. */
export const MAX_PLANS = 128;
export const OPEN_MS = 10 * 60_000;
export const RESULTS_MS = 15 * 60_000;

/** prepared -> asked -> running -> done or failed; or refused at any point before running. */
export type PlanState = 'prepared' | 'asked' | 'running' | 'done' | 'failed' | 'refused';

export interface Plan {
  readonly nonce: Nonce;
  /** The number of the plan itself among the calls; its steps have their own. */
  readonly call: number;
  readonly caller: Caller;
  readonly stages: readonly Stage[];
  readonly digest: Digest;
  /** Every name that the plan means, of qubes that are and that would be. */
  readonly names: readonly string[];
  state: PlanState;
  readonly results: Reply[];
  /** How long its steps have waited for what earlier ones set going, in milliseconds. */
  waitedMs: number;
  /** Aborted by Cancel: nothing more of it begins, and its question goes away. */
  readonly cancelled: AbortController;
  /** By the monotonic clock, in milliseconds: when it is forgotten. */
  until: number;
  /** Resolves when it has ended, in whatever state. */
  ended: Promise<void>;
}

const isOver = (state: PlanState): boolean => state === 'done' || state === 'failed' || state === 'refused';

export class PlanStore {
  readonly #plans = new Map<Nonce, Plan>();
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** Whether the source may have another plan open. */
  hasRoom(source: QubeName): boolean {
    this.#forget();
    const open = this.#of(source).filter(({ state }) => !isOver(state)).length;
    return open < MAX_OPEN_PER_SOURCE && this.#plans.size < MAX_PLANS;
  }

  add(plan: Plan): void {
    this.#plans.set(plan.nonce, plan);
  }

  /** The caller's own plan of that nonce. Somebody else's does not exist for it. */
  find(nonce: Nonce, { source, principal }: Caller): Plan | null {
    this.#forget();
    const plan = this.#plans.get(nonce);
    return plan && plan.caller.source === source && plan.caller.principal === principal ? plan : null;
  }

  drop(plan: Plan): void {
    this.#plans.delete(plan.nonce);
  }

  /** A plan came to its end: its results are kept for a while, and the oldest ones of the source make room. */
  over(plan: Plan): void {
    plan.until = this.#monotonicMs() + RESULTS_MS;
    const ended = this.#of(plan.caller.source).filter(({ state }) => isOver(state));
    for (const old of ended.slice(0, Math.max(0, ended.length - MAX_ENDED_PER_SOURCE))) this.drop(old);
  }

  /** A qube changed, or with null nothing is known any more: what was prepared on it is void (I2). */
  voidOn(name: string | null): void {
    for (const plan of this.#plans.values()) {
      if (plan.state === 'prepared' && (name === null || plan.names.includes(name))) this.drop(plan);
    }
  }

  /** The source was frozen: what it prepared is void, also after a thaw. */
  voidOf(source: QubeName): void {
    for (const plan of this.#of(source)) if (plan.state === 'prepared') this.drop(plan);
  }

  get size(): number {
    return this.#plans.size;
  }

  #of(source: QubeName): Plan[] {
    return [...this.#plans.values()].filter(({ caller }) => caller.source === source);
  }

  #forget(): void {
    const now = this.#monotonicMs();
    for (const plan of this.#plans.values()) {
      if (now >= plan.until && (plan.state === 'prepared' || isOver(plan.state))) this.drop(plan);
    }
  }
}
