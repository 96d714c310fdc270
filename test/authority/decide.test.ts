import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DecisionInput, decide, decisive, riskOf } from '../../daemon/authority/decide.ts';
import { isListed } from '../../daemon/authority/guarded.ts';
import type { Attributes, Roles } from '../../daemon/authority/kernel.ts';
import { CAPABILITIES, type Capability, SERVICES } from '../../daemon/authority/tables.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { type FileName, parseSettings } from '../../daemon/settings/files.ts';
import { TIERS } from '../../daemon/settings/settings.ts';
import { actionsOf, decideByProse, rolesOf, SERVICE_NAMES } from './prose.ts';

const FLEET: Record<string, string[]> = {
  'ai-idle': ['ai-managed'],
  'ai-work': ['ai-managed'],
  'ai-exec1': ['ai-managed', 'ai-exec'],
  'ai-net1': ['ai-managed', 'ai-net'],
  'ai-full1': ['ai-managed', 'ai-full'],
  'ai-dvmt': ['ai-managed'],
  'ai-wallet': ['ai-managed', 'ai-full', 'qmcp-guarded'],
  vault: [],
};
const uuidOf = (name: string): Uuid => {
  const digits = Object.keys(FLEET).indexOf(name).toString().padStart(12, '0');
  return `00000000-0000-4000-8000-${digits}` as Uuid;
};

/** A decision as the broker makes it, from the operator's files; no consent policy is a comment-only file, as in the vectors. */
function decideWith(
  files: Partial<Record<FileName, string | null>>,
  service: string,
  action: string,
  qubes: Record<string, string>,
  attributes: Attributes = {},
) {
  const sources = Object.entries({ 'consent-policy': '# empty\n', ...files }).flatMap(([name, text]) => {
    if (text === undefined) return [];
    const source =
      text === null ? ({ kind: 'unreadable', why: 'is a directory' } as const) : ({ kind: 'text', text } as const);
    return [[name as FileName, source] as const];
  });
  const settings = parseSettings(new Map(sources));
  const roles = Object.fromEntries(
    Object.entries(qubes).map(([role, name]) => {
      const guarded = isListed({ name: name as QubeName, uuid: uuidOf(name) }, settings.guarded);
      return [role, { tags: new Set(FLEET[name]), guarded }];
    }),
  );
  return decide({ service, action, attributes, roles, settings: decisive(settings) });
}
const lifecycle = (files: Parameters<typeof decideWith>[0], action: string, name: string) =>
  decideWith(files, 'qmcp.LifecycleAIManaged', action, { target: name });
const setProperty = (files: Parameters<typeof decideWith>[0], name: string, property: string, value: unknown) =>
  decideWith(files, 'qmcp.SetPropertyAIManaged', 'set-property', { target: name }, { property, value });

const allow = (rule: string) => ({ kind: 'allow', rule });
const ask = (rule: string) => ({ kind: 'ask', rule });
const refuse = (rule: string) => ({ kind: 'refuse', rule });

