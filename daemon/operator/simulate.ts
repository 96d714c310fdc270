// qmcpctl simulate: what would have been asked, allowed and refused, had other settings been in force.
import { rowsOf } from '../journal/rows.ts';
import { parseSettings, type Source } from '../settings/files.ts';
import { look } from '../settings/look.ts';
import { complaintText, type Settings } from '../settings/settings.ts';
import { DONE, type Io, Refusal, UsageError, verb } from './command.ts';
import { readFleet } from './fleet.ts';
import { wrapped } from './help.ts';
import { withSources } from './journal-place.ts';
import { JSON_OPTION } from './places.ts';
import { momentOf } from './row-filter.ts';
import {
  decisions,
  type Kind,
  type Past,
  type Replayed,
  replay,
  type TagsNow,
  type Unknown,
} from './simulate/replay.ts';
import { tableOf } from './table.ts';
import { settingsWith, type Where } from './write-settings.ts';

const DAY_MS = 86_400_000;
/** Changes of verdict are told by what they have in common; so many at most. */
const CHANGES_SHOWN = 20;

export const simulate = verb(
  {
    name: 'qmcpctl simulate',
    summary: 'what other settings would have made of the calls of the last days',
    operands: '',
    about: [
      'Goes through the decisions in the journal once more, with another consent-policy or in another mode, and counts what ' +
        'would have been asked, allowed and refused, which verdicts change, and how many questions a day there would be.',
      'The journal has neither the tags that qubes had nor any values. For another mode the tags of now are taken, where ' +
        'they explain the decision of then; where they do not, or the qube is gone, the call counts as unknown. Reads that ' +
        'were allowed are not in the journal; neither is what an agent would have asked for, had it got other answers.',
    ],
    options: {
      'consent-policy': {
        type: 'string',
        value: 'FILE',
        text: 'with this consent-policy; - for none, which is the built-in',
        words: 'file',
      },
      mode: {
        type: 'string',
        value: 'MODE',
        text: 'in mode compat or least-privilege',
        words: ['compat', 'least-privilege'],
      },
      since: { type: 'string', default: '7d', value: 'WHEN', text: 'from then on: 2026-01-31, 90m, 7d (default 7d)' },
      ...JSON_OPTION,
    },
    examples: [
      [
        'sudo qmcpctl simulate --mode least-privilege --since 30d',
        'Which calls of the last month would be refused from now on.',
      ],
    ],
    json:
      '{"since", "until", "calls": n, "verdicts": {"before": {"allow": n, "ask": n, "refuse": n}, ' +
      '"after": {"allow": n, "ask": n, "refuse": n, "unknown": n}}, "questions_per_day": {"before": n, "after": n}, ' +
      '"changes": [{"from", "to", "service", "action", "qubes": [qube], "calls": n}], "unknown": {"qube-gone": n, "changed-since": n}}',
  },
  async (values, _, io) => {
    const since = momentOf(values.since, io.now());
    const before = settingsWith(values, new Map(), io.now);
    const after = otherSettings(before, values, io.now);
    const tags = values.mode === undefined ? new Map() : await tagsNow(values.qubesd);
    const tally = new Tally((past) => replay(past, before, after, tags));
    await withSources(undefined, { log: values.log }, async (sources) => {
      const decisionIn = decisions();
      for await (const rows of rowsOf(sources)) {
        for (const row of rows) {
          const past = decisionIn(row);
          if (past && Date.parse(past.ts) >= since) tally.see(past);
        }
        if (io.watched) io.err(`\r${tally.calls} calls`);
      }
    });
    if (io.watched) io.err('\r\x1b[K');
    const result = tally.result(since, io.now());
    await io.out(values.json ? `${JSON.stringify(result)}\n` : textOf(result, values.log, io));
    return DONE;
  },
);

const otherSettings = (
  before: Settings,
  values: Where & { readonly 'consent-policy'?: string | undefined; readonly mode?: string | undefined },
  now: () => number,
): Settings => {
  const { mode } = values;
  const file = values['consent-policy'];
  if (mode === undefined && file === undefined)
    throw new UsageError('Say --consent-policy FILE or --mode MODE, or both.');
  if (mode !== undefined && mode !== 'compat' && mode !== 'least-privilege') {
    throw new UsageError('--mode takes compat or least-privilege.');
  }
  return {
    ...before,
    ...(mode !== undefined && { tierDefault: mode === 'compat' ? 'full' : 'ro' }),
    ...(file !== undefined && { consentPolicy: consentPolicyIn(file, now) }),
  };
};

const consentPolicyIn = (file: string, now: () => number): Settings['consentPolicy'] => {
  const source: Source = file === '-' ? { kind: 'absent' } : look(file, undefined, now).source;
  if (file !== '-' && source.kind === 'absent') throw new Refusal(`There is no file ${file}.`);
  const { consentPolicy, complaints } = parseSettings(new Map([['consent-policy', source]]));
  const [wrong] = complaints;
  if (wrong) throw new Refusal(complaintText('', { ...wrong, file }));
  return consentPolicy;
};

const tagsNow = async (qubesd: string): Promise<TagsNow> =>
  new Map((await readFleet(qubesd, { properties: false })).map(({ uuid, tags }) => [uuid, tags]));

