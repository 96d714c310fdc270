// The qrexec policy: whether ours is there, is accepted by the platform's parser, and is what decides.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isManaged } from '../../qube.ts';
import { printable } from '../command.ts';
import { USUAL_AGENT } from '../explain.ts';
import type { FleetQube } from '../fleet.ts';
import { type Check, error, type Finding, type Machine, warning } from './finding.ts';
import { decidingRule, type Probe, type Rule, rulesIn } from './policy-rules.ts';
import { OUR_SERVICES, textOf } from './sockets.ts';

const OURS = '32-qmcp.policy';
const INCLUDES = ['qmcp-mode', 'qmcp-compat', 'qmcp-least-privilege', 'qmcp-admin-deny'];
/** Of the implementation in use before: it would decide before ours. */
const EARLIER = '30-mcp-control.policy';
const LINT = 'qubes-policy-lint';
const REINSTALL = 'sudo qubes-dom0-update --action=reinstall qmcp-broker';
/** Of each kind of qube so many are tried; the rules speak of tags. */
const TRIED = 20;

export const policyCheck: Check = async ({ policy, programs }) => {
  if (textOf(join(policy, OURS)) === null) {
    return [error(`The policy is not installed: there is no ${join(policy, OURS)}.`, REINSTALL)];
  }
  const found: Finding[] = INCLUDES.filter((name) => textOf(join(policy, 'include', name)) === null).map((name) =>
    error(`${join(policy, 'include', name)} is missing, so qrexec refuses every call of every qube.`, REINSTALL),
  );
  if (textOf(join(policy, EARLIER)) !== null) {
    found.push(error(`${EARLIER} of an earlier installation decides before ${OURS}.`, 'sudo qmcpctl migrate'));
  }
  const files = [join(policy, OURS), ...INCLUDES.map((name) => join(policy, 'include', name))];
  const linted = await programs.run(LINT, files);
  if (linted.kind === 'ended' && linted.code !== 0) {
    found.push(
      error(`${LINT} does not accept the policy: ${printable(linted.out.split('\n', 1)[0] ?? '')}`, REINSTALL),
    );
  }
  return found;
};

/** Whether what ours says of the qubes that there are is what happens. */
export const policyOrderCheck: Check = async (machine) => {
  const rules = rulesOf(machine);
  const ours = rules.filter(({ top }) => top === OURS);
  if (ours.length === 0) return [];
  return orderFindings(rules, ours, await machine.fleet());
};

const rulesOf = ({ policy }: Pick<Machine, 'policy'>): Rule[] => {
  try {
    const names = readdirSync(policy).filter((name) => name <= OURS);
    return rulesIn(names, (path) => textOf(join(policy, path)));
  } catch {
    return [];
  }
};

export const orderFindings = (
  rules: readonly Rule[],
  ours: readonly Rule[],
  fleet: readonly FleetQube[],
): Finding[] => {
  const byName = new Map<string, FleetQube>(fleet.map((qube) => [qube.name, qube]));
  const shadowing = new Map<string, Finding>();
  const undecided = new Set<string>();
  for (const probe of probesOf(fleet)) {
    const rule = decidingRule(rules, probe, byName);
    const own = decidingRule(ours, probe, byName);
    // Agents may ask the broker for anything; whether they get it is its to say.
    if (own === null || (OUR_SERVICES.includes(probe.service) && own.action !== 'allow')) undecided.add(probe.service);
    else if (rule && rule.top !== OURS && rule.action !== own.action) {
      const at = `${rule.file}, line ${rule.line}`;
      if (!shadowing.has(at)) shadowing.set(at, shadowFinding(at, rule, own, probe));
    }
  }
  const found = [...shadowing.values()];
  if (undecided.size > 0) {
    const [first = ''] = undecided;
    found.push(
      error(
        `${OURS} does not let agents call ${undecided.size} of our services, ${first} for one. Was it edited?`,
        REINSTALL,
      ),
    );
  }
  return found;
};

const shadowFinding = (at: string, rule: Rule, own: Rule, { service, source, target }: Probe): Finding => {
  const call = `${service} from ${source} to ${target}`;
  const mend = `sudoedit /etc/qubes/policy.d/${rule.file}`;
  return rule.action === 'allow'
    ? error(`${at}, comes before ${OURS} and allows what that would ${verbOf(own.action)}: ${call}.`, mend)
    : warning(
        `${at}, comes before ${OURS} and does not let through what that would ${verbOf(own.action)}: ${call}.`,
        mend,
      );
};

const verbOf = (action: string): string => (['allow', 'ask', 'deny'].includes(action) ? action : 'decide otherwise');

/** Calls that ours decides: of agents to the broker and to qubes, and of managed qubes to where they have no business. */
const probesOf = (fleet: readonly FleetQube[]): Probe[] => {
  const agents = fleet.filter(({ name, tags }) => name === USUAL_AGENT || tags?.has('mcp-agent')).slice(0, TRIED);
  const managed = fleet.filter(isManaged).slice(0, TRIED);
  const others = fleet
    .filter((qube) => !isManaged(qube) && qube.klass !== 'AdminVM' && !agents.includes(qube))
    .slice(0, TRIED);
  return [
    ...agents.flatMap(({ name: source }) => OUR_SERVICES.map((service) => ({ service, source, target: '@adminvm' }))),
    ...agents.flatMap(({ name: source }) =>
      [...managed, ...others].flatMap(({ name: target }) =>
        [
          'qmcp.RunInAIManaged',
          'qmcp.CopyToAIManaged',
          'admin.vm.firewall.Set',
          'admin.vm.Remove',
          'qubes.VMShell',
        ].map((service) => ({ service, source, target })),
      ),
    ),
    ...managed.flatMap(({ name: source }) => [
      ...['qubes.VMShell', 'qubes.OpenURL'].map((service) => ({ service, source, target: '@dispvm' })),
      ...others.map(({ name: target }) => ({ service: 'qubes.VMShell', source, target })),
      { service: 'admin.vm.List', source, target: '@adminvm' },
    ]),
  ];
};
