// What a principal's limits make of a verdict. Pure, and only ever narrower: a refusal stays a refusal, and what the limits do
// not forbid stays as it was. The rules are named in README.md beside this file.
import type { Verdict } from '../authority/decide.ts';
import { type Risk, SERVICES } from '../authority/tables.ts';
import type { Qube } from '../qube.ts';
import type { Caller, Limits } from './caller.ts';
import { isOpen } from './hours.ts';
import { matches } from './patterns.ts';
import { isNamable, isOwn } from './scope.ts';

export interface Deed {
  readonly service: string;
  /** By `riskOf`. */
  readonly risk: Risk;
  /** Role -> the qube it is. */
  readonly qubes: Readonly<Record<string, Pick<Qube, 'name' | 'tags'>>>;
  /** Names of qubes that would be created. */
  readonly created: readonly string[];
  /** Wall clock, milliseconds since 1970. */
  readonly now: number;
}

/** The verdict as the caller's limits leave it. Never throws: what cannot be made sense of is refused (I7). */
export function principalVerdict(verdict: Verdict, caller: Caller, deed: Deed): Verdict {
  if (verdict.kind === 'refuse' || caller.limits === undefined) return verdict;
  try {
    const rule = forbidden(caller, caller.limits, deed);
    return rule === null ? verdict : { kind: 'refuse', rule };
  } catch {
    return { kind: 'refuse', rule: 'principal-error' };
  }
}

function forbidden(
  caller: Caller,
  { risks, names, ownedOnly, week }: Limits,
  { service, risk, qubes, created, now }: Deed,
): string | null {
  if (!risks.has(risk)) return 'principal-risk';
  const roles = Object.entries(qubes);
  if (!roles.every(([, qube]) => isNamable(qube, caller))) return 'principal-names';
  if (names !== null && !created.every((name) => matches(names, name))) return 'principal-names';
  const changed = roles.filter(([role]) => SERVICES.get(service)?.roles.get(role)?.changed !== false);
  if (ownedOnly && !changed.every(([, qube]) => isOwn(qube, caller))) return 'principal-owner';
  return week !== null && risk !== 'read' && !isOpen(week, now) ? 'principal-hours' : null;
}

/** Whether a caller may make reading calls at all. Which qubes it sees is `scopedTo`'s to say. */
export const mayRead = ({ limits }: Caller): boolean => limits === undefined || limits.risks.has('read');
