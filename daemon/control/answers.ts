// What the verbs answer. Only qmcpctl parses it; the daemon takes the types alone from here, as the schemas would lie in its
// memory for nothing.
import * as z from 'zod/mini';
import { isUuid, type Uuid } from '../names.ts';
import { qubeName, TIER_WORDS } from './protocol.ts';

export const answer = z.union([
  z.object({ v: z.int(), version: z.string(), ok: z.literal(true), result: z.unknown() }),
  z.object({ v: z.int(), version: z.string(), ok: z.literal(false), error: z.string() }),
]);

// ---- what is in `result`, by verb

const uuid = z.custom<Uuid>(isUuid);
const seconds = z.number();

export const hello = z.object({ pid: z.int(), uptime_s: seconds });

export const status = z.object({
  pid: z.int(),
  uptime_s: seconds,
  qubesd: z.enum(['connected', 'away']),
  journal: z.object({ ok: z.boolean(), sentence: z.nullable(z.string()) }),
  /** Why what could be undone cannot be kept, or was lost. */
  undo_complaint: z.nullable(z.string()),
  mode: z.object({
    tier_default: z.enum(['full', 'ro']),
    policy: z.enum(['compat', 'least-privilege', 'absent', 'unknown']),
    enforce: z.enum(['shadow', 'strict', 'enforce']),
  }),
  /** Whether a question can be answered yes: there is a key, and somebody listens on confirm.sock. */
  dialog: z.object({ key: z.boolean(), listens: z.boolean() }),
  complaints: z.array(z.string()),
  calls: z.int(),
  questions: z.object({ open: z.int(), waiting: z.int() }),
  frozen: z.array(qubeName),
  all_frozen: z.nullable(z.string()),
  resting: z.array(z.object({ source: qubeName, seconds })),
  /** Qubes that a creation left half-made. Agents have none of them. */
  quarantine: z.array(z.object({ name: qubeName, uuid: z.nullable(uuid), since: z.iso.datetime() })),
  /** Why all qubes count as such, or why a restart would not know of them. */
  quarantine_complaint: z.nullable(z.string()),
  /** null where qubesd could not be asked. */
  managed: z.nullable(z.int()),
  tombstones: z.nullable(z.int()),
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
  open: z.nullable(
    z.object({
      ...asker,
      lines: z.nullable(z.array(z.string())),
      asked_s: z.nullable(seconds),
      expires_s: z.nullable(seconds),
    }),
  ),
  waiting: z.array(z.object(asker)),
});
export type Pending = z.infer<typeof pending>;

/** `already`: it was so before. `lasts`: a restart will know of it. `exists`: there is such a qube; null where nobody knows. */
export const frozen = z.object({
  source: qubeName,
  already: z.boolean(),
  lasts: z.boolean(),
  exists: z.nullable(z.boolean()),
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
  ceiling: z.nullable(z.enum(['ro', 'exec', 'net', 'full'])),
  /** The facts it was decided by. */
  qubes: z.array(
    z.object({
      role: z.string(),
      name: z.string(),
      uuid: z.nullable(uuid),
      klass: z.nullable(z.string()),
      state: z.nullable(z.string()),
      tags: z.nullable(z.array(z.string())),
      tier: z.nullable(z.enum(['ro', 'exec', 'net', 'full'])),
      guarded: z.boolean(),
    }),
  ),
  settings: z.object({
    tier_default: z.enum(['full', 'ro']),
    enforce_mode: z.enum(['shadow', 'strict', 'enforce']),
    consent_policy: z.enum(['built-in', 'file', 'file and built-in']),
  }),
  question: z.nullable(z.object({ lines: z.array(z.string()), type_to_confirm: z.nullable(z.string()) })),
  /** Why a question would not be shown, or not be answerable, although the verdict is ask; a word of ours. */
  unasked: z.nullable(z.string()),
  /** What the caller would get at once; null where it would be done or asked. */
  reply: z.nullable(z.record(z.string(), z.unknown())),
});
export type Explanation = z.infer<typeof explanation>;

export const tombstones = z.object({
  retention_s: z.nullable(seconds),
  tombstones: z.array(
    z.object({
      name: qubeName,
      uuid,
      /** Seconds since it was removed; null where its marker has no date. */
      age_s: z.nullable(seconds),
      /** Seconds until the reaper may destroy it; null where it will not. */
      due_s: z.nullable(seconds),
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
  effective: z.nullable(z.enum(['ro', 'exec', 'net', 'full'])),
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
  seq: z.int(),
  service: z.string(),
  source: z.string(),
  principal: z.string(),
  qube: qubeName,
  kind: changeKind,
  name: z.nullable(z.string()),
};
export const undoable = z.object({
  /** Newest first. */
  changes: z.array(z.object({ ...kept, age_s: seconds })),
  /** What is wrong with the store, in sentences. */
  complaint: z.nullable(z.string()),
});
export type Undoable = z.infer<typeof undoable>;

/** Values are null where the qube has none of its own. `done`: it was put back; else that is what would be done. */
export const undone = z.object({
  ...kept,
  from: z.nullable(z.string()),
  to: z.nullable(z.string()),
  done: z.boolean(),
});
export type Undone = z.infer<typeof undone>;

export const noted = z.object({ complaints: z.array(z.string()) });
