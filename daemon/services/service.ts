// What a service is: a declaration that the broker walks through. Nothing here decides or does anything by itself.
import type { Attributes } from '../authority/kernel.ts';
import type { View } from '../confirm/question.ts';
import type { FleetView } from '../fleet/view.ts';
import type { Change } from '../journal/undo-entry.ts';
import { isQubeName, type QubeName, type Uuid } from '../names.ts';
import type { Caller } from '../principals/caller.ts';
import type { ReadableFleet } from '../principals/scope.ts';
import type { Refusal, Reply } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import type { Tools } from '../qubesadmin/tool.ts';
import type { Settings } from '../settings/settings.ts';
import type { Covers, Order } from './quarantine.ts';

export type { Caller };

/** The journal's whitelisted arguments: names that passed a grammar, words of ours, numbers; never values. */
export type Args = Readonly<Record<string, string | number | boolean | null>>;

export interface ReadService {
  readonly kind: 'read';
  readonly name: string;
  /** The reply to a body that is not JSON; null where the body is not looked at. */
  readonly malformed: Refusal | null;
  answer(json: unknown, reading: Reading): Reply | Promise<Reply>;
  /** I6: for who is refused anyway, the reads that it takes to refuse, where there are any. Never answers. */
  inVain?(json: unknown, reading: Reading): Promise<Reply>;
}

/** What a read may use. It changes nothing, and is served from the view where that is fresh. */
export interface Reading {
  /** What there is for this caller. */
  readonly fleet: ReadableFleet;
  /** The same without the caller's limits: for sums over all, never to name anything. */
  readonly whole: ReadableFleet;
  readonly admin: Admin;
  readonly settings: Settings;
  readonly caller: Caller;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  /** Aborted when the broker stops: a reading that waits ends early. */
  readonly stopping: AbortSignal;
  /** Tells the operator's log, in a sentence of ours, what the reply had to leave out. */
  readonly notice: (sentence: string) => void;
}

export interface ChangeService {
  readonly kind: 'change';
  readonly name: string;
  readonly malformed: Refusal;
  /** The one reply for everything that a caller must not be able to tell apart (I6). */
  readonly opaque: Refusal;
  /** The reply when qubesd cannot be asked. */
  readonly unavailable: Refusal;
  /** The request in this JSON value, or the contract's text for its shape. Pure; looks nothing up. */
  parse(json: unknown, settings: Settings): Wish | Refusal;
}

/** A request of the right shape: whom it names and what it wants. Nothing has been looked up yet. */
export interface Wish {
  /** The word that authority, consent-policy and the journal know it by. */
  readonly action: string;
  /** Role -> the name the caller gave. Each must become an existing qube before anything else happens. */
  readonly roles: Readonly<Record<string, string>>;
  /** What authority wants to know besides the roles (contract 3.3). */
  readonly attributes: Attributes;
  readonly args: Args;
  /** All of the request that the effect depends on, as plain JSON: bound by the digest, never journalled. */
  readonly request: unknown;
  /** Names that this call claims besides its roles: a qube that is to be created. */
  readonly claims?: readonly string[];
  /** Whether it draws on the shared budget, and so excludes every other call that does. */
  readonly budgeted?: boolean;
  /** Checks that come before authority, where the contract wants that. */
  before?(scene: Omit<Scene, 'qubes' | 'now'>): Promise<Refusal | null>;
  /** The checks that need no change; then the operation. May reject with `AdminError`. */
  prepare(scene: Scene): Promise<Operation | Refusal>;
}

/** The facts of one resolution, read from qubesd just now. */
export interface Scene {
  readonly admin: Admin;
  /** What was last heard of the whole machine; only ever a reason to refuse. Not in a rehearsal, which has its own machine. */
  readonly fleet?: Pick<FleetView, 'isStanding' | 'snapshot'> | undefined;
  readonly tools: Tools;
  readonly settings: Settings;
  readonly caller: Caller;
  /** Of the resolution, by the wall clock: milliseconds since 1970. */
  readonly now: number;
  /** Role -> the qube it turned out to be. */
  readonly qubes: Readonly<Record<string, Qube>>;
}

/** A resolved operation: what exactly would happen, in data, in words, and in deed. */
export interface Operation {
  readonly risk: 'change' | 'destroy';
  /** Facts beside the qubes that the effect or the question depends on, as plain JSON: bound by the digest. */
  readonly facts: unknown;
  /** Why it would fail anyway. It never raises a question then; an unasked call leaves the verdict to qubesd. */
  readonly obstacle: Refusal | null;
  /** The label for any failure that has no more specific one. */
  readonly failed: Refusal;
  /** What the person is shown. Reads what only a question needs. */
  describe(): Promise<View>;
  /** Does it. Rejects with `AdminError` where `failed` is all there is to say; rollback is part of it. */
  perform(work: Work): Promise<Reply>;
}

/** What an effect is given besides its scene. */
export interface Work {
  /** Wall clock, milliseconds since 1970: for marks that carry a time. */
  readonly now: () => number;
  /** Durably names what is about to happen, so that a crash leaves no unnamed debris. Rejects when it cannot. */
  step(
    step: string,
    qube: { readonly role: string; readonly name: string; readonly uuid: string } | null,
    /** As in the record: the uuids of qubes that the one to be created is not. */
    known?: readonly string[] | null,
  ): Promise<void>;
  /**
   * Durably keeps what this changes, for the operator's undo. What can be taken back calls it right before its first change.
   * Rejects with UndoUnavailable when it cannot; then nothing may be changed (I7).
   */
  keep(qube: Qube, change: Change): Promise<void>;
  /** Resolves after so many milliseconds: for looking again at what qubesd could not say. */
  pause(ms: number): Promise<void>;
  /** A creation begins: no call changes what may be its qube until that is whole, gone, or in quarantine. */
  order(covers: Covers): Order;
  /**
   * What a creation leaves behind half-made is kept from every caller, also by later starts; without a uuid whatever has the name.
   * Never rejects.
   */
  quarantine(child: { readonly name: QubeName; readonly uuid: Uuid | null }): Promise<void>;
  /** Some time after the reply it is looked into what the order left, and into whether there is anything; till then the order is open. */
  left(child: { readonly role: string; readonly name: QubeName; readonly uuid: Uuid } | null, order: Order): void;
  /** A creation whose outcome had to say that it was not known left nothing: this one, if any, was taken away again. */
  cameToNothing(child: { readonly role: string; readonly name: QubeName; readonly uuid: Uuid } | null): Promise<void>;
  /** A qube other than the roles was touched: the view must read it again. */
  changed(name: string): void;
  /** Something went wrong that the caller is not told of: a word of ours for the journal's outcome. */
  cause(word: string): void;
}

/** A caller's name for the journal: itself where it could be a qube's, else null. */
export const nameArg = (name: unknown): string | null => (isQubeName(name) ? name : null);

export type Service = ReadService | ChangeService;

export const isRefusal = (value: object): value is Refusal => 'ok' in value && value.ok === false;
