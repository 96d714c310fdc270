// Our policy files, evaluated for every service, source and target in both modes.
import { describe, expect, test } from 'vitest';
import { decide } from '../../daemon/authority/decide.ts';
import { FILECOPY, FOR_MCP_CONTROL, INTENDED, KINDS } from './contract.ts';
import { type Domains, decidingRule, evaluate, type Outcome } from './evaluate.ts';
import { FLEET, isAgent, isManaged, MISTAKEN, SOURCES, TARGETS } from './fleet.ts';
import { alone, beforeCareless, inMode, MODE_FILE, MODES, type Mode, onPlatform, SHIPPED } from './ours.ts';
import { CARELESS, PLATFORM } from './platform.ts';
import { type Rule, rulesOf } from './rules.ts';
import { ADMIN, ALL, BY_HAND, IN_DISPOSABLES, OURS, SURFACES } from './services.ts';
import { cell, tableText } from './table.ts';

interface Case {
  readonly service: string;
  readonly source: string;
  readonly target: string;
}

const cases = (services: readonly string[], sources: readonly string[], targets: readonly string[] = TARGETS): Case[] =>
  services.flatMap((service) =>
    sources.flatMap((source) =>
      targets.map((target) => ({ service, source, target: target === 'self' ? source : target })),
    ),
  );

const EVERY = cases(ALL, SOURCES);
const AGENTS = SOURCES.filter(isAgent);
const MANAGED = SOURCES.filter((source) => isManaged(source) && !isAgent(source));

const outcome = (rules: readonly Rule[], { service, source, target }: Case): Outcome =>
  evaluate(rules, FLEET, { service, source, target });
const said = ({ service, source, target }: Case): string => `${service} ${source} -> ${target}`;
const those = (list: readonly Case[], rules: readonly Rule[], action: Outcome['action']): string[] =>
  list.filter((each) => outcome(rules, each).action === action).map(said);

test('the table that is checked in is what the files say', async () => {
  await expect(tableText()).toMatchFileSnapshot('./TABLE.md');
});

describe('section 7 of the contract, cell by cell', () => {
  const LOSES_BACKSTOPS = /^allow\(c\)$/;
  const expected = (text: string, mode: Mode): string =>
    LOSES_BACKSTOPS.test(text) ? (mode === 'compat' ? 'allow' : 'deny') : text;
  const used = new Set<number>();

  const compare = (mode: Mode, each: Case, text: string): void => {
    const want = expected(text, mode);
    const got = cell(alone(mode), each.service, each.source, each.target).split(' ')[0] ?? '';
    const intended = INTENDED.findIndex(({ from, to, where }) => from === want && to === got && where(each));
    if (intended >= 0) used.add(intended);
    // "A qube cannot call itself" is said of the whole call, after the rule was found.
    else if (each.target === each.source) expect(decidingRule(alone(mode), FLEET, each)?.action, said(each)).toBe(want);
    else expect(got, said(each)).toBe(want);
  };

  test.each(MODES)('mcp-control in mode %s', (mode) => {
    for (const { services, cells } of FOR_MCP_CONTROL) {
      for (const service of services) {
        for (const kind of KINDS) {
          compare(
            mode,
            { service, source: 'mcp-control', target: kind === 'self' ? 'mcp-control' : kind },
            cells[kind],
          );
        }
      }
    }
    for (const target of ['no-such-qube', '@default', '@dispvm']) {
      for (const { services, cells } of FOR_MCP_CONTROL) {
        for (const service of services) {
          if (service === 'qubes.GetDate' && target !== '@dispvm') continue;
          const got = decidingRule(alone(mode), FLEET, { service, source: 'mcp-control', target })?.action;
          expect(got, `${service} ${target}`).toBe(cells.untagged);
        }
      }
    }
  });

  test.each(MODES)('file copies in mode %s', (mode) => {
    for (const { sources, cells } of FILECOPY) {
      for (const source of sources) {
        for (const [target, text] of Object.entries(cells)) {
          compare(mode, { service: 'qubes.Filecopy', source, target }, text);
        }
      }
    }
  });

  test('every difference that is listed is one', () => {
    expect(used.size).toBe(INTENDED.length);
  });
});

