// The receipt: what the approver signed, checked against what was asked. Anything that is not exactly it is a no.
import { createHash } from 'node:crypto';
import nacl from 'tweetnacl';
import * as z from 'zod/mini';
import { type Question, RECEIPT_CONTEXT } from './question.ts';

export type Receipt = { readonly statement: string; readonly signature: string };
export type Checked =
  | { readonly answer: 'approved' | 'denied' | 'timeout'; readonly freeze: boolean; readonly receipt: Receipt }
  | { readonly answer: 'unavailable'; readonly reason: string };

const envelope = z.strictObject({
  statement: z.string().check(z.maxLength(4096)),
  signature: z.string().check(z.regex(/^[A-Za-z0-9+/]{86}==$/)),
});

const statement = z.strictObject({
  v: z.literal(1),
  nonce: z.string(),
  digest: z.string(),
  shown: z.string(),
  verdict: z.enum(['approved', 'denied', 'timeout']),
  decided_at: z.iso.datetime(),
  freeze: z.optional(z.boolean()),
});

/** base64url, unpadded, of SHA-512 over the lines joined by newlines. */
export const shownHash = (lines: readonly string[]): string =>
  createHash('sha512').update(lines.join('\n'), 'utf8').digest('base64url');

/**
 * What the one line that came back says. Never throws.
 * `key`: the operator's Ed25519 public key, 32 bytes. Signed are the context and the statement's text as it was sent,
 * so that nothing depends on how two programs would write the same JSON.
 */
export const checkReceipt = (line: string, question: Question, key: Uint8Array): Checked => {
  const no = (reason: string): Checked => ({ answer: 'unavailable', reason });
  const received = envelope.safeParse(parseJson(line));
  if (!received.success) return no('garbled answer');
  const said = statement.safeParse(parseJson(received.data.statement));
  if (!said.success) return no('garbled statement');
  if (said.data.nonce !== question.nonce) return no('wrong nonce');
  if (said.data.digest !== question.digest) return no('wrong digest');
  // I5: what the widgets displayed is what was asked.
  if (said.data.shown !== shownHash(question.view.lines)) return no('something else was shown');
  const message = Buffer.from(RECEIPT_CONTEXT + received.data.statement, 'utf8');
  if (!nacl.sign.detached.verify(message, Buffer.from(received.data.signature, 'base64'), key))
    return no('bad signature');
  return { answer: said.data.verdict, freeze: said.data.freeze ?? false, receipt: received.data };
};

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};
