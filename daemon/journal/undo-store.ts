// `<state>/undo`: the old values behind changes, for the operator alone (0600). An entry is on disk before its change is made:
// what cannot be taken back as promised is not done (I7). One line per entry, appended; rewritten whole when it gets long.
import { type JournalFile, type JournalFiles, realFiles } from './journal-files.ts';
import { chunksOf, linesOf } from './lines.ts';
import { type Segment, segmentOf, writeAll } from './segment.ts';
import { adviceOf } from './unavailable.ts';
import { KEPT_FOR_MS, MAX_BYTES, UndoEntries } from './undo-entries.ts';
import { parseUndoLine, type UndoEntry, type UndoLine, undoLineText } from './undo-entry.ts';

/** A longer one is not kept, and so its change not made: qubesd takes 64 KiB, and what it has is hardly ever longer. */
export const MAX_ENTRY_BYTES = 256 * 1024;
/** What waits for the disk at most; more is refused. */
export const MAX_QUEUED_BYTES = MAX_BYTES;
/** A file that would get longer is written anew, with what is still needed and what waits. */
export const REWRITE_BYTES = MAX_BYTES + MAX_QUEUED_BYTES;

/** What `keep` rejects with. The message is a sentence for the operator. */
export class UndoUnavailable extends Error {
  override readonly name = 'UndoUnavailable';
}

export interface UndoOptions {
  /** The state directory, which must exist. */
  readonly dir: string;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly files?: JournalFiles;
  /** Called whenever `complaint` says something else than before; at first where there is one. */
  readonly complain?: (complaint: string | null) => void;
}

type State =
  | { readonly kind: 'unread' }
  | { readonly kind: 'open'; readonly segment: Segment }
  /** What the file holds is not known any more; what it should hold is. */
  | { readonly kind: 'lost' };

interface Waiting {
  readonly line: UndoLine;
  readonly text: string;
  readonly resolve: () => void;
  readonly reject: (error: UndoUnavailable) => void;
}

const FILE = 'undo';

export class UndoStore {
  readonly #dir: string;
  readonly #path: string;
  readonly #files: JournalFiles;
  readonly #now: () => number;
  readonly #complain: (complaint: string | null) => void;
  #told: string | null = null;
  #state: State = { kind: 'unread' };
  #entries = new UndoEntries();
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  #flushing: Promise<void> | null = null;
  #knowsEarlier = false;
  #trouble: string | null = null;
  #damage: string | null = null;

  private constructor({ dir, now, files = realFiles, complain = () => {} }: UndoOptions) {
    this.#dir = dir;
    this.#path = `${dir}/${FILE}`;
    this.#files = files;
    this.#now = now;
    this.#complain = complain;
  }

  /** Reads what there is. Never rejects: a store that cannot be read has a `complaint`, and every `keep` tries again. */
  static async open(options: UndoOptions): Promise<UndoStore> {
    const store = new UndoStore(options);
    await store.#read().catch((error: unknown) => store.#failed(error));
    store.#tell();
    return store;
  }

  /** Resolves when the entry is on disk. Rejects with UndoUnavailable; then the change must not be made. */
  keep(entry: UndoEntry): Promise<void> {
    return this.#enqueue({ kind: 'entry', entry });
  }

