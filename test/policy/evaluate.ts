// What qrexec does with a call, by the documented semantics: the first rule that matches decides, and `@anyvm` is
// never dom0. No rule is a no.
import type { Rule } from './rules.ts';

/** A qube as the policy daemon knows it. */
export interface Domain {
  readonly type?: string;
  readonly tags?: readonly string[];
  readonly template_for_dispvms?: boolean;
  readonly default_dispvm?: string;
}
export type Domains = Readonly<Record<string, Domain>>;

export interface Request {
  readonly service: string;
  /** With its `+`; `+` alone for none. */
  readonly argument?: string;
  readonly source: string;
  /** As the caller wrote it; '' for none. */
  readonly target: string;
}

export type Outcome =
  | { readonly action: 'allow'; readonly target: string; readonly user: string | null; readonly rule: Rule }
  | { readonly action: 'ask'; readonly targets: readonly string[]; readonly rule: Rule }
  | { readonly action: 'deny'; readonly why: string; readonly rule: Rule | null };

export function evaluate(rules: readonly Rule[], domains: Domains, request: Request): Outcome {
  const target = intended(request.target, domains);
  if (target === null) return { action: 'deny', why: 'not a template for disposables', rule: null };
  const rule = rules.find(
    (each) => matchesBut(each, request, domains) && targetMatches(each, target, request, domains),
  );
  if (rule === undefined) return { action: 'deny', why: 'no rule', rule: null };
  if (rule.action === 'deny') return { action: 'deny', why: 'rule', rule };
  return rule.action === 'ask' ? asked(rules, domains, request, rule) : allowed(domains, request, target, rule);
}

/** The rule that decides, whatever comes of it. */
export const decidingRule = (rules: readonly Rule[], domains: Domains, request: Request): Rule | null =>
  evaluate(rules, domains, request).rule;

/** What the caller meant: a name that no qube has counts as none. null where the call ends before any rule. */
function intended(text: string, domains: Domains): string | null {
  const word = text === '' ? '@default' : text === 'dom0' ? '@adminvm' : text;
  if (word.startsWith('@dispvm:')) {
    return domains[word.slice('@dispvm:'.length)]?.template_for_dispvms === true ? word : null;
  }
  return word.startsWith('@') || domains[word] !== undefined ? word : '@default';
}

const matchesBut = ({ service, argument, source }: Rule, request: Request, domains: Domains): boolean =>
  (service === null || service === request.service) &&
  (argument === null || argument === (request.argument ?? '+')) &&
  matches(source, request.source, request.source, domains);

const targetMatches = (rule: Rule, target: string, { source }: Request, domains: Domains): boolean =>
  matches(rule.target, target, source, domains);

function matches(pattern: string, subject: string, source: string, domains: Domains): boolean {
  if (pattern === '*') return true;
  if (pattern === '@anyvm') return subject !== '@adminvm';
  if (pattern.startsWith('@tag:')) return hasTag(subject, pattern.slice('@tag:'.length), domains);
  if (pattern.startsWith('@type:')) return domains[subject]?.type === pattern.slice('@type:'.length);
  if (pattern.startsWith('@dispvm:')) {
    const template = subject === '@dispvm' ? defaultTemplate(source, domains) : subject;
    if (!pattern.startsWith('@dispvm:@tag:')) return pattern === template;
    if (!template?.startsWith('@dispvm:')) return false;
    const name = template.slice('@dispvm:'.length);
    return domains[name]?.template_for_dispvms === true && hasTag(name, pattern.slice('@dispvm:@tag:'.length), domains);
  }
  return pattern === subject;
}

const hasTag = (name: string, tag: string, domains: Domains): boolean => domains[name]?.tags?.includes(tag) ?? false;

const defaultTemplate = (source: string, domains: Domains): string | null => {
  const template = domains[source]?.default_dispvm;
  return template === undefined ? null : `@dispvm:${template}`;
};

function allowed(domains: Domains, request: Request, target: string, rule: Rule): Outcome {
  const deny = (why: string): Outcome => ({ action: 'deny', why, rule });
  const directed = intended(rule.params.target ?? target, domains);
  if (directed === null) return deny('not a template for disposables');
  if (directed === '@default') return deny('no target');
  const final = directed === '@dispvm' ? defaultTemplate(request.source, domains) : directed;
  if (final === null) return deny('no template for disposables');
  if (final === request.source) return deny('a qube cannot call itself');
  return { action: 'allow', target: final, user: rule.params.user ?? null, rule };
}

/** The person may choose among all targets that the rules together leave open to this source and service. */
function asked(rules: readonly Rule[], domains: Domains, request: Request, rule: Rule): Outcome {
  if (rule.params.target !== undefined) return { action: 'ask', targets: [rule.params.target], rule };
  const open = new Set<string>();
  for (const each of rules.toReversed()) {
    if (!matchesBut(each, request, domains)) continue;
    for (const target of expand(each.action === 'deny' ? each.target : (each.params.target ?? each.target), domains)) {
      if (each.action === 'deny') open.delete(target);
      else open.add(target);
    }
  }
  if (open.delete('@dispvm')) {
    const template = defaultTemplate(request.source, domains);
    if (template !== null) open.add(template);
  }
  open.delete(request.source);
  if (open.size === 0) return { action: 'deny', why: 'nothing to choose', rule };
  return { action: 'ask', targets: [...open].sort(), rule };
}

function expand(pattern: string, domains: Domains): string[] {
  if (pattern === '@default') return [];
  if (pattern === '@dispvm' || pattern === '@adminvm') return [pattern];
  const names = Object.keys(domains);
  const templates = names.filter((name) => domains[name]?.template_for_dispvms).map((name) => `@dispvm:${name}`);
  const any = [...names, ...templates, '@dispvm'];
  if (pattern === '*') return [...any, '@adminvm'];
  if (pattern === '@anyvm') return any;
  if (pattern.startsWith('@dispvm:')) return templates.filter((each) => matches(pattern, each, '', domains));
  return names.filter((name) => matches(pattern, name, name, domains));
}
