// What the journal holds: one of these per line, beside the fields every line has (sequence, clocks, chain).
// Never values of properties or features, never bytes of a caller beyond what passed a grammar.

export interface NamedQube {
  readonly role: string;
  readonly name: string;
  readonly uuid: string;
}

/** What every record about a call carries. `call` is the broker's own number of the call within this start. */
interface OfCall {
  readonly call: number;
  readonly source: string;
  readonly principal: string;
  readonly service: string;
  readonly action: string;
  readonly qubes: readonly NamedQube[];
  /** The whitelisted arguments of the request (contract section 6): names, property and feature keys, never values. */
  readonly args: Readonly<Record<string, string | number | boolean | null>>;
  /** The nonce of the plan that the call is a step of. */
  readonly plan?: string;
}

export interface Decision extends OfCall {
  readonly type: 'decision';
  readonly verdict: 'allow' | 'ask' | 'refuse';
  readonly rule: string;
}
export interface Question extends OfCall {
  readonly type: 'question';
  readonly nonce: string;
  readonly digest: string;
}
export interface Answer extends OfCall {
  readonly type: 'answer';
  readonly nonce: string;
  readonly answer: 'approved' | 'denied' | 'timeout' | 'unavailable' | 'void';
  /** Why, in a word of ours: 'bad signature', 'qube changed', ...; null when the person said so. */
  readonly reason: string | null;
  readonly receipt: { readonly statement: string; readonly signature: string } | null;
  readonly duration_ms: number;
}
/** On disk before the first Admin API call of an effect (I4); with a nonce it is also what consumes it (I3). */
export interface Intent extends OfCall {
  readonly type: 'intent';
  readonly digest: string;
  readonly nonce: string | null;
}
/** Inside an effect of several Admin API calls: what is about to happen, so that debris can be found after a crash. */
export interface Step extends StepTaken {
  readonly type: 'step';
  readonly call: number;
}
export interface StepTaken {
  readonly step: string;
  readonly qube: NamedQube | null;
  /** Before a qube is created: those it is not, by uuid, so that a new disposable is known by not being among them. */
  readonly known?: readonly string[] | null;
}
export interface Outcome extends OfCall {
  readonly type: 'outcome';
  readonly ok: boolean;
  /** The constant label the caller got, or null. */
  readonly error: string | null;
  /** What went wrong in a word of ours or qubesd's exception type; never its message. */
  readonly cause: string | null;
  readonly duration_ms: number;
}
/** Made at start for an intent without an outcome. */
export interface Finding {
  readonly type: 'finding';
  readonly intent_seq: number;
  readonly finding: 'done' | 'not-done' | 'half-done' | 'unknown';
  readonly qubes: readonly NamedQube[];
  readonly service: string;
  readonly action: string;
}
export interface Start {
  readonly type: 'start';
  readonly version: string;
  readonly unfinished: number;
}
export interface Stop {
  readonly type: 'stop';
  readonly reason: string;
}
export interface SettingsChange {
  readonly type: 'settings';
  readonly complaints: readonly string[];
}
export interface OperatorAction {
  readonly type: 'operator';
  readonly verb: string;
  readonly args: Readonly<Record<string, string | number | boolean | null>>;
}

// What the journal says about itself; written by the journal alone.

/** A line that was only half written when the machine or the broker stopped, cut off into a file of its own. */
export interface Torn {
  readonly type: 'torn';
  readonly kept: string;
  readonly bytes: number;
}
/**
 * The file before this record did not verify, or was gone. Always the first record of its file. Its `prev` is the hash of
 * the newest record known to be good; its number leaves out those that the lost part may have used.
 */
export interface Break {
  readonly type: 'break';
  /** 'gone' (deleted or emptied), 'replaced', 'changed', 'cut', 'rewritten', or what was wrong with the first bad line (chain.ts, Fault). */
  readonly reason: string;
  /** The name under which the damaged file was kept, in the same directory; null when there was none. */
  readonly kept: string | null;
  /** The first bad line of that file, from 1; null when the reason is not in a line. */
  readonly line: number | null;
  readonly last_good_seq: number;
  /** As in SegmentStart. */
  readonly open: readonly CarriedIntent[];
}
/** Records that could not be written while the journal was down: effects refused for it, and notes lost. */
export interface Gap {
  readonly type: 'gap';
  readonly refused: number;
  readonly lost: number;
}
/** Where the chain stood before this record, signed (checkpoint.ts). */
export interface Checkpoint {
  readonly type: 'checkpoint';
  readonly statement: string;
  readonly signature: string;
  readonly key: string;
}
/** The first record of a file that goes on from another. */
export interface SegmentStart {
  readonly type: 'segment';
  readonly previous: string;
  /** Intents of earlier files without outcome, oldest first, so that each file can be read on its own. */
  readonly open: readonly CarriedIntent[];
}
export interface CarriedIntent {
  readonly seq: number;
  readonly ts: string;
  /** Whether it belongs to the start of the broker that goes on writing. */
  readonly current: boolean;
  readonly intent: Intent;
  readonly steps: readonly StepTaken[];
}
/** An old file was removed because there were too many. */
export interface Pruned {
  readonly type: 'pruned';
  readonly file: string;
  readonly first_seq: number;
  readonly last_seq: number;
}
/** The second file with the newest checkpoint was missing or not one of ours, at a start. */
export interface AnchorTrouble {
  readonly type: 'anchor';
  readonly found: 'missing' | 'bad';
}
/** The private key was gone: checkpoints from here on are signed by another. */
export interface KeyChange {
  readonly type: 'key';
  readonly lost: string;
  readonly key: string;
}

export type JournalRecord =
  | Decision
  | Question
  | Answer
  | Intent
  | Step
  | Outcome
  | Finding
  | Start
  | Stop
  | SettingsChange
  | OperatorAction
  | Torn
  | Break
  | Gap
  | Checkpoint
  | SegmentStart
  | Pruned
  | AnchorTrouble
  | KeyChange;
