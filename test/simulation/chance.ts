// All chance of a simulated episode, from one seed: the same seed makes the same choices, for as long as the same things ask.
import { createHash } from 'node:crypto';

export class Chance {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** Whatever the texts are; other texts are other chances. */
  constructor(...seed: readonly (string | number)[]) {
    const bytes = createHash('sha256').update(seed.join('\0')).digest();
    this.#a = bytes.readUInt32LE(0) | 0;
    this.#b = bytes.readUInt32LE(4) | 0;
    this.#c = bytes.readUInt32LE(8) | 0;
    this.#d = bytes.readUInt32LE(12) | 0;
  }

  /** 32 random bits (sfc32, by Chris Doty-Humphrey; public domain). */
  next(): number {
    const t = (this.#a + this.#b + this.#d) | 0;
    this.#d = (this.#d + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return t >>> 0;
  }

  /** From 0 up to, but not including, 1. */
  fraction = (): number => this.next() / 0x1_0000_0000;

  /** From 0 up to, but not including, `end`. */
  below(end: number): number {
    return Math.floor(this.fraction() * end);
  }

  /** True so often out of one. */
  is(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  /** One of the keys, each as often as its weight says. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const entries = Object.entries(weights) as [K, number][];
    let rest = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [key, weight] of entries) {
      rest -= weight;
      if (rest < 0) return key;
    }
    return (entries.at(-1) as [K, number])[0];
  }

  bytes = (count: number): Buffer => {
    const bytes = Buffer.alloc(count);
    for (let at = 0; at < count; at++) bytes[at] = this.next() & 0xff;
    return bytes;
  };
}
