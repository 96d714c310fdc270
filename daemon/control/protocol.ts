// What travels over control.sock: one line of JSON each way, then a close. The operator's side of it is in operator/.
// Both directions are schemas: the daemon believes nothing it is sent, and the tool nothing of a daemon that may have been
// taken over. There is no verb that answers a question.
import * as z from 'zod';
import { isQubeName, isUuid } from '../names.ts';

/** Raised when a request or an answer changes its meaning; who speaks another one is told so. */
export const PROTOCOL = 1;

/** A request is a verb and its arguments; the largest carries the body of a call, as JSON inside JSON. */
export const MAX_REQUEST_BYTES = 196_608;
/** An answer about every qube of a very large machine. */
export const MAX_ANSWER_BYTES = 8 * 2 ** 20;

export const request = z.strictObject({
  v: z.number().int(),
  verb: z.string().max(64),
  args: z.record(z.string().max(64), z.unknown()).default({}),
});

export interface Request {
  readonly v: number;
  readonly verb: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Every answer says which version gave it. `error` is a sentence for the operator. */
export type Answer = { readonly v: number; readonly version: string } & (
  | { readonly ok: true; readonly result: unknown }
  | { readonly ok: false; readonly error: string }
);

export const answer = z.union([
  z.object({ v: z.number().int(), version: z.string(), ok: z.literal(true), result: z.unknown() }),
  z.object({ v: z.number().int(), version: z.string(), ok: z.literal(false), error: z.string() }),
]);

export const qubeName = z.string().refine(isQubeName);
const uuid = z.string().refine(isUuid);
const seconds = z.number();

export const TIER_WORDS = ['none', 'dump', 'ro', 'exec', 'net', 'full'] as const;
export type TierWord = (typeof TIER_WORDS)[number];

// ---- what the verbs answer

export const hello = z.object({ pid: z.number().int(), uptime_s: seconds });

export const status = z.object({
  pid: z.number().int(),
  uptime_s: seconds,
  qubesd: z.enum(['connected', 'away']),
  journal: z.object({ ok: z.boolean(), sentence: z.string().nullable() }),
  /** Why what could be undone cannot be kept, or was lost. */
  undo_complaint: z.string().nullable(),
  mode: z.object({
    tier_default: z.enum(['full', 'ro']),
    policy: z.enum(['compat', 'least-privilege', 'absent', 'unknown']),
    enforce: z.enum(['shadow', 'strict', 'enforce']),
  }),
  /** Whether a question can be answered yes: there is a key, and somebody listens on confirm.sock. */
  dialog: z.object({ key: z.boolean(), listens: z.boolean() }),
  complaints: z.array(z.string()),
  calls: z.number().int(),
  questions: z.object({ open: z.number().int(), waiting: z.number().int() }),
  frozen: z.array(qubeName),
  all_frozen: z.string().nullable(),
  resting: z.array(z.object({ source: qubeName, seconds })),
  /** Qubes that a creation left half-made. Agents have none of them. */
  quarantine: z.array(z.object({ name: qubeName, uuid: uuid.nullable(), since: z.iso.datetime() })),
  /** Why all qubes count as such, or why a restart would not know of them. */
  quarantine_complaint: z.string().nullable(),
  /** null where qubesd could not be asked. */
  managed: z.number().int().nullable(),
  tombstones: z.number().int().nullable(),
});
export type Status = z.infer<typeof status>;

const asker = {
  source: z.string(),
  principal: z.string(),
  service: z.string(),
  action: z.string(),
  names: z.array(z.string()),
};
export const pending = z.object({
  /** The question that has its turn; without `lines` it is not on the screen yet. */
  open: z
    .object({
      ...asker,
      lines: z.array(z.string()).nullable(),
      asked_s: seconds.nullable(),
      expires_s: seconds.nullable(),
    })
    .nullable(),
  waiting: z.array(z.object(asker)),
});
export type Pending = z.infer<typeof pending>;

/** `already`: it was so before. `lasts`: a restart will know of it. `exists`: there is such a qube; null where nobody knows. */
export const frozen = z.object({
  source: qubeName,
  already: z.boolean(),
  lasts: z.boolean(),
  exists: z.boolean().nullable(),
});
export const thawed = z.object({ source: qubeName, was_frozen: z.boolean() });

export const explanation = z.object({
  service: z.string(),
  action: z.string(),
  source: qubeName,
  principal: z.string(),
  verdict: z.enum(['allow', 'ask', 'refuse']),
  rule: z.string(),
  decided_by: z.enum(['broker', 'policy']),
  /** The highest tier that counts for the principal; null where it has no ceiling. */
  ceiling: z.enum(['ro', 'exec', 'net', 'full']).nullable(),
  /** The facts it was decided by. */
  qubes: z.array(
    z.object({
      role: z.string(),
      name: z.string(),
      uuid: uuid.nullable(),
      klass: z.string().nullable(),
      state: z.string().nullable(),
      tags: z.array(z.string()).nullable(),
      tier: z.enum(['ro', 'exec', 'net', 'full']).nullable(),
      guarded: z.boolean(),
    }),
  ),
  settings: z.object({
    tier_default: z.enum(['full', 'ro']),
    enforce_mode: z.enum(['shadow', 'strict', 'enforce']),
    consent_policy: z.enum(['built-in', 'file', 'file and built-in']),
  }),
  question: z.object({ lines: z.array(z.string()), type_to_confirm: z.string().nullable() }).nullable(),
  /** Why a question would not be shown, or not be answerable, although the verdict is ask; a word of ours. */
  unasked: z.string().nullable(),
  /** What the caller would get at once; null where it would be done or asked. */
  reply: z.record(z.string(), z.unknown()).nullable(),
});
export type Explanation = z.infer<typeof explanation>;

export const tombstones = z.object({
  retention_s: seconds.nullable(),
  tombstones: z.array(
    z.object({
      name: qubeName,
      uuid,
      /** Seconds since it was removed; null where its marker has no date. */
      age_s: seconds.nullable(),
      /** Seconds until the reaper may destroy it; null where it will not. */
      due_s: seconds.nullable(),
      verdict: z.string(),
      restrictions: z.array(z.string()),
    }),
  ),
});
export type Tombstones = z.infer<typeof tombstones>;

/** A qube as it is after its tags were written and read again. */
export const tagged = z.object({
  name: qubeName,
  uuid,
  tier: z.enum(TIER_WORDS),
  /** What its tags grant with the settings of now. */
  effective: z.enum(['ro', 'exec', 'net', 'full']).nullable(),
  added: z.array(z.string()),
  removed: z.array(z.string()),
  /** Whether that ended its quarantine. */
  released: z.boolean(),
});
export type Tagged = z.infer<typeof tagged>;

export const reaped = z.object({
  destroyed: z.array(qubeName),
  /** Those that were looked at and left, and why. */
  left: z.array(z.object({ name: qubeName, verdict: z.string() })),
});
export type Reaped = z.infer<typeof reaped>;

const changeKind = z.enum(['property', 'feature', 'firewall', 'tombstone']);
/** A change that can be taken back, without its values; `name` is that of the property or feature. */
const kept = {
  seq: z.number().int(),
  service: z.string(),
  source: z.string(),
  principal: z.string(),
  qube: qubeName,
  kind: changeKind,
  name: z.string().nullable(),
};
export const undoable = z.object({
  /** Newest first. */
  changes: z.array(z.object({ ...kept, age_s: seconds })),
  /** What is wrong with the store, in sentences. */
  complaint: z.string().nullable(),
});
export type Undoable = z.infer<typeof undoable>;

/** Values are null where the qube has none of its own. `done`: it was put back; else that is what would be done. */
export const undone = z.object({
  ...kept,
  from: z.string().nullable(),
  to: z.string().nullable(),
  done: z.boolean(),
});
export type Undone = z.infer<typeof undone>;

export const noted = z.object({ complaints: z.array(z.string()) });
