import { expect, test } from 'vitest';
import type { Decision, JournalRecord } from '../../daemon/journal/record.ts';
import { LISTED_PER_WINDOW, Refusals, WINDOW_MS } from '../../daemon/journal/refusals.ts';

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
  return { clock, written, refusals: new Refusals({ note: (record) => void written.push(record) }, () => clock.ms) };
};

test('so many refusals of a source are written in a minute, and the others counted in one record after it', () => {
  const { clock, written, refusals: meter } = refusals();
  for (let i = 0; i < LISTED_PER_WINDOW + 500; i++) meter.note(refusal('mcp-control'));
  expect(written).toHaveLength(LISTED_PER_WINDOW);
  clock.ms = WINDOW_MS - 1;
  meter.note(refusal('mcp-control'));
  expect(written).toHaveLength(LISTED_PER_WINDOW);
  clock.ms = WINDOW_MS;
  meter.note(refusal('mcp-control', 'ladder'));
  expect(written.slice(LISTED_PER_WINDOW)).toEqual([
    { ...refusal('mcp-control'), rule: 'refusals-not-listed', args: { unlisted: 501 } },
    refusal('mcp-control', 'ladder'),
  ]);
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
