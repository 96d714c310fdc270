// The loop: take an input that reached something, change it, look whether the new one reaches more, keep it if so.
import { mutated } from './mutate.ts';
import type { Random } from './random.ts';
import type { Opened } from './target.ts';

/** What a check of at most 16 KiB may take, in milliseconds; tried again before it is believed. */
export const SLOW_MS = 250;
const TRIES = 3;
/** What the process may grow to, in bytes. */
export const MEMORY_BYTES = 1.5 * 2 ** 30;
const MEMORY_EVERY = 2_048;

/** An input that broke a property. */
export class Finding extends Error {
  readonly input: Buffer;

  constructor(input: Buffer, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.input = input;
  }
}

/** Tells new ground from old. Without one every input is as good as another, and the corpus stays as it is. */
export interface Ground {
  begin(): void;
  isNew(): boolean;
}

export interface Loop {
  readonly opened: Opened;
  readonly random: Random;
  readonly corpus: Buffer[];
  readonly words: readonly string[];
  readonly ground: Ground | null;
  /** Whether to go on, after so many runs. */
  readonly goesOn: (runs: number) => boolean;
  readonly slowMs?: number;
}

/** Runs until told to end. Gives the number of runs; rejects with `Finding`. New inputs of interest go into `corpus`. */
export const loop = async ({ opened, random, corpus, words, ground, goesOn, slowMs }: Loop): Promise<number> => {
  let runs = 0;
  for (const input of [...corpus]) {
    ground?.begin();
    await tried(opened, input, slowMs);
    ground?.isNew();
    runs += 1;
  }
  while (goesOn(runs)) {
    // The newest inputs have been tried least.
    const from = random.chance(0.3) ? Math.floor(corpus.length * 0.9) : 0;
    const parent = corpus[from + random.below(corpus.length - from)] as Buffer;
    const input = mutated(random, parent, corpus, words);
    ground?.begin();
    await tried(opened, input, slowMs);
    if (ground?.isNew()) corpus.push(input);
    runs += 1;
    if (runs % MEMORY_EVERY !== 0) continue;
    // Timers and output have their turn.
    await new Promise((turn) => setImmediate(turn));
    if (process.memoryUsage.rss() > MEMORY_BYTES) {
      throw new Finding(input, new Error('the process has grown beyond its limit of memory'));
    }
  }
  return runs;
};

/** Rejects with `Finding` where a property is broken or it takes too long. */
export const tried = async (opened: Opened, input: Buffer, slowMs: number = SLOW_MS): Promise<void> => {
  try {
    if ((await timed(opened, input)) <= slowMs) return;
    const times: number[] = [];
    for (let again = 0; again < TRIES; again++) times.push(await timed(opened, input));
    const best = Math.min(...times);
    if (best > slowMs) throw new Error(`it takes ${Math.round(best)} ms`);
  } catch (error) {
    throw error instanceof Finding ? error : new Finding(input, error);
  }
};

const timed = async (opened: Opened, input: Buffer): Promise<number> => {
  const began = performance.now();
  const checked = opened.check(input);
  if (checked instanceof Promise) await checked;
  return performance.now() - began;
};

const SHORTEN_MS = 10_000;

/** A shorter input that still breaks something; within some seconds. */
export const shortened = async (opened: Opened, input: Buffer): Promise<Buffer> => {
  const ends = performance.now() + SHORTEN_MS;
  let best = input;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at + size <= best.length && performance.now() < ends; ) {
      const less = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (await breaks(opened, less)) best = less;
      else at += size;
    }
  }
  return best;
};

const breaks = (opened: Opened, input: Buffer): Promise<boolean> =>
  tried(opened, input).then(
    () => false,
    () => true,
  );