describe('the decision, as the vectors have it', () => {
  test.each([
    [
      'P12 full stays full after the flip',
      setProperty({ 'tier-default': 'ro\n' }, 'ai-full1', 'memory', 800),
      allow('ladder'),
    ],
    [
      'P16 a malformed tier-default is ro',
      setProperty({ 'tier-default': 'everything\n' }, 'ai-idle', 'memory', 800),
      refuse('insufficient:full'),
    ],
    [
      'P17 an unreadable tier-default is ro',
      setProperty({ 'tier-default': null }, 'ai-idle', 'memory', 800),
      refuse('insufficient:full'),
    ],
    [
      'P18 case and comment are tolerated',
      setProperty({ 'tier-default': 'RO  # least privilege\n' }, 'ai-idle', 'memory', 800),
      refuse('insufficient:full'),
    ],
    [
      'P40 strict refuses the escalation class',
      setProperty({ 'enforce-mode': 'strict\n' }, 'ai-full1', 'template', 'ai-debian-13'),
      refuse('escalation-class'),
    ],
    [
      'P42 strict lets a netvm be disconnected',
      setProperty({ 'enforce-mode': 'strict\n' }, 'ai-full1', 'netvm', null),
      allow('ladder'),
    ],
    [
      'P43 enforce refuses a rename',
      setProperty({ 'enforce-mode': 'enforce\n' }, 'ai-full1', 'name', 'ai-x'),
      refuse('escalation-class'),
    ],
    [
      'P44 enforce refuses provides_network',
      setProperty({ 'enforce-mode': 'enforce\n' }, 'ai-full1', 'provides_network', true),
      refuse('escalation-class'),
    ],
    [
      'P46 enforce and compat: untiered is full',
      setProperty({ 'enforce-mode': 'enforce\n' }, 'ai-idle', 'memory', 800),
      allow('ladder'),
    ],
    [
      'P47 a malformed enforce-mode is strict',
      setProperty({ 'enforce-mode': 'on\n' }, 'ai-full1', 'template', 'x'),
      refuse('escalation-class'),
    ],
    [
      'P48 an unreadable enforce-mode is strict',
      setProperty({ 'enforce-mode': null }, 'ai-full1', 'template', 'x'),
      refuse('escalation-class'),
    ],
    [
      'P49 shadow asks for a guarded qube',
      setProperty({ guarded: 'ai-full1\n' }, 'ai-full1', 'memory', 800),
      ask('guarded'),
    ],
    [
      'P50 strict asks for a guarded qube',
      setProperty({ guarded: '# wallet\nai-full1\n', 'enforce-mode': 'strict\n' }, 'ai-full1', 'memory', 800),
      ask('guarded'),
    ],
    [
      'P52 an unreadable list guards all',
      setProperty({ guarded: null, 'enforce-mode': 'strict\n' }, 'ai-full1', 'memory', 800),
      ask('guarded-unreadable'),
    ],
    [
      'P53 an inline comment guards',
      setProperty({ guarded: 'ai-full1 # wallet\n', 'enforce-mode': 'strict\n' }, 'ai-full1', 'memory', 800),
      ask('guarded'),
    ],
    [
      'P78 shadow in any case',
      setProperty({ 'enforce-mode': 'Shadow # x\n' }, 'ai-full1', 'memory', 800),
      allow('ladder'),
    ],
    [
      'C19 untiered after the flip',
      lifecycle({ 'tier-default': 'ro\n' }, 'start', 'ai-idle'),
      refuse('insufficient:full'),
    ],
    [
      'C22 enforce: pause is not dominated',
      lifecycle({ 'enforce-mode': 'enforce\n' }, 'pause', 'ai-exec1'),
      refuse('insufficient:full'),
    ],
    ['C24 enforce allows the remove', lifecycle({ 'enforce-mode': 'enforce\n' }, 'remove', 'ai-work'), allow('ladder')],
    [
      'enforce: exec dominates remove',
      lifecycle({ 'enforce-mode': 'enforce\n' }, 'remove', 'ai-exec1'),
      allow('dominated:exec'),
    ],
    [
      'C25 strict allows a remove at full',
      lifecycle({ 'enforce-mode': 'strict\n' }, 'remove', 'ai-full1'),
      allow('ladder'),
    ],
    [
      'C26 strict does not widen',
      lifecycle({ 'enforce-mode': 'strict\n' }, 'remove', 'ai-exec1'),
      refuse('insufficient:full'),
    ],
    [
      'C29 without a file kill is asked',
      lifecycle({ 'consent-policy': undefined as never }, 'kill', 'ai-work'),
      ask('consent-policy'),
    ],
    [
      'C30 without a file start is not',
      lifecycle({ 'consent-policy': undefined as never }, 'start', 'ai-idle'),
      allow('ladder'),
    ],
    [
      'C31 a bad line brings the built-in set back',
      lifecycle({ 'consent-policy': 'qmcp.CloneAIManagedQube\n' }, 'remove', 'ai-idle'),
      ask('consent-policy'),
    ],
    [
      'C33 a listed action is asked',
      lifecycle({ 'consent-policy': 'qmcp.LifecycleAIManaged:kill\n' }, 'kill', 'ai-work'),
      ask('consent-policy'),
    ],
    [
      'a file replaces the built-in set',
      lifecycle({ 'consent-policy': 'qmcp.LifecycleAIManaged:kill\n' }, 'remove', 'ai-work'),
      allow('ladder'),
    ],
    [
      'C36 an inline comment does not unask',
      lifecycle({ 'consent-policy': 'qmcp.LifecycleAIManaged:kill # dangerous\n' }, 'kill', 'ai-work'),
      ask('consent-policy'),
    ],
    [
      'C39 guarded beats domination',
      lifecycle({ 'enforce-mode': 'enforce\n', guarded: 'ai-full1\n' }, 'kill', 'ai-full1'),
      ask('guarded'),
    ],
    [
      'C44 enforce and flip: untiered is ro',
      lifecycle({ 'enforce-mode': 'enforce\n', 'tier-default': 'ro\n' }, 'start', 'ai-idle'),
      refuse('insufficient:full'),
    ],
    [
      'D22 a guarded template is asked',
      decideWith(
        { 'enforce-mode': 'strict\n', guarded: 'ai-dvmt\n' },
        'qmcp.SpawnDisposableAIManaged',
        'spawn-disposable',
        { dvmt: 'ai-dvmt' },
      ),
      ask('guarded'),
    ],
    [
      'K27 a guarded source is asked',
      decideWith({ 'enforce-mode': 'strict\n', guarded: 'ai-idle\n' }, 'qmcp.CloneAIManagedQube', 'clone', {
        source: 'ai-idle',
      }),
      ask('guarded'),
    ],
    [
      'K20 a source guarded by tag alone is not changed',
      decideWith({}, 'qmcp.CloneAIManagedQube', 'clone', { source: 'ai-wallet' }),
      allow('ladder'),
    ],
    [
      'A23 either end of an attach is guarded',
      decideWith({ 'enforce-mode': 'strict\n', guarded: 'ai-idle\n' }, 'qmcp.AttachDeviceAIManaged', 'attach', {
        backend: 'ai-work',
        frontend: 'ai-idle',
      }),
      ask('guarded'),
    ],
  ])('%s', (_, got, want) => {
    expect(got).toEqual(want);
  });
});

