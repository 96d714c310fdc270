// What an operator writes: settings, principals, and the policy that qrexec decides by.
import assert from 'node:assert/strict';
import { isQubeName } from '../../../daemon/names.ts';
import { parsePrincipal } from '../../../daemon/principals/file.ts';
import { COMPLAINTS_MAX, FILE_NAMES, type FileName, parseSettings } from '../../../daemon/settings/files.ts';
import { complaintText, type Settings } from '../../../daemon/settings/settings.ts';
import { decidingRule, evaluate } from '../../policy/evaluate.ts';
import { SHIPPED } from '../../policy/ours.ts';
import { type Files, PolicySyntaxError, type Rule, rulesOf } from '../../policy/rules.ts';
import { enrolled, unsignedFile } from '../../principals/signing.ts';
import { headed, PRINTABLE, plain } from '../target.ts';

export const settingsTarget = plain(
  {
    name: 'settings',
    what: 'one operator file: a setting within its type whatever it holds, and complaints that a terminal can be shown',
    words: [...FILE_NAMES.map((name) => `${name}\n`), '# ', 'uuid:', ' : ', '*'],
    seeds: [
      'tier-default\nro # as told\n',
      'birth-ceiling\nai-exec\n',
      'birth-egress\nsys-firewall\n',
      'guarded\nvault\nuuid:d49d109d-f7e2-48c6-87d6-d9d126423911\n',
      'pool-cap\n1099511627776\n',
      'consent-policy\nLifecycle : remove\n*\nx:*\n',
      'consent-timeout\n99999999999999999999\n',
      'features-allowed\nservice.*\nmenu-items\n',
      'confirm.pub\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n',
      'policy\n!include include/qmcp-compat\n',
      'enforce-mode\r\nSTRICT\r\n',
    ],
  },
  (input) => {
    const [head, bytes] = headed(input);
    const name = FILE_NAMES.find((each) => each === head.trim()) ?? null;
    const source = { kind: 'text', text: bytes.toString('utf8') } as const;
    const sources = new Map<FileName, typeof source>(name ? [[name, source]] : []);
    const policy = name ? null : { path: '/etc/qubes/policy.d/include/qmcp-mode', source };
    const settings = parseSettings(sources, policy);
    checkSettings(settings);
    assert.deepEqual(parseSettings(sources, policy), settings);
    assert.ok(settings.complaints.length <= COMPLAINTS_MAX + 1);
    for (const complaint of settings.complaints) assert.match(complaintText('/etc/qmcp', complaint), PRINTABLE);
  },
);

const checkSettings = (settings: Settings): void => {
  assert.ok(['full', 'ro'].includes(settings.tierDefault));
  assert.ok(['none', 'ro', 'exec', 'net', 'full'].includes(settings.birthCeiling));
  assert.ok(settings.birthEgress === null || isQubeName(settings.birthEgress));
  for (const number of [settings.poolCap, settings.privateCap, settings.tombstoneRetention]) {
    assert.ok(number === null || (Number.isSafeInteger(number) && number >= 0));
  }
  assert.ok(settings.consentTimeoutSeconds >= 5 && settings.consentTimeoutSeconds <= 340);
  assert.match(settings.namePrefix, /^[A-Za-z0-9][A-Za-z0-9-]{0,15}$/);
  assert.ok(['shadow', 'strict', 'enforce'].includes(settings.enforceMode));
  for (const asked of settings.consentPolicy.asked) assert.match(asked, /^[*A-Za-z0-9_.-]+:[*A-Za-z0-9_-]+$/);
  for (const guarded of settings.guarded.names) assert.ok(isQubeName(guarded));
  const { names, prefixes } = settings.featuresAllowed;
  for (const feature of [...names, ...prefixes]) assert.match(feature, /^[A-Za-z0-9_.-]+$/);
  assert.ok(settings.confirmKey === null || settings.confirmKey.length === 32);
  // A file that was not understood never opens anything.
  if (settings.complaints.length > 0)
    assert.ok(settings.poolCap === null || settings.complaints[0]?.file !== 'pool-cap');
};

