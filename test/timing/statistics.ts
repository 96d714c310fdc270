// What pairs of times say: is one of the two longer more often, and by how much in the middle?
import type { Random } from '../fuzz/random.ts';

/** How likely so uneven a split of signs is by chance, two-sided. Exact; of many pairs by the normal approximation. */
export const signTest = (differences: readonly number[]): number => {
  const above = differences.filter((each) => each > 0).length;
  const below = differences.filter((each) => each < 0).length;
  const n = above + below;
  if (n === 0) return 1;
  const least = Math.min(above, below);
  if (n > EXACT_MOST) return Math.min(1, 2 * normalTail(Math.max(0, n / 2 - least - 0.5) / (Math.sqrt(n) / 2)));
  let term = -n * Math.LN2; // log of C(n, k) / 2^n, from k = 0
  let tail = 0;
  for (let k = 0; k <= least; k++) {
    tail += Math.exp(term);
    term += Math.log(n - k) - Math.log(k + 1);
  }
  return Math.min(1, 2 * tail);
};

const EXACT_MOST = 1_000;

/** The probability beyond z of a standard normal variable (Abramowitz and Stegun 7.1.26). */
const normalTail = (z: number): number => {
  const x = z / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return 0.5 * poly * Math.exp(-x * x);
};

/** The value with half of the others on either side. NaN for none. */
export const medianOf = (values: readonly number[]): number => {
  const sorted = Float64Array.from(values).sort();
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

const RESAMPLES = 2_000;

/** The middle 95% of the medians of as many values drawn again from these. NaN for none. */
export const medianInterval = (values: readonly number[], random: Random): [low: number, high: number] => {
  const sorted = Float64Array.from(values).sort();
  const medians = Float64Array.from({ length: RESAMPLES }, () => resampledMedian(sorted, random)).sort();
  return [medians[Math.floor(0.025 * RESAMPLES)] as number, medians[Math.ceil(0.975 * RESAMPLES) - 1] as number];
};

const DRAWN_MOST = 2_000;
const GRAINS = 2 ** 30;

// The median of values drawn again is one of the values. Of many, its place is drawn at once: it is spread about the middle
// like the middle of as many uniform draws, by half a root of their number.
const resampledMedian = (sorted: Float64Array, random: Random): number => {
  const n = sorted.length;
  if (n > DRAWN_MOST) {
    const uniform = (): number => (random.below(GRAINS) + 0.5) / GRAINS;
    const normal = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
    return sorted[Math.min(n - 1, Math.max(0, Math.floor(n / 2 + (normal * Math.sqrt(n)) / 2)))] as number;
  }
  return medianOf(Array.from(sorted, () => sorted[random.below(n)] as number));
};
