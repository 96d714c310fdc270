// Nonces: 32 random bytes, bound to one digest, for one answer, until a deadline. They live in memory only, so a
// restart voids all of them; what makes the consumption durable is the intent that names the nonce (I3).
import type { Digest, Nonce } from '../names.ts';

export const NONCE_BYTES = 32;

interface Open {
  readonly digest: Digest;
  /** By the monotonic clock, in milliseconds. */
  readonly expiresAt: number;
}

export class Nonces {
  readonly #open = new Map<Nonce, Open>();
  readonly #randomBytes: (count: number) => Buffer;
  readonly #monotonicMs: () => number;

  constructor(randomBytes: (count: number) => Buffer, monotonicMs: () => number) {
    this.#randomBytes = randomBytes;
    this.#monotonicMs = monotonicMs;
  }

  /** A fresh nonce for this digest, good for `ttlMs` milliseconds. */
  issue(digest: Digest, ttlMs: number): Nonce {
    const nonce = this.#randomBytes(NONCE_BYTES).toString('hex') as Nonce;
    this.#open.set(nonce, { digest, expiresAt: this.#monotonicMs() + ttlMs });
    return nonce;
  }

  /** Ends a nonce unused: the question was denied, timed out, or what it was about changed. */
  void(nonce: Nonce): void {
    this.#open.delete(nonce);
  }

  /** True exactly once, and only for the digest it was issued for and before its deadline (I2, I3). */
  consume(nonce: Nonce, digest: Digest): boolean {
    const open = this.#open.get(nonce);
    this.#open.delete(nonce);
    return open !== undefined && open.digest === digest && this.#monotonicMs() < open.expiresAt;
  }

  get open(): number {
    return this.#open.size;
  }
}