describe.each(MODES)('in mode %s', (mode) => {
  const ours = alone(mode);
  const stock = onPlatform(mode);
  const careless = beforeCareless(mode);

  test("the broker's services are allowed to agents at dom0, and to nobody else", () => {
    const to = ['dom0', '@adminvm'];
    expect(those(cases(OURS, AGENTS, to), stock, 'allow')).toHaveLength(OURS.length * AGENTS.length * to.length);
    const others = SOURCES.filter((source) => !isAgent(source));
    expect(those(cases(OURS, others), stock, 'deny')).toHaveLength(cases(OURS, others).length);
    expect(those(cases(OURS, AGENTS, ['ro', 'untagged', '@default']), stock, 'allow')).toEqual([]);
  });

  test('an agent is denied every admin.* and policy.* call to dom0, whatever files come later', () => {
    for (const rules of [stock, careless]) {
      for (const each of cases(ADMIN, AGENTS, ['dom0', '@adminvm'])) {
        expect(outcome(rules, each).action, said(each)).toBe('deny');
      }
    }
  });

  test('the admin.* and policy.* denials stand also if somebody takes away the catch-all', () => {
    const rules = careless.filter(
      ({ service, source, action }) => !(service === null && isAgentWord(source) && action === 'deny'),
    );
    const listed = new Set(ours.filter(({ file }) => file === 'include/qmcp-admin-deny').map(({ service }) => service));
    expect(listed.size).toBeGreaterThan(70);
    for (const service of listed) {
      for (const source of ['mcp-control', 'agent']) {
        const each = { service: service ?? '', source, target: 'dom0' };
        expect(outcome(rules, each).action, said(each)).toBe('deny');
      }
    }
  });

  test('an agent is allowed nothing outside the umbrella but its own needs at dom0, even before a careless file', () => {
    const outside = TARGETS.filter(
      (target) => !isManaged(target) && target !== 'dom0' && target !== 'stray' && target !== 'self',
    );
    const allowed = those(cases(ALL, ['mcp-control', 'agent'], outside), careless, 'allow');
    expect(allowed).toEqual(['qubes.GetDate mcp-control -> @default', 'qubes.GetDate agent -> @default']);
  });

  test('no agent works in the qube of another', () => {
    for (const fleet of [FLEET, MISTAKEN]) {
      for (const each of cases(ALL, AGENTS, ['mcp-control', 'agent', 'managed-agent'])) {
        if (SURFACES.includes(each.service)) expect(evaluate(stock, fleet, each).action, said(each)).toBe('deny');
        else expect(evaluate(stock, fleet, each).action, said(each)).not.toBe('allow');
      }
    }
  });

  test('Admin API calls on qubes are answered in dom0, so that no call starts the qube it names', () => {
    const onQubes = ours.filter(
      ({ service, action, target }) => service?.startsWith('admin.') && action !== 'deny' && target !== '@adminvm',
    );
    expect(onQubes.length).toBeGreaterThan(0);
    for (const { params } of onQubes) expect(params.target).toBe('@adminvm');
  });

  test('nothing is allowed on a guarded qube that changes it', () => {
    const changing = SURFACES.filter((service) => service !== 'admin.vm.firewall.Get');
    expect(those(cases(changing, SOURCES, ['guarded']), careless.filter(isOursIn(ours)), 'allow')).toEqual([]);
  });

  test('what the policy decides by itself is never wider than authority, but for the gaps that the table names', () => {
    const wider = cases([...SURFACES, 'qubes.Filecopy'], SOURCES).filter((each) => {
      // Into a dump is what a dump is for; authority has no service for it.
      if (each.service === 'qubes.Filecopy' && FLEET[each.target]?.tags?.includes('ai-dump')) return false;
      return outcome(ours, each).action === 'allow' && authority(mode, each) === 'refuse';
    });
    const gaps = [...new Set(wider.map(({ service, target }) => `${service} -> ${target}`))].sort();
    expect(gaps).toEqual([
      ...(mode === 'compat'
        ? ['Reload', 'Set'].flatMap((method) =>
            ['exec', 'managed-dump'].map((target) => `admin.vm.firewall.${method} -> ${target}`),
          )
        : []),
      'qmcp.CopyToAIManaged -> stray',
      'qmcp.RunInAIManaged -> stray',
    ]);
  });

  describe('a managed qube as a caller', () => {
    const NEEDS = [
      'qubes.FeaturesRequest',
      'qubes.GetRandomizedTime',
      'qubes.NotifyTools',
      'qubes.NotifyUpdates',
      'qubes.SyncAppMenus',
    ];

    test('never gets a disposable, by no service', () => {
      const disposables = TARGETS.filter((target) => target.startsWith('@dispvm'));
      for (const rules of [stock, careless]) {
        for (const each of cases(ALL, MANAGED, disposables))
          expect(outcome(rules, each).action, said(each)).toBe('deny');
      }
      // What would be without our file (R2): the operator's disposable, on the operator's network.
      const without = rulesOf(PLATFORM);
      expect(outcome(without, { service: 'qubes.VMShell', source: 'exec', target: '@dispvm' }).action).toBe('allow');
    });

    test('reaches dom0 with what a qube needs to tell at start and to know the time, and with nothing else', () => {
      const allowed = those(cases(ALL, ['ro'], ['dom0', '@default']), careless, 'allow');
      expect(allowed.sort()).toEqual(
        [...NEEDS.map((service) => `${service} ro -> dom0`), 'qubes.GetDate ro -> @default'].sort(),
      );
    });

    test('does not learn the exact time behind Tor', () => {
      expect(outcome(stock, { service: 'qubes.GetDate', source: 'anon', target: '@default' }).action).toBe('deny');
      expect(outcome(stock, { service: 'qubes.GetRandomizedTime', source: 'anon', target: 'dom0' }).action).toBe(
        'allow',
      );
    });

    test('gets out of the umbrella by no service but into a dump, and is not even asked about', () => {
      const outside = ['untagged', 'stray', 'tombstone', 'sys-usb', 'mcp-control', 'agent', 'no-such-qube'];
      for (const rules of [stock, careless]) {
        for (const each of cases(ALL, MANAGED, outside)) {
          if (each.target === 'no-such-qube' && each.service === 'qubes.GetDate') continue;
          expect(outcome(rules, each).action, said(each)).toBe('deny');
        }
      }
    });

    test('is asked about with managed qubes and dumps to choose from, and nothing else', () => {
      const asked = cases([...BY_HAND, ...IN_DISPOSABLES], MANAGED).flatMap((each) => {
        const found = outcome(stock, each);
        return found.action === 'ask' ? found.targets : [];
      });
      expect(asked.length).toBeGreaterThan(0);
      expect(asked.filter((target) => !isManaged(target) && target !== 'dump')).toEqual([]);
    });

    test('has no way to the updates proxy', () => {
      for (const source of MANAGED) {
        for (const target of ['@default', 'sys-net', 'untagged']) {
          expect(outcome(stock, { service: 'qubes.UpdatesProxy', source, target }).action).toBe('deny');
        }
      }
    });
  });

  test('nothing comes out of a dump into a managed qube, by no service, whatever files come later', () => {
    const targets = TARGETS.filter(isManaged);
    for (const rules of [stock, careless]) {
      for (const each of cases(ALL, ['dump'], targets)) expect(outcome(rules, each).action, said(each)).toBe('deny');
    }
  });

  test('qubes that have nothing to do with agents are left to the platform', () => {
    const untouched = cases(ALL, ['untagged', 'stray', 'tombstone']).filter(
      (each) => decidingRule(ours, FLEET, each) !== null,
    );
    expect(untouched.map(said)).toEqual([]);
  });
});

