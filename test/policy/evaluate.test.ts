// The evaluator against the documented semantics of policy.d, so that what it says of our files can be believed.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Domains, evaluate, type Outcome } from './evaluate.ts';
import { type Files, rulesOf } from './rules.ts';

const DOMAINS: Domains = {
  alpha: { tags: ['red'], default_dispvm: 'dvm' },
  beta: { tags: ['red', 'blue'] },
  gamma: { type: 'TemplateVM' },
  dvm: { template_for_dispvms: true, tags: ['blue'] },
};

const policy = (text: string, more: Record<string, string> = {}): Files =>
  new Map([['50-test.policy', text], ...Object.entries(more)]);

const outcome = (text: string, target: string, source = 'alpha', more: Record<string, string> = {}): Outcome =>
  evaluate(rulesOf(policy(text, more)), DOMAINS, { service: 'test.Call', argument: '+arg', source, target });

const action = (...args: Parameters<typeof outcome>): string => outcome(...args).action;

describe('which rule decides', () => {
  test('the first that matches, not the narrowest', () => {
    expect(action('* * @anyvm @anyvm deny\ntest.Call * alpha beta allow', 'beta')).toBe('deny');
    expect(action('test.Call * alpha beta allow\n* * @anyvm @anyvm deny', 'beta')).toBe('allow');
  });

  test('over all files in the order of their names, by code point', () => {
    const deny = '* * @anyvm @anyvm deny';
    const allow = 'test.Call * alpha beta allow';
    expect(action(deny, 'beta', 'alpha', { '49-earlier.policy': allow })).toBe('allow');
    expect(action(deny, 'beta', 'alpha', { '51-later.policy': allow })).toBe('deny');
    expect(action(deny, 'beta', 'alpha', { '5-later.policy': allow })).toBe('allow');
    expect(action(deny, 'beta', 'alpha', { '50_later.policy': allow })).toBe('deny');
  });

  test('none: denied', () => expect(outcome('', 'beta')).toEqual({ action: 'deny', why: 'no rule', rule: null }));

  test('files that are hidden or not called .policy are no policy', () => {
    const files = { '.40-hidden.policy': 'nonsense', '40-note': 'nonsense', 'include/unused': 'nonsense' };
    expect(action('test.Call * alpha beta allow', 'beta', 'alpha', files)).toBe('allow');
  });
});

describe('services and arguments', () => {
  test('a service is matched whole, * is any', () => {
    expect(action('test.Call2 * alpha beta allow', 'beta')).toBe('deny');
    expect(action('* * alpha beta allow', 'beta')).toBe('allow');
  });
  test('an argument is matched whole, + is the empty one, * is any', () => {
    expect(action('test.Call +arg alpha beta allow', 'beta')).toBe('allow');
    expect(action('test.Call +ar alpha beta allow', 'beta')).toBe('deny');
    expect(action('test.Call + alpha beta allow', 'beta')).toBe('deny');
    expect(action('test.Call * alpha beta allow', 'beta')).toBe('allow');
  });
});

