// qmcp.Prepare, Commit, Status and Cancel (product, "Plans"): several calls, one question. A plan is the walk of its
// calls, stopped after the verdict and taken up again at the approval; its effects go the same way as any other.
import type { WalkParts } from '../broker.ts';
import { confirm } from '../confirm/confirmer.ts';
import type { Asker, QuestionQueue } from '../confirm/queue.ts';
import { isNonce, isQubeName, type Nonce, type QubeName, type Uuid } from '../names.ts';
import { mayRead } from '../principals/verdict.ts';
import { type Call, NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import { adminOver } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { StandIns } from '../services/resolve.ts';
import { type Caller, isRefusal, type Wish } from '../services/service.ts';
import { eventsDelivered, Walk } from '../walk.ts';
import { OPEN_MS, type Plan, PlanStore } from './plan-store.ts';
import { planView } from './plan-view.ts';
import { type Rehearsed, rehearse, type Stage } from './rehearse.ts';
import { parseCommit, parsePlan, type Step } from './request.ts';
import { factsOf } from './view-facts.ts';

export interface PlanParts extends WalkParts {
  readonly queue: QuestionQueue;
  /** Runs work while no other call changes these qubes, nor, where it is `budgeted`, draws on the shared budget. */
  readonly alone: <T>(names: readonly string[], budgeted: boolean, work: () => Promise<T>) => Promise<T>;
  readonly nextCall: () => number;
}

const NOT_JSON = refuse('invalid JSON input');
const PREPARE = 'qmcp.Prepare';
const COMMIT = 'qmcp.Commit';
/** How long the steps of a plan wait, all together, for what earlier ones set going, shutdowns above all, before it stops. */
export const MAX_WAITED_MS = 120_000;
const LOOK_AGAIN_MS = 500;

export class Plans {
  readonly #parts: PlanParts;
  readonly #store: PlanStore;

  constructor(parts: PlanParts) {
    this.#parts = parts;
    this.#store = new PlanStore(parts.monotonicMs);
    parts.fleet.watch((name) => this.#store.voidOn(name));
    parts.restraint.onFreeze((source) => this.#store.voidOf(source));
  }

  /** Answers a call of one of the four services; null for any other. Rejects only for what nobody planned. */
  handle({ service, argument, body }: Call, caller: Caller): Promise<Reply> | null {
    const json = body?.json;
    switch (service) {
      case PREPARE:
        return body === null ? Promise.resolve(NOT_JSON) : this.#prepare(json, caller);
      case COMMIT:
        return this.#commit(this.#find(argument, caller), parseCommit(json));
      case 'qmcp.Status':
        return Promise.resolve(status(this.#find(argument, caller)));
      case 'qmcp.Cancel':
        return Promise.resolve(this.#cancel(this.#find(argument, caller)));
      default:
        return null;
    }
  }

  #find(nonce: string, caller: Caller): Plan | null {
    if (this.#parts.restraint.isFrozen(caller.source)) return null;
    return isNonce(nonce) ? this.#store.find(nonce, caller) : null;
  }

  // ---- Prepare

  async #prepare(json: unknown, caller: Caller): Promise<Reply> {
    const { fleet, call, randomBytes, monotonicMs, restraint } = this.#parts;
    const steps = parsePlan(json);
    if (isRefusal(steps)) return steps;
    if (!this.#store.hasRoom(caller.source)) return NOT_FOUND;
    // Each step is a call, and the first has been counted: else a plan would be a way around the quota.
    const rule = await this.#parts.principals.takeCalls(caller, steps.length - 1);
    if (rule !== null) return this.#overQuota(steps.length, caller, rule);
    const nonce = randomBytes(32).toString('hex') as Nonce;
    const stages = this.#stages(steps, caller, nonce);
    if (isRefusal(stages)) return NOT_FOUND;
    const names = namesOf(stages);
    const revision = fleet.revision(names);
    if (revision === null) return NOT_FOUND;
    const rehearsed = await unlessAway(async () =>
      rehearse(stages, factsOf(await fleet.snapshot(), call), nonce, caller, this.#parts),
    );
    // Only now, so that it takes a frozen source as long as others to be refused (I6).
    if (restraint.isFrozen(caller.source)) return NOT_FOUND;
    // What happened to its qubes since would void it, had it been there already.
    if (!rehearsed || fleet.revision(names) !== revision || !this.#store.hasRoom(caller.source)) return NOT_FOUND;
    const { digest } = rehearsed;
    const until = monotonicMs() + OPEN_MS;
    const ended = Promise.resolve();
    this.#store.add({
      nonce,
      call: this.#parts.nextCall(),
      caller,
      stages,
      digest,
      names,
      state: 'prepared',
      results: [],
      waitedMs: 0,
      cancelled: new AbortController(),
      until,
      ended,
    });
    return { ok: true, nonce, digest, expires_in: OPEN_MS / 1000, steps: steps.length };
  }

  #overQuota(steps: number, { source, principal }: Caller, rule: string): Refusal {
    const ofCall = { call: this.#parts.nextCall(), source, principal, service: PREPARE, action: 'admit', qubes: [] };
    this.#parts.refusals.note({ ...ofCall, args: { steps }, type: 'decision', verdict: 'refuse', rule });
    return NOT_FOUND;
  }

  #stages(steps: readonly Step[], caller: Caller, plan: Nonce): Stage[] | Refusal {
    const stages: Stage[] = [];
    for (const { service, json } of steps) {
      if (service.kind === 'read') {
        if (!mayRead(caller)) return NOT_FOUND;
        stages.push({ kind: 'read', service, json, reply: null });
        continue;
      }
      const wish = service.parse(json, this.#parts.settings.current());
      if (isRefusal(wish)) return wish;
      stages.push({ kind: 'change', walk: new Walk(this.#parts.nextCall(), service, wish, caller, this.#parts, plan) });
    }
    return stages;
  }

  // ---- Commit

  async #commit(plan: Plan | null, wait: boolean | null): Promise<Reply> {
    // I3: only a prepared plan can be committed, and from here on it is not prepared any more.
    if (plan?.state !== 'prepared' || wait === null) return NOT_FOUND;
    plan.state = 'asked';
    plan.ended = this.#run(plan)
      .catch((error: unknown) => {
        if (!(error instanceof AdminError)) this.#parts.unplanned(error, COMMIT);
        plan.state = plan.state === 'running' ? 'failed' : 'refused';
      })
      .finally(() => this.#store.over(plan));
    if (wait) await plan.ended;
    return status(plan);
  }

  async #run(plan: Plan): Promise<void> {
    const { fleet, queue } = this.#parts;
    let revision = fleet.revision(plan.names);
    const first = await this.#rehearseLive(plan);
    const isBegun =
      first?.verdict === 'ask'
        ? await queue.turn(this.#askerOf(plan), async (waited) => {
            if (waited) revision = fleet.revision(plan.names);
            const live = waited ? await this.#rehearseLive(plan) : first;
            return live !== null && this.#asked(plan, live, revision);
          })
        : first !== null && (await this.#alone(plan, null));
    if (!isBegun) plan.state = 'refused';
  }

  /** On live facts, and the same as was prepared; null otherwise. */
  async #rehearseLive(plan: Plan): Promise<Rehearsed | null> {
    const { caller, stages, digest, nonce, cancelled } = plan;
    if (cancelled.signal.aborted) return null;
    const live = await unlessAway(() => rehearse(stages, this.#parts.call, nonce, caller, this.#parts, 'in words'));
    return live?.digest === digest ? live : null;
  }

  /** `revision`: of the plan's qubes before the words of `live` were made. */
  async #asked(plan: Plan, live: Rehearsed, revision: string | null): Promise<boolean> {
    const { fleet, monotonicMs, settings, restraint, nonces, call } = this.#parts;
    const { source } = plan.caller;
    if (!restraint.mayAsk(source)) return this.#refused(plan, live, 'questions-rest');
    const views = live.resolved.flatMap(({ step, view }) => (view ? [{ step, view }] : []));
    const view = await planView(plan.stages.length, views, plan.caller, adminOver(call));
    if (!view) return false;
    const rule = await this.#parts.principals.takeQuestion(plan.caller);
    if (rule !== null) return this.#refused(plan, live, rule);
    // I5: as with a single call (walk.ts).
    if (fleet.revision(plan.names) !== revision) return false;
    const deadline = monotonicMs() + settings.current().consentTimeoutSeconds * 1000;
    const approval = await confirm(this.#parts, {
      source,
      ofCall: this.#ofPlan(plan, live),
      digest: live.digest,
      words: async () => view,
      deadline,
      withdrawn: plan.cancelled.signal,
    });
    if (approval.kind === 'no' || !nonces.consume(approval.nonce, live.digest)) return false;
    return this.#alone(plan, approval.untouched);
  }

  #refused(plan: Plan, live: Rehearsed, rule: string): false {
    this.#parts.refusals.note({ ...this.#ofPlan(plan, live), type: 'decision', verdict: 'refuse', rule });
    return false;
  }

  /**
   * Once more, then for good, while nobody else changes these qubes. False when nothing was begun. `approved`: whether the
   * yes still holds; null where nobody was asked, and then nothing may be to ask (I1).
   */
  #alone(plan: Plan, approved: (() => boolean) | null): Promise<boolean> {
    // A plan can take minutes: one that creates nothing must not keep everybody else from creating.
    return this.#parts.alone(plan.names, plan.stages.some(isBudgeted), async () => {
      const again = await this.#rehearseLive(plan);
      await eventsDelivered();
      const mayBegin = again !== null && (approved ? approved() : again.verdict === 'allow');
      if (!mayBegin || plan.cancelled.signal.aborted || this.#parts.stopping.aborted) return false;
      const { digest, nonce } = plan;
      const intent = { ...this.#ofPlan(plan, again), type: 'intent', digest, nonce } as const;
      // I3, I4: the plan's nonce is used up on disk before its first step.
      try {
        await this.#parts.journal.append(intent);
      } catch {
        return false;
      }
      await this.#carryOut(plan, again, approved !== null);
      return true;
    });
  }

  async #carryOut(plan: Plan, rehearsed: Rehearsed, isApproved: boolean): Promise<void> {
    const { journal, monotonicMs } = this.#parts;
    const began = monotonicMs();
    plan.state = 'running';
    let isWhole = true;
    for (const [index, stage] of plan.stages.entries()) {
      if (plan.cancelled.signal.aborted || this.#parts.stopping.aborted) isWhole = false;
      else if (stage.kind === 'read') plan.results.push(stage.reply ?? NOT_FOUND);
      else {
        const reply = await this.#step(plan, index + 1, stage.walk, rehearsed, isApproved);
        plan.results.push(reply);
        isWhole = reply.ok;
      }
      if (!isWhole) break;
    }
    plan.state = isWhole ? 'done' : 'failed';
    journal.note({
      ...this.#ofPlan(plan, rehearsed),
      type: 'outcome',
      ok: isWhole,
      error: null,
      cause: isWhole ? null : `stopped after ${plan.results.length} of ${plan.stages.length} steps`,
      duration_ms: Math.round(monotonicMs() - began),
    });
  }

  /** One step for real: it must be what was rehearsed, with the qubes that exist now in place of their stand-ins. */
  async #step(plan: Plan, step: number, walk: Walk, rehearsed: Rehearsed, isApproved: boolean): Promise<Reply> {
    const expected = rehearsed.resolved.find((each) => each.step === step)?.resolved.digest;
    const isUnsettled = setsGoing(plan.stages.slice(0, step - 1), walk.wish);
    for (;;) {
      const since = this.#parts.monotonicMs();
      const resolved = await unlessAway(async () => walk.resolve(this.#parts, await this.#standIns(rehearsed)));
      if (resolved?.kind === 'resolved' && resolved.digest === expected) {
        // I1: the operator may have begun to want a question for it since the plan began without one.
        return isApproved || resolved.verdict.kind === 'allow' ? walk.carryOut(resolved, null) : walk.service.opaque;
      }
      const mayYetSettle =
        resolved?.kind === 'resolved' && isUnsettled && plan.waitedMs < MAX_WAITED_MS && !plan.cancelled.signal.aborted;
      if (!mayYetSettle || this.#parts.stopping.aborted) return walk.service.opaque;
      await this.#parts.pause(LOOK_AGAIN_MS);
      plan.waitedMs += this.#parts.monotonicMs() - since;
    }
  }

  async #standIns({ born, qubes }: Rehearsed): Promise<StandIns> {
    // Of a name that a step frees and another takes, the qube that was there before is no stand-in's.
    const before = new Set<string>(qubes.map(({ uuid }) => uuid));
    const real = new Map<Uuid, Uuid>();
    for (const [name, standIn] of born) {
      const row = await this.#parts.admin.row(name);
      if (row && !before.has(row.uuid)) real.set(row.uuid, standIn);
    }
    const all = new Set(born.values());
    return { of: (uuid) => real.get(uuid) ?? uuid, has: (uuid) => all.has(uuid) };
  }

  // ---- Cancel

  #cancel(plan: Plan | null): Reply {
    if (!plan || plan.state === 'done' || plan.state === 'failed' || plan.state === 'refused') return NOT_FOUND;
    plan.cancelled.abort();
    if (plan.state === 'prepared') this.#store.drop(plan);
    return { ok: true };
  }

  #askerOf({ caller: { source, principal }, names }: Plan): Asker {
    return { source, principal, service: COMMIT, action: 'commit', names };
  }

  #ofPlan({ call, caller: { source, principal }, nonce, stages }: Plan, { qubes }: Rehearsed) {
    const args = { steps: stages.length, changes: stages.filter(({ kind }) => kind === 'change').length };
    return { call, source, principal, service: COMMIT, action: 'commit', qubes, args, plan: nonce };
  }
}

const namesOf = (stages: readonly Stage[]): string[] => {
  const named = stages.flatMap((stage) =>
    stage.kind === 'read' ? [] : [...Object.values(stage.walk.wish.roles), ...(stage.walk.wish.claims ?? [])],
  );
  return [...new Set(named)].filter((name): name is QubeName => isQubeName(name));
};

const isBudgeted = (stage: Stage): boolean => stage.kind === 'change' && stage.walk.wish.budgeted === true;

/** Whether an earlier step began what takes its time on a qube of this one. */
const setsGoing = (earlier: readonly Stage[], { roles }: Wish): boolean => {
  const names = new Set(Object.values(roles));
  const isOnIts = ({ roles }: Wish): boolean => Object.values(roles).some((name) => names.has(name));
  return earlier.some(
    (stage) => stage.kind === 'change' && SLOW_ACTIONS.has(stage.walk.wish.action) && isOnIts(stage.walk.wish),
  );
};

const SLOW_ACTIONS: ReadonlySet<string> = new Set(['start', 'shutdown']);

/** What a caller may know of its plan. A refused one is refused as everything is. */
const status = (plan: Plan | null): Reply => {
  switch (plan?.state) {
    case 'done':
    case 'failed':
      return { ok: true, state: plan.state, results: plan.results };
    case 'running':
      return { ok: true, state: 'running', results: plan.results };
    case 'prepared':
    case 'asked':
      return { ok: true, state: 'pending' };
    default:
      return NOT_FOUND;
  }
};

const unlessAway = async <T>(work: () => Promise<T>): Promise<T | null> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AdminError) return null;
    throw error;
  }
};
