// `npm run bench:timing -- [--seconds N] [--callers N] [--seed N] [--reasons A,B,...] [SERVICE ...]`: can a caller tell by its time why
// a call was refused? For each service that can refuse opaquely, N seconds of rounds; each reason is compared with "missing" round by round.
import { parseArgs } from 'node:util';
import { REFUSAL_TICK_MS } from '../../daemon/qrexec/door.ts';
import { randomOf } from '../fuzz/random.ts';
import { CASES, REASONS, type Reason } from './cases.ts';
import { rounds, startPlace } from './measure.ts';
import { medianInterval, medianOf, signTest } from './statistics.ts';

/** Product, "Targets". */
const TARGET_P = 0.01;
const TARGET_US = 10;
const WARM_UP_ROUNDS = 200;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '20' },
    callers: { type: 'string', default: '8' },
    seed: { type: 'string' },
    reasons: { type: 'string', default: Object.keys(REASONS).join(',') },
  },
});
const seed = options.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(options.seed);
const random = randomOf(seed);
/** Each is compared with "missing", which is always among them. */
const wanted = new Set<string>(['missing', ...options.reasons.split(',')]);
const callers = Number(options.callers);

const us = (ms: number): string => (ms * 1_000).toFixed(1).padStart(8);
const row = (what: string, differences: readonly number[]): void => {
  const [low, high] = medianInterval(differences, random);
  const p = signTest(differences);
  const met = p > TARGET_P && low >= -TARGET_US / 1_000 && high <= TARGET_US / 1_000;
  process.stdout.write(
    `    ${what.padEnd(28)} ${differences.length.toLocaleString('en').padStart(8)} pairs  median ${us(medianOf(differences))} us  ` +
      `95% [${us(low)}, ${us(high)}]  p ${p.toPrecision(3).padStart(8)}${met ? '' : '  *'}\n`,
  );
};
const isLater = (ms: number): boolean => ms > 1.75 * REFUSAL_TICK_MS;
const share = (times: readonly number[]): string =>
  `${((100 * times.filter(isLater).length) / Math.max(1, times.length)).toFixed(2)}%`;

const pooled = new Map<Reason, number[]>();
const later = new Map<Reason, number[]>();
const place = await startPlace();
process.stdout.write(`Seed ${seed}, ${callers} callers side by side, ${options.seconds} s each; * misses the target\n`);
try {
  for (const each of CASES) {
    if (positionals.length > 0 && !positionals.includes(each.service)) continue;
    const of = { ...each, reasons: each.reasons.filter((reason) => wanted.has(reason)) };
    const parts = { path: place.door, of, random, callers };
    await rounds({ ...parts, goesOn: (begun) => begun < WARM_UP_ROUNDS });
    const ends = performance.now() + Number(options.seconds) * 1_000;
    const times = await rounds({ ...parts, goesOn: () => performance.now() < ends });
    process.stdout.write(
      `\n${of.service}: median of missing ${medianOf(times.missing).toFixed(2)} ms; on a later tick: ${of.reasons.map((reason) => `${reason} ${share(times[reason])}`).join(', ')}\n`,
    );
    for (const reason of of.reasons) {
      later.set(reason, [...(later.get(reason) ?? []), ...times[reason]]);
      if (reason === 'missing') continue;
      const differences = times[reason].map((took, index) => took - (times.missing[index] as number));
      pooled.set(reason, [...(pooled.get(reason) ?? []), ...differences]);
      row(`${reason} - missing`, differences);
    }
    if (of.reasons.includes('under-tier') && of.reasons.includes('unmanaged')) {
      row(
        'under-tier - unmanaged',
        times['under-tier'].map((took, index) => took - (times.unmanaged[index] as number)),
      );
    }
  }
} finally {
  await place.end();
}
process.stdout.write('\nAll services together\n');
for (const [reason, differences] of pooled) row(`${reason} - missing`, differences);
process.stdout.write(
  `    on a later tick: ${[...later].map(([reason, times]) => `${reason} ${share(times)}`).join(', ')}\n`,
);