  /** The change was taken back, or never came about, so its entry has served. A crash may forget that, at no harm. */
  spend(seq: number): void {
    if (this.#entries.remove(seq)) this.#enqueue({ kind: 'spent', seq }).catch(() => {});
  }

  /** The entry of the intent with this number in the journal; null where there is none, or it is too old by now. */
  get(seq: number): UndoEntry | null {
    this.#entries.expire(this.#now());
    return this.#entries.get(seq);
  }

  /** Oldest first. */
  list(): UndoEntry[] {
    this.#entries.expire(this.#now());
    return this.#entries.list();
  }

  /** Whether an entry of that time (milliseconds since 1970) would be here: only then a missing one shows that it never was. */
  remembers(at: number): boolean {
    return this.#knowsEarlier && this.#now() - at <= KEPT_FOR_MS;
  }

  /** What is wrong, in sentences for the operator; null when nothing is. */
  get complaint(): string | null {
    return [this.#trouble, this.#damage].filter(Boolean).join(' ') || null;
  }

  async close(): Promise<void> {
    await this.#flushing;
    if (this.#state.kind === 'open') await this.#state.segment.close().catch(() => {});
    this.#state = { kind: 'lost' };
  }

  // ---- writing

  #enqueue(line: UndoLine): Promise<void> {
    const text = `${undoLineText(line)}\n`;
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_ENTRY_BYTES) {
      return Promise.reject(new UndoUnavailable('What was there before is too long to be kept for an undo.'));
    }
    if (this.#queuedBytes + bytes > MAX_QUEUED_BYTES) {
      return Promise.reject(new UndoUnavailable(`Too many old values wait to be written to ${this.#path}.`));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ line, text, resolve, reject });
      this.#queuedBytes += bytes;
      this.#flushing ??= this.#flush();
    });
  }

  /** Lines that arrive while one write runs share the next. */
  async #flush(): Promise<void> {
    while (this.#queue.length > 0) {
      const taken = this.#queue.splice(0);
      this.#queuedBytes = 0;
      try {
        await this.#write(taken);
        this.#trouble = null;
        for (const { resolve } of taken) resolve();
      } catch (error) {
        this.#failed(error);
        for (const { reject } of taken) reject(new UndoUnavailable(this.#trouble ?? ''));
      }
      this.#tell();
    }
    this.#flushing = null;
  }

  #tell(): void {
    const { complaint } = this;
    if (complaint === this.#told) return;
    this.#told = complaint;
    this.#complain(complaint);
  }

  #failed(error: unknown): void {
    this.#trouble = `Old values cannot be kept in ${this.#path}: ${adviceOf(error)}. Until they can, what could be undone is refused; no restart is needed.`;
  }

  async #write(taken: readonly Waiting[]): Promise<void> {
    if (this.#state.kind === 'unread') await this.#read();
    if (!(await this.#append(Buffer.from(taken.map(({ text }) => text).join(''))))) await this.#rewrite(taken);
    for (const { line, text } of taken) apply(line, text, this.#entries);
    this.#entries.expire(this.#now());
  }

  /** False where the file has to be written anew. */
  async #append(bytes: Buffer): Promise<boolean> {
    if (this.#state.kind !== 'open') return false;
    const { segment } = this.#state;
    if (segment.acknowledged().size + bytes.length > REWRITE_BYTES) return false;
    try {
      await segment.append(bytes, null);
      return true;
    } catch {
      // A part of it may be in the file, or the file not ours any more.
      this.#state = { kind: 'lost' };
      await segment.close().catch(() => {});
      return false;
    }
  }

  /** Puts a file with what is needed, and these lines, into the place of the old one: a crash leaves the one or the other. */
  async #rewrite(added: readonly Waiting[]): Promise<void> {
    const files = this.#files;
    const lines = [
      ...this.#entries.list().map((entry) => `${undoLineText({ kind: 'entry', entry })}\n`),
      ...added.map(({ text }) => text),
    ];
    const bytes = Buffer.from(lines.join(''));
    const file = await files.openAppend(`${this.#path}.new`);
    try {
      await file.truncate(0);
      await writeAll(file, bytes);
      await file.datasync();
      await files.rename(`${this.#path}.new`, this.#path);
      await files.syncDirectory(this.#dir);
      const known = { identity: await file.identity(), size: bytes.length, lastLine: null };
      if (this.#state.kind === 'open') await this.#state.segment.close().catch(() => {});
      this.#state = { kind: 'open', segment: segmentOf(files, this.#path, file, known) };
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
  }

  // ---- reading

  async #read(): Promise<void> {
    const files = this.#files;
    const isThere = (await files.identify(this.#path)) !== null;
    const file = await files.openAppend(this.#path);
    let found: Found;
    try {
      found = await linesIn(file);
      if (!found.isDamaged) await this.#goOn(file, found);
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
    if (found.isDamaged) {
      await file.close().catch(() => {});
      await this.#setAside();
    }
    this.#knowsEarlier = isThere && !found.isDamaged;
    this.#entries = found.entries;
    const isOutdated = this.#entries.expire(this.#now());
    // What is too old is not kept on the disk either, where that is possible now.
    if (isOutdated || found.isDamaged) await this.#rewrite([]).catch((error: unknown) => this.#failed(error));
  }

  /** A line that a crash cut short was of a change that was not made. What was read may not be on the disk yet. */
  async #goOn(file: JournalFile, { size }: Found): Promise<void> {
    const identity = await file.identity();
    if (identity.size > size) await file.truncate(size);
    await file.datasync();
    await this.#files.syncDirectory(this.#dir);
    this.#state = {
      kind: 'open',
      segment: segmentOf(this.#files, this.#path, file, { identity, size, lastLine: null }),
    };
  }

  async #setAside(): Promise<void> {
    const name = `${FILE}.damaged-${new Date(this.#now()).toISOString().replaceAll(/[-:]/g, '')}`;
    await this.#files.rename(this.#path, `${this.#dir}/${name}`);
    await this.#files.syncDirectory(this.#dir);
    this.#state = { kind: 'lost' };
    this.#damage = `${this.#path} held something that the broker did not write; it is kept as ${name}, and what could be read of it can still be undone.`;
  }
}

interface Found {
  readonly entries: UndoEntries;
  /** The bytes of all whole lines. */
  readonly size: number;
  readonly isDamaged: boolean;
}

const linesIn = async (file: JournalFile): Promise<Found> => {
  const entries = new UndoEntries();
  let size = 0;
  let isDamaged = false;
  const identity = await file.identity();
  if (!identity.regular) throw new Error('it is not a plain file; move it away');
  if (identity.size > REWRITE_BYTES) return { entries, size, isDamaged: true };
  for await (const lines of linesOf(chunksOf(file))) {
    for (const { text, whole, start, bytes } of lines) {
      if (!whole) continue;
      const line = text === null ? null : parseUndoLine(text);
      if (line === null) isDamaged = true;
      else apply(line, `${text}\n`, entries);
      size = start + bytes + 1;
    }
  }
  return { entries, size, isDamaged };
};

const apply = (line: UndoLine, text: string, entries: UndoEntries): void => {
  if (line.kind === 'entry') entries.add(line.entry, Buffer.byteLength(text));
  else entries.remove(line.seq);
};
