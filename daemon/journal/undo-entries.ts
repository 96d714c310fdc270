// Which old values are kept. Callers decide how many changes there are, so what gives way to a new entry is chosen such that
// nobody can wash away what was done to other qubes by changing their own again and again.
import type { Uuid } from '../names.ts';
import type { UndoEntry } from './undo-entry.ts';

export const KEPT_FOR_MS = 30 * 24 * 3600 * 1000;
export const MAX_ENTRIES = 4096;
/** Of all entries together, as they are in the file. */
export const MAX_BYTES = 4 * 1024 * 1024;
export const MAX_PER_QUBE = 64;

interface Held {
  readonly entry: UndoEntry;
  readonly bytes: number;
}

interface OfQube {
  /** Oldest first. */
  readonly seqs: Set<number>;
  bytes: number;
}

export class UndoEntries {
  /** Oldest first. */
  readonly #held = new Map<number, Held>();
  readonly #ofQubes = new Map<Uuid, OfQube>();
  #bytes = 0;

  get(seq: number): UndoEntry | null {
    return this.#held.get(seq)?.entry ?? null;
  }

  /** Oldest first. */
  list(): UndoEntry[] {
    return [...this.#held.values()].map(({ entry }) => entry);
  }

  /** Takes one in that has so many bytes in the file, and lets go of what there is no more room for. */
  add(entry: UndoEntry, bytes: number): void {
    this.remove(entry.seq);
    const { uuid } = entry.qube;
    const ofQube = this.#ofQubes.get(uuid) ?? { seqs: new Set<number>(), bytes: 0 };
    this.#ofQubes.set(uuid, ofQube);
    this.#held.set(entry.seq, { entry, bytes });
    ofQube.seqs.add(entry.seq);
    ofQube.bytes += bytes;
    this.#bytes += bytes;
    if (ofQube.seqs.size > MAX_PER_QUBE) this.#removeOldest(ofQube);
    while (this.#held.size > MAX_ENTRIES || this.#bytes > MAX_BYTES) this.#removeOldest(this.#fullest(uuid, bytes));
  }

  /** Whether there was one. */
  remove(seq: number): boolean {
    const held = this.#held.get(seq);
    if (held === undefined) return false;
    const { uuid } = held.entry.qube;
    const ofQube = this.#ofQubes.get(uuid) as OfQube;
    this.#held.delete(seq);
    this.#bytes -= held.bytes;
    ofQube.bytes -= held.bytes;
    ofQube.seqs.delete(seq);
    if (ofQube.seqs.size === 0) this.#ofQubes.delete(uuid);
    return true;
  }

  /** Lets go of what is too old at `now`, milliseconds since 1970; tells whether there was any. */
  expire(now: number): boolean {
    let any = false;
    for (const [seq, { entry }] of this.#held) {
      if (now - entry.at > KEPT_FOR_MS) any = this.remove(seq);
    }
    return any;
  }

  #removeOldest({ seqs }: OfQube): void {
    const [oldest] = seqs;
    this.remove(oldest as number);
  }

  /** The qube whose entries take up most room, the one not counted for whose sake room is made. */
  #fullest(newest: Uuid, bytes: number): OfQube {
    let fullest: OfQube | null = null;
    let most = Number.NEGATIVE_INFINITY;
    for (const [uuid, ofQube] of this.#ofQubes) {
      const size = ofQube.bytes - (uuid === newest ? bytes : 0);
      if (size > most) [fullest, most] = [ofQube, size];
    }
    return fullest as OfQube;
  }
}
