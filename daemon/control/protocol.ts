// What travels over control.sock: one line of JSON each way, then a close. The operator's side of it is in operator/.
// Both directions are schemas, the answers' in answers.ts: the daemon believes nothing it is sent, and the tool nothing of a
// daemon that may have been taken over. There is no verb that answers a question.
import * as z from 'zod/mini';
import { isQubeName, type QubeName } from '../names.ts';

/** Raised when a request or an answer changes its meaning; who speaks another one is told so. */
export const PROTOCOL = 1;

/** A request is a verb and its arguments; the largest carries the body of a call, as JSON inside JSON. */
export const MAX_REQUEST_BYTES = 196_608;
/** An answer about every qube of a very large machine. */
export const MAX_ANSWER_BYTES = 8 * 2 ** 20;

export const request = z.strictObject({
  v: z.int(),
  verb: z.string().check(z.maxLength(64)),
  args: z._default(z.record(z.string().check(z.maxLength(64)), z.unknown()), {}),
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

export const qubeName = z.custom<QubeName>(isQubeName);

export const TIER_WORDS = ['none', 'dump', 'ro', 'exec', 'net', 'full'] as const;
export type TierWord = (typeof TIER_WORDS)[number];
