import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Nonces } from '../../daemon/confirm/nonces.ts';
import type { Digest, Nonce } from '../../daemon/names.ts';
import { isNonce } from '../../daemon/names.ts';

const DIGEST = 'd'.repeat(64) as Digest;
const OTHER = 'e'.repeat(64) as Digest;

const nonces = () => {
  const clock = { ms: 0 };
  return { clock, nonces: new Nonces(randomBytes, () => clock.ms) };
};

test('a nonce is 32 random bytes in hex, and no two are equal', () => {
  const { nonces: some } = nonces();
  const issued = Array.from({ length: 1000 }, () => some.issue(DIGEST, 1000));
  expect(issued.every(isNonce)).toBe(true);
  expect(new Set(issued).size).toBe(1000);
});

test('a nonce is consumed once (I3)', () => {
  const { nonces: some } = nonces();
  const nonce = some.issue(DIGEST, 1000);
  expect(some.consume(nonce, DIGEST)).toBe(true);
  expect(some.consume(nonce, DIGEST)).toBe(false);
});

test('a nonce is good for its own digest alone, and a try with another ends it (I2)', () => {
  const { nonces: some } = nonces();
  const nonce = some.issue(DIGEST, 1000);
  expect(some.consume(nonce, OTHER)).toBe(false);
  expect(some.consume(nonce, DIGEST)).toBe(false);
});

test('a nonce is good until its deadline and not at it', () => {
  const { nonces: some, clock } = nonces();
  const [before, at] = [some.issue(DIGEST, 1000), some.issue(DIGEST, 1000)];
  clock.ms = 999;
  expect(some.consume(before, DIGEST)).toBe(true);
  clock.ms = 1000;
  expect(some.consume(at, DIGEST)).toBe(false);
});

test('a nonce that was made void or never issued is not consumed', () => {
  const { nonces: some } = nonces();
  const nonce = some.issue(DIGEST, 1000);
  some.void(nonce);
  expect(some.consume(nonce, DIGEST)).toBe(false);
  expect(some.consume('f'.repeat(64) as Nonce, DIGEST)).toBe(false);
  expect(some.open).toBe(0);
});
