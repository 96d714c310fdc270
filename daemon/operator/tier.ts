// qmcpctl tier: which qubes agents have, and how much of each.
import { capabilitiesOf, tierOf } from '../authority/capabilities.ts';
import { isListed } from '../authority/guarded.ts';
import { isTombstoneMarker } from '../authority/tombstone.ts';
import { tagged } from '../control/answers.ts';
import { TIER_WORDS, type TierWord } from '../control/protocol.ts';
import { tierWord } from '../control/tier-tags.ts';
import { isQubeName } from '../names.ts';
import { openSettings } from '../settings/open.ts';
import { Absent, askDaemon } from './ask-daemon.ts';
import { DONE, FAILED, group, Refusal, UsageError, verb } from './command.ts';
import { type FleetQube, readFleet } from './fleet.ts';
import { JSON_OPTION } from './places.ts';
import { type Cell, tableOf } from './table.ts';

const show = verb(
  {
    name: 'qmcpctl tier show',
    summary: 'which tier qubes have, and what that grants',
    operands: '[QUBE...]',
    words: ['qube'],
    about: [
      'Lists the qubes that carry a tag of ours with their tier: dump (agents only copy in), ro (they are seen and read), ' +
        'exec (programs are run in them), net (their firewall is changed), full (everything that the broker does), each ' +
        'with all of the ones before it. What a qube without a tier tag grants is for the mode to say: ro in mode ' +
        'least-privilege, full in mode compat; see qmcpctl mode.',
    ],
    options: {
      all: { type: 'boolean', default: false, text: 'also those that agents do not have' },
      ...JSON_OPTION,
    },
    examples: [['qmcpctl tier show', 'A table of the qubes that agents have.']],
    json:
      '[{"name", "klass", "tier": "none" or "dump" or "ro" or "exec" or "net" or "full", "effective": tier or null,\n' +
      '  "capabilities": [word], "guarded": bool, "tags": [tag]}]',
  },
  async (values, operands, io) => {
    const settings = openSettings(values.etc, io.now, { policyDir: values.policy }).current();
    const fleet = await readFleet(values.qubesd, { properties: false });
    const unknown = operands.filter((name) => !fleet.some((qube) => qube.name === name));
    if (unknown.length > 0) throw new Refusal(`There is no qube ${unknown.join(', ')}.`);
    const qubes = fleet.filter(({ name, klass, tags }) =>
      operands.length > 0
        ? operands.includes(name)
        : klass !== 'AdminVM' && (values.all || tierWord(tags ?? new Set()) !== 'none'),
    );
    const rows = qubes.map((qube) => {
      const tags = qube.tags ?? new Set<string>();
      return {
        name: qube.name,
        klass: qube.klass,
        tier: tierWord(tags),
        effective: tierOf(tags, settings.tierDefault),
        capabilities: [...capabilitiesOf(tags, settings.tierDefault)],
        guarded: isListed(qube, settings.guarded) || tags.has('qmcp-guarded'),
        tags: ownTags(qube),
      };
    });
    if (values.json) await io.out(`${JSON.stringify(rows)}\n`);
    else if (rows.length === 0) await io.out('Agents have no qube yet. To give them one: qmcpctl tier set QUBE TIER\n');
    else {
      const cells = rows.map(({ name, klass, tier, effective, capabilities, guarded }): Cell[] => [
        name,
        klass,
        tier,
        tier === 'ro' && effective === 'full' ? { text: 'full (mode compat)', tone: 'warn' } : (effective ?? 'none'),
        capabilities.join(' ') || 'nothing',
        guarded ? 'guarded' : '',
      ]);
      await io.out(tableOf(['QUBE', 'KLASS', 'TIER', 'GRANTS', 'CAPABILITIES', ''], cells, io));
    }
    return DONE;
  },
);

/** Those that mean something to the broker. */
const ownTags = ({ tags }: FleetQube): string[] =>
  [...(tags ?? [])].filter((tag) => /^(?:ai-|qmcp-|anon-vm$)/.test(tag)).sort();

const set = verb(
  {
    name: 'qmcpctl tier set',
    summary: 'put qubes on a tier, or out of the reach of agents',
    operands: 'QUBE... TIER',
    words: ['qube'],
    about: [
      `TIER is one of ${TIER_WORDS.join(', ')}; none takes the qube away from agents. The tags are written by the daemon, ` +
        'in an order in which they never grant more than before or after, read back, and written down in the journal. A qube ' +
        'that is in quarantine (qmcpctl doctor) is let out of it by any tier that agents can use; look at its network first.',
      'In mode compat ro is refused, because a managed qube without a tier tag grants everything there.',
    ],
    options: {
      force: { type: 'boolean', default: false, text: 'also where the tier grants more than it says' },
      ...JSON_OPTION,
    },
    examples: [['qmcpctl tier set ai-work ai-build exec', 'Agents may run programs in the two, and no more.']],
    json: '[{"name", "uuid", "tier", "effective": tier or null, "added": [tag], "removed": [tag], "released": bool}]',
    exits: ['if all qubes have the tier', 'if one has not'],
  },
  async (values, operands, io) => {
    const tier = operands.at(-1) as TierWord | undefined;
    const names = operands.slice(0, -1);
    if (tier === undefined || !TIER_WORDS.includes(tier)) {
      throw new UsageError(`The last word is the tier: ${TIER_WORDS.join(', ')}.`);
    }
    if (names.length === 0) throw new UsageError('Say which qube.');
    const bad = names.find((name) => !isQubeName(name));
    if (bad !== undefined) throw new UsageError('One of these cannot be the name of a qube.');
    const done: object[] = [];
    let failed = 0;
    for (const name of names) {
      try {
        const result = await askDaemon(values.run, 'tier', { name, tier, force: values.force }, tagged, io);
        done.push(result);
        if (!values.json) await io.out(doneText(result));
      } catch (error) {
        if (!(error instanceof Refusal) || names.length === 1) throw error;
        if (error instanceof Absent && done.length + failed === 0) throw error;
        failed += 1;
        io.err(`${error.message}\n`);
        // What one qube runs into, the others would too.
        if (error instanceof Absent) break;
      }
    }
    if (values.json) await io.out(`${JSON.stringify(done)}\n`);
    return failed === 0 ? DONE : FAILED;
  },
);

const doneText = ({ name, tier, effective, added, removed, released }: ReturnType<typeof tagged.parse>): string => {
  const changes = [...added.map((tag) => `+${tag}`), ...removed.map((tag) => `-${tag}`)].join(' ');
  const grants = effective === null || effective === tier ? '' : ` and grants ${effective}`;
  return `${name} ${changes === '' ? 'already had' : 'has'} the tier ${tier}${grants}${changes === '' ? '' : ` (${changes})`}.\n${released ? `${name} is out of quarantine: agents have it now.\n` : ''}`;
};

/** Whether the qube is one that was removed and not destroyed yet. */
export const isTombstone = ({ tags }: Pick<FleetQube, 'tags'>): boolean => [...(tags ?? [])].some(isTombstoneMarker);

export const tier = group('qmcpctl tier', 'show and set how much agents may do with each qube', { show, set });