interface Change {
  readonly from: Kind;
  readonly to: Kind;
  readonly service: string;
  readonly action: string;
  readonly qubes: readonly string[];
  calls: number;
}
interface Result {
  readonly since: string;
  readonly until: string;
  readonly calls: number;
  readonly verdicts: {
    readonly before: Readonly<Record<Kind, number>>;
    readonly after: Readonly<Record<Kind | 'unknown', number>>;
  };
  readonly questions_per_day: { readonly before: number; readonly after: number };
  readonly changes: readonly Change[];
  readonly unknown: Readonly<Record<Unknown, number>>;
}

/** Counts, and keeps of what changes only what it has in common. */
class Tally {
  readonly #replay: (past: Past) => Replayed;
  readonly #before: Record<Kind, number> = { allow: 0, ask: 0, refuse: 0 };
  readonly #after: Record<Kind | 'unknown', number> = { allow: 0, ask: 0, refuse: 0, unknown: 0 };
  readonly #unknown: Record<Unknown, number> = { 'qube-gone': 0, 'changed-since': 0 };
  readonly #asked = { before: new Set<string>(), after: new Set<string>() };
  readonly #changes = new Map<string, Change>();
  #first: number | null = null;
  calls = 0;

  constructor(replay: (past: Past) => Replayed) {
    this.#replay = replay;
  }

  see(past: Past): void {
    const now = this.#replay(past);
    this.#first ??= Date.parse(past.ts);
    this.calls += past.times;
    this.#before[past.kind] += past.times;
    this.#after[now.kind] += past.times;
    if (past.kind === 'ask') this.#asked.before.add(past.question);
    if (now.kind === 'ask') this.#asked.after.add(past.question);
    if (now.kind === 'unknown') this.#unknown[now.why] += past.times;
    else if (now.kind !== past.kind) this.#change(past, now.kind);
  }

  #change({ kind, service, action, qubes: named, times }: Past, to: Kind): void {
    const qubes = named.map(({ name }) => name);
    const key = [kind, to, service, action, ...qubes].join(' ');
    const change = this.#changes.get(key) ?? { from: kind, to, service, action, qubes, calls: 0 };
    change.calls += times;
    this.#changes.set(key, change);
  }

  result(since: number, until: number): Result {
    // A journal that is younger than the time asked for says nothing of the days before it.
    const days = Math.max(1, (until - Math.max(since, this.#first ?? since)) / DAY_MS);
    const perDay = (questions: ReadonlySet<string>): number => Math.round((questions.size / days) * 10) / 10;
    return {
      since: new Date(since).toISOString(),
      until: new Date(until).toISOString(),
      calls: this.calls,
      verdicts: { before: this.#before, after: this.#after },
      questions_per_day: { before: perDay(this.#asked.before), after: perDay(this.#asked.after) },
      changes: [...this.#changes.values()].sort((a, b) => b.calls - a.calls),
      unknown: this.#unknown,
    };
  }
}

const WHY: Readonly<Record<Unknown, string>> = {
  'qube-gone': 'is about a qube that is gone, so its tags are unknown',
  'changed-since': 'was decided by tags or settings that have changed since',
};

const textOf = (
  { since, until, calls, verdicts, questions_per_day, changes, unknown }: Result,
  log: string,
  io: Io,
): string => {
  const span = `${since.slice(0, 16).replace('T', ' ')} to ${until.slice(0, 16).replace('T', ' ')} UTC`;
  if (calls === 0) return `${span}: nothing was decided. Is the journal in ${log}?\n`;
  const counts = tableOf(
    ['', 'ALLOWED', 'ASKED', 'REFUSED', 'UNKNOWN'],
    [
      ['as it was', ...row(verdicts.before), ''],
      ['as it would be', ...row(verdicts.after), String(verdicts.after.unknown)],
    ],
    io,
  );
  const shown = changes.slice(0, CHANGES_SHOWN);
  const rows = shown.map(({ from, to, service, action, qubes, calls: times }) => [
    `${from} -> ${to}`,
    service.replace(/^qmcp\.|AIManaged.*$/g, ''),
    action,
    qubes.join(' '),
    String(times),
  ]);
  const whys = (Object.keys(WHY) as Unknown[]).filter((why) => unknown[why] > 0);
  return [
    `${span}: ${calls} call${calls === 1 ? '' : 's'}\n`,
    counts,
    `Questions a day: ${questions_per_day.before} as it was, ${questions_per_day.after} as it would be.\n`,
    rows.length === 0
      ? 'No verdict changes.\n'
      : `\n${tableOf(['VERDICT', 'SERVICE', 'ACTION', 'QUBES', 'CALLS'], rows, io)}`,
    changes.length > shown.length ? `and ${changes.length - shown.length} more; --json has all of them.\n` : '',
    ...whys.map((why) =>
      wrapped(`${unknown[why]} of UNKNOWN: the call ${WHY[why]}.`, 79)
        .map((line) => `${line}\n`)
        .join(''),
    ),
  ].join('');
};

const row = ({ allow, ask, refuse }: Readonly<Record<Kind, number>>): string[] => [allow, ask, refuse].map(String);