export const principalFileTarget = plain(
  {
    name: 'principal-file',
    what: 'a file of the registry: a principal whose every limit is within its type, or a sentence about the file',
    words: [
      'Europe/Berlin',
      'mon-fri 08:00-18:00',
      '"changes"',
      '"zone"',
      '"hours"',
      'sun-sat 00:00-24:00',
      '"owned_only"',
    ],
    seeds: [
      enrolled(),
      unsignedFile(),
      enrolled({
        names: ['ai-*', 'work'],
        owned_only: true,
        risks: ['read'],
        per_hour: { calls: 5 },
        total: { qubes: 1 },
      }),
      enrolled({ changes: { zone: 'Europe/Berlin', hours: ['mon-fri 08:00-18:00', 'sat 22:00-02:00'] } }),
    ],
  },
  (input) => {
    const found = parsePrincipal('p', input.toString('utf8'));
    if ('sentence' in found) {
      assert.match(found.sentence, PRINTABLE);
      assert.ok(found.sentence.length < 400);
      return;
    }
    assert.equal(found.name, 'p');
    assert.ok(found.sources === null || [...found.sources].every(isQubeName));
    assert.ok(found.key === null || Buffer.from(found.key, 'base64').length === 32);
    assert.ok(found.key === null || found.sources !== null);
    const { calls, questions, qubes, bytes } = found.limits;
    for (const limit of [calls, questions, qubes, bytes]) assert.ok(limit === null || Number.isSafeInteger(limit));
  },
);

const DOMAINS = {
  'mcp-control': { type: 'AppVM', tags: [], default_dispvm: 'dvm' },
  'ai-work': { type: 'AppVM', tags: ['ai-managed', 'ai-exec'] },
  vault: { type: 'AppVM', tags: [] },
  dvm: { type: 'AppVM', tags: ['ai-managed'], template_for_dispvms: true },
  '@adminvm': { type: 'AdminVM' },
};
const TARGETS = [
  '',
  'dom0',
  '@adminvm',
  'ai-work',
  'vault',
  'no-such',
  '@dispvm',
  '@dispvm:dvm',
  '@dispvm:vault',
  'mcp-control',
];
const SERVICES = ['qmcp.ListAIManagedQubes', 'qubes.VMShell', 'admin.vm.List'];

export const policyTarget = plain(
  {
    name: 'policy',
    what: 'policy files: rules or a syntax error; dom0 is no @anyvm, no rule is a no, later rules change no allow or deny',
    words: [
      '@anyvm',
      '@adminvm',
      '@default',
      '@dispvm',
      '@tag:ai-managed',
      '@type:AppVM',
      ' allow',
      ' ask',
      ' deny',
      ' target=',
    ],
    seeds: [
      ...[...SHIPPED.values()].map((text) => text.replaceAll(/^#.*\n/gm, '')),
      '* * @anyvm @anyvm deny\nqmcp.ListAIManagedQubes * mcp-control @adminvm allow target=@adminvm\n',
      'qubes.VMShell +x @tag:ai-managed @default ask default_target=dvm notify=yes\n',
      '!include include/qmcp-mode\n* * * @dispvm:@tag:ai-managed allow user=root\n',
    ],
  },
  (input) => {
    const text = input.toString('utf8');
    const files: Files = new Map([...SHIPPED, ['32-qmcp.policy', text]]);
    let rules: readonly Rule[];
    try {
      rules = rulesOf(files);
    } catch (error) {
      if (!(error instanceof PolicySyntaxError)) throw error;
      return;
    }
    const own = rules.filter(({ file }) => file === '32-qmcp.policy');
    const written = own.map((rule) => `${ruleText(rule)}\n`).join('');
    const again = rulesOf(new Map([['32-qmcp.policy', written]]));
    assert.deepEqual(again.map(withoutPlace), own.map(withoutPlace), 'rules are written as they were read');
    for (const service of SERVICES) for (const target of TARGETS) checkOutcome(rules, service, target);
  },
);

const checkOutcome = (rules: readonly Rule[], service: string, target: string): void => {
  const request = { service, source: 'mcp-control', target };
  const outcome = evaluate(rules, DOMAINS, request);
  assert.equal(decidingRule(rules, DOMAINS, request), outcome.rule);
  if (outcome.rule === null) assert.equal(outcome.action, 'deny');
  else if (outcome.action !== 'ask') {
    const shorter = rules.slice(0, rules.indexOf(outcome.rule) + 1);
    assert.deepEqual(evaluate(shorter, DOMAINS, request), outcome, 'the first rule that matches decides');
  }
  if (outcome.rule && (target === 'dom0' || target === '@adminvm')) assert.notEqual(outcome.rule.target, '@anyvm');
  if (outcome.action === 'allow') assert.notEqual(outcome.target, 'mcp-control');
};

const ruleText = ({ service, argument, source, target, action, params }: Rule): string =>
  [
    service ?? '*',
    argument ?? '*',
    source,
    target,
    action,
    ...Object.entries(params).map(([key, value]) => `${key}=${value}`),
  ].join(' ');
const withoutPlace = ({ file: _, line: __, ...rule }: Rule) => rule;
