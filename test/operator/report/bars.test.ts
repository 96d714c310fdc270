import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { barChart, barsOf, MAX_BARS } from '../../../daemon/operator/report/bars.ts';
import { HOUR_MS } from '../../../daemon/operator/report/figures.ts';

const hourOf = (hour: number, allow = 1, ask = 0, refuse = 0) => ({ hour, counts: { allow, ask, refuse } });

describe('the bars of a report', () => {
  it('are one per hour while that fits, and longer spans beyond', () => {
    expect(barsOf([hourOf(1000), hourOf(1000 + MAX_BARS - 1)])).toMatchObject({ spanHours: 1 });
    expect(barsOf([hourOf(1000), hourOf(1000 + MAX_BARS)])).toMatchObject({ spanHours: 2 });
    expect(barsOf([]).bars).toEqual([]);
  });

  it('hold every decision exactly once, in bars without gaps, never more than the limit', () => {
    const hours = fc.uniqueArray(fc.nat(60 * 365 * 24), { minLength: 1, maxLength: 50 });
    fc.assert(
      fc.property(hours, (list) => {
        const { bars, spanHours } = barsOf(list.toSorted((a, b) => a - b).map((hour) => hourOf(hour, 1, 2, 3)));
        expect(bars.length).toBeLessThanOrEqual(MAX_BARS);
        expect(bars.reduce((sum, { counts }) => sum + counts.refuse, 0)).toBe(3 * list.length);
        for (const [index, bar] of bars.entries()) {
          if (index > 0) expect(bar.from - (bars[index - 1]?.from ?? 0)).toBe(spanHours * HOUR_MS);
        }
      }),
    );
  });

  it('are drawn inside the picture, higher for more, with their numbers as titles', () => {
    const { text } = barChart([hourOf(500_000, 3, 1, 1), hourOf(500_001, 10)]);
    expect(text).toContain('<title>01-15 08:00: 3 allowed, 1 asked, 1 refused</title>');
    const heights = [...text.matchAll(/<rect [^>]*y="([\d.]+)"[^>]*height="([\d.]+)"/g)].map((match) =>
      match.slice(1).map(Number),
    );
    expect(heights).toHaveLength(4);
    for (const [y, height] of heights as [number, number][]) expect(y + height).toBeLessThanOrEqual(212.1);
    expect(Math.max(...(heights as [number, number][]).map(([, height]) => height))).toBe(200);
    expect(barChart([]).text).toContain('No decisions');
  });

  it.each([
    [1, 2],
    [11, 12],
    [19, 20],
    [119, 120],
    [181, 200],
    [1801, 2000],
  ])('%i of them stand under a line of %i, which halves evenly', (count, top) => {
    const { text } = barChart([hourOf(500_000, count)]);
    expect([...text.matchAll(/text-anchor="end">(\d+)</g)].map(([, label]) => Number(label))).toEqual([
      0,
      top / 2,
      top,
    ]);
  });
});
