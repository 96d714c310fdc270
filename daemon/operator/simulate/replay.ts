// Past decisions under other settings. The journal has what was asked, of which qubes, and the rule that decided; it has
// neither their tags of then nor any values. So a decision is worked out again only from what cannot have changed since, or
// where the tags of now explain the record; everything else is said to be unknown. Pure.
import { type DecisionInput, decide, decisive, type Verdict } from '../../authority/decide.ts';
import { isListed } from '../../authority/guarded.ts';
import type { Roles } from '../../authority/kernel.ts';
import { SERVICES } from '../../authority/tables.ts';
import type { Row } from '../../journal/rows.ts';
import type { QubeName, Uuid } from '../../names.ts';
import { entombs } from '../../services/lifecycle.ts';
import type { Settings } from '../../settings/settings.ts';

export type Kind = Verdict['kind'];

/** The first decision about a call. */
export interface Past {
  readonly ts: string;
  readonly source: string;
  readonly service: string;
  readonly action: string;
  readonly kind: Kind;
  readonly rule: string;
  readonly qubes: Row['qubes'];
  /** As they stand in the journal. */
  readonly args: Readonly<Record<string, unknown>>;
  /** What is asked about together: the plan, or the call. */
  readonly question: string;
  /** How many calls it stands for. */
  readonly times: number;
}

/** Why nobody can say what would have been decided. */
export type Unknown = 'qube-gone' | 'changed-since';
export type Replayed = { readonly kind: Kind } | { readonly kind: 'unknown'; readonly why: Unknown };

/** The tags that the qubes of these uuids have now. */
export type TagsNow = ReadonlyMap<string, ReadonlySet<string> | null>;

/** Takes rows in their order and gives the decision that each is, or null: one per call, and none of the broker's own. */
export const decisions = (): ((row: Row) => Past | null) => {
  let start = 0;
  let seen = new Set<number>();
  return (row) => {
    if (row.type === 'start') {
      start += 1;
      seen = new Set();
    }
    if (row.type !== 'decision' || row.call === null || !isKind(row.result)) return null;
    if (!SERVICES.has(row.service) && row.result !== 'refuse') return null;
    if (row.source === 'dom0') return null;
    const isCount = row.detail === 'refusals-not-listed';
    if (!isCount && seen.has(row.call)) return null;
    if (!isCount) seen.add(row.call);
    const args = objectOf(row.args);
    const plan = /"plan":"([0-9a-f]{64})"/.exec(row.line)?.[1];
    return {
      ...{ ts: row.ts, source: row.source, service: row.service, action: row.action, qubes: row.qubes, args },
      kind: row.result,
      rule: row.detail,
      question: plan ?? `${start}.${row.call}`,
      times: isCount && typeof args.unlisted === 'number' ? args.unlisted : 1,
    };
  };
};

/** What would have been decided with `after` in the place of `before`, the settings of now. */
export const replay = (past: Past, before: Settings, after: Settings, tags: TagsNow): Replayed => {
  if (past.kind === 'refuse' && !TIERED.test(past.rule)) return { kind: 'refuse' };
  if (before.tierDefault === after.tierDefault) return byConsent(past, after);
  const roles = rolesNow(past, before, tags);
  if (roles === null) return { kind: 'unknown', why: 'qube-gone' };
  const explained = decide(inputOf(past, before, roles));
  if (explained.kind !== past.kind || explained.rule !== past.rule) return { kind: 'unknown', why: 'changed-since' };
  return { kind: decide(inputOf(past, after, roles)).kind };
};

/** Refusals that another mode may lift. */
const TIERED = /^insufficient:/;

/** What is asked hangs on service and action alone, once a call is allowed at all; guards are asked whatever the policy says. */
const byConsent = (past: Past, after: Settings): Replayed => {
  if (past.kind === 'refuse' || past.rule.startsWith('guarded')) return { kind: past.kind };
  const granted = { tags: new Set(['ai-managed', 'ai-full']), guarded: false };
  const roles = Object.fromEntries(
    [...(SERVICES.get(past.service)?.roles.keys() ?? [])].map((role) => [role, granted]),
  );
  const settings = { ...decisive(after), enforceMode: 'shadow', guardedUnreadable: false } as const;
  return { kind: decide({ ...inputOf(past, after, roles), settings }).kind };
};

const inputOf = (past: Past, settings: Settings, roles: Roles): DecisionInput => {
  const { property, klass } = past.args;
  return {
    service: past.service,
    action: past.action,
    attributes: {
      ...(typeof property === 'string' && { property }),
      ...(typeof klass === 'string' && { klass }),
      ...(past.action === 'remove' && { tombstone: entombs(settings) }),
    },
    roles,
    settings: decisive(settings),
  };
};

const rolesNow = (past: Past, { guarded }: Settings, tags: TagsNow): Roles | null => {
  const roles: Record<string, { tags: ReadonlySet<string>; guarded: boolean }> = {};
  for (const { role, name, uuid } of past.qubes) {
    const now = tags.get(uuid);
    if (!now) return null;
    roles[role] = { tags: now, guarded: isListed({ name: name as QubeName, uuid: uuid as Uuid }, guarded) };
  }
  return roles;
};

const isKind = (text: string): text is Kind => text === 'allow' || text === 'ask' || text === 'refuse';

const objectOf = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
};
