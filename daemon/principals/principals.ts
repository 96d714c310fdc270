// The station "who is asking": from a source and a body to a caller and a request, or to a refusal that tells nothing. Cheap
// reasons come first, and at most one signature is checked per call. A service never sees an envelope.
import type { KeyObject } from 'node:crypto';
import type { QubeName } from '../names.ts';
import { isTooDeep } from '../nesting.ts';
import { accountOf, type Caller, DEFAULT_PRINCIPAL } from './caller.ts';
import { type Addressed, type Envelope, envelopeIn, isEnvelope, isSignedBy } from './envelope.ts';
import { keyObject, type Principal } from './file.ts';
import type { Account, Ledger } from './ledger.ts';
import type { Registry } from './registry.ts';
import { mayRead } from './verdict.ts';

/** A call as it came through the door. */
export interface Incoming extends Addressed {
  readonly source: QubeName;
  readonly body: { readonly json: unknown } | null;
}

export interface Admitted {
  readonly kind: 'admitted';
  readonly caller: Caller;
  /** The request itself; null where it is not JSON. */
  readonly body: { readonly json: unknown } | null;
}

/** `principal` only where it is known to have been that one: never what a caller claims. */
export interface Denied {
  readonly kind: 'denied';
  readonly rule: string;
  readonly principal: string;
  /** What was asked for, where that is known; null where it is not, or is not JSON. */
  readonly body: { readonly json: unknown } | null;
}

/** Who it was, where that is not known. */
export const UNKNOWN_PRINCIPAL = 'unknown';

const denied = (rule: string, principal = UNKNOWN_PRINCIPAL, body: Denied['body'] = null): Denied => ({
  ...{ kind: 'denied', rule, principal, body },
});

export interface PrincipalsParts {
  readonly registry: Registry;
  readonly ledger: Ledger;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
}

export class Principals {
  readonly #registry: Registry;
  readonly #ledger: Ledger;
  readonly #now: () => number;
  /** Keys as node:crypto takes them, made at their first use. */
  readonly #keys = new WeakMap<Principal, KeyObject>();

  constructor({ registry, ledger, now }: PrincipalsParts) {
    this.#registry = registry;
    this.#ledger = ledger;
    this.#now = now;
  }

