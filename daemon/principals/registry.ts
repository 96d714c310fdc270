// The registry: one file per principal below `<etc>/principals` (README.md beside this file). A file that is wrong is no
// principal, loudly; a registry that cannot be read knows nobody, so that nothing is ever allowed by an error.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { QubeName } from '../names.ts';
import { quoted } from '../settings/lines.ts';
import { isEqual, isSame, look, lookAtFolder, type Seen } from '../settings/look.ts';
import type { Complaint } from '../settings/settings.ts';
import { nameOfFile, type Principal, parsePrincipal, type Wrong } from './file.ts';

/** More files than this are a mistake: the registry counts as unreadable. */
export const FILES_MAX = 16_384;
/** Complaints kept; the rest is counted. */
const COMPLAINTS_MAX = 50;
/**
 * How often every file is looked at, in milliseconds: at the least, and for each file. A file that is replaced, as editors and
 * qmcpctl do it, and the file of the principal that calls, are seen at once; this is for files that are written over.
 */
const LOOK_LEAST_MS = 1_000;
const LOOK_EACH_MS = 1;
/** In a large registry a look at all files is followed by at least this many times its own length without one. */
const REST = 20;
const LARGE = 1_000;
/** Reads of a source by nobody in particular trust that the registry is absent for this many milliseconds; changes never do. */
const ABSENT_MS = 5;

/** Whose an unsigned call is: nobody is enrolled at all, or this principal, or no one's. */
export type Unsigned = { readonly kind: 'default' } | { readonly kind: 'principal'; readonly of: Principal } | null;

export interface RegistryOptions {
  /** Wall clock, milliseconds since 1970: files carry its time stamps. */
  readonly now?: () => number;
  readonly monotonicMs?: () => number;
  /** Told of all complaints, whenever files changed after the first look. */
  readonly changed?: (complaints: readonly Complaint[]) => void;
}

interface Entry {
  readonly seen: Seen;
  readonly found: Principal | Wrong;
}

const UNSEEN: Seen = { stat: null, source: { kind: 'absent' } };

export class Registry {
  readonly #dir: string;
  readonly #now: () => number;
  readonly #monotonicMs: () => number;
  readonly #changed: RegistryOptions['changed'];
  #folder: Seen = UNSEEN;
  /** By file name. */
  #entries = new Map<string, Entry>();
  #state: 'absent' | 'readable' | 'unreadable' = 'absent';
  /** Of what is unreadable; empty otherwise. */
  #why = '';
  #signed = new Map<string, Principal>();
  /** null where two claim the same source. */
  #unsigned = new Map<QubeName | 'any', Principal | null>();
  #complaints: readonly Complaint[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;
  #foundAbsentAt = Number.NEGATIVE_INFINITY;
  #lookTook = 0;

  constructor(etc: string, { now = Date.now, monotonicMs = () => performance.now(), changed }: RegistryOptions = {}) {
    this.#dir = join(etc, 'principals');
    this.#now = now;
    this.#monotonicMs = monotonicMs;
    this.#refresh();
    this.#changed = changed;
  }

  /** The principal of that name, if it may sign calls of that source. */
  signed(name: string, source: QubeName): Principal | null {
    this.#refresh();
    this.#lookAgainAt(this.#signed.get(name));
    const principal = this.#signed.get(name);
    return principal?.sources?.has(source) ? principal : null;
  }

  /** Who makes unsigned calls of that source, for a call that reads or changes. */
  unsigned(source: QubeName, use: 'read' | 'change' = 'change'): Unsigned {
    const isFresh = this.#monotonicMs() < this.#foundAbsentAt + ABSENT_MS;
    if (use === 'read' && isFresh && this.#state === 'absent') return { kind: 'default' };
    this.#refresh();
    this.#lookAgainAt(this.#unsignedOf(source));
    if (this.#state === 'absent') {
      this.#foundAbsentAt = this.#monotonicMs();
      return { kind: 'default' };
    }
    const of = this.#unsignedOf(source);
    return of ? { kind: 'principal', of } : null;
  }

  /** Whether the operator enrolled anybody, or meant to. */
  get isInUse(): boolean {
    this.#refresh();
    return this.#state !== 'absent';
  }

  /** All principals there are, by name. */
  all(): readonly Principal[] {
    this.#refresh();
    return [...this.#signed.values(), ...new Set([...this.#unsigned.values()].filter((each) => each !== null))].sort(
      (a, b) => (a.name < b.name ? -1 : 1),
    );
  }

  /** What is wrong with files, for the operator. */
  get complaints(): readonly Complaint[] {
    this.#refresh();
    return this.#complaints;
  }

  #unsignedOf(source: QubeName): Principal | null | undefined {
    const own = this.#unsigned.get(source);
    return own === undefined ? this.#unsigned.get('any') : own;
  }

  // ---- looking

