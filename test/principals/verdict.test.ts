import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DecisionInput, decide, riskOf, type Verdict } from '../../daemon/authority/decide.ts';
import { SERVICES } from '../../daemon/authority/tables.ts';
import type { QubeName } from '../../daemon/names.ts';
import type { Caller, Limits } from '../../daemon/principals/caller.ts';
import { weekOf } from '../../daemon/principals/hours.ts';
import { patternsOf } from '../../daemon/principals/patterns.ts';
import { type Deed, mayRead, principalVerdict } from '../../daemon/principals/verdict.ts';
import { TIERS } from '../../daemon/settings/settings.ts';
import { LIMITS } from './limits.ts';

const MONDAY_NOON = Date.parse('2026-11-16T12:00:00Z');
const source = 'mcp-control' as QubeName;
const web = (limits: Partial<Limits> = {}): Caller => ({
  source,
  principal: 'web',
  signed: true,
  limits: { ...LIMITS, ...limits },
});
const qube = (name: string, ...tags: string[]) => ({ name: name as QubeName, tags: new Set(['ai-managed', ...tags]) });
const deed = (changes: Partial<Deed> = {}): Deed => ({
  service: 'qmcp.LifecycleAIManaged',
  risk: 'change',
  qubes: { target: qube('ai-work') },
  created: [],
  now: MONDAY_NOON,
  ...changes,
});
const ALLOW: Verdict = { kind: 'allow', rule: 'ladder' };
const ASK: Verdict = { kind: 'ask', rule: 'consent-policy' };
const ruleOf = (limits: Partial<Limits>, changes: Partial<Deed> = {}): string =>
  principalVerdict(ALLOW, web(limits), deed(changes)).rule;

test('without limits, or with limits that forbid nothing, the verdict stays what it is', () => {
  for (const verdict of [ALLOW, ASK, { kind: 'refuse', rule: 'ladder' } as const]) {
    expect(principalVerdict(verdict, { source, principal: 'default' }, deed())).toBe(verdict);
    expect(principalVerdict(verdict, web(), deed())).toBe(verdict);
  }
});

test('a refusal stays the refusal it was', () => {
  const refusal: Verdict = { kind: 'refuse', rule: 'outside-umbrella' };
  expect(principalVerdict(refusal, web({ risks: new Set() }), deed())).toBe(refusal);
});

test('a class of risk that is not among its own is refused, asked or not', () => {
  expect(ruleOf({ risks: new Set(['read', 'destroy']) })).toBe('principal-risk');
  expect(ruleOf({ risks: new Set(['change']) })).toBe('ladder');
  expect(principalVerdict(ASK, web({ risks: new Set(['change']) }), deed({ risk: 'destroy' })).rule).toBe(
    'principal-risk',
  );
  expect(mayRead(web({ risks: new Set(['change', 'destroy']) }))).toBe(false);
  expect(mayRead(web({ risks: new Set(['read']) }))).toBe(true);
  expect(mayRead({ source, principal: 'default' })).toBe(true);
});

describe('names', () => {
  const names = patternsOf(['ai-work', 'ai-web-*']);
  test('hold for every qube of the call', () => {
    expect(ruleOf({ names })).toBe('ladder');
    expect(ruleOf({ names }, { qubes: { target: qube('ai-other') } })).toBe('principal-names');
    expect(ruleOf({ names }, { qubes: { backend: qube('ai-work'), frontend: qube('ai-other') } })).toBe(
      'principal-names',
    );
    expect(ruleOf({ names }, { qubes: { target: qube('disp7', 'qmcp-owner__web') } })).toBe('ladder');
  });
  test('hold for what would be created, where having created it is no excuse', () => {
    expect(ruleOf({ names }, { created: ['ai-web-9'] })).toBe('ladder');
    expect(ruleOf({ names }, { created: ['ai-web-9', 'ai-new'] })).toBe('principal-names');
    expect(ruleOf({}, { created: ['ai-new'] })).toBe('ladder');
  });
});

describe('owned only', () => {
  const own = qube('ai-mine', 'qmcp-owner__web');
  test('holds for the qubes that the call changes', () => {
    expect(ruleOf({ ownedOnly: true })).toBe('principal-owner');
    expect(ruleOf({ ownedOnly: true }, { qubes: { target: own } })).toBe('ladder');
    expect(
      ruleOf(
        { ownedOnly: true },
        { service: 'qmcp.AttachDeviceAIManaged', qubes: { backend: own, frontend: qube('ai-work') } },
      ),
    ).toBe('principal-owner');
  });
  test('leaves taking from others to be, since nothing could be created otherwise', () => {
    for (const [service, role] of [
      ['qmcp.SpawnAIManagedQube', 'template'],
      ['qmcp.CloneAIManagedQube', 'source'],
      ['qmcp.SpawnDisposableAIManaged', 'dvmt'],
    ] as const) {
      expect(ruleOf({ ownedOnly: true }, { service, qubes: { [role]: qube('ai-debian-13') } })).toBe('ladder');
    }
  });
  test('takes a service or role that it does not know for a change', () => {
    expect(ruleOf({ ownedOnly: true }, { service: 'qmcp.New' })).toBe('principal-owner');
    expect(ruleOf({ ownedOnly: true }, { service: 'qmcp.SpawnAIManagedQube', qubes: { other: qube('x') } })).toBe(
      'principal-owner',
    );
  });
});

