// The question as it arrives on the connection: bytes until the first newline, then a shape, then a text fit to show.
import * as z from 'zod/mini';
import { isQubeName, type QubeName } from '../names.ts';
import { LABELS } from '../qube.ts';
import { reasonNotToShow } from './displayable.ts';

export const MAX_QUESTION_BYTES = 65_536;
export const MAX_EXPIRES_SECONDS = 3_600;
const MAX_MARKS = 256;

// Copied into the statement and never shown, so any plain token will do; the broker's own are 64 hex digits.
const token = z.string().check(z.regex(/^[\x21-\x7e]{16,256}$/));
const position = z.int().check(z.minimum(0), z.maximum(MAX_QUESTION_BYTES));
const qubeName = z.custom<QubeName>(isQubeName);

const mark = z.object({ line: position, start: position, end: position, label: z.enum(LABELS) });

// Members this version does not know are ignored: nothing but `lines` says what is being approved.
const schema = z.object({
  v: z.literal(1),
  nonce: token,
  digest: token,
  expires_in: z.number().check(z.positive(), z.maximum(MAX_EXPIRES_SECONDS)),
  view: z.object({
    lines: z.array(z.string()),
    marks: z._default(z.array(mark).check(z.maxLength(MAX_MARKS)), []),
    type_to_confirm: z.nullable(qubeName),
    risk: z._default(z.enum(['change', 'destroy']), 'destroy'),
    freeze: z.optional(qubeName),
  }),
});

export type Asked = z.infer<typeof schema>;
export type Read = { readonly asked: Asked } | { readonly refused: string };

/** One received line, without its newline, as a question that may be shown; or the sentence that says why not. */
export const readQuestion = (line: Uint8Array): Read => {
  const parsed = schema.safeParse(parseJson(line));
  if (!parsed.success) return { refused: 'What came over the connection is not a question.' };
  const { view } = parsed.data;
  const reason = reasonNotToShow(view.lines) ?? markDefect(view) ?? nameDefect(view);
  return reason === null ? { asked: parsed.data } : { refused: reason };
};

const parseJson = (line: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(line));
  } catch {
    return undefined;
  }
};

// A mark colours one qube's name and nothing else, and no two marks touch the same letters.
const markDefect = ({ lines, marks }: Asked['view']): string | null => {
  const sorted = [...marks].sort((a, b) => a.line - b.line || a.start - b.start);
  const sound = sorted.every((one, index) => {
    const next = sorted[index + 1];
    const apart = next === undefined || next.line !== one.line || next.start >= one.end;
    return apart && isQubeName(lines[one.line]?.slice(one.start, one.end)) && one.end <= (lines[one.line]?.length ?? 0);
  });
  return sound ? null : 'A colour mark of the question does not lie on a qube name.';
};

// The prompt repeats this name, so it must be part of what is signed.
const nameDefect = ({ lines, type_to_confirm: name }: Asked['view']): string | null =>
  name === null || lines.some((line) => line.includes(name))
    ? null
    : 'The name to type does not appear in the question.';

export type Chunk = { readonly line: Uint8Array } | 'more' | 'too much';

/** Collects chunks up to the first newline. Anything after it, or more than MAX_QUESTION_BYTES before it, is too much. */
export const lineCollector = (): ((chunk: Uint8Array) => Chunk) => {
  let held: Uint8Array = new Uint8Array(0);
  return (chunk) => {
    held = Buffer.concat([held, chunk]);
    const end = held.indexOf(0x0a);
    if (end < 0) return held.length > MAX_QUESTION_BYTES ? 'too much' : 'more';
    return end < held.length - 1 || end > MAX_QUESTION_BYTES ? 'too much' : { line: held.subarray(0, end) };
  };
};