describe('a guarded qube', () => {
  test('is asked about in every mode when its tag says so', () => {
    for (const mode of ['shadow', 'strict', 'enforce', 'garbage']) {
      expect(setProperty({ 'enforce-mode': mode }, 'ai-wallet', 'memory', 800)).toEqual(ask('guarded'));
    }
  });

  test('may become a tombstone unasked when only its tag guards it, and is asked about when the list does (C38)', () => {
    const remove = (files: Parameters<typeof decideWith>[0], tombstone: boolean) =>
      decideWith(files, 'qmcp.LifecycleAIManaged', 'remove', { target: 'ai-wallet' }, { tombstone });
    expect(remove({}, true)).toEqual(allow('ladder'));
    expect(remove({}, false)).toEqual(ask('guarded'));
    expect(remove({ guarded: 'ai-wallet\n' }, true)).toEqual(ask('guarded'));
    expect(remove({ guarded: null }, true)).toEqual(ask('guarded-unreadable'));
  });

  test('is guarded by its tag in the roles that a call changes, and by the list in all', () => {
    const takenFrom: string[] = [];
    for (const [service, { access, roles, actions }] of SERVICES) {
      if (access === 'read' || service.startsWith('admin.vm.tag.')) continue;
      for (const guardedRole of roles.keys()) {
        const verdict = (by: 'tag' | 'list') =>
          decide({
            service,
            action: [...actions.keys()][0] ?? '',
            attributes: {},
            roles: Object.fromEntries(
              [...roles.keys()].map((role) => {
                const isGuarded = role === guardedRole;
                const tags = ['ai-managed', 'ai-full', ...(isGuarded && by === 'tag' ? ['qmcp-guarded'] : [])];
                return [role, { tags: new Set(tags), guarded: isGuarded && by === 'list' }];
              }),
            ),
            settings: decisive(parseSettings(new Map([['consent-policy', { kind: 'text', text: '' }]]))),
          });
        expect(verdict('list')).toEqual(ask('guarded'));
        if (verdict('tag').kind === 'allow') takenFrom.push(`${service} ${guardedRole}`);
        else expect(verdict('tag')).toEqual(ask('guarded'));
      }
    }
    expect(takenFrom).toEqual([
      'qmcp.SpawnAIManagedQube template',
      'qmcp.SpawnDisposableAIManaged dvmt',
      'qmcp.CloneAIManagedQube source',
      'qubes.Filecopy source',
    ]);
  });

  test('is guarded by its tag also in a role that the service does not know', () => {
    const facts = (...more: string[]) => ({ tags: new Set(['ai-managed', 'ai-full', ...more]), guarded: false });
    const verdict = (other: ReturnType<typeof facts>) =>
      decide({
        service: 'qmcp.LifecycleAIManaged',
        action: 'start',
        attributes: {},
        roles: { target: facts(), other },
        settings: decisive(parseSettings(new Map([['consent-policy', { kind: 'text', text: '' }]]))),
      });
    expect(verdict(facts())).toEqual(allow('ladder'));
    expect(verdict(facts('qmcp-guarded'))).toEqual(ask('guarded'));
  });

  test('is known by its uuid under another name', () => {
    expect(setProperty({ guarded: uuidOf('ai-full1') }, 'ai-full1', 'memory', 800)).toEqual(ask('guarded'));
    expect(setProperty({ guarded: uuidOf('ai-idle') }, 'ai-full1', 'memory', 800)).toEqual(allow('ladder'));
  });

  test('under the tier is refused, so that a yes cannot grant what the tier does not', () => {
    for (const mode of ['shadow', 'strict', 'enforce']) {
      const files = { 'enforce-mode': mode, guarded: 'ai-exec1\n' };
      expect(setProperty(files, 'ai-exec1', 'memory', 800)).toEqual(refuse('insufficient:full'));
      expect(setProperty({ ...files, guarded: null }, 'ai-exec1', 'memory', 800)).toEqual(refuse('insufficient:full'));
    }
    expect(setProperty({ guarded: 'vault\n' }, 'vault', 'memory', 800)).toEqual(refuse('outside-umbrella'));
  });

  test('can be read as any other', () => {
    const read = (files: Parameters<typeof decideWith>[0], name: string) =>
      decideWith(files, 'qmcp.GetPropertyAIManaged', 'read', { target: name }, { property: 'template' });
    expect(read({ guarded: null, 'enforce-mode': 'enforce', 'tier-default': 'ro' }, 'ai-wallet')).toEqual(
      allow('ladder'),
    );
    expect(read({ guarded: 'ai-idle', 'consent-policy': '*' }, 'ai-idle')).toEqual(allow('ladder'));
    expect(read({}, 'vault')).toEqual(refuse('outside-umbrella'));
  });
});

