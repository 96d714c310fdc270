// Qubes that a creation left half-made, and could not take away again (I8). They may carry the umbrella already and be on any
// network, so until the operator removes or releases them, they are to every caller as if they were not managed. That is kept
// here and not in qubesd, because qubesd is what has just failed: it takes no Admin API call, and it outlives the broker.
import { isQubeName, isUuid, type QubeName, type Uuid } from '../names.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { StateFiles } from '../state-files.ts';

export interface Quarantined {
  readonly name: QubeName;
  /** null where nobody saw it: then it is whatever has the name. */
  readonly uuid: Uuid | null;
  /** Since when, in milliseconds since 1970. */
  readonly at: number;
}

type Subject = Pick<Row, 'name' | 'uuid' | 'klass'>;
type Identity = Pick<Row, 'name' | 'uuid'>;
/** Whether a qube may be the one that was ordered. */
export type Covers = (row: Subject) => boolean;

/**
 * A creation from its order until its qube is whole or gone. Meanwhile no call changes what may be that qube: the platform gives a
 * disposable the umbrella at its birth, long before it is pinned. Reads and events show it as they always did.
 */
export interface Order {
  /** It is this qube and no other. */
  found(uuid: Uuid): void;
  /** The qube is whole, and now one like any other. Its name was free, so nothing that was left behind has it. */
  whole(qube: Identity): void;
  /** Nothing can come of the order any more but what is in quarantine. */
  over(): void;
}

const FILE = 'quarantine';
/** Longer than an answer is waited for that is late (qubesadmin/client.ts). */
export const MAY_COME_MS = 30 * 60_000;
/** More than ever were left behind on one machine. What is beyond it is held until the next start looks into it again. */
const MAX_SAVED = 128;

export class Quarantine {
  readonly #files: StateFiles;
  readonly #complain: (sentence: string) => void;
  /** By uuid, or by name where there is none. */
  readonly #held = new Map<string, Quarantined>();
  readonly #orders = new Map<Order, Covers>();
  /** Whole or released while other orders were open, which must not take these for theirs. */
  readonly #whole = new Set<Uuid>();
  readonly #watchers = new Set<(name: QubeName) => void>();
  #turn: Promise<unknown> = Promise.resolve();
  #isFailing = false;
  /** Set when the file could not be made sense of: then every qube is held (I7). */
  readonly complaint: string | null = null;

  /** Kept in `<state>/quarantine`, a line `UUID NAME TIME` each. `complain` is told once per outage what cannot be written. */
  constructor(files: StateFiles, complain: (sentence: string) => void = () => {}) {
    this.#files = files;
    this.#complain = complain;
    try {
      for (const qube of parse(files.read(FILE) ?? '')) this.#held.set(keyOf(qube), qube);
    } catch (error) {
      const why = error instanceof Error ? error.message : 'it cannot be read';
      this.complaint =
        `${files.pathOf(FILE)} cannot be used (${why}), so every qube counts as in quarantine and agents have none. ` +
        'Mend or remove it, then restart; what was left behind is in the journal: qmcpctl audit show.';
    }
  }

  /** Whether no caller may have this qube. */
  keeps = ({ uuid, name }: Identity): boolean =>
    this.complaint !== null || this.#held.has(uuid) || this.#held.has(name);

