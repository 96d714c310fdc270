// A small part of `npm run fuzz` for every run of the tests: the corpus, and changes of it from a fixed seed.
import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { asLine, corpusFile, corpusOf, fromLine } from './corpus.ts';
import { Finding, loop, shortened } from './loop.ts';
import { mutated } from './mutate.ts';
import { randomOf } from './random.ts';
import { TARGETS } from './targets.ts';

const SEED = 20_260_131;
const RUNS = 2_500;
/** A connection costs more than a parse. */
const RUNS_AT_SOCKET = 600;

describe.each(TARGETS.map((target) => [target.name, target] as const))('%s', (name, target) => {
  test(target.what, { timeout: 60_000 }, async () => {
    const corpus = [...target.seeds.map((seed) => Buffer.from(seed)), ...corpusOf(name)];
    const most = corpus.length + (name === 'door' ? RUNS_AT_SOCKET : RUNS);
    const opened = await target.open();
    try {
      const { words = [] } = target;
      const runs = await loop({
        ...{ opened, corpus, words, ground: null },
        random: randomOf(SEED),
        goesOn: (runs) => runs < most,
        // The machine that tests may be busy: how long anything takes is for the command to say.
        slowMs: Number.POSITIVE_INFINITY,
      });
      expect(runs).toBe(most);
    } catch (error) {
      if (!(error instanceof Finding)) throw error;
      const input = await shortened(opened, error.input);
      throw new Error(`${error.message}\nfor ${asLine(input)}`, { cause: error.cause });
    } finally {
      await opened.close?.();
    }
  });

  test('has a corpus', () => expect(existsSync(corpusFile(name))).toBe(true));
});

test('no corpus belongs to nobody', () => {
  const files = readdirSync(new URL('corpus/', import.meta.url));
  expect(files.sort()).toEqual(TARGETS.map(({ name }) => `${name}.jsonl`).sort());
});

test('a line of a corpus is any bytes, in ASCII', () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  expect(asLine(bytes)).toMatch(/^[\x20-\x7e]*$/);
  expect(fromLine(asLine(bytes))).toEqual(bytes);
});

test('the same seed makes the same inputs, another one others', () => {
  const made = (seed: number): string[] => {
    const random = randomOf(seed);
    return Array.from({ length: 20 }, () =>
      asLine(mutated(random, Buffer.from('{"a":[1,"b"]}'), [Buffer.from('c')], ['d'])),
    );
  };
  expect(made(1)).toEqual(made(1));
  expect(made(1)).not.toEqual(made(2));
});

test('a property that does not hold is found, and its input made short', async () => {
  const opened = {
    check: (input: Buffer) => {
      if (input.includes('"b":null')) throw new Error('broken');
    },
  };
  const looking = loop({
    ...{ opened, corpus: [Buffer.from('{"a":1,"b":2}')], words: [], ground: null, random: randomOf(SEED) },
    ...{ goesOn: (runs: number) => runs < 100_000, slowMs: Number.POSITIVE_INFINITY },
  });
  const finding = await looking.then(
    () => null,
    (error: unknown) => error,
  );
  expect(finding).toBeInstanceOf(Finding);
  expect((await shortened(opened, (finding as Finding).input)).toString()).toBe('"b":null');
});
