// What a report counts. Fed with rows in any number; everything it keeps is bounded, whatever is in the journal.
import type { Row } from '../../journal/rows.ts';

/** More different groups are counted together as one. */
export const MAX_GROUPS = 2000;
/** More hours than these (about eleven years) are not drawn. */
export const MAX_HOURS = 100_000;
/** So many of the slowest, and so many lines of a ranking. */
export const TOP = 10;
export const HOUR_MS = 3600_000;

/** What was decided in one hour. */
export interface HourCount {
  readonly hour: number;
  readonly counts: Readonly<Record<Decided, number>>;
}
export const DECIDED = ['allow', 'ask', 'refuse'] as const;
export type Decided = (typeof DECIDED)[number];

export interface Ranked {
  readonly key: string;
  readonly count: number;
}

export interface Slow {
  readonly row: Row;
  readonly durationMs: number;
}

export interface Figures {
  readonly records: number;
  readonly first: string | null;
  readonly last: string | null;
  /** In order of time, hours without decisions left out. */
  readonly hours: readonly HourCount[];
  readonly decided: Readonly<Record<Decided, number>>;
  /** How questions ended, by the word. */
  readonly answers: readonly Ranked[];
  readonly questions: number;
  readonly outcomes: { readonly done: number; readonly failed: number };
  /** By `source · action · rule`. */
  readonly refused: readonly Ranked[];
  readonly sources: readonly Ranked[];
  readonly services: readonly Ranked[];
  readonly failures: readonly Ranked[];
  /** The answers that took the person longest. */
  readonly slowAnswers: readonly Slow[];
  readonly slowEffects: readonly Slow[];
  /** What the operator and the broker did beside calls, newest last, the last TOP. */
  readonly events: readonly Row[];
  readonly unreadable: number;
}

export interface Counting {
  see(row: Row): void;
  figures(): Figures;
}

// Besides calls; the rest of the types belongs to one.
const EVENTS: ReadonlySet<string> = new Set([
  ...['start', 'stop', 'settings', 'operator', 'finding', 'gap', 'break', 'torn', 'anchor', 'key', 'pruned'],
]);

export function counting(): Counting {
  const hours = new Map<number, Record<Decided, number>>();
  const decided = noDecisions();
  const [answers, refused, sources, services, failures] = [tally(), tally(), tally(), tally(), tally()];
  const outcomes = { done: 0, failed: 0 };
  let [records, questions, unreadable] = [0, 0, 0];
  let first: string | null = null;
  let last: string | null = null;
  let slowAnswers: readonly Slow[] = [];
  let slowEffects: readonly Slow[] = [];
  let events: Row[] = [];

  const decide = (row: Row, what: Decided) => {
    decided[what] += 1;
    sources.add(row.source || 'unknown');
    services.add(row.action || row.service || 'unknown');
    const hour = Math.floor(Date.parse(row.ts) / HOUR_MS);
    if (Number.isNaN(hour) || (!hours.has(hour) && hours.size >= MAX_HOURS)) return;
    const counts = hours.get(hour) ?? noDecisions();
    counts[what] += 1;
    hours.set(hour, counts);
  };
  const refuse = (row: Row) =>
    refused.add([row.source, row.action || row.service, row.detail].filter(Boolean).join(' · '));

  const SEE: Readonly<Record<string, (row: Row) => void>> = {
    decision(row) {
      if (isDecided(row.result)) decide(row, row.result);
      if (row.result === 'refuse') refuse(row);
    },
    question() {
      questions += 1;
    },
    answer(row) {
      answers.add(row.result);
      slowAnswers = slowest(slowAnswers, row);
    },
    outcome(row) {
      if (row.result === 'done') outcomes.done += 1;
      else {
        outcomes.failed += 1;
        failures.add([row.action || row.service, row.detail].filter(Boolean).join(' · '));
      }
      slowEffects = slowest(slowEffects, row);
    },
    // The earlier log has one record per call, from which only this much can be told.
    call(row) {
      decide(row, row.result === 'done' || row.result === 'approved' ? 'allow' : 'refuse');
      if (row.result !== 'done' && row.result !== 'approved') refuse(row);
      if (row.line.includes('"consent":')) answers.add(row.result);
    },
    unreadable() {
      unreadable += 1;
    },
  };

  return {
    see(row) {
      records += 1;
      if (row.ts !== '') {
        first ??= row.ts;
        last = row.ts;
      }
      SEE[row.type]?.(row);
      if (EVENTS.has(row.type)) events = [...events, row].slice(-TOP);
    },
    figures: () => ({
      ...{ records, first, last, decided, questions, outcomes, slowAnswers, slowEffects, events, unreadable },
      hours: [...hours].map(([hour, counts]) => ({ hour, counts })).sort((a, b) => a.hour - b.hour),
      answers: answers.ranked(),
      refused: refused.ranked().slice(0, TOP),
      sources: sources.ranked().slice(0, TOP),
      services: services.ranked().slice(0, TOP),
      failures: failures.ranked().slice(0, TOP),
    }),
  };
}

const isDecided = (word: string): word is Decided => (DECIDED as readonly string[]).includes(word);
const noDecisions = (): Record<Decided, number> => ({ allow: 0, ask: 0, refuse: 0 });

function tally() {
  const counts = new Map<string, number>();
  return {
    add(key: string) {
      const known = counts.has(key) || counts.size < MAX_GROUPS ? key : 'others';
      counts.set(known, (counts.get(known) ?? 0) + 1);
    },
    ranked: (): Ranked[] =>
      [...counts].map(([key, count]) => ({ key, count })).sort((a, b) => b.count - a.count || (a.key < b.key ? -1 : 1)),
  };
}

function slowest(list: readonly Slow[], row: Row): readonly Slow[] {
  const { durationMs } = row;
  const bar = list.length < TOP ? -1 : (list.at(-1)?.durationMs ?? -1);
  if (durationMs === null || durationMs <= bar) return list;
  return [...list, { row, durationMs }].sort((a, b) => b.durationMs - a.durationMs).slice(0, TOP);
}
