// The way a call goes, station by station: frame -> request -> operation -> verdict -> approval -> effect -> reply.
// The frame came through the door (qrexec/); the reply leaves by it.
import type { ConfirmerParts } from './confirm/confirmer.ts';
import { type Asker, QuestionQueue } from './confirm/queue.ts';
import { Refusals } from './journal/refusals.ts';
import type { UndoStore } from './journal/undo-store.ts';
import type { QubeName } from './names.ts';
import { type PlanParts, Plans } from './plans/plans.ts';
import type { Admitted, Denied, Principals } from './principals/principals.ts';
import { scopedTo } from './principals/scope.ts';
import { type Call, NOT_FOUND, type Reply } from './qrexec/door.ts';
import type { Admin } from './qubesadmin/admin.ts';
import type { AdminCall } from './qubesadmin/client.ts';
import type { Tools } from './qubesadmin/tool.ts';
import { AdminError } from './qubesadmin/wire.ts';
import type { Left } from './services/debris.ts';
import type { Quarantine } from './services/quarantine.ts';
import { SERVICES } from './services/registry.ts';
import { look, type Resolved } from './services/resolve.ts';
import { Serial } from './services/serial.ts';
import {
  type Caller,
  type ChangeService,
  isRefusal,
  type Reading,
  type ReadService,
  type Wish,
} from './services/service.ts';
import type { SettingsReader } from './settings/open.ts';
import { eventsDelivered, Walk } from './walk.ts';

export interface BrokerParts extends ConfirmerParts {
  /** One call to qubesd, and the same with its answers typed. */
  readonly call: AdminCall;
  readonly admin: Admin;
  readonly tools: Tools;
  readonly settings: SettingsReader;
  readonly principals: Principals;
  readonly undo: Pick<UndoStore, 'keep' | 'spend'>;
  /** What `admin` and `fleet` keep from callers. */
  readonly quarantine: Quarantine;
  /** Told what a creation leaves, which is to be settled (services/debris.ts). */
  readonly left: (left: Left) => void;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly randomBytes: (count: number) => Buffer;
  /** Told of what nobody planned; the caller only learns the service's constant label. */
  readonly unplanned: (error: unknown, service: string) => void;
  /** Told, for the operator's log, what a reply had to leave out. */
  readonly notice: (sentence: string, service: string) => void;
  /** Resolves after so many milliseconds; a timer unless told. */
  readonly pause?: (ms: number) => Promise<void>;
}

const BUDGET = 'budget';

/** What a walk has besides. */
export interface WalkParts extends BrokerParts {
  readonly refusals: Refusals;
  readonly pause: (ms: number) => Promise<void>;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());

export class Broker {
  readonly #parts: WalkParts;
  readonly #queue = new QuestionQueue();
  readonly #serial = new Serial();
  readonly #plans: Plans;
  #calls = 0;

  constructor(parts: BrokerParts) {
    const refusals = new Refusals(parts.journal, parts.monotonicMs);
    this.#parts = { ...parts, refusals, pause: parts.pause ?? pause };
    const alone: PlanParts['alone'] = (names, budgeted, work) =>
      this.#serial.run([...names.map(keyOf), ...(budgeted ? [BUDGET] : [])], work);
    this.#plans = new Plans({ ...this.#parts, queue: this.#queue, alone, nextCall: () => ++this.#calls });
    parts.stopping.addEventListener('abort', () => {
      this.#queue.close();
      this.#parts.refusals.close();
    });
  }

