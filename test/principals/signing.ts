// The other side of a signed call: keys, and envelopes that are right or wrong in one way.
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto';

/** PKCS 8 around an Ed25519 seed (RFC 8410). */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

export const privateKey = (seed: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_HEAD, seed]), format: 'der', type: 'pkcs8' });

/** As in a registry file. */
export const publicKey = (key: KeyObject): string =>
  Buffer.from(createPublicKey(key).export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64');

/** The key of the README's vectors, and another one. */
export const KEY = privateKey(new Uint8Array(Array.from({ length: 32 }, (_, index) => index)));
export const OTHER_KEY = privateKey(new Uint8Array(32).fill(7));

export interface Signed {
  readonly source: string;
  readonly service: string;
  readonly argument: string;
  readonly principal: string;
  readonly time: number;
  readonly number: string;
  readonly call: string;
}

/** The envelope as a body, written without any code of the daemon. */
export const seal = (signed: Signed, key: KeyObject = KEY): Record<string, unknown> => {
  const { source, service, argument, principal, time, number, call } = signed;
  const text = ['qmcp-call-v1', service, argument, source, principal, time, number, call].join('\0');
  return { qmcp: 1, principal, time, number, call, signature: sign(null, Buffer.from(text), key).toString('base64') };
};

export const freshNumber = (): string => randomBytes(16).toString('hex');

/** A registry file that limits nothing, with changes. */
export const enrolled = (changes: Record<string, unknown> = {}): string =>
  JSON.stringify({ key: publicKey(KEY), sources: ['mcp-control'], ceiling: 'full', ...changes });

export const unsignedFile = (changes: Record<string, unknown> = {}): string =>
  JSON.stringify({ unsigned: true, sources: 'any', ceiling: 'full', ...changes });