describe('targets', () => {
  test('@anyvm is every qube, every disposable and no target at all, but never dom0', () => {
    for (const target of ['beta', '', '@default', 'no-such-qube', '@dispvm', '@dispvm:dvm']) {
      expect(outcome('* * alpha @anyvm deny', target).rule).not.toBeNull();
    }
    for (const target of ['dom0', '@adminvm']) expect(outcome('* * alpha @anyvm allow', target).rule).toBeNull();
  });
  test('dom0 and @adminvm are the same, on both sides', () => {
    for (const written of ['dom0', '@adminvm']) {
      for (const called of ['dom0', '@adminvm']) expect(action(`* * alpha ${written} allow`, called)).toBe('allow');
    }
  });
  test('* is everything with dom0', () => {
    for (const target of ['beta', 'dom0', '@dispvm']) expect(action('* * * * allow', target)).toBe('allow');
  });
  test('a tag matches the qubes that carry it, and neither dom0 nor disposables to be', () => {
    expect(action('* * alpha @tag:blue allow', 'beta')).toBe('allow');
    for (const target of ['gamma', 'dom0', '@default', '@dispvm', '@dispvm:dvm']) {
      expect(action('* * alpha @tag:blue allow', target)).toBe('deny');
    }
  });
  test('a type matches by klass', () => {
    expect(action('* * alpha @type:TemplateVM allow', 'gamma')).toBe('allow');
    expect(action('* * alpha @type:TemplateVM allow', 'beta')).toBe('deny');
  });
  test('@dispvm is the word only; @dispvm:NAME also when NAME is what the word stands for', () => {
    expect(action('* * alpha @dispvm deny\n* * alpha @anyvm allow', '@dispvm:dvm')).toBe('allow');
    expect(action('* * alpha @dispvm:dvm allow', '@dispvm')).toBe('allow');
    expect(action('* * @anyvm @dispvm:dvm allow', '@dispvm', 'beta')).toBe('deny');
  });
  test('@dispvm:@tag: looks at the tags of the template', () => {
    expect(action('* * alpha @dispvm:@tag:blue allow', '@dispvm:dvm')).toBe('allow');
    expect(action('* * alpha @dispvm:@tag:blue allow', '@dispvm')).toBe('allow');
    expect(action('* * alpha @dispvm:@tag:red allow', '@dispvm:dvm')).toBe('deny');
    expect(action('* * alpha @dispvm:@tag:red allow', 'beta')).toBe('deny');
  });
  test('a disposable of what is no template for them is denied before any rule', () => {
    expect(outcome('* * * * allow', '@dispvm:beta')).toMatchObject({ action: 'deny', rule: null });
  });
});

describe('sources', () => {
  test('are matched like targets', () => {
    expect(action('* * @tag:blue @anyvm allow', 'alpha', 'beta')).toBe('allow');
    expect(action('* * @tag:blue @anyvm allow', 'beta', 'alpha')).toBe('deny');
    expect(action('* * @type:TemplateVM @anyvm allow', 'alpha', 'gamma')).toBe('allow');
    expect(action('* * @anyvm @anyvm allow', 'alpha', 'gamma')).toBe('allow');
  });
});

describe('allow', () => {
  test('goes where target= says, else where the caller said, as the user that it names', () => {
    expect(outcome('* * alpha beta allow target=gamma user=root', 'beta')).toMatchObject({
      action: 'allow',
      target: 'gamma',
      user: 'root',
    });
    expect(outcome('* * alpha beta allow', 'beta')).toMatchObject({ target: 'beta', user: null });
    expect(outcome('* * alpha @default allow target=dom0', '')).toMatchObject({ target: '@adminvm' });
  });
  test('becomes a denial without a target, without a template for disposables, and for the caller itself', () => {
    expect(action('* * alpha @anyvm allow', '@default')).toBe('deny');
    expect(action('* * beta @dispvm allow', '@dispvm', 'beta')).toBe('deny');
    expect(outcome('* * alpha @dispvm allow', '@dispvm')).toMatchObject({ target: '@dispvm:dvm' });
    expect(action('* * alpha @anyvm allow', 'alpha')).toBe('deny');
  });
});

describe('ask', () => {
  const targets = (text: string, target = 'beta'): readonly string[] => {
    const asked = outcome(text, target);
    return asked.action === 'ask' ? asked.targets : [];
  };
  test('offers what the rules together leave open, never the caller itself', () => {
    expect(targets('* * alpha @anyvm ask')).toEqual(['@dispvm:dvm', 'beta', 'dvm', 'gamma']);
    expect(targets('* * alpha @tag:blue ask\n* * alpha @anyvm deny')).toEqual(['beta', 'dvm']);
    expect(targets('* * alpha gamma deny\n* * alpha @anyvm ask')).toEqual(['@dispvm:dvm', 'beta', 'dvm']);
  });
  test('offers the one of target= alone', () => {
    expect(targets('* * alpha beta ask target=gamma')).toEqual(['gamma']);
  });
  test('is a denial where nothing is left to choose', () => {
    expect(action('* * alpha alpha ask\n* * alpha @anyvm deny', 'alpha')).toBe('deny');
  });
});

