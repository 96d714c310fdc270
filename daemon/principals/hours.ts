// Hours of the week in a time zone of the operator's (product, "Who is asking"). Pure: the time comes from outside.

/** Minutes of a day, from 0 to 1440; `to` is not part of it. Days from 0, Monday. */
interface Span {
  readonly days: ReadonlySet<number>;
  readonly from: number;
  readonly to: number;
}

export interface Week {
  readonly spans: readonly Span[];
  /** The day from 0, Monday, and the minute of it at a time in milliseconds since 1970, on the clocks of the zone. */
  readonly at: (ms: number) => { readonly day: number; readonly minute: number };
}

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'];
const SPAN = /^([a-z]{3})(?:-([a-z]{3}))? ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})$/;
const DAY_MINUTES = 24 * 60;

/**
 * The week in which spans like `mon-fri 08:00-18:00` are open, or null where one of them or the IANA zone is not understood.
 * A span ends on the day on which it began, at 24:00 at the latest.
 */
export function weekOf(zone: string, texts: readonly string[]): Week | null {
  const at = clockIn(zone);
  const spans = texts.map(spanOf).filter((span) => span !== null);
  return at === null || spans.length < texts.length ? null : { at, spans };
}

/** Whether the week is open at a time in milliseconds since 1970. */
export function isOpen({ at, spans }: Week, ms: number): boolean {
  const { day, minute } = at(ms);
  return spans.some(({ days, from, to }) => days.has(day) && minute >= from && minute < to);
}

function spanOf(text: string): Span | null {
  const [, first = '', last = first, ...clock] = SPAN.exec(text) ?? [];
  const [fromHour, fromMinute, toHour, toMinute] = clock.map(Number);
  const days = daysBetween(DAYS.indexOf(first), DAYS.indexOf(last));
  const from = minuteOf(fromHour, fromMinute);
  const to = minuteOf(toHour, toMinute);
  return days !== null && from < to ? { days, from, to } : null;
}

/** From Friday to Monday goes over the weekend. */
function daysBetween(first: number, last: number): ReadonlySet<number> | null {
  if (first < 0 || last < 0) return null;
  const count = ((last - first + DAYS.length) % DAYS.length) + 1;
  return new Set(Array.from({ length: count }, (_, index) => (first + index) % DAYS.length));
}

/** The minute of the day; NaN, which is neither before nor after any other, where there is no such time. */
function minuteOf(hour = Number.NaN, minute = Number.NaN): number {
  const sum = hour * 60 + minute;
  return minute <= 59 && sum <= DAY_MINUTES ? sum : Number.NaN;
}

function clockIn(zone: string): Week['at'] | null {
  try {
    const format = new Intl.DateTimeFormat('en-GB', {
      timeZone: zone,
      weekday: 'short',
      hour: '2-digit',
      minute: '2-digit',
      hourCycle: 'h23',
    });
    return (ms) => {
      const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
      const day = DAYS.indexOf((parts.get('weekday') ?? '').toLowerCase());
      const minute = Number(parts.get('hour')) * 60 + Number(parts.get('minute'));
      // NaN and -1 are in no span: what the platform's clock cannot tell is closed.
      return { day, minute };
    };
  } catch {
    return null;
  }
}
