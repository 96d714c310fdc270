// Records of both kinds of log as one flat shape, for showing, filtering, exporting and counting. What is in a file is
// taken as it is; whether to believe it is verify.ts.
import { linesOf } from './lines.ts';
import { type PythonValue, parsePython } from './python-json.ts';
import type { Source } from './sources.ts';

/** One record. Texts that a record does not have are empty, numbers null. */
export interface Row {
  readonly seq: number | null;
  readonly ts: string;
  /** As in the record; `call` for a record of the earlier log, `unreadable` for a line that is none. */
  readonly type: string;
  readonly call: number | null;
  readonly source: string;
  readonly principal: string;
  readonly service: string;
  readonly action: string;
  readonly qubes: readonly { readonly role: string; readonly name: string; readonly uuid: string }[];
  readonly args: string;
  /** In one word: allow, ask, refuse; approved, denied, timeout, ...; begun; done, failed; and so on. */
  readonly result: string;
  /** Why: the rule, the label the caller got, a reason. */
  readonly detail: string;
  readonly nonce: string;
  readonly durationMs: number | null;
  /** The line itself; empty where it is unreadable. */
  readonly line: string;
}

/** The records of the files in their order, in batches. Rejects when a file cannot be read. */
export async function* rowsOf(sources: readonly Source[]): AsyncGenerator<readonly Row[]> {
  for (const source of sources) {
    for await (const lines of linesOf(source.chunks())) {
      yield lines.map(({ text, number }) => (text === null ? null : rowOf(text)) ?? unreadable(source.path, number));
    }
  }
}

/** The row of a line; null when it is no record. */
export function rowOf(line: string): Row | null {
  const record = objectOf(line);
  if (record === null) return null;
  try {
    return typeof record.type === 'string' ? ourRow(record, record.type, line) : earlierRow(record, line);
  } catch (error) {
    // Nested so deep that it cannot be written again.
    if (error instanceof RangeError) return null;
    throw error;
  }
}

type Json = Readonly<Record<string, unknown>>;

function ourRow(record: Json, type: string, line: string): Row {
  const { result, detail } = (RESULTS[type] ?? otherwise)(record);
  return {
    seq: number(record.seq),
    ts: text(record.ts),
    type,
    call: number(record.call),
    source: text(record.source),
    principal: text(record.principal),
    service: text(record.service),
    action: text(record.action),
    qubes: qubesOf(record),
    args: record.args === undefined ? '' : JSON.stringify(record.args),
    result,
    detail,
    nonce: text(record.nonce),
    durationMs: number(record.duration_ms),
    line,
  };
}

// Contract section 6: the whitelisted arguments that name qubes.
const EARLIER_QUBES = ['name', 'source', 'template', 'backend', 'frontend'];

function earlierRow(record: Json, line: string): Row {
  const args = isJson(record.args) ? record.args : {};
  const qubes = EARLIER_QUBES.flatMap((role) => {
    const name = args[role];
    return typeof name === 'string' ? [{ role, name, uuid: '' }] : [];
  });
  return {
    ...EMPTY,
    seq: number(record.seq),
    ts: text(record.ts),
    type: 'call',
    service: text(record.service),
    action: text(args.action),
    qubes,
    args: JSON.stringify(args),
    result: text(record.consent) || (record.ok === true ? 'done' : 'failed'),
    detail: text(record.error),
    line,
  };
}

interface Result {
  readonly result: string;
  readonly detail: string;
}

/** What of each type of record is its result, and what explains it. */
const RESULTS: Readonly<Record<string, (record: Json) => Result>> = {
  decision: ({ verdict, rule }) => ({ result: text(verdict), detail: text(rule) }),
  question: () => ({ result: 'asked', detail: '' }),
  answer: ({ answer, reason }) => ({ result: text(answer), detail: text(reason) }),
  intent: () => ({ result: 'begun', detail: '' }),
  step: ({ step }) => ({ result: 'step', detail: text(step) }),
  outcome: ({ ok, error, cause }) => ({
    result: ok === true ? 'done' : 'failed',
    detail: [text(error), text(cause)].filter((part) => part !== '').join('; '),
  }),
  finding: ({ finding, intent_seq }) => ({ result: text(finding), detail: `begun in record ${String(intent_seq)}` }),
  start: ({ version, unfinished }) => ({
    result: 'start',
    detail: `version ${text(version)}, ${String(unfinished)} unfinished`,
  }),
  stop: ({ reason }) => ({ result: 'stop', detail: text(reason) }),
  settings: ({ complaints }) => ({
    result: 'settings',
    detail: Array.isArray(complaints) ? complaints.map(text).join('; ') : '',
  }),
  operator: ({ verb }) => ({ result: 'operator', detail: text(verb) }),
  gap: ({ refused, lost }) => ({ result: 'gap', detail: `${String(refused)} refused, ${String(lost)} lost` }),
  break: ({ reason, kept }) => ({ result: 'break', detail: [text(reason), text(kept)].join(' ').trimEnd() }),
  torn: ({ kept }) => ({ result: 'torn', detail: text(kept) }),
  checkpoint: ({ key }) => ({ result: 'checkpoint', detail: `key ${text(key)}` }),
};

const otherwise = ({ type }: Json): Result => ({ result: text(type), detail: '' });

const EMPTY = {
  ...{ seq: null, ts: '', call: null, source: '', principal: '', service: '', action: '', qubes: [], args: '' },
  ...{ nonce: '', durationMs: null },
} as const;

const unreadable = (path: string, line: number): Row => ({
  ...EMPTY,
  type: 'unreadable',
  result: 'unreadable',
  detail: `line ${line} of ${path}`,
  line: '',
});

function qubesOf({ qubes, qube }: Json): Row['qubes'] {
  const named = Array.isArray(qubes) ? qubes : isJson(qube) ? [qube] : [];
  return named.filter(isJson).map(({ role, name, uuid }) => ({ role: text(role), name: text(name), uuid: text(uuid) }));
}

function objectOf(line: string): Json | null {
  try {
    const value: unknown = JSON.parse(line);
    return isJson(value) ? value : null;
  } catch {
    // What Python writes is not always JSON.
    const value = parsePython(line);
    const plain = value === null ? null : plainOf(value);
    return isJson(plain) ? plain : null;
  }
}

function plainOf(value: PythonValue): unknown {
  switch (value.kind) {
    case 'literal':
      return value.text === 'true' ? true : value.text === 'false' ? false : value.text === 'null' ? null : value.text;
    case 'number':
      return Number(value.text);
    case 'string':
      return value.value;
    case 'array':
      return value.items.map(plainOf);
    case 'object':
      return Object.fromEntries([...value.members].map(([key, inner]) => [key, plainOf(inner)]));
  }
}

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
const number = (value: unknown): number | null => (typeof value === 'number' && Number.isFinite(value) ? value : null);
