// Signed statements of where the chain stood. The chain alone shows a change only to who knows a later hash; a checkpoint
// is such a hash, signed by a key that does not leave dom0. Ed25519 by node:crypto: 0.04 ms, against 36 ms by tweetnacl
// without a JIT (facts/packaging.md), and every 256th record waits for it.
//
// Not guaranteed: who holds the key, or rolls the journal and the newest checkpoint back together, is not found out.
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { canonical } from './canonical.ts';
import type { Head } from './chain.ts';

/** At the latest every so many records one is a checkpoint. */
export const CHECKPOINT_EVERY = 256;

/** A head and who vouches for it. */
export interface SignedHead {
  /** Canonical JSON: {"hash":…,"seq":…,"ts":…,"v":1}. */
  readonly statement: string;
  /** base64, Ed25519 over DOMAIN + statement. */
  readonly signature: string;
  /** Which key: see keyId. */
  readonly key: string;
}

export interface Signer {
  readonly keyId: string;
  signHead(head: Head, wallMs: number): SignedHead;
}

export interface VerifyingKey {
  readonly keyId: string;
  readonly key: KeyObject;
}

/** Length of an Ed25519 seed and of a public key, in bytes. */
export const KEY_BYTES = 32;

// Keeps a signature of ours from being taken for one of anything else signed by the same key.
const DOMAIN = 'qmcp-journal-v1\0';
// RFC 8410: what stands before the 32 bytes in the PKCS #8 and SPKI forms.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** The public key (32 bytes) that belongs to a seed (32 bytes). */
export function publicKeyOf(seed: Uint8Array): Buffer {
  return createPublicKey(privateKey(seed)).export({ type: 'spki', format: 'der' }).subarray(SPKI_PREFIX.length);
}

/** The name of a public key: the first 16 hex digits of its SHA-256. */
export const keyId = (publicKey: Uint8Array): string =>
  createHash('sha256').update(publicKey).digest('hex').slice(0, 16);

export function signerOf(seed: Uint8Array): Signer {
  const key = privateKey(seed);
  const id = keyId(publicKeyOf(seed));
  return {
    keyId: id,
    signHead({ seq, hash }, wallMs) {
      const statement = canonical({ v: 1, seq, hash, ts: new Date(wallMs).toISOString() });
      return { statement, signature: sign(null, Buffer.from(DOMAIN + statement), key).toString('base64'), key: id };
    },
  };
}

/** A public key as it stands in journal.pub: base64 of 32 bytes, with or without a newline. Null when it is none. */
export function readPublicKey(text: string): VerifyingKey | null {
  const bytes = fromBase64(text.trimEnd());
  if (bytes?.length !== KEY_BYTES) return null;
  const key = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, bytes]), format: 'der', type: 'spki' });
  return { keyId: keyId(bytes), key };
}

/** The seed in journal.key: base64 of 32 bytes. Null when it is none. */
export function readSeed(text: string): Buffer | null {
  const bytes = fromBase64(text.trimEnd());
  return bytes?.length === KEY_BYTES ? bytes : null;
}

/** What a statement says, whoever signed it; null when it is not one of ours. */
export function readStatement(signed: Partial<Record<keyof SignedHead, unknown>>): Head | null {
  if (typeof signed.statement !== 'string') return null;
  try {
    const value: unknown = JSON.parse(signed.statement);
    if (canonical(value) !== signed.statement) return null;
    const { v, seq, hash } = (value ?? {}) as Record<string, unknown>;
    if (v !== 1 || typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) return null;
    return typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash) ? { seq, hash } : null;
  } catch {
    return null;
  }
}

/** Whether one of the keys signed it. */
export function isSignedBy(signed: Partial<Record<keyof SignedHead, unknown>>, keys: readonly VerifyingKey[]): boolean {
  const { statement, signature } = signed;
  if (typeof statement !== 'string' || typeof signature !== 'string') return false;
  const bytes = fromBase64(signature);
  const key = keys.find((candidate) => candidate.keyId === signed.key);
  return key !== undefined && bytes !== null && verify(null, Buffer.from(DOMAIN + statement), key.key, bytes);
}

const privateKey = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: 'der', type: 'pkcs8' });

/** Strict: Buffer.from would skip what is not base64. */
function fromBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}
