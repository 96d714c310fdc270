// `npm run simulate -- --seed N --calls M`: the simulation from the command line. `--episode K` runs that one alone, as a
// failure prints it; `--trace` prints every step of it. `--hours H`: one episode that goes on for so long, by the simulated clock.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { CALLS_PER_EPISODE, failureText, simulate } from './simulate.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    calls: { type: 'string', default: '200000' },
    episode: { type: 'string' },
    hours: { type: 'string' },
    workers: { type: 'string', default: String(availableParallelism()) },
    trace: { type: 'boolean', default: false },
  },
});

const only = values.episode === undefined && values.hours === undefined ? null : Number(values.episode ?? 0);
const calls = only === null ? Number(values.calls) : CALLS_PER_EPISODE;
const began = performance.now();
const sum = await simulate({
  ...{ seed: values.seed, calls, first: only ?? 0, workers: only === null ? Number(values.workers) : 0 },
  ...(values.hours !== undefined && { hours: Number(values.hours) }),
  ...(values.trace && { trace: (line: string) => void process.stdout.write(`${line}\n`) }),
  progress: (done) => void (process.stderr.isTTY && process.stderr.write(`\r${done} calls`)),
});
const seconds = (performance.now() - began) / 1000;
if (process.stderr.isTTY) process.stderr.write('\r');
const { failed, ...counts } = sum;
const told = {
  seed: values.seed,
  ...counts,
  hours: Math.round(counts.hours),
  seconds: Math.round(seconds),
  failed: failed?.violations ?? null,
};
process.stdout.write(`${JSON.stringify(told)}\n`);
if (failed) {
  process.stdout.write(failureText(values.seed, failed, values.hours));
  process.exitCode = 1;
}
