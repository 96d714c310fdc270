// What the operator set: the one type that all of `<etc>` becomes (contract section 2 as changed by section 0).
import type { QubeName, Uuid } from '../names.ts';

/** The ladder, lowest first. Each tier can what the ones before it can. */
export const TIERS = ['ro', 'exec', 'net', 'full'] as const;
export type Tier = (typeof TIERS)[number];

export type EnforceMode = 'shadow' | 'strict' | 'enforce';

/** The mode that the installed qrexec policy states: `absent` where none of ours is installed, `unknown` where it cannot be told. */
export type PolicyMode = 'compat' | 'least-privilege' | 'absent' | 'unknown';

/** Qubes whose every change is asked. `unreadable` is also set by one malformed line: then everything is asked. */
export interface Guarded {
  readonly names: ReadonlySet<QubeName>;
  readonly uuids: ReadonlySet<Uuid>;
  readonly unreadable: boolean;
}

/** What is asked beside the guarded: the broker's own destructive set, and the operator's `service:action` entries (`*` for any). */
export interface ConsentPolicy {
  readonly builtIn: boolean;
  readonly asked: ReadonlySet<string>;
}

/** Feature keys that the operator made settable: whole names, and beginnings without their `*`. */
export interface FeaturesAllowed {
  readonly names: ReadonlySet<string>;
  readonly prefixes: readonly string[];
}

/** Something in an operator file that did not parse. The sentence says what is wrong and what holds instead. */
export interface Complaint {
  /** Below `<etc>`, or from the root where it is elsewhere. */
  readonly file: string;
  /** Counted from 1; null where the file as a whole is meant. */
  readonly line: number | null;
  readonly sentence: string;
}

export interface Settings {
  /** The tier of a managed qube that carries no elevation tag: the stricter of the file and the policy's mode. */
  readonly tierDefault: 'full' | 'ro';
  readonly policyMode: PolicyMode;
  /** The highest tier a created qube may carry; `none` clamps nothing. */
  readonly birthCeiling: Tier | 'none';
  readonly birthEgress: QubeName | null;
  readonly guarded: Guarded;
  /** Bytes; null where not configured, which refuses. */
  readonly poolCap: number | null;
  /** Bytes; null where not configured, which refuses a requested size. */
  readonly privateCap: number | null;
  readonly namePrefix: string;
  readonly enforceMode: EnforceMode;
  readonly consentPolicy: ConsentPolicy;
  readonly consentTimeoutSeconds: number;
  /** Seconds; null means that no tombstone is ever reaped. */
  readonly tombstoneRetention: number | null;
  readonly tombstones: 'on' | 'off' | 'absent';
  readonly featuresAllowed: FeaturesAllowed;
  /** The approver's Ed25519 public key, 32 bytes; null means that no question can be answered yes. */
  readonly confirmKey: Uint8Array | null;
  readonly complaints: readonly Complaint[];
}

/** The complaint as a line for a log or a terminal: `<dir>/<file>, line 3: ...`. */
export const complaintText = (dir: string, { file, line, sentence }: Complaint): string =>
  `${file.startsWith('/') ? '' : `${dir}/`}${file}${line === null ? '' : `, line ${line}`}: ${sentence}`;
