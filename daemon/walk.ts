// One change call on its way, as the stations that the broker and the plans both send it through.
import type { WalkParts } from './broker.ts';
import { type Approval, confirm } from './confirm/confirmer.ts';
import { LEFT, UNSAVED } from './journal/open-intents.ts';
import type { Decision, NamedQube } from './journal/record.ts';
import { UndoUnavailable } from './journal/undo-store.ts';
import { isQubeName, type Nonce, type QubeName } from './names.ts';
import type { Reply } from './qrexec/door.ts';
import { AdminError } from './qubesadmin/wire.ts';
import { type Hands, look, type Refused, type Resolved, resolve, type StandIns } from './services/resolve.ts';
import type { Caller, ChangeService, Wish } from './services/service.ts';

/** One call: the same request, resolved as often as the way needs it. */
export class Walk {
  readonly service: ChangeService;
  readonly wish: Wish;
  readonly #call: number;
  readonly #caller: Caller;
  readonly #parts: WalkParts;
  readonly #arrival: number;
  /** The plan that it is a step of. */
  readonly #plan: Nonce | null;

  constructor(
    call: number,
    service: ChangeService,
    wish: Wish,
    caller: Caller,
    parts: WalkParts,
    plan: Nonce | null = null,
  ) {
    this.service = service;
    this.wish = wish;
    this.#call = call;
    this.#caller = caller;
    this.#parts = parts;
    this.#arrival = parts.monotonicMs();
    this.#plan = plan;
  }

  /**
   * By live facts, unless a rehearsal stands in for them. `tells`: a plan that is only prepared leaves no record but of a
   * refusal, which is counted; else preparing again and again would wash the history out of the journal (R13).
   */
  async resolve(
    hands: Hands = this.#parts,
    standIns?: StandIns,
    tells: 'all' | 'refusals' = 'all',
  ): Promise<Resolved | Refused> {
    const { settings, now, principals, restraint } = this.#parts;
    // The operator may have taken something away since the call came in.
    const caller = principals.present(this.#caller);
    try {
      if (caller === null || restraint.isFrozen(this.#caller.source)) {
        await look(this.wish, this.#caller, hands, settings.current());
        return this.#refused(caller === null ? 'principal-gone' : 'frozen');
      }
      const resolved = await resolve(this.service, this.wish, caller, hands, settings.current(), now(), standIns);
      if (resolved.kind === 'refused') this.#decided(resolved.qubes, 'refuse', resolved.rule);
      else if (tells === 'all') this.#decided(resolved.qubes, resolved.verdict.kind, resolved.verdict.rule);
      return resolved;
    } catch (error) {
      this.#decided([], 'refuse', error instanceof AdminError ? 'qubesd-unavailable' : 'unplanned');
      throw error;
    }
  }

  #refused(rule: string): Refused {
    this.#decided([], 'refuse', rule);
    return { kind: 'refused', refusal: this.service.opaque, rule, qubes: [] };
  }

  #decided(qubes: readonly NamedQube[], verdict: Decision['verdict'], rule: string): void {
    const decision = { ...this.#ofCall(qubes), type: 'decision', verdict, rule } as const;
    if (verdict === 'refuse') this.#parts.refusals.note(decision);
    else this.#parts.journal.note(decision);
  }

  /** Whether the source has not been denied so often that its questions rest. */
  mayAsk({ qubes }: Resolved): boolean {
    const mayAsk = this.#parts.restraint.mayAsk(this.#caller.source);
    if (!mayAsk) this.#decided(qubes, 'refuse', 'questions-rest');
    return mayAsk;
  }

  async confirm({ operation, qubes, digest }: Resolved): Promise<Approval> {
    const rule = await this.#parts.principals.takeQuestion(this.#caller);
    if (rule !== null) {
      this.#decided(qubes, 'refuse', rule);
      return { kind: 'no' };
    }
    const deadline = this.#arrival + this.#parts.settings.current().consentTimeoutSeconds * 1000;
    const ofCall = this.#ofCall(qubes);
    return confirm(this.#parts, {
      source: this.#caller.source,
      ofCall,
      digest,
      words: () => operation.describe(),
      deadline,
    });
  }

  /** I1, I4: only after allow or a consumed nonce, with the intent on disk before and the outcome after. */
  async carryOut({ operation, qubes, digest }: Resolved, nonce: Nonce | null): Promise<Reply> {
    const { journal, undo, fleet, quarantine, now, monotonicMs } = this.#parts;
    const { source, principal } = this.#caller;
    const ofCall = this.#ofCall(qubes);
    const began = monotonicMs();
    let cause: string | null = null;
    let seq: number;
    try {
      ({ seq } = await journal.append({ ...ofCall, type: 'intent', digest, nonce }));
    } catch {
      return this.service.opaque;
    }
    const reply = await operation
      .perform({
        now,
        step: async (step, qube, known = null) => {
          const record = { type: 'step', call: this.#call, step, qube, ...(known && { known }) } as const;
          const told = journal.append(record);
          // Of what is left the journal learns as soon as it can be written, or the outcome would close the intent.
          await (step === LEFT ? told.catch(() => journal.note(record)) : told);
        },
        keep: ({ name, uuid }, change) =>
          undo.keep({ seq, at: now(), service: this.service.name, source, principal, qube: { name, uuid }, change }),
        order: (covers) => quarantine.order(covers),
        quarantine: async ({ name, uuid }) => {
          if (await quarantine.keep({ name, uuid, at: now() })) return;
          // Then the intent is all by which a later start can know of it.
          const qube = uuid === null ? null : { role: 'created', name, uuid };
          journal.note({ type: 'step', call: this.#call, step: UNSAVED, qube });
        },
        left: (child, order) => this.#parts.left({ seq, child, order }),
        cameToNothing: async (child) => {
          const { service, action } = ofCall;
          const qubes = child ? [child] : [];
          journal.note({ type: 'finding', intent_seq: seq, service, action, finding: 'not-done', qubes });
          const name = this.wish.claims?.[0];
          if (isQubeName(name)) await quarantine.forget(name);
        },
        pause: this.#parts.pause,
        changed: (name) => fleet.changed(name as QubeName),
        cause: (word) => {
          cause = word;
        },
      })
      .catch((error: unknown) => {
        if (error instanceof AdminError) {
          cause = error.type ?? error.kind;
          // What qubesd refused did not come about; of anything else that is not known.
          if (error.kind === 'exception') undo.spend(seq);
        } else if (error instanceof UndoUnavailable) {
          cause = 'undo unavailable';
          this.#parts.notice(error.message, this.service.name);
        } else {
          cause = 'unplanned';
          this.#parts.unplanned(error, this.service.name);
        }
        return operation.failed;
      });
    for (const { name } of qubes) fleet.changed(name as QubeName);
    const duration_ms = Math.round(monotonicMs() - began);
    journal.note({
      ...ofCall,
      type: 'outcome',
      ok: reply.ok,
      error: reply.ok ? null : String(reply.error),
      cause,
      duration_ms,
    });
    return reply;
  }

  #ofCall(qubes: readonly NamedQube[]) {
    const { source, principal } = this.#caller;
    const { action, args } = this.wish;
    const plan = this.#plan === null ? {} : { plan: this.#plan };
    return { call: this.#call, source, principal, service: this.service.name, action, qubes, args, ...plan };
  }
}

/** Lets events that qubesd sent before its last answer arrive: they are readable by now, if not yet read. */
export const eventsDelivered = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