test('every rule of ours decides something, so that none only looks like one', () => {
  const worlds = MODES.flatMap((mode) =>
    [PLATFORM, CARELESS].map((later) => rulesOf(new Map([...inMode(mode), ...later]))),
  );
  const all = new Map(MODES.flatMap(alone).map((rule) => [`${rule.file}:${rule.line}`, rule]));
  const idle = [...all]
    .filter(([, { file }]) => file !== 'include/qmcp-admin-deny')
    .filter(([, rule]) => !worlds.some((rules) => [FLEET, MISTAKEN].some((fleet) => decides(rule, rules, fleet))));
  expect(idle.map(([place]) => place)).toEqual([]);
});

/** Whether any call comes out differently without the rule. */
const decides = (rule: Rule, rules: readonly Rule[], fleet: Domains): boolean => {
  const without = rules.filter((each) => each.file !== rule.file || each.line !== rule.line);
  return EVERY.filter(({ service }) => rule.service === null || rule.service === service).some(
    (each) =>
      isSame(decidingRule(rules, fleet, each), rule) &&
      consequence(evaluate(rules, fleet, each)) !== consequence(evaluate(without, fleet, each)),
  );
};

const isSame = (a: Rule | null, b: Rule): boolean => a?.file === b.file && a.line === b.line;
const consequence = (found: Outcome): string => JSON.stringify({ ...found, rule: found.rule?.params });