  /** Whether no caller may change this qube, nor use it for a change: it is in quarantine, or may be one in the making. */
  holds = (row: Subject): boolean =>
    this.keeps(row) || (!this.#whole.has(row.uuid) && [...this.#orders.values()].some((covers) => covers(row)));

  /** Whether it is in quarantine by itself, and not by its name. */
  has = (uuid: Uuid): boolean => this.#held.has(uuid);

  /** Whether it was found whole, or released, while a creation was open: then it is not what that left. */
  isWhole = (uuid: Uuid): boolean => this.#whole.has(uuid);

  /** By name. */
  get qubes(): readonly Quarantined[] {
    return [...this.#held.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Why a restart would not know of all of them, or null. */
  get unsaved(): string | null {
    return this.#isFailing ? unsaved(this.#files.pathOf(FILE)) : null;
  }

  /** Calls back with the name of every qube that comes or goes: what was read of it is of before. */
  watch(watcher: (name: QubeName) => void): void {
    this.#watchers.add(watcher);
  }

  /** A creation begins. Holds at once. */
  order(covers: Covers): Order {
    const order: Order = {
      found: (uuid) => {
        if (this.#orders.has(order)) this.#orders.set(order, (row) => row.uuid === uuid);
      },
      whole: (qube) => {
        order.over();
        if (this.#orders.size > 0) this.#whole.add(qube.uuid);
        if (this.keeps(qube)) void this.#drop([qube.uuid, qube.name]);
      },
      over: () => {
        this.#orders.delete(order);
        if (this.#orders.size === 0) this.#whole.clear();
      },
    };
    this.#orders.set(order, covers);
    return order;
  }

  /** Holds at once, unless the qube has been found whole or released. Resolves with whether a restart will know of it. */
  async keep(qube: Quarantined): Promise<boolean> {
    if (qube.uuid !== null) {
      if (this.#whole.has(qube.uuid)) return true;
      this.#held.delete(qube.name);
    }
    if (!this.#held.has(keyOf(qube))) this.#held.set(keyOf(qube), qube);
    this.#tell(qube.name);
    return this.#save();
  }

  /** Nothing is left behind under this name alone. Resolves with whether a restart will know. */
  async forget(name: QubeName): Promise<boolean> {
    return this.#held.has(name) ? this.#drop([name]) : true;
  }

  /**
   * Lets a qube go, which from then on is what its tags say. Resolves with whether it did: it does not where that cannot be made to
   * last, as it would be back after a restart.
   */
  async release({ uuid, name }: Identity): Promise<boolean> {
    if (this.complaint !== null) return false;
    if (this.keeps({ uuid, name })) {
      const isSaved = await this.#save([uuid, name]);
      this.#tell(name);
      if (!isSaved) return false;
    }
    if (this.#orders.size > 0) this.#whole.add(uuid);
    return true;
  }

  /**
   * Forgets those that are gone, and learns which those are of whom only the name is known. Nothing changes for want of an answer.
   * `now`: milliseconds since 1970.
   */
  async review(admin: Pick<Admin, 'row' | 'rowOf'>, now: number): Promise<void> {
    for (const qube of this.qubes) {
      const row = await (qube.uuid === null ? admin.row(qube.name) : admin.rowOf(qube.uuid)).catch(awayOr);
      // It may have been forgotten meanwhile.
      if (row === undefined || !this.#held.has(keyOf(qube))) continue;
      if (row === null && !mayStillCome(qube, now)) await this.#drop([keyOf(qube)]);
      if (row !== null && qube.uuid === null) await this.keep({ ...qube, uuid: row.uuid });
    }
    if (this.#isFailing) await this.#save();
  }

  #tell(name: QubeName): void {
    for (const watcher of this.#watchers) watcher(name);
  }

  /** Lets go at once of what is not there any more, or is whole. */
  #drop(keys: readonly string[]): Promise<boolean> {
    for (const key of keys) {
      const qube = this.#held.get(key);
      this.#held.delete(key);
      if (qube) this.#tell(qube.name);
    }
    return this.#save();
  }

  /** Writes all but `released`, one writing after the other; what is written to be released is. */
  #save(released: readonly string[] = []): Promise<boolean> {
    const saved = this.#turn.then(async () => {
      // What could not be read is left for the operator to see.
      if (this.complaint !== null) return false;
      try {
        await this.#files.write(FILE, textOf(this.qubes.filter((qube) => !released.includes(keyOf(qube)))));
        for (const key of released) this.#held.delete(key);
        this.#isFailing = false;
        return true;
      } catch (error) {
        if (!this.#isFailing) this.#complain(unsaved(this.#files.pathOf(FILE), error));
        this.#isFailing = true;
        return false;
      }
    });
    this.#turn = saved;
    return saved;
  }
}

/** No name of a qube is as long as a uuid. */
const keyOf = ({ uuid, name }: Quarantined): string => uuid ?? name;

/** An order that nobody saw the outcome of. qubesd goes on with it, also when the broker has ended meanwhile. Clocks are set back, too. */
const mayStillCome = ({ uuid, at }: Quarantined, now: number): boolean =>
  uuid === null && Math.abs(now - at) < MAY_COME_MS;

/** undefined where qubesd does not say. */
const awayOr = (error: unknown): undefined => {
  if (error instanceof AdminError) return undefined;
  throw error;
};

const UNSEEN = '-';
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const textOf = (qubes: readonly Quarantined[]): string => {
  if (qubes.length > MAX_SAVED) throw new Error(`there are more than ${MAX_SAVED} qubes in quarantine`);
  return qubes.map(({ name, uuid, at }) => `${uuid ?? UNSEEN} ${name} ${new Date(at).toISOString()}\n`).join('');
};

/** Throws where it is not what `textOf` writes, a last line that was cut short included. */
const parse = (text: string): Quarantined[] => {
  if (text !== '' && !text.endsWith('\n')) throw new Error('its end is missing');
  return text.split('\n').slice(0, -1).map(parseLine);
};

const parseLine = (line: string): Quarantined => {
  const [uuid, name, time = '', ...rest] = line.split(' ');
  const at = TIME.test(time) ? Date.parse(time) : Number.NaN;
  const isSeen = uuid !== UNSEEN;
  if ((isSeen && !isUuid(uuid)) || !isQubeName(name) || Number.isNaN(at) || rest.length > 0) {
    throw new Error('it has a line that is not UUID NAME TIME');
  }
  return { uuid: isSeen ? (uuid as Uuid) : null, name, at };
};

const unsaved = (path: string, error?: unknown): string => {
  const why = error instanceof Error ? ` (${error.message})` : '';
  return `${path} cannot be written${why}. What is in quarantine stays there; the next start looks into it again. Check the disk.`;
};
