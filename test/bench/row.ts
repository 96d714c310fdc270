// One line of the result table. Ratios compare within one run only: machines are noisy, and differ.
export interface Row {
  readonly what: string;
  readonly measured: string;
  /** What product.md asks, and whether this run met it; absent where nothing is asked. */
  readonly target?: string;
  readonly met?: boolean;
}

export const ms = (value: number): string => `${value.toFixed(value < 10 ? 2 : 0)} ms`;
export const perSecond = (value: number): string => `${Math.round(value).toLocaleString('en')}/s`;
export const ratio = (value: number): string => `${value.toFixed(2)}x`;

export const quantile = (values: readonly number[], q: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
};
export const median = (values: readonly number[]): number => quantile(values, 0.5);