describe('the consent policy', () => {
  test('takes * for the action, the service or both', () => {
    for (const entry of ['qmcp.LifecycleAIManaged:*', '*:start', '*:*', '*']) {
      expect(lifecycle({ 'consent-policy': entry }, 'start', 'ai-idle')).toEqual(ask('consent-policy'));
    }
    for (const entry of ['qmcp.SetPropertyAIManaged:*', '*:stop', 'qmcp.LifecycleAIManaged:kill']) {
      expect(lifecycle({ 'consent-policy': entry }, 'start', 'ai-idle')).toEqual(allow('ladder'));
    }
  });

  test('as built in asks exactly what destroys', () => {
    const asked = [...SERVICES].flatMap(([service, { actions }]) =>
      [...actions].filter(([, risk]) => risk === 'destroy').map(([action]) => `${service}:${action}`),
    );
    expect(asked).toEqual([
      'qmcp.LifecycleAIManaged:kill',
      'qmcp.LifecycleAIManaged:remove',
      'qmcp.SetFirewallAIManaged:set-firewall',
      'qmcp.AttachDeviceAIManaged:attach',
      'qmcp.DetachDeviceAIManaged:detach',
      'admin.vm.firewall.Set:set',
    ]);
    const unset = { 'consent-policy': undefined as never };
    expect(setProperty(unset, 'ai-full1', 'template', 'ai-debian-13')).toEqual(ask('consent-policy'));
    expect(setProperty(unset, 'ai-full1', 'memory', 800)).toEqual(allow('ladder'));
  });

  test('counts what nobody knows as destructive', () => {
    expect(riskOf('qmcp.Unknown', 'x')).toBe('destroy');
    expect(riskOf('qmcp.LifecycleAIManaged', 'constructor')).toBe('destroy');
    expect(riskOf('qmcp.LifecycleAIManaged', 'start')).toBe('change');
    expect(riskOf('qmcp.GetPropertyAIManaged', 'read', { property: 'template' })).toBe('read');
  });
});

