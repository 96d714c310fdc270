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
/** Inside an effect of several Admin API calls: what is about to happen, so that debris can be named after a crash. */
export interface Step {
  readonly type: 'step';
  readonly call: number;
  readonly step: string;
  readonly qube: NamedQube | null;
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
  | OperatorAction;
