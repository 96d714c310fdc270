// The receipt: what the person was shown and decided, signed. The broker verifies it against what it asked (I5).
import { createHash } from 'node:crypto';
import nacl from 'tweetnacl';
import { RECEIPT_CONTEXT, type Statement } from '../confirm/question.ts';

/** base64url, unpadded, of SHA-512 over the lines joined by \n. */
export const shownDigest = (lines: readonly string[]): string =>
  createHash('sha512').update(lines.join('\n'), 'utf8').digest('base64url');

/** A statement as the one line that answers a question, newline included. `secretKey` is tweetnacl's, 64 bytes. */
export const signedAnswer = (statement: Statement, secretKey: Uint8Array): string => {
  const text = JSON.stringify(statement);
  const signature = nacl.sign.detached(Buffer.from(RECEIPT_CONTEXT + text, 'utf8'), secretKey);
  return `${JSON.stringify({ statement: text, signature: Buffer.from(signature).toString('base64') })}\n`;
};