// ---- properties

const TAGS = [
  'ai-managed',
  'ai-exec',
  'ai-net',
  'ai-full',
  'ai-dump',
  'qmcp-guarded',
  'qmcp-tombstone_5',
  'anon-vm',
  'mylabel',
];
const tags = fc
  .tuple(fc.boolean(), fc.subarray(TAGS))
  .map(([managed, some]) => new Set(managed ? ['ai-managed', ...some] : some));
const facts = fc.record({ tags, guarded: fc.boolean() });
const attributes: fc.Arbitrary<Attributes> = fc.record(
  {
    property: fc.constantFrom('memory', 'netvm', 'template', 'name', 'provides_network', 'label'),
    value: fc.constantFrom(null, '', 'ai-x', 0, true),
    klass: fc.constantFrom('AppVM', 'TemplateVM', 'DispVM'),
  },
  { requiredKeys: [] },
);
const entry = fc
  .tuple(fc.constantFrom('*', ...SERVICE_NAMES), fc.constantFrom('*', 'start', 'kill', 'set-property', 'attach'))
  .map(([service, action]) => `${service}:${action}`);
const settings = fc.record({
  tierDefault: fc.constantFrom('full' as const, 'ro' as const),
  enforceMode: fc.constantFrom('shadow' as const, 'strict' as const, 'enforce' as const),
  consentPolicy: fc.record({
    builtIn: fc.boolean(),
    asked: fc.array(entry, { maxLength: 3 }).map((each) => new Set(each)),
  }),
  guardedUnreadable: fc.boolean(),
});
const input: fc.Arbitrary<DecisionInput> = fc.constantFrom(...SERVICE_NAMES, 'qmcp.Unknown').chain((service) =>
  fc.record({
    service: fc.constant(service),
    action: fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(...actionsOf(service)) },
      { weight: 1, arbitrary: fc.constant('x') },
    ),
    attributes,
    roles: fc
      .record(Object.fromEntries(rolesOf(service).map((role) => [role, facts])))
      .chain((roles) =>
        fc.oneof(
          { weight: 9, arbitrary: fc.constant(roles) },
          { weight: 1, arbitrary: facts.map((extra) => ({ ...roles, other: extra })) },
          { weight: 1, arbitrary: fc.constant(Object.fromEntries(Object.entries(roles).slice(1))) },
        ),
      ) as fc.Arbitrary<Roles>,
    settings,
    ceiling: fc.option(fc.constantFrom(...TIERS)),
  }),
);
const RUNS = { numRuns: 5_000 };
const width = ({ kind }: { kind: 'allow' | 'ask' | 'refuse' }): number => ['refuse', 'ask', 'allow'].indexOf(kind);
const eachRole = (roles: Roles, change: (facts: Roles[string]) => Roles[string]): Roles =>
  Object.fromEntries(Object.entries(roles).map(([role, each]) => [role, change(each)]));