  #refresh(): void {
    const before = this.#folder;
    this.#folder = lookAtFolder(this.#dir, this.#now);
    const at = this.#monotonicMs();
    const age = at - this.#lookedAt;
    const isDue = age >= Math.max(LOOK_LEAST_MS, this.#entries.size * LOOK_EACH_MS);
    if (!isDue && isSame(before, this.#folder)) return;
    if (this.#entries.size > LARGE && age < this.#lookTook * REST) return;
    this.#lookAtAll();
    this.#lookedAt = this.#monotonicMs();
    this.#lookTook = this.#lookedAt - at;
  }

  /** The file of the principal that is calling is looked at on every call: what the operator takes away is gone at once. */
  #lookAgainAt(principal: Principal | null | undefined): void {
    if (!principal) return;
    const file = `${principal.name}.json`;
    const entry = this.#entries.get(file);
    if (!entry) return;
    const seen = look(join(this.#dir, file), entry.seen, this.#now);
    if (!isEqual(seen.source, entry.seen.source)) this.#lookAtAll();
  }

  #lookAtAll(): void {
    const files = this.#filesNow();
    if (typeof files === 'string') {
      if (this.#why !== files) this.#become('unreadable', new Map(), files);
      return;
    }
    const entries = new Map<string, Entry>();
    let isChanged = files.length !== this.#entries.size || this.#state === 'unreadable';
    for (const file of files) {
      const before = this.#entries.get(file);
      const seen = look(join(this.#dir, file), before?.seen, this.#now);
      const isAsBefore = before !== undefined && isEqual(before.seen.source, seen.source);
      isChanged ||= !isAsBefore;
      entries.set(file, { seen, found: isAsBefore ? before.found : found(file, seen) });
    }
    if (isChanged) this.#become(files.length === 0 ? 'absent' : 'readable', entries, '');
    else this.#entries = entries;
  }

  /** The names of all files but hidden ones, or why they cannot be told. */
  #filesNow(): readonly string[] | string {
    const { source } = this.#folder;
    // An absent registry, which is the usual one, is looked at by its directory alone.
    if (source.kind === 'absent') return [];
    if (source.kind === 'unreadable') return source.why;
    try {
      const files = readdirSync(this.#dir).filter((name) => !name.startsWith('.'));
      return files.length > FILES_MAX ? `holds more than ${FILES_MAX} files` : files.sort();
    } catch (error) {
      return `gives ${error instanceof Error && 'code' in error ? error.code : 'an unknown error'}`;
    }
  }

  #become(state: 'absent' | 'readable' | 'unreadable', entries: Map<string, Entry>, why: string): void {
    this.#state = state;
    this.#why = why;
    this.#entries = entries;
    this.#signed = new Map();
    this.#unsigned = new Map();
    const principals = [...entries.values()].map(({ found }) => found).filter(isPrincipal);
    const ambiguous = new Map<QubeName | 'any', string[]>();
    for (const principal of principals) {
      if (principal.key !== null) this.#signed.set(principal.name, principal);
      else {
        for (const source of principal.sources ?? (['any'] as const)) {
          const claimed = ambiguous.get(source) ?? [];
          ambiguous.set(source, [...claimed, principal.name]);
          this.#unsigned.set(source, claimed.length === 0 ? principal : null);
        }
      }
    }
    // A file that cannot be understood may have named a source: nobody else's fallback is that source's then.
    const mayClaim = [...entries.values()].some(({ found }) => !isPrincipal(found) && found.mayBeUnsigned);
    if (mayClaim && this.#unsigned.has('any')) this.#unsigned.set('any', null);
    this.#complaints = complaintsOf(state === 'unreadable' ? why : null, entries, ambiguous);
    this.#changed?.(this.#complaints);
  }
}

const isPrincipal = (found: Principal | Wrong): found is Principal => !('sentence' in found);

const found = (file: string, { source }: Seen): Principal | Wrong => {
  const name = nameOfFile(file);
  const wrong = (sentence: string): Wrong => ({ sentence, mayBeUnsigned: true });
  if (name === null)
    return wrong(
      'The name of the file must be that of the principal: a-z, 0-9 and dashes, then .json; not operator or unknown.',
    );
  if (source.kind === 'absent') return wrong('It was there a moment ago.');
  return source.kind === 'text' ? parsePrincipal(name, source.text) : wrong(`It cannot be read: it ${source.why}.`);
};

const NOBODY = 'Until it is mended, this principal does not exist';
const NO_FALLBACK = ', and unsigned calls are refused but for sources that another file names';

const complaintsOf = (
  unreadable: string | null,
  entries: ReadonlyMap<string, Entry>,
  claims: ReadonlyMap<string, readonly string[]>,
): readonly Complaint[] => {
  const complain = (file: string, sentence: string): Complaint => ({ file, line: null, sentence });
  if (unreadable !== null) {
    return [
      complain(
        'principals',
        `The directory cannot be read: it ${unreadable}. Until it is mended, every call is refused.`,
      ),
    ];
  }
  const all = [...entries].flatMap(([file, { found }]) =>
    isPrincipal(found)
      ? []
      : [
          complain(
            `principals/${shown(file)}`,
            `${found.sentence} ${NOBODY}${found.mayBeUnsigned ? NO_FALLBACK : ''}.`,
          ),
        ],
  );
  for (const [source, names] of claims) {
    if (names.length > 1) {
      const sentence = `Unsigned calls of ${source} are claimed by ${names.join(' and ')}. Until one of them gives way, they are refused.`;
      all.push(complain('principals', sentence));
    }
  }
  const more = all.length - COMPLAINTS_MAX;
  return more > 0
    ? [...all.slice(0, COMPLAINTS_MAX), complain('principals', `${more} more complaints about files here.`)]
    : all;
};

const shown = (file: string): string => quoted(file).replace(/^'|'$/g, '');
