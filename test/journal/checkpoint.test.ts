import { createHash } from 'node:crypto';
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

const sign = () => signerOf(SEED).signHead(HEAD, 0);

describe('a checkpoint', () => {
  it('says where the chain stood, and whose signature it bears', () => {
    const signed = sign();
    expect(JSON.parse(signed.statement)).toEqual({ v: 1, ...HEAD, ts: '1970-01-01T00:00:00.000Z' });
    expect(readStatement(signed)).toEqual(HEAD);
    expect(isSignedBy(signed, [key(SEED)])).toBe(true);
    expect(isSignedBy(signed, [key(Buffer.alloc(32, 8)), key(SEED)])).toBe(true);
  });

  it('names its key by the first 16 digits of the hash of its public half', () => {
    const hash = createHash('sha256').update(publicKeyOf(SEED)).digest('hex');
    expect(sign().key).toBe(hash.slice(0, 16));
    expect(key(SEED).keyId).toBe(hash.slice(0, 16));
  });

  it('is plain Ed25519 over its domain and statement, as another implementation sees it', () => {
    const signed = sign();
    const message = Buffer.from(`qmcp-journal-v1\0${signed.statement}`);
    const publicKey = nacl.sign.keyPair.fromSeed(SEED).publicKey;
    expect(Buffer.from(publicKey)).toEqual(publicKeyOf(SEED));
    expect(nacl.sign.detached.verify(message, Buffer.from(signed.signature, 'base64'), publicKey)).toBe(true);
  });

  it('does not verify with another key, another statement, or another signature', () => {
    const signed = sign();
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
    `{"hash":"${HEAD.hash}","seq":"5","v":1}`,
    `{"hash":"${HEAD.hash}","seq":9007199254740992,"v":1}`,
    `{"hash":"${HEAD.hash}","v":1}`,
    `{"hash":"${HEAD.hash.slice(1)}","seq":5,"v":1}`,
    `{"hash":"${HEAD.hash}a","seq":5,"v":1}`,
    `{"hash":"x${HEAD.hash}","seq":5,"v":1}`,
    `{"hash":["${HEAD.hash}"],"seq":5,"v":1}`,
    '{"seq":5,"v":1}',
    '5',
    '"text"',
  ])('is not the statement %j', (statement) => {
    expect(readStatement({ statement })).toBeNull();
  });

  it('has a statement that is a text, and counts from record 1', () => {
    expect(readStatement({})).toBeNull();
    expect(readStatement({ statement: [`{"hash":"${HEAD.hash}","seq":1,"v":1}`] })).toBeNull();
    expect(readStatement({ statement: `{"hash":"${HEAD.hash}","seq":1,"v":1}` })).toEqual({ ...HEAD, seq: 1 });
  });

  it('is signed by nobody where statement or signature is no text', () => {
    const signed = sign();
    const keys = [key(SEED)];
    const over = (text: string) => {
      const { secretKey } = nacl.sign.keyPair.fromSeed(SEED);
      return Buffer.from(nacl.sign.detached(Buffer.from(`qmcp-journal-v1\0${text}`), secretKey)).toString('base64');
    };
    expect(isSignedBy({ ...signed, signature: over(signed.statement) }, keys)).toBe(true);
    expect(isSignedBy({ ...signed, statement: 5, signature: over('5') }, keys)).toBe(false);
    expect(isSignedBy({ key: signed.key, signature: over('undefined') }, keys)).toBe(false);
    expect(isSignedBy({ ...signed, signature: undefined }, keys)).toBe(false);
    expect(isSignedBy({ ...signed, signature: [signed.signature] }, keys)).toBe(false);
  });

  it('takes keys of 32 bytes in strict base64 and no others', () => {
    const signed = sign();
    expect(readSeed(`${SEED.toString('base64')}\n`)).toEqual(SEED);
    expect(readSeed(SEED.toString('base64'))).toEqual(SEED);
    expect(readPublicKey(`${publicKeyOf(SEED).toString('base64')}\n`)).toMatchObject({ keyId: signed.key });
    expect(readSeed(` ${SEED.toString('base64')}`)).toBeNull();
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
