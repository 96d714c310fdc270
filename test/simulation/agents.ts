// The agents: each call that they make, how, and what they remember of the answers.
import { MAX_CALLS_PER_SOURCE } from '../../daemon/qrexec/door.ts';
import { parseBody } from '../../daemon/qrexec/frame.ts';
import { SERVICES } from '../../daemon/services/registry.ts';
import { behaviourOf } from './caller.ts';
import { Callers } from './callers.ts';
import { aCall, type SimulatedCall } from './calls.ts';
import type { Step } from './deed.ts';
import type { Life } from './life.ts';
import type { Machine } from './machine.ts';
import { UNSIGNED } from './quotas.ts';

const CALLS_BETWEEN_NEWS = 100;

export class Agents {
  readonly #machine: Machine;
  readonly #progress: ((calls: number) => void) | undefined;
  readonly #callers: Callers;
  #plans: { readonly nonce: string; readonly source: string; readonly calls: unknown }[] = [];
  /** How many were made. */
  calls = 0;

  constructor(machine: Machine, progress: ((calls: number) => void) | undefined) {
    this.#machine = machine;
    this.#progress = progress;
    this.#callers = new Callers({
      ...{ monotonicMs: machine.clock.monotonicMs, wait: machine.wait },
      ...{ wrong: machine.watch.wrong, tell: machine.history.tell, isStopping: () => machine.isStopping },
    });
  }

  /** How many of them wait for an answer. */
  get held(): number {
    return this.#callers.held;
  }

  /** The broker is gone, with the connections and what it knew of plans. */
  forget(): void {
    this.#callers.forget();
    this.#machine.signers?.forget();
    this.#plans = [];
  }

  call(call: SimulatedCall = aCall(this.#machine.chance, this.#plans)): void {
    const { chance, signers, deeds, history, watch, quotas, lives, outside } = this.#machine;
    const life = this.#machine.life as Life;
    const envelope = signers && chance.is(signers.limits.size > 0 ? 0.8 : 0.4) ? signers.signed(call) : null;
    const { source, service, argument, body } = envelope?.call ?? call;
    const behaviour = behaviourOf({ source, service, argument, body }, chance);
    const sent = behaviour.body ? parseBody(behaviour.body)?.json : undefined;
    // What does not arrive whole is no envelope, but an unsigned call that is broken.
    const arrived = envelope && behaviour.body?.equals(body) ? envelope : null;
    const json = arrived ? parseBody(arrived.body)?.json : sent;
    const plan = service === 'qmcp.Commit' ? argument : null;
    const deed = deeds.begin({
      ...{ kind: 'call', source, service, request: json, life: lives, plan },
      ...(plan !== null && { steps: this.#stepsOf(plan) }),
      ceiling: arrived?.ceiling ?? 'full',
      signed: arrived ? (arrived.isGood ? 'good' : 'bad') : 'no',
    });
    this.calls += 1;
    if (this.calls % CALLS_BETWEEN_NEWS === 0) this.#progress?.(this.calls);
    const said = body.toString('latin1', 0, 200);
    history.tell(`call ${deed.number} ${behaviour.manner} ${source} ${service} ${argument} ${said}`);
    this.#callers.call(life.door, {
      ...{ deed, behaviour, sent },
      isCurrent: () => lives === this.#machine.lives && !outside.isDead,
      handle: (request) => {
        // What came too late is no envelope.
        const principal = arrived && !deed.isLate ? arrived.principal : UNSIGNED;
        if (lives === this.#machine.lives) quotas.comes(deed, principal, SERVICES.get(service)?.kind === 'read');
        return deeds.current.run(deed, () => life.handle(request));
      },
      answered: (reply) => {
        history.tell(`reply ${deed.number} ${JSON.stringify(reply)}`);
        // What comes during a stop is refused as if there were no such service.
        if (this.#machine.isStopping) deed.isTroubled = true;
        watch.replies.leaves(deed, { ...reply });
        if (reply.ok) quotas.isGranted(deed);
        quotas.isAnswered(deed);
        if (arrived && !deed.isLate && reply.ok) signers?.wasAnswered(arrived);
        if (service === 'qmcp.Prepare' && reply.ok) this.#prepared(String(reply.nonce), source, deed.request);
      },
    });
  }

  /** More calls of one source at once than may be. */
  burst(): void {
    const { chance } = this.#machine;
    const { source } = aCall(chance, this.#plans);
    const count = chance.pick([MAX_CALLS_PER_SOURCE, 2 * MAX_CALLS_PER_SOURCE, 3 * MAX_CALLS_PER_SOURCE]);
    if (!this.#machine.life || this.#machine.isStopping) return;
    for (let calls = 0; calls < count; calls++) this.call({ ...aCall(chance, this.#plans), source });
  }

  #prepared(nonce: string, source: string, request: unknown): void {
    this.#plans.push({ nonce, source, calls: (request as { calls: unknown }).calls });
    if (this.#plans.length > 12) this.#plans.shift();
  }

  #stepsOf(plan: string): readonly Step[] {
    const calls = this.#plans.find(({ nonce }) => nonce === plan)?.calls;
    return Array.isArray(calls) ? (calls as Step[]) : [];
  }
}