describe('the decision, whatever it is about', () => {
  test('equals the one written from the contract in sentences', () => {
    fc.assert(
      fc.property(input, (each) => {
        expect(decide(each)).toEqual(decideByProse(each));
      }),
      { numRuns: 50_000 },
    );
  });

  test('never throws, and refuses what it cannot make sense of', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withSet: true, withMap: true }), (garbage) => {
        expect(decide(garbage as DecisionInput).kind).toBe('refuse');
      }),
    );
    fc.assert(
      fc.property(
        input,
        fc.constantFrom('service', 'action', 'attributes', 'roles', 'settings', 'ceiling'),
        fc.anything(),
        (each, key, garbage) => {
          expect(['allow', 'ask', 'refuse']).toContain(decide({ ...each, [key]: garbage } as DecisionInput).kind);
        },
      ),
      RUNS,
    );
  });

  test('never goes beyond the tier of any of its qubes, nor beyond the ceiling', () => {
    fc.assert(
      fc.property(input, (each) => {
        if (decide(each).kind === 'refuse') return;
        const dominated = each.settings.enforceMode === 'enforce' && /^(start|shutdown|kill|remove)$/.test(each.action);
        for (const [role, { capability }] of SERVICES.get(each.service)?.roles ?? []) {
          const needed: Capability = dominated && capability === 'full' ? 'exec' : capability;
          const own = each.roles[role]?.tags ?? new Set();
          expect(own.has('ai-managed')).toBe(true);
          const elevation = ['full', 'net', 'exec'].find((tier) => own.has(`ai-${tier}`)) ?? each.settings.tierDefault;
          for (const tier of [elevation, each.ceiling ?? 'full']) {
            expect([...(CAPABILITIES.get(tier as 'full') ?? [])]).toContain(needed);
          }
        }
      }),
      RUNS,
    );
  });

  test('never asks what it would refuse without the guard and the policy', () => {
    fc.assert(
      fc.property(input, (each) => {
        const free = decide({
          ...each,
          roles: eachRole(each.roles, (one) => ({
            tags: new Set([...one.tags].filter((tag) => tag !== 'qmcp-guarded')),
            guarded: false,
          })),
          settings: { ...each.settings, guardedUnreadable: false, consentPolicy: { builtIn: false, asked: new Set() } },
        });
        expect(free.kind).not.toBe('ask');
        expect(free.kind === 'refuse').toBe(decide(each).kind === 'refuse');
      }),
      RUNS,
    );
  });

  const narrowings: Record<string, (each: DecisionInput) => DecisionInput> = {
    'lowering the ceiling': (each) => {
      const lowered = each.ceiling === null || each.ceiling === undefined ? TIERS.length : TIERS.indexOf(each.ceiling);
      return { ...each, ceiling: TIERS[Math.max(0, lowered - 1)] as 'ro' };
    },
    'a ceiling that is no tier': (each) => ({ ...each, ceiling: 'godmode' as 'ro' }),
    'tier-default ro': (each) => ({ ...each, settings: { ...each.settings, tierDefault: 'ro' } }),
    'listing the qubes as guarded': (each) => ({
      ...each,
      roles: eachRole(each.roles, (one) => ({ ...one, guarded: true })),
    }),
    'tagging the qubes as guarded': (each) => ({
      ...each,
      roles: eachRole(each.roles, (one) => ({ ...one, tags: new Set([...one.tags, 'qmcp-guarded']) })),
    }),
    'an unreadable guarded list': (each) => ({ ...each, settings: { ...each.settings, guardedUnreadable: true } }),
    'the mode strict': (each) => ({ ...each, settings: { ...each.settings, enforceMode: 'strict' } }),
    'one more consent entry': (each) => {
      const { builtIn, asked } = each.settings.consentPolicy;
      return {
        ...each,
        settings: { ...each.settings, consentPolicy: { builtIn, asked: new Set([...asked, `*:${each.action}`]) } },
      };
    },
    'the built-in consent set': (each) => {
      const { asked } = each.settings.consentPolicy;
      return { ...each, settings: { ...each.settings, consentPolicy: { builtIn: true, asked } } };
    },
    'a missing role': (each) => ({ ...each, roles: Object.fromEntries(Object.entries(each.roles).slice(1)) }),
  };
  test.each(Object.entries(narrowings))('is never widened by %s', (_, narrow) => {
    fc.assert(
      fc.property(input, (each) => {
        // A service without roles has none to miss, and one more qube than the service knows may itself be what refuses.
        fc.pre(!('other' in each.roles));
        expect(width(decide(narrow(each)))).toBeLessThanOrEqual(width(decide(each)));
      }),
      RUNS,
    );
  });

  // Under tier-default full an untiered qube is full (3.1), so there the last elevation tag holds a qube down.
  test('is never widened by removing a tag, the guard aside and the last elevation under tier-default full', () => {
    fc.assert(
      fc.property(input, fc.constantFrom(...TAGS), (each, tag) => {
        fc.pre(tag !== 'qmcp-guarded');
        fc.pre(each.settings.tierDefault === 'ro' || !/^ai-(exec|net|full)$/.test(tag));
        const without = eachRole(each.roles, (one) => ({
          ...one,
          tags: new Set([...one.tags].filter((t) => t !== tag)),
        }));
        expect(width(decide({ ...each, roles: without }))).toBeLessThanOrEqual(width(decide(each)));
      }),
      RUNS,
    );
  });
});