test('hours hold for changes, and a read is none', () => {
  const closed = weekOf('UTC', ['tue 08:00-18:00']);
  const open = weekOf('UTC', ['mon 12:00-12:01']);
  expect(ruleOf({ week: open })).toBe('ladder');
  expect(ruleOf({ week: closed })).toBe('principal-hours');
  expect(ruleOf({ week: closed }, { risk: 'destroy' })).toBe('principal-hours');
  expect(ruleOf({ week: closed }, { risk: 'read' })).toBe('ladder');
  expect(ruleOf({ week: open }, { now: MONDAY_NOON + 60_000 })).toBe('principal-hours');
});

test('what cannot be made sense of is refused', () => {
  const broken = { spans: null, at: null } as unknown as Limits['week'];
  expect(principalVerdict(ALLOW, web({ week: broken }), deed())).toEqual({ kind: 'refuse', rule: 'principal-error' });
  expect(principalVerdict(ALLOW, web({ ownedOnly: true }), deed({ qubes: { target: null } as never }))).toMatchObject({
    kind: 'refuse',
  });
});

// ---- properties

const RANK = { refuse: 0, ask: 1, allow: 2 };
const tag = fc.constantFrom(
  'ai-managed',
  'ai-exec',
  'ai-net',
  'ai-full',
  'ai-dump',
  'qmcp-guarded',
  'qmcp-owner__web',
  'qmcp-owner_mcp-control',
  'other',
);
const tags = fc.uniqueArray(tag).map((list) => new Set(list));
const name = fc.constantFrom('ai-work', 'ai-web-1', 'ai-web-', 'vault', 'disp7');
const limits: fc.Arbitrary<Limits> = fc.record({
  ceiling: fc.constantFrom(...TIERS),
  names: fc.option(fc.uniqueArray(fc.constantFrom('ai-web-*', 'ai-work', 'v*'), { minLength: 1 }).map(patternsOf)),
  ownedOnly: fc.boolean(),
  risks: fc.uniqueArray(fc.constantFrom('read', 'change', 'destroy')).map((list) => new Set(list) as Limits['risks']),
  calls: fc.option(fc.nat()),
  questions: fc.option(fc.nat()),
  qubes: fc.option(fc.nat()),
  bytes: fc.option(fc.nat()),
  week: fc.option(
    fc.constantFrom(['mon-fri 08:00-18:00'], ['sat 00:00-24:00'], []).map((spans) => weekOf('Europe/Berlin', spans)),
  ),
});
const settings: fc.Arbitrary<DecisionInput['settings']> = fc.record({
  tierDefault: fc.constantFrom('full', 'ro'),
  enforceMode: fc.constantFrom('shadow', 'strict', 'enforce'),
  consentPolicy: fc.record({
    builtIn: fc.boolean(),
    asked: fc.uniqueArray(fc.constantFrom('*:*', 'qmcp.LifecycleAIManaged:*')).map((list) => new Set(list)),
  }),
  guardedUnreadable: fc.boolean(),
});
const operation = fc.constantFrom(...SERVICES).chain(([service, rule]) =>
  fc.record({
    service: fc.constant(service),
    action: rule.actions.size === 0 ? fc.constant('read') : fc.constantFrom(...rule.actions.keys()),
    roles: fc.record(
      Object.fromEntries(
        [...rule.roles.keys()].map((role) => [role, fc.record({ name, tags, guarded: fc.boolean() })]),
      ),
    ),
    attributes: fc.constantFrom(
      {},
      { property: 'template' },
      { property: 'netvm', value: null },
      { klass: 'TemplateVM' },
      { tombstone: true },
    ),
    created: fc.array(name, { maxLength: 1 }),
    now: fc.integer({ min: MONDAY_NOON, max: MONDAY_NOON + 7 * 86_400_000 }),
  }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const verdictFor = (
  caller: Caller,
  { service, action, roles, attributes, created, now }: Operation,
  set: DecisionInput['settings'],
): Verdict => {
  const decided = decide({ service, action, attributes, roles, settings: set, ceiling: caller.limits?.ceiling });
  const qubes = Object.fromEntries(
    Object.entries(roles).map(([role, each]) => [role, { name: each.name as QubeName, tags: each.tags }]),
  );
  return principalVerdict(decided, caller, { service, risk: riskOf(service, action, attributes), qubes, created, now });
};

describe('for any settings, operation and limits', () => {
  test('a principal is never allowed, nor asked about, what would not be without it', () => {
    fc.assert(
      fc.property(operation, settings, limits, (op, set, limited) => {
        const without = verdictFor({ source, principal: 'default' }, op, set);
        const within = verdictFor({ source, principal: 'web', signed: true, limits: limited }, op, set);
        expect(RANK[within.kind]).toBeLessThanOrEqual(RANK[without.kind]);
      }),
      { numRuns: 5_000 },
    );
  });

  test('taking one more thing away never gives anything back', () => {
    fc.assert(
      fc.property(
        operation,
        settings,
        limits,
        limits,
        fc.constantFrom(...(Object.keys(LIMITS) as (keyof Limits)[])),
        (op, set, limited, other, key) => {
          const looser = { ...limited, [key]: LIMITS[key] };
          const tighter = { ...limited, [key]: other[key] };
          const verdictOf = (each: Limits): Verdict =>
            verdictFor({ source, principal: 'web', signed: true, limits: each }, op, set);
          expect(RANK[verdictOf(tighter).kind]).toBeLessThanOrEqual(RANK[verdictOf(looser).kind]);
        },
      ),
      { numRuns: 5_000 },
    );
  });
});
