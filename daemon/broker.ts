// The way a call goes, station by station: frame -> request -> operation -> verdict -> approval -> effect -> reply.
// The frame came through the door (qrexec/); the reply leaves by it.
import { type ConfirmerParts, confirm } from './confirm/confirmer.ts';
import { QuestionQueue } from './confirm/queue.ts';
import type { Decision, NamedQube } from './journal/record.ts';
import type { Nonce, QubeName } from './names.ts';
import { type Call, NOT_FOUND, type Reply } from './qrexec/door.ts';
import type { Admin } from './qubesadmin/admin.ts';
import type { Tools } from './qubesadmin/tool.ts';
import { AdminError } from './qubesadmin/wire.ts';
import { SERVICES } from './services/registry.ts';
import { type Refused, type Resolved, resolve } from './services/resolve.ts';
import { Serial } from './services/serial.ts';
import { type Caller, type ChangeService, isRefusal, type ReadService, type Wish } from './services/service.ts';
import type { SettingsReader } from './settings/open.ts';

export interface BrokerParts extends ConfirmerParts {
  readonly admin: Admin;
  readonly tools: Tools;
  readonly settings: SettingsReader;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  /** Told of what nobody planned; the caller only learns the service's constant label. */
  readonly unplanned: (error: unknown, service: string) => void;
  /** Told, for the operator's log, what a reply had to leave out. */
  readonly notice: (sentence: string, service: string) => void;
  /** Resolves after so many milliseconds; a timer unless told. */
  readonly pause?: (ms: number) => Promise<void>;
}

/** The one principal that a source has for unsigned calls. */
const DEFAULT_PRINCIPAL = 'default';
const BUDGET = 'budget';

export class Broker {
  readonly #parts: BrokerParts;
  readonly #queue = new QuestionQueue();
  readonly #serial = new Serial();
  #calls = 0;

  constructor(parts: BrokerParts) {
    this.#parts = parts;
    parts.stopping.addEventListener('abort', () => this.#queue.close());
  }

  /** Answers one call. Never throws and never rejects: what nobody planned is a no (I7). */
  handle = (call: Call): Reply | Promise<Reply> => {
    const service = SERVICES.get(call.service);
    if (!service || this.#parts.stopping.aborted) return NOT_FOUND;
    if (call.body === null && service.malformed) return service.malformed;
    const json = call.body?.json;
    const caller: Caller = { source: call.source, principal: DEFAULT_PRINCIPAL };
    if (service.kind === 'read' && this.#parts.restraint.isFrozen(call.source)) return NOT_FOUND;
    try {
      const reply = service.kind === 'read' ? this.#read(service, json, caller) : this.#change(service, json, caller);
      return reply instanceof Promise ? reply.catch((error) => this.#unplanned(error, service.name)) : reply;
    } catch (error) {
      return this.#unplanned(error, service.name);
    }
  };

  /** Work of the broker's own, under the number of a call, while no call changes these qubes. */
  housekeeping = <T>(names: readonly QubeName[], work: (call: number) => Promise<T>): Promise<T> =>
    this.#serial.run(names.map(keyOf), () => work(++this.#calls));

  #read(service: ReadService, json: unknown, caller: Caller): Reply | Promise<Reply> {
    const { fleet, admin, now, stopping } = this.#parts;
    const notice = (sentence: string): void => this.#parts.notice(sentence, service.name);
    const settings = this.#parts.settings.current();
    return service.answer(json, { fleet, admin, settings, caller, now, stopping, notice });
  }

  async #change(service: ChangeService, json: unknown, caller: Caller): Promise<Reply> {
    const wish = service.parse(json, this.#parts.settings.current());
    if (isRefusal(wish)) return wish;
    const walk = new Walk(++this.#calls, service, wish, caller, this.#parts);
    try {
      // Unasked, the operation and its effect are one stretch in which nobody else touches these qubes.
      const first = await this.#alone(wish, async () => {
        const resolved = await walk.resolve();
        return resolved.kind === 'resolved' && resolved.verdict.kind === 'allow'
          ? walk.carryOut(resolved, null)
          : resolved;
      });
      if ('ok' in first) return first;
      if (first.kind === 'refused') return first.refusal;
      const reply = await this.#queue.turn(caller.source, (waited) => this.#asked(walk, first, waited));
      return reply ?? service.opaque;
    } catch (error) {
      if (error instanceof AdminError) return service.unavailable;
      throw error;
    }
  }

  /** The question, and after a yes the operation once more: it must still be the one that was shown (I2, I5). */
  async #asked(walk: Walk, first: Resolved, waited: boolean): Promise<Reply> {
    const asked = waited ? await walk.resolve() : first;
    if (asked.kind === 'refused') return asked.refusal;
    if (asked.operation.obstacle) return asked.operation.obstacle;
    if (!walk.mayAsk(asked)) return walk.service.opaque;
    const approval = await walk.confirm(asked);
    if (approval.kind === 'no') return walk.service.opaque;
    return this.#alone(walk.wish, async () => {
      // I3: the nonce is spent by this try, whatever comes of it.
      if (!this.#parts.nonces.consume(approval.nonce, asked.digest)) return walk.service.opaque;
      const again = await walk.resolve();
      await eventsDelivered();
      const same = again.kind === 'resolved' && again.digest === asked.digest && approval.untouched();
      if (!same) return walk.service.opaque;
      return walk.carryOut(again, approval.nonce);
    });
  }

