import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Row, rowOf } from '../../../daemon/journal/rows.ts';
import { counting, MAX_GROUPS, TOP } from '../../../daemon/operator/report/figures.ts';

const row = (record: Record<string, unknown>): Row =>
  rowOf(JSON.stringify({ ts: '2026-01-02T03:04:05.678Z', source: 'agent', action: 'kill', ...record })) as Row;
const decision = (verdict: string, more = {}) => row({ type: 'decision', verdict, rule: 'tier', ...more });
const figuresOf = (rows: readonly Row[]) => {
  const count = counting();
  for (const each of rows) count.see(each);
  return count.figures();
};

describe('the figures of a report', () => {
  it('count decisions by result and hour, and who was refused what and why', () => {
    const figures = figuresOf([
      decision('allow'),
      decision('refuse'),
      decision('refuse', { ts: '2026-01-02T05:00:00.000Z' }),
      decision('ask', { source: 'other', action: 'remove' }),
      decision('nonsense'),
    ]);
    expect(figures.decided).toEqual({ allow: 1, ask: 1, refuse: 2 });
    expect(figures.hours.map(({ counts }) => counts)).toEqual([
      { allow: 1, ask: 1, refuse: 1 },
      { allow: 0, ask: 0, refuse: 1 },
    ]);
    expect(figures.refused).toEqual([{ key: 'agent · kill · tier', count: 2 }]);
    expect(figures.sources).toEqual([
      { key: 'agent', count: 3 },
      { key: 'other', count: 1 },
    ]);
    expect([figures.records, figures.first, figures.last]).toEqual([
      5,
      '2026-01-02T03:04:05.678Z',
      '2026-01-02T03:04:05.678Z',
    ]);
  });

  it('count questions, their answers, and effects, and keep the slowest of both', () => {
    const answers = Array.from({ length: TOP + 5 }, (_, i) =>
      row({ type: 'answer', answer: 'denied', duration_ms: i }),
    );
    const figures = figuresOf([
      row({ type: 'question' }),
      ...answers,
      row({ type: 'answer', answer: 'unavailable' }),
      row({ type: 'outcome', ok: true, duration_ms: 9 }),
      row({ type: 'outcome', ok: false, error: 'action failed', duration_ms: 5 }),
    ]);
    expect(figures.questions).toBe(1);
    expect(figures.answers).toEqual([
      { key: 'denied', count: TOP + 5 },
      { key: 'unavailable', count: 1 },
    ]);
    expect(figures.outcomes).toEqual({ done: 1, failed: 1 });
    expect(figures.failures).toEqual([{ key: 'kill · action failed', count: 1 }]);
    expect(figures.slowAnswers.map(({ durationMs }) => durationMs)).toEqual([14, 13, 12, 11, 10, 9, 8, 7, 6, 5]);
    expect(figures.slowEffects.map(({ durationMs }) => durationMs)).toEqual([9, 5]);
  });

  it('keep the slowest whatever the order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 40 }), (durations) => {
        const figures = figuresOf(
          durations.map((duration_ms) => row({ type: 'answer', answer: 'denied', duration_ms })),
        );
        const slowest = durations.toSorted((a, b) => b - a).slice(0, TOP);
        expect(figures.slowAnswers.map(({ durationMs }) => durationMs)).toEqual(slowest);
      }),
    );
  });

  it('stay small, however many different things are in a journal', () => {
    const rows = Array.from({ length: MAX_GROUPS + 10 }, (_, i) =>
      decision('refuse', { source: `s${i}`, ts: 'nonsense' }),
    );
    const figures = figuresOf(rows);
    expect(figures.refused[0]).toEqual({ key: 'others', count: 10 });
    expect(figures.refused).toHaveLength(TOP);
    expect(figures.hours).toEqual([]);
  });

  it('read the log of the implementation before, where one record is a whole call', () => {
    const call = (more: object) =>
      rowOf(
        JSON.stringify({ v: 1, ts: '2026-01-02T03:04:05Z', service: 'qmcp.X', args: { name: 'work' }, ...more }),
      ) as Row;
    const figures = figuresOf([
      call({ ok: true, error: null }),
      call({ ok: true, error: null, consent: 'approved' }),
      call({ ok: false, error: 'not found', consent: 'denied' }),
      call({ ok: false, error: 'not found' }),
    ]);
    expect(figures.decided).toEqual({ allow: 2, ask: 0, refuse: 2 });
    expect(figures.answers.map(({ key }) => key)).toEqual(['approved', 'denied']);
  });
});
