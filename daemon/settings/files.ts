// Every operator file: what it may hold, what holds where it is absent, and what where it is malformed (contract section 2). Pure.
import { isFeatureName, isQubeName, isUuid, type QubeName, type Uuid } from '../names.ts';
import { contentLines, type Line, quoted } from './lines.ts';
import { agreedMode, type PolicySource } from './mode.ts';
import type { Complaint, ConsentPolicy, EnforceMode, FeaturesAllowed, Guarded, Settings, Tier } from './settings.ts';

/** A file as it was found. `why` goes on after 'it', as in 'it is not a regular file'. */
export type Source =
  | { readonly kind: 'absent' }
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'unreadable'; readonly why: string };

/** The operator files, by their names below `<etc>`. */
export const FILE_NAMES = [
  'tier-default',
  'birth-ceiling',
  'birth-egress',
  'guarded',
  'pool-cap',
  'private-cap',
  'name-prefix',
  'enforce-mode',
  'consent-policy',
  'consent-timeout',
  'tombstone-retention',
  'tombstones',
  'features-allowed',
  'confirm.pub',
] as const;
export type FileName = (typeof FILE_NAMES)[number];

const CONSENT_TIMEOUT = { least: 5, most: 340, standard: 300 };
const TOMBSTONE_RETENTION = 86_400;
const NAME_PREFIX = 'ai-';
/** Complaints kept per file; the rest is counted. */
export const COMPLAINTS_MAX = 20;

interface Parsed<T> {
  readonly value: T;
  readonly complaints: readonly Complaint[];
}
interface OperatorFile<T> {
  readonly file: FileName;
  readonly parse: (source: Source) => Parsed<T>;
}

interface OneValue<T> {
  readonly file: FileName;
  readonly absent: T;
  /** The value a malformed or unreadable file stands for, and the words for it. */
  readonly malformed: T;
  readonly meanwhile: string;
  readonly wanted: string;
  /** The value a line stands for, or undefined where it is malformed. */
  readonly read: (text: string) => T | undefined;
}

/** A file that holds exactly one value. Nothing but comments is malformed too: who made the file meant to say something. */
const oneValue = <T>({ file, absent, malformed, meanwhile, wanted, read }: OneValue<T>): OperatorFile<T> => {
  const complain = (line: number | null, wrong: string): Parsed<T> => ({
    value: malformed,
    complaints: [{ file, line, sentence: `${wrong} Until it is mended, ${meanwhile}.` }],
  });
  const parse = (source: Source): Parsed<T> => {
    if (source.kind === 'absent') return { value: absent, complaints: [] };
    if (source.kind === 'unreadable') return complain(null, `The file cannot be read: it ${source.why}.`);
    const [only, second] = contentLines(source.text);
    if (only === undefined) return complain(null, `The file says nothing; write ${wanted}, or remove the file.`);
    if (second !== undefined) return complain(second.number, `A second value; write ${wanted} once.`);
    const value = read(only.text);
    return value === undefined
      ? complain(only.number, `${quoted(only.text)} is not understood; write ${wanted}.`)
      : { value, complaints: [] };
  };
  return { file, parse };
};

interface List<Entry, T> {
  readonly file: FileName;
  readonly absent: T;
  readonly meanwhile: string;
  readonly wanted: string;
  readonly read: (text: string) => Entry | undefined;
  /** The setting from the entries that parsed; `malformed` where any did not, or none could be read. */
  readonly collect: (entries: readonly Entry[], malformed: boolean) => T;
}

/** A file that holds one entry per line, in any number. */
const list = <Entry, T>({ file, absent, meanwhile, wanted, read, collect }: List<Entry, T>): OperatorFile<T> => {
  const until = `Until it is mended, ${meanwhile}.`;
  const parse = (source: Source): Parsed<T> => {
    if (source.kind === 'absent') return { value: absent, complaints: [] };
    if (source.kind === 'unreadable') {
      const sentence = `The file cannot be read: it ${source.why}. ${until}`;
      return { value: collect([], true), complaints: [{ file, line: null, sentence }] };
    }
    const entries: Entry[] = [];
    const bad: Line[] = [];
    for (const line of contentLines(source.text)) {
      const entry = read(line.text);
      if (entry === undefined) bad.push(line);
      else entries.push(entry);
    }
    const complaints: Complaint[] = bad.slice(0, COMPLAINTS_MAX).map(({ number, text }) => ({
      file,
      line: number,
      sentence: `${quoted(text)} is not understood; write ${wanted}. ${until}`,
    }));
    const more = bad.length - COMPLAINTS_MAX;
    if (more > 0) complaints.push({ file, line: null, sentence: `${more} more lines are not understood. ${until}` });
    return { value: collect(entries, bad.length > 0), complaints };
  };
  return { file, parse };
};