  /**
   * Who is calling, and for what. `kind` is whether the call may change something: then all that it uses of its quotas is on
   * disk first. Answers at once wherever it need not wait for the disk. Never rejects.
   */
  admit(call: Incoming, kind: 'read' | 'change'): Admitted | Denied | Promise<Admitted | Denied> {
    const json = call.body?.json;
    if (isEnvelope(json) && this.#registry.isInUse) return this.#signed(call, envelopeIn(json), kind);
    return this.#unsigned(call, kind);
  }

  /** A caller that was admitted, with the limits as they are now; null for one that would not be admitted any more. */
  present({ source, principal, signed }: Caller): Caller | null {
    if (signed === true) {
      const of = this.#registry.signed(principal, source);
      return of && { source, principal, signed, limits: of.limits };
    }
    const unsigned = this.#registry.unsigned(source);
    if (unsigned?.kind === 'default') return principal === DEFAULT_PRINCIPAL ? { source, principal } : null;
    return unsigned?.of.name === principal ? { source, principal, limits: unsigned.of.limits } : null;
  }

  /** Counts so many calls more. Gives the rule that refuses them where the quota has no room for all or cannot be kept, else null. */
  async takeCalls(caller: Caller, count: number): Promise<'principal-calls' | 'principal-ledger' | null> {
    const quota = caller.limits?.calls ?? null;
    if (quota === null) return null;
    const account = this.#ledger.account(accountOf(caller));
    const now = this.#now();
    if (account.calls.count(now) + count > quota) return 'principal-calls';
    for (let call = 0; call < count; call++) account.calls.add(now);
    account.used();
    return (await account.settled()) ? null : 'principal-ledger';
  }

  /** Whether the caller's quota has room for one more question within this hour. */
  hasQuestionLeft(caller: Caller): boolean {
    const quota = caller.limits?.questions ?? null;
    if (quota === null) return true;
    return this.#ledger.account(accountOf(caller)).questions.count(this.#now()) < quota;
  }

  /** Counts a question that is about to be shown. Gives the rule that refuses it where the quota is used up or cannot be kept, else null. */
  async takeQuestion(caller: Caller): Promise<'principal-questions' | 'principal-ledger' | null> {
    if ((caller.limits?.questions ?? null) === null) return null;
    if (!this.hasQuestionLeft(caller)) return 'principal-questions';
    const account = this.#ledger.account(accountOf(caller));
    account.questions.add(this.#now());
    account.used();
    return (await account.settled()) ? null : 'principal-ledger';
  }

  #unsigned({ source, body }: Incoming, kind: 'read' | 'change'): Admitted | Denied | Promise<Admitted | Denied> {
    const unsigned = this.#registry.unsigned(source, kind);
    if (unsigned === null) return denied('principal-unsigned', UNKNOWN_PRINCIPAL, body);
    if (unsigned.kind === 'default')
      return { kind: 'admitted', caller: { source, principal: DEFAULT_PRINCIPAL }, body };
    const { name, limits } = unsigned.of;
    const caller: Caller = { source, principal: name, limits };
    const admitted: Admitted = { kind: 'admitted', caller, body };
    if (limits.calls === null && limits.questions === null) return withRisk(admitted, kind);
    const account = this.#ledger.account(accountOf(caller));
    return this.#counted(admitted, account, kind, null);
  }

  #signed(call: Incoming, envelope: Envelope | null, kind: 'read' | 'change') {
    if (envelope === null) return denied('principal-envelope');
    const { source } = call;
    const principal = this.#registry.signed(envelope.principal, source);
    if (principal === null) return denied('principal-unknown');
    const caller: Caller = { source, principal: principal.name, signed: true, limits: principal.limits };
    const account = this.#ledger.account(accountOf(caller));
    if (!account.isKnown) return denied('principal-ledger');
    const { time, number } = envelope;
    if (!account.freshness.isNew(time, number, this.#now())) return denied('principal-replay');
    const key = this.#keyOf(principal);
    if (key === null || !isSignedBy(key, call, envelope)) return denied('principal-signature');
    account.freshness.take(time, number);
    account.tookUpTo(time);
    return this.#counted({ kind: 'admitted', caller, body: requestIn(envelope.call) }, account, kind, time);
  }

  /** Counts the call, and waits for the disk where the call may change something or a crash could make it new again. */
  #counted(
    admitted: Admitted,
    account: Account,
    kind: 'read' | 'change',
    time: number | null,
  ): Admitted | Denied | Promise<Admitted | Denied> {
    const { body, caller } = admitted;
    const { principal, limits } = caller;
    const now = this.#now();
    if (limits && limits.calls !== null) {
      if (account.calls.count(now) >= limits.calls) return denied('principal-calls', principal, body);
      account.calls.add(now);
      account.used();
    }
    const answer = withRisk(admitted, kind);
    if (kind === 'read' && (time === null || account.covers(time))) return answer;
    return account
      .settled()
      .then((isSettled) => (isSettled || kind === 'read' ? answer : denied('principal-ledger', principal, body)));
  }

  #keyOf(principal: Principal): KeyObject | null {
    const known = this.#keys.get(principal);
    if (known) return known;
    const key = principal.key === null ? null : keyObject(principal.key);
    if (key) this.#keys.set(principal, key);
    return key;
  }
}

const withRisk = (admitted: Admitted, kind: 'read' | 'change'): Admitted | Denied =>
  kind === 'change' || mayRead(admitted.caller)
    ? admitted
    : denied('principal-risk', admitted.caller.principal, admitted.body);

/** The request in the signed text, as the same text would be read as a body: nothing stands for `{}`. */
const requestIn = (text: string): Admitted['body'] => {
  if (text === '') return { json: {} };
  // Inside the envelope its brackets stand in a string, where nobody counted them.
  if (isTooDeep(Buffer.from(text, 'utf8'))) return null;
  try {
    return { json: JSON.parse(text) };
  } catch {
    return null;
  }
};