describe('includes', () => {
  test('stand where they are written, by their path below policy.d, also from an included file', () => {
    const more = {
      'include/one': '!include include/two\n* * alpha @anyvm deny',
      'include/two': '* * alpha beta allow',
    };
    expect(action('!include include/one\n* * alpha gamma allow', 'beta', 'alpha', more)).toBe('allow');
    expect(action('!include include/one\n* * alpha gamma allow', 'gamma', 'alpha', more)).toBe('deny');
  });
  test('say in which file and line a rule stands', () => {
    const found = outcome('# first\n!include include/one', 'beta', 'alpha', {
      'include/one': '\n* * alpha beta allow',
    });
    expect(found.rule).toMatchObject({ file: 'include/one', line: 2 });
  });
});

describe('what is no policy', () => {
  const wrong: [string, string][] = [
    ['too few fields', 'test.Call * alpha beta'],
    ['an unknown action', 'test.Call * alpha beta permit'],
    ['a comment after a rule', 'test.Call * alpha beta allow # why'],
    ['a parameter without a value', 'test.Call * alpha beta allow target'],
    ['a parameter given twice', 'test.Call * alpha beta allow user=a user=b'],
    ['an unknown parameter', 'test.Call * alpha beta allow group=a'],
    ['a target for a denial', 'test.Call * alpha beta deny target=gamma'],
    ['a default for an allow', 'test.Call * alpha beta allow default_target=gamma'],
    ['notify with another word', 'test.Call * alpha beta deny notify=maybe'],
    ['an argument without +', 'test.Call arg alpha beta allow'],
    ['an argument for every service', '* +arg alpha beta allow'],
    ['a service with +', 'test.Call+arg * alpha beta allow'],
    ['an unknown word', 'test.Call * alpha @everyvm allow'],
    ['an empty tag', 'test.Call * alpha @tag: allow'],
    ['a word in a tag', 'test.Call * alpha @tag:@anyvm allow'],
    ['@default as a source', 'test.Call * @default beta allow'],
    ['@dispvm as a source', 'test.Call * @dispvm beta allow'],
    ['a tag as a redirection', 'test.Call * alpha beta allow target=@tag:red'],
    ['@anyvm as a redirection', 'test.Call * alpha beta allow target=@anyvm'],
    ['@default allowed to nowhere', 'test.Call * alpha @default allow'],
    ['an unknown directive', '!exclude include/one'],
    ['an include of nothing', '!include'],
    ['an include of two', '!include include/one include/two'],
    ['an include of what is not there', '!include include/none'],
    ['a file that includes itself', '!include 50-test.policy'],
  ];
  test.each(wrong)('%s', (_, text) => {
    expect(() => rulesOf(policy(text, { 'include/one': '', 'include/two': '' }))).toThrow(/^50-test.policy:1: /);
  });
  test('a file whose name has other characters', () => {
    expect(() => rulesOf(new Map([['50-Test.policy', '']]))).toThrow('invalid file name');
  });
});

test('rules after the one that decides make no difference to allow and deny', () => {
  const word = fc.constantFrom('alpha', 'beta', 'gamma', '@anyvm', '@adminvm', '@tag:red', '@tag:blue');
  const verb = fc.constantFrom('allow', 'deny');
  const line = fc.tuple(word, word, verb).map(([source, target, act]) => `* * ${source} ${target} ${act}`);
  const target = fc.constantFrom('alpha', 'beta', 'gamma', 'dom0', '@dispvm', '');
  fc.assert(
    fc.property(fc.array(line, { maxLength: 6 }), fc.array(line, { maxLength: 6 }), target, (first, rest, called) => {
      const before = outcome(first.join('\n'), called);
      fc.pre(before.rule !== null);
      expect(outcome([...first, ...rest].join('\n'), called)).toEqual(before);
    }),
  );
});