const isAgentWord = (source: string): boolean => source === 'mcp-control' || source === '@tag:mcp-agent';
const isOursIn =
  (ours: readonly Rule[]) =>
  ({ file }: Rule): boolean =>
    ours.some((rule) => rule.file === file);

const ACTIONS: Readonly<Record<string, string>> = {
  'qmcp.RunInAIManaged': 'run',
  'qmcp.CopyToAIManaged': 'copy',
  'admin.vm.firewall.Set': 'set',
  'admin.vm.firewall.Reload': 'reload',
  'qubes.Filecopy': 'copy',
};

/** What the broker's own decision says of the same call. */
const authority = (mode: Mode, { service, source, target }: Case): string => {
  const facts = (name: string) => ({ tags: new Set(FLEET[name]?.tags ?? []), guarded: false });
  const verdict = decide({
    service,
    action: ACTIONS[service] ?? '',
    attributes: {},
    roles: { target: facts(target), ...(service === 'qubes.Filecopy' && { source: facts(source) }) },
    settings: {
      tierDefault: mode === 'compat' ? 'full' : 'ro',
      enforceMode: 'shadow',
      consentPolicy: { builtIn: true, asked: new Set() },
      guardedUnreadable: false,
    },
  });
  return verdict.kind;
};

test('least-privilege allows nothing that compat does not, and takes away exactly the surfaces', () => {
  const [compat, least] = [onPlatform('compat'), onPlatform('least-privilege')];
  const rank = { deny: 0, ask: 1, allow: 2 };
  const changed = new Set<string>();
  for (const each of EVERY) {
    const [before, after] = [outcome(compat, each).action, outcome(least, each).action];
    expect(rank[after], said(each)).toBeLessThanOrEqual(rank[before]);
    if (before !== after) changed.add(`${each.service} -> ${each.target}`);
  }
  expect([...changed].sort()).toEqual(
    [
      ...['admin.vm.firewall.Reload', 'admin.vm.firewall.Set'].flatMap((service) =>
        ['exec', 'managed-dump', 'ro'].map((target) => `${service} -> ${target}`),
      ),
      ...['qmcp.CopyToAIManaged', 'qmcp.RunInAIManaged'].map((service) => `${service} -> ro`),
    ].sort(),
  );
});

test('is shipped in mode compat, so that installing takes nothing away from what an operator has', () => {
  const includes = (SHIPPED.get(MODE_FILE) ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(includes).toEqual(['!include include/qmcp-compat']);
});

test('every block of rules stands under a comment that says why', () => {
  for (const [path, text] of SHIPPED) {
    let explained = false;
    for (const [index, line] of text.split('\n').entries()) {
      if (line === '') explained = false;
      else if (line.startsWith('#')) explained = true;
      else expect(explained, `${path}:${index + 1}`).toBe(true);
    }
  }
});

test('the commented options are rules that the grammar admits', () => {
  const options = [...SHIPPED.values()].flatMap((text) => text.split('\n')).filter((line) => /^#[a-z]/.test(line));
  expect(options).toHaveLength(11);
  const opened = new Map([...SHIPPED].map(([path, text]) => [path, text.replace(/^#(?=[a-z])/gm, '')]));
  expect(rulesOf(opened)).toHaveLength(rulesOf(SHIPPED).length + options.length);
});

test('the commented mesh lets qubes of the tiers exec and above copy to each other unasked, and nobody else', () => {
  const meshed = rulesOf(
    new Map([...SHIPPED].map(([path, text]) => [path, text.replace(/^#(?=qubes\.Filecopy)/gm, '')])),
  );
  const copy = (source: string, target: string): string =>
    outcome(meshed, { service: 'qubes.Filecopy', source, target }).action;
  for (const source of ['exec', 'net', 'full']) {
    for (const target of ['exec', 'net', 'full']) {
      if (source !== target) expect(copy(source, target)).toBe('allow');
    }
    expect(copy(source, 'ro')).toBe('ask');
    expect(copy('ro', source)).toBe('ask');
    expect(copy(source, 'untagged')).toBe('deny');
  }
});
