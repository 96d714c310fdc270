// qrexec policy files as data, by the documented grammar of policy.d (multi-file policy, Qubes 4.2 and 4.3). A line that
// the grammar does not admit is an error: the platform refuses every call while one file is wrong.

/** File contents by path below policy.d, as `32-qmcp.policy` and `include/qmcp-mode`. */
export type Files = ReadonlyMap<string, string>;

export type Action = 'allow' | 'ask' | 'deny';

export interface Rule {
  /** null for any. */
  readonly service: string | null;
  /** With its `+`; null for any. */
  readonly argument: string | null;
  readonly source: string;
  readonly target: string;
  readonly action: Action;
  readonly params: Readonly<Record<string, string>>;
  readonly file: string;
  readonly line: number;
}

export class PolicySyntaxError extends Error {
  constructor(file: string, line: number, what: string) {
    super(`${file}:${line}: ${what}`);
  }
}

const FILE_NAME = /^[0-9a-z_.-]+$/;
const INCLUDE_DEPTH_MAX = 8;

/** All rules in the order in which they are looked at: files by name, includes where they stand. Throws `PolicySyntaxError`. */
export function rulesOf(files: Files): readonly Rule[] {
  const top = [...files.keys()].filter((path) => !path.includes('/') && !path.startsWith('.'));
  const policies = top.filter((path) => path.endsWith('.policy'));
  for (const path of policies) if (!FILE_NAME.test(path)) throw new PolicySyntaxError(path, 0, 'invalid file name');
  return policies.sort(byCodePoint).flatMap((path) => rulesIn(files, path, 0));
}

const byCodePoint = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function rulesIn(files: Files, path: string, depth: number): Rule[] {
  const text = files.get(path) ?? '';
  return text.split('\n').flatMap((raw, index) => {
    const line = index + 1;
    const fail = (what: string): never => {
      throw new PolicySyntaxError(path, line, what);
    };
    const fields = raw.trim().split(/\s+/);
    const [first = ''] = fields;
    // Comments are whole lines; there are none after a rule.
    if (first === '' || first.startsWith('#')) return [];
    if (!first.startsWith('!')) return [ruleOf(fields, path, line, fail)];
    if (first === '!include-dir' || first === '!include-service' || first === '!compat-4.0') {
      return fail(`${first} is not understood here`);
    }
    const [, included, surplus] = fields;
    if (first !== '!include' || included === undefined || surplus !== undefined) return fail('invalid directive');
    // Paths are relative to policy.d, wherever the including file is.
    if (!files.has(included)) return fail(`not a file: ${included}`);
    if (depth === INCLUDE_DEPTH_MAX) return fail('included too deeply');
    return rulesIn(files, included, depth + 1);
  });
}

const NAME_CHARACTERS = /^[A-Za-z0-9_.+-]+$/;
const PARAMS: Readonly<Record<Action, ReadonlySet<string>>> = {
  allow: new Set(['target', 'user', 'notify', 'autostart']),
  ask: new Set(['target', 'user', 'default_target', 'notify', 'autostart']),
  deny: new Set(['notify']),
};

function ruleOf(fields: readonly string[], file: string, line: number, fail: (what: string) => never): Rule {
  const [service, argument, source, target, action, ...rest] = fields;
  if (!service || !argument || !source || !target || !action) return fail('wrong number of fields');
  if (action !== 'allow' && action !== 'ask' && action !== 'deny') return fail(`invalid action: ${action}`);
  if (service !== '*' && (!NAME_CHARACTERS.test(service) || service.includes('+'))) fail(`invalid service: ${service}`);
  if (argument !== '*') {
    if (!argument.startsWith('+') || (argument !== '+' && !NAME_CHARACTERS.test(argument)))
      fail(`invalid argument: ${argument}`);
    if (service === '*') fail('only * argument allowed for * service');
  }
  const params: Record<string, string> = {};
  for (const param of rest) {
    const at = param.indexOf('=');
    if (at < 1) fail(`invalid action parameter syntax: ${param}`);
    const key = param.slice(0, at);
    const value = param.slice(at + 1);
    if (key in params) fail(`parameter given twice: ${key}`);
    if (!PARAMS[action].has(key)) fail(`invalid parameter for ${action}: ${key}`);
    if ((key === 'notify' || key === 'autostart') && value !== 'yes' && value !== 'no') fail(`${key} is yes or no`);
    params[key] = key === 'target' || key === 'default_target' ? token(value, 'redirect', fail) : value;
  }
  const to = token(target, 'target', fail);
  if (to === '@default' && action === 'allow' && params.target === undefined)
    fail('allow for @default must specify target=');
  return {
    service: service === '*' ? null : service,
    argument: argument === '*' ? null : argument,
    source: token(source, 'source', fail),
    target: to,
    action,
    params,
    file,
    line,
  };
}

type Place = 'source' | 'target' | 'redirect';

/** Where each word may stand; a prefix takes a value that is not itself a word. */
const WORDS: Readonly<Record<string, readonly Place[]>> = {
  '*': ['source', 'target'],
  '@adminvm': ['source', 'target', 'redirect'],
  '@anyvm': ['source', 'target'],
  '@default': ['target'],
  '@dispvm': ['target', 'redirect'],
};
const PREFIXES: readonly (readonly [prefix: string, places: readonly Place[]])[] = [
  ['@dispvm:@tag:', ['source', 'target']],
  ['@dispvm:', ['source', 'target', 'redirect']],
  ['@tag:', ['source', 'target']],
  ['@type:', ['source', 'target']],
];

/** `dom0` is another way to write `@adminvm`; everything without an @ is a qube's name. */
function token(text: string, place: Place, fail: (what: string) => never): string {
  const word = text === 'dom0' ? '@adminvm' : text;
  if (!word.startsWith('@') && word !== '*') return word;
  const places = WORDS[word] ?? PREFIXES.find(([prefix]) => word.startsWith(prefix) && hasValue(word, prefix))?.[1];
  return places?.includes(place) ? word : fail(`invalid ${place} token: ${text}`);
}

const hasValue = (word: string, prefix: string): boolean => /^[^@]+$/.test(word.slice(prefix.length));
