// The rules of /etc/qubes/policy.d, as far as doctor needs them: which one decides a call. By the documented grammar and
// semantics (multi-file policy, Qubes 4.2 and later): files by name, the first rule that matches decides, @anyvm is never dom0.
import type { FleetQube } from '../fleet.ts';

export interface Rule {
  /** null for any. */
  readonly service: string | null;
  readonly argument: string | null;
  readonly source: string;
  readonly target: string;
  readonly action: string;
  /** Below the policy directory; the file that qrexec reads, and the one in which the line is. */
  readonly top: string;
  readonly file: string;
  readonly line: number;
}

export interface Probe {
  readonly service: string;
  readonly source: string;
  /** The name of a qube, or `@adminvm`, `@dispvm`, `@default`. */
  readonly target: string;
}

const DEPTH_MAX = 8;

/** The rules in the order in which they are looked at. `read` gives the text of a file below the directory, or null. */
export const rulesIn = (names: readonly string[], read: (path: string) => string | null): Rule[] =>
  names
    .filter((name) => name.endsWith('.policy') && !name.startsWith('.'))
    .sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
    .flatMap((name) => rulesOf(name, name, read, 0));

const rulesOf = (top: string, file: string, read: (path: string) => string | null, depth: number): Rule[] =>
  (read(file) ?? '').split('\n').flatMap((text, index) => {
    const fields = text.trim().split(/\s+/);
    const [service = '', argument, source, target, action] = fields;
    if (service === '' || service.startsWith('#')) return [];
    if (service === '!include' && argument !== undefined && depth < DEPTH_MAX)
      return rulesOf(top, argument, read, depth + 1);
    // What else there may be, the lint looks at.
    if (service.startsWith('!') || !argument || !source || !target || !action) return [];
    const place = { top, file, line: index + 1 };
    const named = { source: word(source), target: word(target), action, ...place };
    return [{ service: service === '*' ? null : service, argument: argument === '*' ? null : argument, ...named }];
  });

const word = (text: string): string => (text === 'dom0' ? '@adminvm' : text);

/** The rule that decides the call, or null where none does, which refuses it. */
export const decidingRule = (
  rules: readonly Rule[],
  probe: Probe,
  fleet: ReadonlyMap<string, FleetQube>,
): Rule | null =>
  rules.find(
    (rule) =>
      (rule.service === null || rule.service === probe.service) &&
      (rule.argument === null || rule.argument === '+') &&
      matches(rule.source, probe.source, fleet) &&
      matches(rule.target, probe.target, fleet),
  ) ?? null;

const matches = (pattern: string, subject: string, fleet: ReadonlyMap<string, FleetQube>): boolean => {
  if (pattern === '*') return true;
  if (pattern === '@anyvm') return subject !== '@adminvm';
  const qube = fleet.get(subject);
  if (pattern.startsWith('@tag:')) return qube?.tags?.has(pattern.slice('@tag:'.length)) ?? false;
  if (pattern.startsWith('@type:')) return qube?.klass === pattern.slice('@type:'.length);
  if (pattern.startsWith('uuid:')) return qube?.uuid === pattern.slice('uuid:'.length);
  return pattern === subject;
};
