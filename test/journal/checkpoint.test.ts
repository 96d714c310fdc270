import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import {
  isSignedBy,
  publicKeyOf,
  readPublicKey,
  readSeed,
  readStatement,
  signerOf,
  type VerifyingKey,
} from '../../daemon/journal/checkpoint.ts';

const SEED = Buffer.alloc(32, 7);
const HEAD = { seq: 5, hash: 'ab'.repeat(32) };
const key = (seed: Buffer) => readPublicKey(publicKeyOf(seed).toString('base64')) as VerifyingKey;

describe('a checkpoint', () => {
  const signed = signerOf(SEED).signHead(HEAD, 0);

  it('says where the chain stood, and whose signature it bears', () => {
    expect(JSON.parse(signed.statement)).toEqual({ v: 1, ...HEAD, ts: '1970-01-01T00:00:00.000Z' });
    expect(readStatement(signed)).toEqual(HEAD);
    expect(isSignedBy(signed, [key(SEED)])).toBe(true);
    expect(isSignedBy(signed, [key(Buffer.alloc(32, 8)), key(SEED)])).toBe(true);
  });

  it('is plain Ed25519 over its domain and statement, as another implementation sees it', () => {
    const message = Buffer.from(`qmcp-journal-v1\0${signed.statement}`);
    const publicKey = nacl.sign.keyPair.fromSeed(SEED).publicKey;
    expect(Buffer.from(publicKey)).toEqual(publicKeyOf(SEED));
    expect(nacl.sign.detached.verify(message, Buffer.from(signed.signature, 'base64'), publicKey)).toBe(true);
  });

  it('does not verify with another key, another statement, or another signature', () => {
    expect(isSignedBy(signed, [])).toBe(false);
    expect(isSignedBy(signed, [key(Buffer.alloc(32, 8))])).toBe(false);
    expect(isSignedBy({ ...signed, key: key(Buffer.alloc(32, 8)).keyId }, [key(Buffer.alloc(32, 8))])).toBe(false);
    expect(isSignedBy({ ...signed, statement: signed.statement.replace('5', '6') }, [key(SEED)])).toBe(false);
    expect(isSignedBy({ ...signed, signature: '' }, [key(SEED)])).toBe(false);
    expect(isSignedBy({ ...signed, signature: `${signed.signature}\n` }, [key(SEED)])).toBe(false);
    expect(isSignedBy({}, [key(SEED)])).toBe(false);
  });

  it.each([
    '',
    'x',
    'null',
    '[]',
    '{}',
    `{"hash":"${HEAD.hash}","seq":0,"v":1}`,
    `{"hash":"${HEAD.hash}","seq":1.5,"v":1}`,
    `{"hash":"${HEAD.hash}","seq":5,"v":2}`,
    `{"hash":"${HEAD.hash.toUpperCase()}","seq":5,"v":1}`,
    `{"seq":5,"hash":"${HEAD.hash}","v":1}`,
  ])('is not the statement %j', (statement) => {
    expect(readStatement({ statement })).toBeNull();
  });

  it('takes keys of 32 bytes in strict base64 and no others', () => {
    expect(readSeed(`${SEED.toString('base64')}\n`)).toEqual(SEED);
    for (const text of [
      '',
      'x',
      Buffer.alloc(31).toString('base64'),
      Buffer.alloc(33).toString('base64'),
      SEED.toString('hex'),
    ]) {
      expect(readSeed(text)).toBeNull();
      expect(readPublicKey(text)).toBeNull();
    }
  });
});
