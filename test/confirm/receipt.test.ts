import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import nacl from 'tweetnacl';
import { describe, expect, test } from 'vitest';
import type { Question } from '../../daemon/confirm/question.ts';
import { checkReceipt, shownHash } from '../../daemon/confirm/receipt.ts';
import type { Digest, Nonce, QubeName } from '../../daemon/names.ts';
import { Approver } from './approver.ts';

const approver = new Approver();
const key = approver.keys.publicKey;
const question: Question = {
  v: 1,
  nonce: 'a'.repeat(64) as Nonce,
  digest: 'b'.repeat(64) as Digest,
  expires_in: 60,
  view: {
    lines: ['Remove ai-x (gray)', 'It is gone.'],
    marks: [],
    type_to_confirm: 'ai-x' as QubeName,
    risk: 'destroy',
  },
};
const answer = (verdict: string, changes = {}, how = {}) =>
  approver.signed(approver.statement(question, verdict, changes), how);

describe('a receipt that is in order', () => {
  test.each(['approved', 'denied', 'timeout'])('says %s', (verdict) => {
    expect(checkReceipt(answer(verdict), question, key)).toMatchObject({ answer: verdict, freeze: false });
  });
});

describe('an approval is not believed with', () => {
  const stranger = nacl.sign.keyPair.fromSeed(randomBytes(32));
  test.each([
    ['another nonce', answer('approved', { nonce: 'c'.repeat(64) }), 'wrong nonce'],
    ['another digest', answer('approved', { digest: 'c'.repeat(64) }), 'wrong digest'],
    ['other lines shown', answer('approved', { shown: shownHash(['Start ai-x (gray)']) }), 'something else was shown'],
    ['another key', answer('approved', {}, { keys: stranger }), 'bad signature'],
    ['no context', answer('approved', {}, { context: '' }), 'bad signature'],
    ['another version', answer('approved', { v: 2 }), 'garbled statement'],
    ['a word that is no verdict', answer('yes'), 'garbled statement'],
    ['a member more', answer('approved', { and: 1 }), 'garbled statement'],
    ['no time', answer('approved', { decided_at: 'now' }), 'garbled statement'],
    ['a nonce that is no text', answer('approved', { nonce: 7 }), 'garbled statement'],
    ['a freeze that is neither yes nor no', answer('approved', { freeze: 'no' }), 'garbled statement'],
    ['a statement that is no JSON', approver.signed('approved'), 'garbled statement'],
    ['no JSON', 'yes', 'garbled answer'],
    ['a member more around it', answer('approved').replace('{', '{"and":1,'), 'garbled answer'],
    ['a long signature', answer('approved').replace('"signature":"', '"signature":"AAAA'), 'garbled answer'],
    ['a signature and more', answer('approved').replace(/"}$/, 'A"}'), 'garbled answer'],
    ['a short signature', JSON.stringify({ statement: '{}', signature: 'AAAA' }), 'garbled answer'],
  ])('%s', (_, line, reason) => {
    expect(checkReceipt(line, question, key)).toEqual({ answer: 'unavailable', reason });
  });

  test('any one bit of the signature flipped', () => {
    const { statement, signature } = JSON.parse(answer('approved'));
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 511 }), (bit) => {
        const bytes = Buffer.from(signature, 'base64');
        bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        const line = JSON.stringify({ statement, signature: bytes.toString('base64') });
        expect(checkReceipt(line, question, key).answer).toBe('unavailable');
      }),
      { numRuns: 40 },
    );
  });

  test('any text at all, without throwing', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
        expect(checkReceipt(line, question, key).answer).toBe('unavailable');
      }),
    );
  });
});

test('a statement of 4,096 characters is read, and one more is too many', () => {
  const statement = approver.statement(question, 'approved');
  const padded = (length: number): string => approver.signed(statement.padEnd(length));
  expect(checkReceipt(padded(4_096), question, key)).toMatchObject({ answer: 'approved' });
  expect(checkReceipt(padded(4_097), question, key)).toEqual({ answer: 'unavailable', reason: 'garbled answer' });
});

test('a denial may ask to freeze the source', () => {
  expect(checkReceipt(answer('denied', { freeze: true }), question, key)).toMatchObject({
    answer: 'denied',
    freeze: true,
  });
});
