import { describe, expect, test } from 'vitest';
import { isOpen, weekOf } from '../../daemon/principals/hours.ts';

const at = (text: string): number => Date.parse(text);
const open = (zone: string, spans: string[], time: string): boolean => {
  const week = weekOf(zone, spans);
  if (week === null) throw new Error('not understood');
  return isOpen(week, at(time));
};

// 2026-11-16 is a Monday.
describe('a span', () => {
  const WORK = ['mon-fri 08:00-18:00'];

  test.each([
    ['2026-11-16T08:00:00Z', true],
    ['2026-11-16T07:59:59Z', false],
    ['2026-11-16T17:59:59Z', true],
    ['2026-11-16T18:00:00Z', false],
    ['2026-11-20T12:00:00Z', true],
    ['2026-11-21T12:00:00Z', false],
    ['2026-11-22T12:00:00Z', false],
  ])('is open from its first minute to before its last, on its days: %s %s', (time, expected) => {
    expect(open('UTC', WORK, time)).toBe(expected);
  });

  test.each(['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'])('of %s is open on that day of the week', (day) => {
    const opened = [16, 17, 18, 19, 20, 21, 22].filter((date) =>
      open('UTC', [`${day} 00:00-24:00`], `2026-11-${date}`),
    );
    expect(opened.map((date) => new Date(`2026-11-${date}`).toUTCString().slice(0, 3).toLowerCase())).toEqual([day]);
  });

  test('may begin and end in the last minute of an hour', () => {
    expect(open('UTC', ['mon 08:59-09:59'], '2026-11-16T08:59:00Z')).toBe(true);
    expect(open('UTC', ['mon 08:59-09:59'], '2026-11-16T08:58:59Z')).toBe(false);
    expect(open('UTC', ['mon 08:59-09:59'], '2026-11-16T09:58:59Z')).toBe(true);
    expect(open('UTC', ['mon 08:59-09:59'], '2026-11-16T09:59:00Z')).toBe(false);
  });

  test('of one day is open on that day only', () => {
    expect(open('UTC', ['sat 10:00-11:00'], '2026-11-21T10:30:00Z')).toBe(true);
    expect(open('UTC', ['sat 10:00-11:00'], '2026-11-20T10:30:00Z')).toBe(false);
  });

  test('may go over the weekend, and to the end of the day', () => {
    const spans = ['fri-mon 00:00-24:00'];
    for (const day of [20, 21, 22, 23]) expect(open('UTC', spans, `2026-11-${day}T23:59:00Z`)).toBe(true);
    for (const day of [17, 18, 19]) expect(open('UTC', spans, `2026-11-${day}T00:00:00Z`)).toBe(false);
  });

  test('is one of several, and none means never', () => {
    const spans = ['mon 08:00-09:00', 'mon 10:00-11:00'];
    expect(open('UTC', spans, '2026-11-16T08:30:00Z')).toBe(true);
    expect(open('UTC', spans, '2026-11-16T09:30:00Z')).toBe(false);
    expect(open('UTC', spans, '2026-11-16T10:30:00Z')).toBe(true);
    expect(open('UTC', [], '2026-11-16T08:30:00Z')).toBe(false);
  });
});

describe('the clocks of the zone', () => {
  test('count, and not ours', () => {
    expect(open('Europe/Berlin', ['mon 08:00-09:00'], '2026-11-16T07:30:00Z')).toBe(true);
    expect(open('Europe/Berlin', ['mon 08:00-09:00'], '2026-11-16T08:30:00Z')).toBe(false);
    expect(open('America/New_York', ['sun 20:00-24:00'], '2026-11-16T04:59:00Z')).toBe(true);
    expect(open('Asia/Kathmandu', ['mon 05:45-05:46'], '2026-11-16T00:00:00Z')).toBe(true);
  });

  test('are followed over the change to summer time and back', () => {
    // 2026-03-29 02:00 -> 03:00 and 2026-10-25 03:00 -> 02:00, both Sundays.
    expect(open('Europe/Berlin', ['sun 02:00-03:00'], '2026-03-29T00:59:00Z')).toBe(false);
    expect(open('Europe/Berlin', ['sun 03:00-03:01'], '2026-03-29T01:00:00Z')).toBe(true);
    expect(open('Europe/Berlin', ['sun 02:30-02:31'], '2026-10-25T00:30:00Z')).toBe(true);
    expect(open('Europe/Berlin', ['sun 02:30-02:31'], '2026-10-25T01:30:00Z')).toBe(true);
  });

  test('that cannot be told are closed', () => {
    expect(
      isOpen(
        { spans: weekOf('UTC', ['mon-sun 00:00-24:00'])?.spans ?? [], at: () => ({ day: -1, minute: Number.NaN }) },
        0,
      ),
    ).toBe(false);
  });
});

test.each([
  'mon',
  'mon 08:00',
  'mon 8:00-18:00',
  'mon 08:00-24:01',
  'mon 08:60-18:00',
  'mon 08:00-18:60',
  'mon 24:00-24:00',
  'mon 18:00-08:00',
  'mon 08:00-08:00',
  'monday 08:00-18:00',
  'Mon 08:00-18:00',
  'mon-xyz 08:00-18:00',
  'xyz-mon 08:00-18:00',
  'mon,tue 08:00-18:00',
  ' mon 08:00-18:00',
  'mon 08:00-18:00\n',
  '',
])('%j is no span, and a week with it is none', (text) => {
  expect(weekOf('UTC', [text])).toBeNull();
  expect(weekOf('UTC', ['mon 08:00-18:00', text])).toBeNull();
});

test.each(['', 'Berlin', 'Europe/Nowhere', 'Europe/Berlin ', '../etc/passwd'])('%j is no zone', (zone) => {
  expect(weekOf(zone, ['mon 08:00-18:00'])).toBeNull();
});