  /** Answers one call. Never throws and never rejects: what nobody planned is a no (I7). */
  handle = (call: Call): Reply | Promise<Reply> => {
    const kind = SERVICES.get(call.service)?.kind ?? 'change';
    // Until the end reads are answered, so that a restart costs nobody one.
    if (this.#parts.stopping.aborted && kind === 'change') return NOT_FOUND;
    try {
      const who = this.#parts.principals.admit(call, kind);
      const reply = who instanceof Promise ? who.then((each) => this.#from(each, call)) : this.#from(who, call);
      return reply instanceof Promise ? reply.catch((error) => this.#unplanned(error, call.service)) : reply;
    } catch (error) {
      return this.#unplanned(error, call.service);
    }
  };

  #from(who: Admitted | Denied, call: Call): Reply | Promise<Reply> {
    if (who.kind === 'denied') return this.#denied(call, who);
    const request = { ...call, body: who.body };
    return this.#plans.handle(request, who.caller) ?? this.#service(request, who.caller);
  }

  /** Why somebody is not taken for who they say is told to the journal alone (I6). */
  async #denied({ service: name, source }: Call, { principal, rule, body }: Denied): Promise<Reply> {
    const ofCall = { call: ++this.#calls, source, principal, service: name, action: 'admit', qubes: [], args: {} };
    this.#parts.refusals.note({ ...ofCall, type: 'decision', verdict: 'refuse', rule });
    const service = SERVICES.get(name);
    if (!service) return NOT_FOUND;
    const caller: Caller = { source, principal };
    if (service.kind === 'read') return this.#inVain(service, body?.json, caller);
    const settings = this.#parts.settings.current();
    const wish = service.parse(body?.json, settings);
    try {
      if (!isRefusal(wish)) await look(wish, caller, this.#parts, settings);
      return service.opaque;
    } catch (error) {
      if (error instanceof AdminError) return service.unavailable;
      throw error;
    }
  }

  /** I6: who is refused whatever they ask takes as long about it as who asks about a qube that is not there. */
  async #inVain(service: ReadService, json: unknown, caller: Caller): Promise<Reply> {
    return (await service.inVain?.(json, this.#reading(service, caller))) ?? NOT_FOUND;
  }

  #service({ service: name, body }: Call, caller: Caller): Reply | Promise<Reply> {
    const service = SERVICES.get(name);
    if (!service) return NOT_FOUND;
    if (body === null && service.malformed) return service.malformed;
    if (service.kind === 'change') return this.#change(service, body?.json, caller);
    if (this.#parts.restraint.isFrozen(caller.source)) return this.#inVain(service, body?.json, caller);
    return service.answer(body?.json, this.#reading(service, caller));
  }

  /** Whose question is being asked, and who waits. */
  get askers(): QuestionQueue['askers'] {
    return this.#queue.askers;
  }

  /** Work of the broker's own, under the number of a call, while no call changes these qubes. */
  housekeeping = <T>(names: readonly QubeName[], work: (call: number) => Promise<T>): Promise<T> =>
    this.#serial.run(names.map(keyOf), () => work(++this.#calls));

  #reading(service: ReadService, caller: Caller): Reading {
    const { fleet, admin, settings, now, stopping, notice } = this.#parts;
    return {
      fleet: scopedTo(caller, fleet),
      whole: fleet,
      admin,
      caller,
      now,
      stopping,
      notice: (sentence) => notice(sentence, service.name),
      // Most reads need none of the operator's files, so they are not looked at for each.
      get settings() {
        return settings.current();
      },
    };
  }

  async #change(service: ChangeService, json: unknown, caller: Caller): Promise<Reply> {
    const wish = service.parse(json, this.#parts.settings.current());
    if (isRefusal(wish)) return wish;
    const walk = new Walk(++this.#calls, service, wish, caller, this.#parts);
    try {
      // I6: who has no power over these qubes does not wait for those who work on them, or the wait would tell of them.
      if (this.#serial.isBusy(keysOf(wish))) {
        const early = await walk.resolve();
        // A name that is just being created may yet be free, so what a creation's arguments come to is seen when it is over.
        if (early.kind === 'refused' && (early.rule !== 'argument' || !wish.budgeted)) return early.refusal;
      }
      // Unasked, the operation and its effect are one stretch in which nobody else touches these qubes.
      const first = await this.#alone(wish, async () => {
        const resolved = await walk.resolve();
        return resolved.kind === 'resolved' && resolved.verdict.kind === 'allow'
          ? walk.carryOut(resolved, null)
          : resolved;
      });
      if ('ok' in first) return first;
      if (first.kind === 'refused') return first.refusal;
      const asker = askerOf(caller, service, wish, first);
      const reply = await this.#queue.turn(asker, (waited) => this.#asked(walk, first, waited));
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
    return this.#serial.run([...keysOf(wish), ...(wish.budgeted ? [BUDGET] : [])], work);
  }

  #unplanned(error: unknown, service: string): Reply {
    this.#parts.unplanned(error, service);
    return NOT_FOUND;
  }
}

const askerOf = (
  { source, principal }: Caller,
  { name: service }: ChangeService,
  { action }: Wish,
  { qubes }: Resolved,
): Asker => ({ source, principal, service, action, names: qubes.map(({ name }) => name) });

/** What work on the qube of this name excludes other work by. */
const keyOf = (name: string): string => `qube ${name}`;

const keysOf = ({ roles, claims = [] }: Wish): string[] => [
  ...new Set([...Object.values(roles), ...claims].map(keyOf)),
];