/** Words as the operator may write them, in any case, and what they stand for. */
const oneOf =
  <T>(words: ReadonlyMap<string, T>) =>
  (text: string): T | undefined =>
    words.get(text.toLowerCase());

/** Digits alone: no sign, no underscores, no blanks (B18). */
const number = (text: string): number | undefined => (/^[0-9]+$/.test(text) ? Number(text) : undefined);

const exactNumber = (text: string): number | undefined => {
  const value = number(text);
  return value !== undefined && Number.isSafeInteger(value) ? value : undefined;
};

const tierDefault = oneValue<'full' | 'ro'>({
  file: 'tier-default',
  absent: 'full',
  malformed: 'ro',
  meanwhile: 'managed qubes without a tier tag can only be read (ro)',
  wanted: 'full or ro',
  read: oneOf<'full' | 'ro'>(
    new Map([
      ['full', 'full'],
      ['ro', 'ro'],
    ]),
  ),
});

const birthCeiling = oneValue<Tier | 'none'>({
  file: 'birth-ceiling',
  absent: 'none',
  malformed: 'ro',
  meanwhile: 'created qubes get no tier tag (ai-ro)',
  wanted: 'ai-ro, ai-exec, ai-net or ai-full',
  read: oneOf<Tier>(
    new Map([
      ['ai-ro', 'ro'],
      ['ai-exec', 'exec'],
      ['ai-net', 'net'],
      ['ai-full', 'full'],
    ]),
  ),
});

const birthEgress = oneValue<QubeName | null>({
  file: 'birth-egress',
  absent: null,
  malformed: null,
  meanwhile: 'no network comes from this file, and a create that depends on it is refused',
  wanted: 'the name of one qube',
  read: (text) => (isQubeName(text) ? text : undefined),
});

const guarded = list<{ name: QubeName } | { uuid: Uuid }, Guarded>({
  file: 'guarded',
  absent: { names: new Set(), uuids: new Set(), unreadable: false },
  meanwhile: 'every qube counts as guarded and every change is asked',
  wanted: 'one qube name or uuid per line',
  read: (text) => {
    if (isQubeName(text)) return { name: text };
    const uuid = text.replace(/^uuid:/, '').toLowerCase();
    return isUuid(uuid) ? { uuid } : undefined;
  },
  collect: (entries, malformed) => ({
    names: new Set(entries.flatMap((entry) => ('name' in entry ? [entry.name] : []))),
    uuids: new Set(entries.flatMap((entry) => ('uuid' in entry ? [entry.uuid] : []))),
    unreadable: malformed,
  }),
});

const poolCap = oneValue<number | null>({
  file: 'pool-cap',
  absent: null,
  malformed: null,
  meanwhile: 'there is no pool cap and creating qubes is refused',
  wanted: 'a number of bytes, digits only',
  read: exactNumber,
});

const privateCap = oneValue<number | null>({
  file: 'private-cap',
  absent: null,
  malformed: null,
  meanwhile: 'there is no private cap and creating a qube with a size is refused',
  wanted: 'a number of bytes, digits only',
  read: exactNumber,
});

const namePrefix = oneValue<string>({
  file: 'name-prefix',
  absent: NAME_PREFIX,
  malformed: NAME_PREFIX,
  meanwhile: `names of created qubes start with ${NAME_PREFIX}`,
  wanted: 'up to 16 letters, digits and dashes, the first not a dash',
  read: (text) => (/^[A-Za-z0-9][A-Za-z0-9-]{0,15}$/.test(text) ? text : undefined),
});

const enforceMode = oneValue<EnforceMode>({
  file: 'enforce-mode',
  absent: 'shadow',
  malformed: 'strict',
  meanwhile: 'the mode is strict',
  wanted: 'shadow, strict or enforce',
  read: oneOf<EnforceMode>(
    new Map([
      ['shadow', 'shadow'],
      ['strict', 'strict'],
      ['enforce', 'enforce'],
    ]),
  ),
});

const CONSENT_ENTRY = /^(\*|[A-Za-z0-9_.-]{1,64})[ \t]*:[ \t]*(\*|[A-Za-z0-9_-]{1,64})$/;

