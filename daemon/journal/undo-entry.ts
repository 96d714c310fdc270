// What a change put in the place of what, so that the operator can take it back (product, "Undo"). These are values of
// properties and features: they stay in the undo store and never enter the journal.
import * as z from 'zod/mini';
import {
  type FeatureName,
  isFeatureName,
  isPropertyName,
  isQubeName,
  isTag,
  isUuid,
  type PropertyName,
  type QubeName,
  type Tag,
  type Uuid,
} from '../names.ts';

/** A value as qubesd is told it; null where the qube has none of its own: a default property, a feature that is not set. */
export type Value = string | null;

/**
 * `before` is null where nobody could tell what was there: such a change cannot be taken back. Firewall rules are as
 * admin.vm.firewall.Get lists them, tags only those of the broker's vocabulary.
 */
export type Change =
  | {
      readonly kind: 'property' | 'feature';
      readonly name: string;
      readonly before: { readonly value: Value } | null;
      readonly after: Value;
    }
  | { readonly kind: 'firewall'; readonly before: string; readonly after: string }
  | { readonly kind: 'tombstone'; readonly before: readonly string[]; readonly after: readonly string[] };

export interface UndoEntry {
  /** Of the intent in the journal. */
  readonly seq: number;
  /** Wall clock, milliseconds since 1970. */
  readonly at: number;
  readonly service: string;
  readonly source: string;
  readonly principal: string;
  readonly qube: { readonly name: QubeName; readonly uuid: Uuid };
  readonly change: Change;
}

/** A line of the store: an entry, or that one was taken back and is not needed any more. */
export type UndoLine =
  | { readonly kind: 'entry'; readonly entry: UndoEntry }
  | { readonly kind: 'spent'; readonly seq: number };

const VERSION = 1;

const seq = z.int().check(z.minimum(1));
const value = z.nullable(z.string());
const values = { before: z.nullable(z.strictObject({ value })), after: value };
const tags = z.readonly(z.array(z.custom<Tag>(isTag)));
const change: z.ZodMiniType<Change> = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('property'), name: z.custom<PropertyName>(isPropertyName), ...values }),
  z.strictObject({ kind: z.literal('feature'), name: z.custom<FeatureName>(isFeatureName), ...values }),
  z.strictObject({ kind: z.literal('firewall'), before: z.string(), after: z.string() }),
  z.strictObject({ kind: z.literal('tombstone'), before: tags, after: tags }),
]);
const entry = z.strictObject({
  seq,
  at: z.int().check(z.minimum(0)),
  service: z.string(),
  source: z.string(),
  principal: z.string(),
  qube: z.strictObject({ name: z.custom<QubeName>(isQubeName), uuid: z.custom<Uuid>(isUuid) }),
  change,
});
const line = z.union([
  z.strictObject({ v: z.literal(VERSION), entry }),
  z.strictObject({ v: z.literal(VERSION), spent: seq }),
]);

/** One line without its newline. */
export const undoLineText = (line: UndoLine): string =>
  JSON.stringify(line.kind === 'entry' ? { v: VERSION, entry: line.entry } : { v: VERSION, spent: line.seq });

/** What a line says; null for what is none of ours. */
export const parseUndoLine = (text: string): UndoLine | null => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const parsed = line.safeParse(json);
  if (!parsed.success) return null;
  return 'entry' in parsed.data
    ? { kind: 'entry', entry: parsed.data.entry }
    : { kind: 'spent', seq: parsed.data.spent };
};