  /** Work of the broker's own while no creation is half-way. */
  betweenCreations = <T>(work: () => Promise<T>): Promise<T> => this.#serial.run([BUDGET], work);

  #alone<T>(wish: Wish, work: () => Promise<T>): Promise<T> {
    const names = [...Object.values(wish.roles), ...(wish.claims ?? [])].map(keyOf);
    return this.#serial.run([...new Set(names), ...(wish.budgeted ? [BUDGET] : [])], work);
  }

  #unplanned(error: unknown, service: string): Reply {
    this.#parts.unplanned(error, service);
    return NOT_FOUND;
  }
}

/** What work on the qube of this name excludes other work by. */
const keyOf = (name: string): string => `qube ${name}`;

/** One change call on its way: the same request, resolved as often as the way needs it. */
class Walk {
  readonly service: ChangeService;
  readonly wish: Wish;
  readonly #call: number;
  readonly #caller: Caller;
  readonly #parts: BrokerParts;
  readonly #arrival: number;

  constructor(call: number, service: ChangeService, wish: Wish, caller: Caller, parts: BrokerParts) {
    this.service = service;
    this.wish = wish;
    this.#call = call;
    this.#caller = caller;
    this.#parts = parts;
    this.#arrival = parts.monotonicMs();
  }

  async resolve(): Promise<Resolved | Refused> {
    const { settings } = this.#parts;
    if (this.#parts.restraint.isFrozen(this.#caller.source)) {
      this.#decided([], 'refuse', 'frozen');
      return { kind: 'refused', refusal: this.service.opaque, rule: 'frozen', qubes: [] };
    }
    try {
      const resolved = await resolve(this.service, this.wish, this.#caller, this.#parts, settings.current());
      if (resolved.kind === 'refused') this.#decided(resolved.qubes, 'refuse', resolved.rule);
      else this.#decided(resolved.qubes, resolved.verdict.kind, resolved.verdict.rule);
      return resolved;
    } catch (error) {
      this.#decided([], 'refuse', error instanceof AdminError ? 'qubesd-unavailable' : 'unplanned');
      throw error;
    }
  }

  #decided(qubes: readonly NamedQube[], verdict: Decision['verdict'], rule: string): void {
    this.#parts.journal.note({ ...this.#ofCall(qubes), type: 'decision', verdict, rule });
  }

  /** Whether the source has not been denied so often that its questions rest. */
  mayAsk({ qubes }: Resolved): boolean {
    const mayAsk = this.#parts.restraint.mayAsk(this.#caller.source);
    if (!mayAsk) this.#decided(qubes, 'refuse', 'questions-rest');
    return mayAsk;
  }

  async confirm({ operation, qubes, digest }: Resolved) {
    const deadline = this.#arrival + this.#parts.settings.current().consentTimeoutSeconds * 1000;
    const view = await operation.describe();
    return confirm(this.#parts, { source: this.#caller.source, ofCall: this.#ofCall(qubes), digest, view, deadline });
  }

  /** I1, I4: only after allow or a consumed nonce, with the intent on disk before and the outcome after. */
  async carryOut({ operation, qubes, digest }: Resolved, nonce: Nonce | null): Promise<Reply> {
    const { journal, fleet, now, monotonicMs } = this.#parts;
    const ofCall = this.#ofCall(qubes);
    const began = monotonicMs();
    let cause: string | null = null;
    try {
      await journal.append({ ...ofCall, type: 'intent', digest, nonce });
    } catch {
      return this.service.opaque;
    }
    const reply = await operation
      .perform({
        now,
        step: async (step, qube, known = null) => {
          await journal.append({ type: 'step', call: this.#call, step, qube, ...(known && { known }) });
        },
        pause: this.#parts.pause ?? pause,
        changed: (name) => fleet.changed(name as QubeName),
        cause: (word) => {
          cause = word;
        },
      })
      .catch((error: unknown) => {
        if (error instanceof AdminError) cause = error.type ?? error.kind;
        else {
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
    return { call: this.#call, source, principal, service: this.service.name, action, qubes, args };
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

/** Lets events that qubesd sent before its last answer arrive: they are readable by now, if not yet read. */
const eventsDelivered = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