// A bad line might have asked for anything, so the built-in set comes back, and what did parse stays asked (R15).
const consentPolicy = list<string, ConsentPolicy>({
  file: 'consent-policy',
  absent: { builtIn: true, asked: new Set() },
  meanwhile: 'the built-in destructive set is asked too',
  wanted: 'service:action, service:* or * on each line',
  read: (text) => {
    if (text === '*') return '*:*';
    const entry = CONSENT_ENTRY.exec(text);
    return entry === null ? undefined : `${entry[1]}:${entry[2]}`;
  },
  collect: (entries, malformed) => ({ builtIn: malformed, asked: new Set(entries) }),
});

const consentTimeout = oneValue<number>({
  file: 'consent-timeout',
  absent: CONSENT_TIMEOUT.standard,
  malformed: CONSENT_TIMEOUT.standard,
  meanwhile: `a question stays open for ${CONSENT_TIMEOUT.standard} seconds`,
  wanted: `a number of seconds from ${CONSENT_TIMEOUT.least} to ${CONSENT_TIMEOUT.most}, digits only`,
  read: (text) => {
    const seconds = number(text);
    return seconds === undefined ? undefined : Math.min(Math.max(seconds, CONSENT_TIMEOUT.least), CONSENT_TIMEOUT.most);
  },
});

const tombstoneRetention = oneValue<number | null>({
  file: 'tombstone-retention',
  absent: TOMBSTONE_RETENTION,
  malformed: null,
  meanwhile: 'no removed qube is ever destroyed',
  wanted: 'a number of seconds, digits only',
  read: exactNumber,
});

const tombstones = oneValue<'on' | 'off' | 'absent'>({
  file: 'tombstones',
  absent: 'absent',
  malformed: 'on',
  meanwhile: 'removed qubes become tombstones (on)',
  wanted: 'on or off',
  read: oneOf<'on' | 'off'>(
    new Map([
      ['on', 'on'],
      ['off', 'off'],
    ]),
  ),
});

const featuresAllowed = list<string, FeaturesAllowed>({
  file: 'features-allowed',
  absent: { names: new Set(), prefixes: [] },
  meanwhile: 'the whole file allows nothing',
  wanted: 'one feature name, or the beginning of one with * after it, per line',
  read: (text) => (isFeatureName(text.endsWith('*') ? text.slice(0, -1) : text) ? text : undefined),
  collect: (entries, malformed) => {
    const kept = malformed ? [] : entries;
    return {
      names: new Set(kept.filter((entry) => !entry.endsWith('*'))),
      prefixes: kept.filter((entry) => entry.endsWith('*')).map((entry) => entry.slice(0, -1)),
    };
  },
});

const confirmKey = oneValue<Uint8Array | null>({
  file: 'confirm.pub',
  absent: null,
  malformed: null,
  meanwhile: 'no question can be answered yes',
  wanted: 'the public key of qmcp-confirm, 32 bytes in base64',
  read: (text) => {
    if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) return undefined;
    const key = Buffer.from(text, 'base64');
    // One text per key: the last character carries two bits that must be zero.
    return key.toString('base64') === text ? new Uint8Array(key) : undefined;
  },
});

const ABSENT: Source = { kind: 'absent' };

/**
 * The settings that the files stand for; a file that is missing from the map is an absent one. `policy` is the include that
 * states the policy's mode, null where nobody looks at it. Never throws.
 */
export function parseSettings(sources: ReadonlyMap<FileName, Source>, policy: PolicySource | null = null): Settings {
  const complaints: Complaint[] = [];
  const read = <T>({ file, parse }: OperatorFile<T>): T => {
    const { value, complaints: own } = parse(sources.get(file) ?? ABSENT);
    complaints.push(...own);
    return value;
  };
  const mode = agreedMode(read(tierDefault), policy);
  complaints.push(...mode.complaints);
  return Object.freeze({
    tierDefault: mode.tierDefault,
    policyMode: mode.policyMode,
    birthCeiling: read(birthCeiling),
    birthEgress: read(birthEgress),
    guarded: read(guarded),
    poolCap: read(poolCap),
    privateCap: read(privateCap),
    namePrefix: read(namePrefix),
    enforceMode: read(enforceMode),
    consentPolicy: read(consentPolicy),
    consentTimeoutSeconds: read(consentTimeout),
    tombstoneRetention: read(tombstoneRetention),
    tombstones: read(tombstones),
    featuresAllowed: read(featuresAllowed),
    confirmKey: read(confirmKey),
    complaints,
  });
}
