// Which records a person wants to see: the options that tail, show, export and report share.
import type { Row } from '../journal/rows.ts';
import { type Options, UsageError } from './command.ts';

/** The options of every verb that selects records. */
export const FILTER_OPTIONS = {
  since: { type: 'string', value: 'WHEN', text: 'from then on: 2026-01-31, 2026-01-31T12:00 (UTC), 90m, 7d' },
  until: { type: 'string', value: 'WHEN', text: 'before then' },
  source: { type: 'string', value: 'QUBE', text: 'asked for by this qube', words: 'qube' },
  principal: { type: 'string', value: 'NAME', text: 'asked for by this principal', words: 'principal' },
  qube: { type: 'string', value: 'NAME', text: 'about this qube (name or uuid)', words: 'qube' },
  service: {
    type: 'string',
    value: 'NAME',
    text: 'of this service (qmcp.SpawnAIManagedQube) or action (spawn)',
    words: 'service',
  },
  verdict: {
    type: 'string',
    value: 'WORD',
    text: 'with this result: allow, ask, refuse, approved, denied, timeout, begun, done, failed, ...',
    words: ['allow', 'ask', 'refuse', 'approved', 'denied', 'timeout', 'begun', 'done', 'failed'],
  },
  type: {
    type: 'string',
    value: 'WORD',
    text: 'of this type: decision, question, answer, intent, ...',
    words: ['decision', 'question', 'answer', 'intent', 'outcome', 'operator', 'settings', 'start', 'stop'],
  },
} as const satisfies Options;

export type FilterFlags = { readonly [Name in keyof typeof FILTER_OPTIONS]?: string | undefined };

/** Whether a row passes all the given options. Throws UsageError for a time that is none. `now` in milliseconds. */
export function rowFilter(flags: FilterFlags, now: number): (row: Row) => boolean {
  const since = flags.since === undefined ? null : momentOf(flags.since, now);
  const until = flags.until === undefined ? null : momentOf(flags.until, now);
  const { source, principal, qube, service, verdict, type } = flags;
  const tests: ((row: Row) => boolean)[] = [];
  if (since !== null) tests.push((row) => Date.parse(row.ts) >= since);
  if (until !== null) tests.push((row) => Date.parse(row.ts) < until);
  if (source !== undefined) tests.push((row) => row.source === source);
  if (principal !== undefined) tests.push((row) => row.principal === principal);
  if (qube !== undefined) tests.push((row) => row.qubes.some(({ name, uuid }) => name === qube || uuid === qube));
  if (service !== undefined) tests.push((row) => row.service === service || row.action === service);
  if (verdict !== undefined) tests.push((row) => row.result === verdict);
  if (type !== undefined) tests.push((row) => row.type === type);
  return (row) => tests.every((test) => test(row));
}

const UNITS: Readonly<Record<string, number>> = { s: 1e3, m: 60e3, h: 3600e3, d: 24 * 3600e3, w: 7 * 24 * 3600e3 };
const AGO = /^([0-9]{1,9})([smhdw])$/;
const DATE = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/;

/** A moment in milliseconds since 1970: a UTC date or time, or so long before `now`. Throws UsageError. */
export function momentOf(text: string, now: number): number {
  const ago = AGO.exec(text);
  if (ago !== null) return now - Number(ago[1]) * (UNITS[ago[2] as string] as number);
  const date = DATE.exec(text);
  if (date !== null) {
    const hasZone = date[1] !== undefined || text.length === 'yyyy-mm-dd'.length;
    const moment = Date.parse(`${text.replace(' ', 'T')}${hasZone ? '' : 'Z'}`);
    if (!Number.isNaN(moment)) return moment;
  }
  throw new UsageError(`"${text.slice(0, 40)}" is no time. Write 2026-01-31, 2026-01-31T12:00, 90m, 24h or 7d.`);
}
