// The question protocol (architecture, "Fixed interface"): what goes to the approver and what may come back.
import type { Digest, Nonce, QubeName } from '../names.ts';
import type { Label } from '../qube.ts';

/** A qube's name inside a line: the half-open range of UTF-16 positions, and the label colour it is drawn in. */
export interface Mark {
  readonly line: number;
  readonly start: number;
  readonly end: number;
  readonly label: Label;
}

/**
 * Everything the window says about the operation, as plain text. `lines[0]` is the headline; every further line
 * is either `Name: value` or a sentence. The receipt's `shown` is over exactly these lines (I5).
 */
export interface View {
  readonly lines: readonly string[];
  readonly marks: readonly Mark[];
  /** The qube name the person has to type before Allow works, or null where a button is enough. */
  readonly type_to_confirm: QubeName | null;
  readonly risk: 'change' | 'destroy';
  /** The source that "Deny and freeze" would freeze; without it the window does not offer that. */
  readonly freeze?: QubeName;
}

export interface Question {
  readonly v: 1;
  readonly nonce: Nonce;
  readonly digest: Digest;
  /** Seconds until the broker stops waiting. */
  readonly expires_in: number;
  readonly view: View;
}

/** What the approver signed, `qmcp-confirm-v1\0` + the JSON text of this. */
export interface Statement {
  readonly v: 1;
  readonly nonce: string;
  readonly digest: string;
  /** base64url, unpadded, of SHA-512 over the displayed lines joined by \n. */
  readonly shown: string;
  readonly verdict: 'approved' | 'denied' | 'timeout';
  readonly decided_at: string;
  /** Only with `denied`, and only where the view offered it: refuse everything from that source until `thaw`. */
  readonly freeze?: true;
}

export const RECEIPT_CONTEXT = 'qmcp-confirm-v1\0';
