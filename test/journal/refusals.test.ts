import { expect, onTestFinished, test, vi } from 'vitest';
import type { Decision, JournalRecord } from '../../daemon/journal/record.ts';
import { LISTED_PER_WINDOW, MAX_SOURCES, Refusals, WINDOW_MS } from '../../daemon/journal/refusals.ts';

const refusal = (source: string, rule = 'missing'): Decision => ({
  type: 'decision',
  call: 1,
  source,
  principal: 'default',
  service: 'qmcp.LifecycleAIManaged',
  action: 'start',
  qubes: [],
  args: {},
  verdict: 'refuse',
  rule,
});

const refusals = () => {
  const clock = { ms: 0 };
  const written: JournalRecord[] = [];
  const timers: { ms: number; run: () => void }[] = [];
  const note = (record: JournalRecord): unknown => written.push(record);
  const after = (ms: number, run: () => void): unknown => timers.push({ ms, run });
  return { clock, written, timers, refusals: new Refusals({ note }, () => clock.ms, after) };
};
const count = (source: string, unlisted: number) => ({
  ...{ ...refusal(source), rule: 'refusals-not-listed', args: { unlisted } },
});

test('so many refusals of a source are written in a minute, and the others counted in one record after it', () => {
  const { clock, written, refusals: meter } = refusals();
  for (let i = 0; i < LISTED_PER_WINDOW + 500; i++) meter.note(refusal('mcp-control'));
  expect(written).toHaveLength(LISTED_PER_WINDOW);
  clock.ms = WINDOW_MS - 1;
  meter.note(refusal('mcp-control'));
  expect(written).toHaveLength(LISTED_PER_WINDOW);
  clock.ms = WINDOW_MS;
  meter.note(refusal('mcp-control', 'ladder'));
  expect(written.slice(LISTED_PER_WINDOW)).toEqual([count('mcp-control', 501), refusal('mcp-control', 'ladder')]);
});

test('the count is written when the minute is over also where its source is quiet by then, and once', () => {
  const { clock, written, timers, refusals: meter } = refusals();
  clock.ms = 1000;
  meter.note(refusal('mcp-control'));
  clock.ms = 5000;
  for (let i = 0; i < LISTED_PER_WINDOW + 4; i++) meter.note(refusal('mcp-control'));
  expect(timers.map(({ ms }) => ms)).toEqual([WINDOW_MS - 4000]);
  timers[0]?.run();
  expect(written.slice(LISTED_PER_WINDOW)).toEqual([count('mcp-control', 5)]);
  clock.ms = 1000 + WINDOW_MS;
  meter.note(refusal('mcp-control'));
  meter.close();
  expect(written.slice(LISTED_PER_WINDOW + 1)).toEqual([refusal('mcp-control')]);
});

test('the count of each source is written at the end', () => {
  const { written, refusals: meter } = refusals();
  for (const source of ['mcp-control', 'mcp-other']) {
    for (let i = 0; i <= LISTED_PER_WINDOW; i++) meter.note(refusal(source));
  }
  meter.close();
  expect(written.slice(2 * LISTED_PER_WINDOW)).toEqual([count('mcp-control', 1), count('mcp-other', 1)]);
});

test('the count of a source that has to make room for others is written then', () => {
  const { written, refusals: meter } = refusals();
  for (let i = 0; i <= LISTED_PER_WINDOW; i++) meter.note(refusal('mcp-control'));
  for (let i = 0; i < MAX_SOURCES - 1; i++) meter.note(refusal(`mcp-${i}`));
  expect(written).not.toContainEqual(count('mcp-control', 1));
  meter.note(refusal('mcp-one-more'));
  expect(written).toContainEqual(count('mcp-control', 1));
  // It is forgotten, so that what is held of sources stays bounded: the next is listed again.
  meter.note(refusal('mcp-control', 'ladder'));
  expect(written.at(-1)).toEqual(refusal('mcp-control', 'ladder'));
});

test('a flood of one source costs another no line', () => {
  const { written, refusals: meter } = refusals();
  for (let i = 0; i < 1000; i++) meter.note(refusal('mcp-control'));
  meter.note(refusal('mcp-other'));
  expect(written.at(-1)).toEqual(refusal('mcp-other'));
});

test('where all fit, nothing is counted', () => {
  const { clock, written, refusals: meter } = refusals();
  for (let i = 0; i < LISTED_PER_WINDOW; i++) meter.note(refusal('mcp-control'));
  clock.ms = WINDOW_MS;
  meter.note(refusal('mcp-control'));
  expect(written).toHaveLength(LISTED_PER_WINDOW + 1);
  expect(written.every((record) => 'rule' in record && record.rule === 'missing')).toBe(true);
});

test('unless told how, the count waits on a timer of its own', () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const written: JournalRecord[] = [];
  const meter = new Refusals({ note: (record) => void written.push(record) }, () => 0);
  for (let i = 0; i <= LISTED_PER_WINDOW; i++) meter.note(refusal('mcp-control'));
  vi.advanceTimersByTime(WINDOW_MS - 1);
  expect(written).toHaveLength(LISTED_PER_WINDOW);
  vi.advanceTimersByTime(1);
  expect(written.at(-1)).toEqual(count('mcp-control', 1));
});
