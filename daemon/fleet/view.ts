// A view of all qubes that admin.Events keeps honest. Reads and lists are served from it; no change is decided on it.
//
// An event makes what it names stale, and a stale qube is read again by the next read that needs it, so that an
// idle machine costs nothing and a burst of events costs one reading. Without a standing stream there is no view:
// every read builds its own picture and throws it away.
import { isQubeName, type QubeName } from '../names.ts';
import { isManaged, type PowerState, type Qube, seen } from '../qube.ts';
import type { Admin, PropertyValue, Row } from '../qubesadmin/admin.ts';
import type { EventSink } from '../qubesadmin/events.ts';
import { AdminError, type AdminEvent } from '../qubesadmin/wire.ts';
import { inParallel } from './in-parallel.ts';
import { readQube } from './live.ts';
import { shared } from './shared.ts';

/** A qube of the view. Properties are held for managed qubes only, and are null where GetAll could not be read. */
export interface ViewedQube extends Omit<Qube, 'state'> {
  /** 'unknown' where qubesd refused to say. */
  readonly state: PowerState | 'unknown';
  readonly properties: ReadonlyMap<string, PropertyValue> | null;
  /** The count of changes that defaults depend on, when this was read. A default is qubesd's computation over the
   * whole machine, so it is believed only while nothing of that kind has happened since. */
  readonly asOf: number;
}

export type Snapshot = ReadonlyMap<QubeName, ViewedQube>;

/** A qube that keeps changing while it is read is served as last read, and stays stale. */
const READ_TRIES = 3;
/** Names whose changes are counted, more than a machine has qubes. With one more, everything held is forgotten. */
export const MAX_NAMES = 10_000;

/** States that go over into others without an event, or none at all. */
const UNSETTLED: ReadonlySet<ViewedQube['state']> = new Set([
  'Transient',
  'Halting',
  'Dying',
  'Crashed',
  'NA',
  'unknown',
]);
/** Whether a qube has to be read again by the next reader, although nothing was heard of it. */
const isUnsettled = (qube: ViewedQube): boolean =>
  qube.tags === null || (isManaged(qube) && (UNSETTLED.has(qube.state) || qube.properties === null));

/** Events that announce what may yet be vetoed, or change nothing that the view holds. */
const IDLE_EVENT = /^(?:[a-z-]+-pre-|device-list-change:|domain-is-fully-usable)/;
/** Features are not held, but qubesd computes some default properties from them. */
const FEATURE_EVENT = /^domain-feature-/;
const POWER_EVENT = /^domain-(?:spawn|start|start-failed|stopped|shutdown|shutdown-failed|paused|unpaused)$/;

export class FleetView implements EventSink {
  readonly #admin: Admin;
  #standing = false;
  /** Counts how often everything was forgotten: a revision of another epoch says nothing. */
  #epoch = 0;
  #changes = 0;
  #defaults = 0;
  readonly #changesOf = new Map<string, number>();
  readonly #stale = new Set<QubeName>();
  #qubes: Map<QubeName, ViewedQube> | null = null;
  #served: { readonly changes: number; readonly snapshot: Snapshot } | null = null;
  #reading: Promise<void> | null = null;
  readonly #watchers = new Set<(name: string | null) => void>();
  readonly #followers = new Set<(event: AdminEvent | null) => void>();
  /** The qube of this name as qubesd has it now (`readQube`). However many ask, one reading of a name runs at a time. */
  readonly live: (name: QubeName) => Promise<Qube | null>;

  constructor(admin: Admin) {
    this.#admin = admin;
    this.live = shared((name: QubeName) => readQube(admin, name));
  }

  // ---- the stream

  established(): void {
    this.#standing = true;
  }

