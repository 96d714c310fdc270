import nacl from 'tweetnacl';
import { expect, test } from 'vitest';
import type { Question } from '../../daemon/confirm/question.ts';
import { checkReceipt, shownHash } from '../../daemon/confirm/receipt.ts';
import { shownDigest, signedAnswer } from '../../daemon/dialog/statement.ts';
import type { Digest, Nonce } from '../../daemon/names.ts';

const { publicKey, secretKey } = nacl.sign.keyPair();
const LINES = ['Remove ai-work (red)', 'It is gone \u2013 for good.'];
const QUESTION: Question = {
  v: 1,
  nonce: 'a'.repeat(64) as Nonce,
  digest: 'b'.repeat(64) as Digest,
  expires_in: 60,
  view: { lines: LINES, marks: [], type_to_confirm: null, risk: 'destroy' },
};
const STATEMENT = {
  v: 1,
  nonce: QUESTION.nonce,
  digest: QUESTION.digest,
  shown: shownDigest(LINES),
  verdict: 'denied',
  decided_at: '2026-01-02T03:04:05.678Z',
} as const;

test('the digest of what was shown is the one that the broker computes', () => {
  expect(shownDigest(LINES)).toBe(shownHash(LINES));
  expect(shownDigest(['a', 'b'])).not.toBe(shownDigest(['a b']));
});

test('the broker accepts the signed statement, with and without a freeze', () => {
  const answer = signedAnswer(STATEMENT, secretKey);
  expect(answer.endsWith('\n')).toBe(true);
  expect(checkReceipt(answer.trimEnd(), QUESTION, publicKey)).toMatchObject({ answer: 'denied', freeze: false });
  const freezing = signedAnswer({ ...STATEMENT, freeze: true }, secretKey);
  expect(checkReceipt(freezing.trimEnd(), QUESTION, publicKey)).toMatchObject({ answer: 'denied', freeze: true });
});

test('a statement of another key is not accepted', () => {
  const answer = signedAnswer(STATEMENT, nacl.sign.keyPair().secretKey).trimEnd();
  expect(checkReceipt(answer, QUESTION, publicKey)).toMatchObject({ answer: 'unavailable' });
});
