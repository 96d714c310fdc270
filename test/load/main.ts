// `npm run load -- [flood|questions|day|leak] [--seconds N] [--calls N] [--callers N] [--seed N] [--jit]`: floods, endless questions, a day of
// mixed traffic as fast as it goes, and a million calls, at the socket of the built daemon; what it does to others and to itself.
import { parseArgs } from 'node:util';
import { ms, quantile } from '../bench/row.ts';
import { randomOf } from '../fuzz/random.ts';
import { atRest, mixed, verified } from './day.ts';
import { flooded, slowdown } from './flood.ts';
import { FLOODS } from './floods.ts';
import { type LoadPlace, startLoadPlace } from './place.ts';
import { turns } from './questions.ts';
import { CALLS_PER_DAY } from './traffic.ts';
import { countOf } from './worker.ts';

const NOTHING_ASKED = '# nothing is asked\n';
const LEAK_CALLS = 1_000_000;
const ALL_ASKED = '*\n';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    calls: { type: 'string' },
    callers: { type: 'string', default: '16' },
    seed: { type: 'string' },
    jit: { type: 'boolean', default: false },
  },
});
const seed = options.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(options.seed);
const say = (text: string): void => void process.stdout.write(`${text}\n`);

const withPlace = async (consentPolicy: string, use: (at: LoadPlace) => Promise<void>): Promise<void> => {
  const at = await startLoadPlace(consentPolicy, options.jit ? [] : ['--jitless']);
  try {
    await use(at);
  } finally {
    await at.end();
  }
};

const floods = (): Promise<void> =>
  withPlace(NOTHING_ASKED, async ({ place, pid }) => {
    for (const [index, flood] of FLOODS.entries()) {
      const seen = await flooded(place.door, pid, index, () => {
        const ends = performance.now() + Number(options.seconds) * 1_000;
        return () => performance.now() < ends;
      });
      const { median, p99 } = slowdown(seen);
      const refused = countOf(seen.flooded.replies) - (seen.flooded.replies.get('ok') ?? 0);
      say(
        `${flood.what}: ${countOf(seen.flood).toLocaleString('en')} calls, ${[...seen.flood].map(([kind, count]) => `${kind} ${count}`).join(', ')}\n` +
          `    the other: median ${ms(quantile(seen.calm.latencies, 0.5))} -> ${ms(quantile(seen.flooded.latencies, 0.5))} (${median.toFixed(1)}x), ` +
          `p99 ${ms(quantile(seen.calm.latencies, 0.99))} -> ${ms(quantile(seen.flooded.latencies, 0.99))} (${p99.toFixed(1)}x); ${refused} of ${countOf(seen.flooded.replies)} refused\n` +
          `    the daemon: at most ${seen.most.residentMiB.toFixed(0)} MiB and ${seen.most.descriptors} descriptors`,
      );
    }
  });

const questions = (): Promise<void> =>
  withPlace(ALL_ASKED, async (at) => {
    const { done, refused, passed, floodAsked } = await turns(at, Number(options.calls ?? 50));
    say(
      `Questions without end from one source (${floodAsked} of them asked): of the other's ${done + refused} questions ${done} were asked and done; ` +
        `while one waited, at most ${passed} of the first source's were asked`,
    );
  });

const traffic = (calls: number): Promise<void> =>
  withPlace(NOTHING_ASKED, async ({ place, pid, log }) => {
    const random = randomOf(seed);
    const callers = Number(options.callers);
    const warm = await mixed(place.door, pid, { calls: Math.ceil(calls / 20), callers, random });
    const before = await atRest(pid);
    const began = performance.now();
    const run = await mixed(place.door, pid, {
      ...{ calls, callers, random, looks: 20 },
      looked: ({ calls: done, residentMiB, descriptors }) =>
        say(
          `    after ${done.toLocaleString('en').padStart(9)}: ${residentMiB.toFixed(1)} MiB, ${descriptors} descriptors`,
        ),
    });
    const seconds = (performance.now() - began) / 1_000;
    const after = await atRest(pid);
    say(
      `${calls.toLocaleString('en')} calls (${(calls / CALLS_PER_DAY).toFixed(1)} days of two busy agents, seed ${seed}) in ${seconds.toFixed(0)} s, ` +
        `${Math.round(calls / seconds).toLocaleString('en')}/s by ${callers} callers; median ${ms(quantile(run.latencies, 0.5))}, p99 ${ms(quantile(run.latencies, 0.99))}; ` +
        `${warm.unexpected.length + run.unexpected.length} replies not as expected`,
    );
    for (const reply of run.unexpected.slice(0, 5)) say(`    ${reply}`);
    say(`    ${[...run.byKind].map(([kind, count]) => `${kind} ${count.toLocaleString('en')}`).join(', ')}`);
    say(
      `    at rest: ${before.residentMiB.toFixed(1)} -> ${after.residentMiB.toFixed(1)} MiB, ${before.descriptors} -> ${after.descriptors} descriptors, ` +
        `${before.wakeUps} -> ${after.wakeUps} wake-ups in 3 s`,
    );
    const report = await verified(log);
    say(
      `    the journal: ${report.records.toLocaleString('en')} records, ${report.ok ? 'intact' : report.fault?.sentence}`,
    );
  });

const PARTS: Readonly<Record<string, () => Promise<void>>> = {
  flood: floods,
  questions,
  day: () => traffic(Number(options.calls ?? CALLS_PER_DAY)),
  leak: () => traffic(Number(options.calls ?? LEAK_CALLS)),
};

const wanted = positionals.length === 0 ? Object.keys(PARTS) : positionals;
for (const part of wanted) {
  const run = PARTS[part];
  if (!run) throw new Error(`No part ${part}. There are: ${Object.keys(PARTS).join(', ')}.`);
  say(`\n${part}`);
  await run();
}
