// The policy as a table for a reviewer: who may call what on what, in both modes. TABLE.md beside this file is it.
import { INTENDED } from './contract.ts';
import { evaluate, type Outcome } from './evaluate.ts';
import { FLEET, SOURCES, TARGETS } from './fleet.ts';
import { alone, MODES, type Mode } from './ours.ts';
import type { Rule } from './rules.ts';
import { ALL, OURS, UNHEARD_OF } from './services.ts';

/** What our files alone say, in a word; `-` where they say nothing. */
export const cell = (rules: readonly Rule[], service: string, source: string, target: string): string => {
  const called = target === 'self' ? source : target;
  return wordFor(evaluate(rules, FLEET, { service, source, target: called }));
};

const wordFor = (outcome: Outcome): string => {
  if (outcome.rule === null) return '-';
  const { action, params } = outcome.rule;
  const to = params.target === '@adminvm' ? ' in dom0' : params.target ? ` in ${params.target}` : '';
  return `${outcome.action === 'deny' ? 'deny' : action}${outcome.action === 'deny' ? '' : to}${
    params.user ? ` as ${params.user}` : ''
  }`;
};

type Grid = readonly { readonly services: readonly string[]; readonly cells: readonly string[] }[];

/** Services whose rows are equal share one. */
const gridOf = (rules: readonly Rule[], source: string): Grid => {
  const rows = new Map<string, string[]>();
  for (const service of ALL) {
    const key = TARGETS.map((target) => cell(rules, service, source, target)).join('|');
    rows.set(key, [...(rows.get(key) ?? []), service]);
  }
  return [...rows].map(([key, services]) => ({ services, cells: key.split('|') }));
};

/** Targets that no row of the grid tells apart share a column. */
const columnsOf = (grid: Grid): readonly { readonly names: readonly string[]; readonly index: number }[] => {
  const columns = new Map<string, { names: string[]; index: number }>();
  for (const [index, name] of TARGETS.entries()) {
    const key = grid.map(({ cells }) => cells[index]).join('|');
    const same = columns.get(key);
    if (same) same.names.push(name);
    else columns.set(key, { names: [name], index });
  }
  return [...columns.values()];
};

const markdownOf = (grid: Grid): string => {
  const columns = columnsOf(grid);
  const head = ['', ...columns.map(({ names }) => names.join(', '))];
  const rest = grid.filter(({ services }) => isRest(services));
  const lines = [...grid.filter(({ services }) => !isRest(services)), ...rest].map(({ services, cells }) => [
    isRest(services) ? '**everything else**' : shownServices(services),
    ...columns.map(({ index }) => cells[index] ?? ''),
  ]);
  return [head, head.map(() => '---'), ...lines].map((fields) => `| ${fields.join(' | ')} |`).join('\n');
};

/** The row of the services that no rule names is the row of everything that has none of its own. */
const isRest = (services: readonly string[]): boolean => UNHEARD_OF.every((name) => services.includes(name));

const shownServices = (services: readonly string[]): string => {
  const others = services.filter((name) => !OURS.includes(name));
  const all = services.length - others.length === OURS.length;
  return [...(all ? [`the broker's ${OURS.length} services`] : []), ...(all ? others : services)].join(', ');
};

const sourcesAlike = (mode: Mode): readonly { readonly sources: readonly string[]; readonly grid: Grid }[] => {
  const rules = alone(mode);
  const alike = new Map<string, { sources: string[]; grid: Grid }>();
  for (const source of SOURCES) {
    const grid = gridOf(rules, source);
    const key = JSON.stringify(grid);
    const same = alike.get(key);
    if (same) same.sources.push(source);
    else alike.set(key, { sources: [source], grid });
  }
  return [...alike.values()];
};

const sectionOf = (mode: Mode): string =>
  sourcesAlike(mode)
    .map(({ sources, grid }) => {
      const silent = grid.every(({ cells }) => cells.every((each) => each === '-'));
      const title = `### Mode ${mode}: calls of ${sources.join(', ')}`;
      return `${title}\n\n${silent ? 'No rule of ours: the platform decides.' : markdownOf(grid)}\n`;
    })
    .join('\n');

export const tableText = (): string => `# What the policy says

Made by test/policy/policy.test.ts from the files in policy/; the test fails while this file says something else. To make it
anew: \`npm test -- test/policy -u\`.

\`-\` means that no rule of ours matches, so the platform's own policy decides. \`in dom0\` is \`target=@adminvm\`: the call is
answered by dom0 and not by the qube it names. Rows and columns that say the same are one.

The qubes are named for their kind. \`ro\`, \`exec\`, \`net\`, \`full\` are managed qubes of that tier, \`guarded\` carries
\`qmcp-guarded\` as well, \`anon\` is behind Tor, \`stray\` has a tier without the umbrella, \`managed-dump\` has both tags by
mistake, \`agent\` carries \`mcp-agent\`, \`managed-agent\` is an agent that is tagged as managed by mistake, \`self\` is the caller.

The broker's services are ${OURS.join(', ')}.

${MODES.map(sectionOf).join('\n')}
## Where the contract's section 7 says something else

Everything else of that section is as it says, in mode compat with the lines marked (c), in mode least-privilege without.

${INTENDED.map(({ from, to, why }) => `- \`${from}\` became \`${to}\`: ${why}`).join('\n')}
- Not in section 7, and new: the qubes tagged \`mcp-agent\`; the six services that came later; \`qubes.FeaturesRequest\` to dom0
  and \`qubes.GetDate\` without a target, which the platform allows to every qube; qubes that carry \`qmcp-guarded\`; agents among
  each other; everything that managed qubes call beside \`qubes.Filecopy\`; every service out of a dump.

## What the policy cannot say

- A tier tag without \`ai-managed\` (\`stray\`) grants what the tier grants, since a policy cannot ask for two tags. The broker refuses
  such a qube, no caller can set tags, and \`qmcpctl doctor\` names it.
- In mode compat a qube with \`ai-exec\` still takes firewall changes over \`admin.vm.firewall.Set\`, as before; the broker refuses them
  over \`qmcp.SetFirewallAIManaged\`. Mode least-privilege ends that.
- The operator's file \`guarded\` is out of sight: the tag \`qmcp-guarded\` is what the policy goes by.
- Ceilings, patterns, hours and quotas of principals hold for the broker's services alone: over \`qmcp.RunInAIManaged\`,
  \`qmcp.CopyToAIManaged\` and \`admin.vm.firewall.*\` every program in an agents' qube is the same caller.
- On some releases a tag was seen not to match a disposable. A managed disposable that calls is then held by the platform's rules
  alone, and one that is called is denied. What it inherits at birth (network, no default disposable) holds all the same.
`;
