// `npm run fuzz -- [TARGET] [--seconds N | --runs N] [--seed N] [--keep]`: throws changed inputs at what parses hostile bytes,
// led by the branches they reach. --keep puts the shortest inputs that reach them all into the corpus.
import { parseArgs } from 'node:util';
import { asLine, corpusFile, corpusOf, keep } from './corpus.ts';
import { instrument, literalsSeen, placesKnown, Reached } from './coverage.ts';
import { Finding, loop, shortened, tried } from './loop.ts';
import { randomOf } from './random.ts';
import type { Target } from './target.ts';

const SECONDS = 30;
/** Longer inputs stay out of the repository. */
const KEPT_BYTES = 700;
const KEPT_MOST = 60;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    runs: { type: 'string' },
    seed: { type: 'string' },
    keep: { type: 'boolean', default: false },
  },
});

instrument();
const { TARGETS } = await import('./targets.ts');

const wanted = positionals.length === 0 ? TARGETS : TARGETS.filter(({ name }) => positionals.includes(name));
if (wanted.length === 0) {
  process.stderr.write(
    `No such target. There are:\n${TARGETS.map(({ name, what }) => `  ${name}: ${what}\n`).join('')}`,
  );
  process.exit(2);
}

const fuzz = async (target: Target): Promise<boolean> => {
  const seed = options.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(options.seed);
  const ends = performance.now() + Number(options.seconds ?? SECONDS) * 1_000;
  const most = options.runs === undefined ? Number.POSITIVE_INFINITY : Number(options.runs);
  const seeds = [...target.seeds.map((each) => Buffer.from(each)), ...corpusOf(target.name)];
  const corpus = [...seeds];
  const ground = new Reached();
  const opened = await target.open();
  const words = [...new Set([...(target.words ?? []), ...literalsSeen()])];
  const began = performance.now();
  process.stdout.write(`${target.name} (seed ${seed}): ${target.what}\n`);
  try {
    const goesOn = (runs: number): boolean =>
      runs < most && (most < Number.POSITIVE_INFINITY || performance.now() < ends);
    const runs = await loop({ opened, random: randomOf(seed), corpus, words, ground, goesOn });
    const seconds = (performance.now() - began) / 1_000;
    process.stdout.write(
      `  ${runs.toLocaleString('en')} runs in ${seconds.toFixed(0)} s, ${Math.round(runs / seconds).toLocaleString('en')}/s; ` +
        `${ground.places} of ${placesKnown()} branches of all modules loaded; ${corpus.length - seeds.length} new inputs; ` +
        `${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB; no property broken\n`,
    );
    if (options.keep) keep(target.name, await worthKeeping(opened, corpus));
    return true;
  } catch (error) {
    if (!(error instanceof Finding)) throw error;
    const input = await shortened(opened, error.input);
    process.stdout.write(
      `  BROKEN: ${error.message}\n  Put this line into ${corpusFile(target.name)}, where npm test runs it, and mend the cause:\n  ${asLine(input)}\n`,
    );
    if (error.cause instanceof Error) process.stdout.write(`${error.cause.stack}\n`);
    return false;
  } finally {
    await opened.close?.();
  }
};

/** The shortest first: those that reach something which no shorter one does. */
const worthKeeping = async (
  opened: Awaited<ReturnType<Target['open']>>,
  corpus: readonly Buffer[],
): Promise<Buffer[]> => {
  const ground = new Reached();
  const kept: Buffer[] = [];
  for (const input of corpus.toSorted((a, b) => a.length - b.length)) {
    ground.begin();
    await tried(opened, input);
    if (ground.isNew() && input.length <= KEPT_BYTES && kept.length < KEPT_MOST) kept.push(input);
  }
  return kept;
};

let sound = true;
for (const target of wanted) sound = (await fuzz(target)) && sound;
process.exitCode = sound ? 0 : 1;