  lost(): void {
    this.#standing = false;
    this.#forget();
    for (const follower of this.#followers) follower(null);
  }

  #forget(): void {
    this.#epoch += 1;
    this.#changes += 1;
    this.#qubes = null;
    this.#served = null;
    this.#stale.clear();
    this.#changesOf.clear();
    for (const watcher of this.#watchers) watcher(null);
  }

  event(event: AdminEvent): void {
    this.#heed(event);
    for (const follower of this.#followers) follower(event);
  }

  #heed({ subject, event, details }: AdminEvent): void {
    if (IDLE_EVENT.test(event)) return;
    if (!POWER_EVENT.test(event)) this.#defaults += 1;
    if (FEATURE_EVENT.test(event)) return;
    const named = subject || (event === 'domain-add' || event === 'domain-delete' ? details.vm : '');
    if (isQubeName(named)) this.#touch(named);
  }

  /** The broker has just changed this qube itself: what it reads next must show that, event or not. */
  changed(name: QubeName): void {
    this.#defaults += 1;
    this.#touch(name);
  }

  #touch(name: QubeName): void {
    if (this.#changesOf.size >= MAX_NAMES && !this.#changesOf.has(name)) this.#forget();
    this.#changes += 1;
    this.#changesOf.set(name, (this.#changesOf.get(name) ?? 0) + 1);
    this.#stale.add(name);
    for (const watcher of this.#watchers) watcher(name);
  }

  // ---- what depends on it

  /**
   * A token that stays equal while nothing was heard to happen to any of these qubes, or null where nothing can
   * be known because no stream stands. Binds an answer to qubes that stayed untouched meanwhile (I2).
   */
  revision(names: readonly string[]): string | null {
    if (!this.#standing) return null;
    return [this.#epoch, ...names.map((name) => this.#changesOf.get(name) ?? 0)].join('.');
  }

  /** Calls back on every change of a named qube, with null when nothing is known any more. Returns how to stop that. */
  watch(watcher: (name: string | null) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Calls back with every event of the machine, and with null when the stream is lost. Returns how to stop that. */
  follow(follower: (event: AdminEvent | null) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  get isStanding(): boolean {
    return this.#standing;
  }

  /** The picture as it is held, where nothing of it needs reading again; null otherwise. Makes no Admin API call. */
  peek(): Snapshot | null {
    return this.#standing && this.#served?.changes === this.#changes && !this.#hasUnsettled
      ? this.#served.snapshot
      : null;
  }

  /** Whether a default value read with this qube may still be believed. */
  isCurrent(qube: ViewedQube): boolean {
    return this.#standing && qube.asOf === this.#defaults;
  }

  /** The present picture, read again where it went stale. Rejects with `AdminError` when qubesd cannot tell. */
  async snapshot(): Promise<Snapshot> {
    const held = this.peek();
    if (held) return held;
    const asked = this.#changes;
    while (this.#standing) {
      this.#reading ??= this.#catchUp().finally(() => {
        this.#reading = null;
      });
      await this.#reading;
      // The stream may have been lost while reading; then this reader builds its own picture.
      if (!this.#served) break;
      // A reading that was under way already may not show what had happened before this one was asked for.
      if (this.#served.changes >= asked) return this.#served.snapshot;
    }
    return this.#readAll();
  }

  // ---- reading

  #hasUnsettled = false;

  async #catchUp(): Promise<void> {
    const epoch = this.#epoch;
    for (let tries = 0; tries < READ_TRIES; tries++) {
      const changes = this.#changes;
      if (this.#qubes === null) {
        this.#stale.clear();
        const all = await this.#readAll();
        if (epoch !== this.#epoch) return;
        this.#qubes = all;
      } else {
        const unsettled = [...this.#qubes.values()].filter(isUnsettled);
        const names = new Set([...this.#stale, ...unsettled.map((qube) => qube.name)]);
        this.#stale.clear();
        const fresh = await inParallel([...names], async (name) => [name, await this.#readOne(name)] as const).catch(
          (error: unknown) => {
            for (const name of names) this.#stale.add(name);
            throw error;
          },
        );
        if (this.#qubes === null) return;
        for (const [name, qube] of fresh) {
          if (qube) this.#qubes.set(name, qube);
          else this.#qubes.delete(name);
        }
      }
      this.#hasUnsettled = [...this.#qubes.values()].some(isUnsettled);
      this.#served = { changes, snapshot: new Map(this.#qubes) };
      if (this.#changes === changes) return;
    }
  }

  async #readAll(): Promise<Map<QubeName, ViewedQube>> {
    const rows = await this.#admin.list();
    const qubes = await inParallel(rows, (row) => this.#read(row));
    return new Map(qubes.filter((qube) => qube !== null).map((qube) => [qube.name, qube]));
  }

  async #readOne(name: QubeName): Promise<ViewedQube | null> {
    const row = await this.#admin.row(name);
    return row && this.#read(row);
  }

  /** Addressed by uuid, so that a qube re-created under the name meanwhile is not mixed into this one. */
  async #read({ isHeld, ...row }: Row): Promise<ViewedQube | null> {
    const asOf = this.#defaults;
    const dest = { uuid: row.uuid };
    try {
      const facts = seen(await unlessRefused(this.#admin.tags(dest), null), isHeld);
      if (!isManaged(facts)) return { ...row, ...facts, properties: null, asOf };
      const [state, properties] = await Promise.all([
        unlessRefused(this.#admin.state(dest), 'unknown' as const),
        unlessRefused(this.#admin.properties(dest), null),
      ]);
      return { ...row, ...facts, state, properties, asOf };
    } catch (error) {
      if (error instanceof AdminError && error.type === 'QubesVMNotFoundError') return null;
      throw error;
    }
  }
}

/** A stand-in for a fact that this one qube does not give. That it is gone, or qubesd away, is no fact about it. */
const unlessRefused = async <T, S>(reading: Promise<T>, otherwise: S): Promise<T | S> => {
  try {
    return await reading;
  } catch (error) {
    if (!(error instanceof AdminError) || error.type === 'QubesVMNotFoundError') throw error;
    if (error.isAway) throw error;
    return otherwise;
  }
};
