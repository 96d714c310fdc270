// qmcpctl mode: what a managed qube without a tier tag grants, for the broker and for the qrexec policy together.
import { join } from 'node:path';
import { tierOf } from '../authority/capabilities.ts';
import { CAPABILITIES, type Capability } from '../authority/tables.ts';
import { tierWord } from '../control/tier-tags.ts';
import { isManaged } from '../qube.ts';
import { contentLines } from '../settings/lines.ts';
import { POLICY_MODE_FILE } from '../settings/mode.ts';
import type { PolicyMode, Settings } from '../settings/settings.ts';
import type { Change } from './change/change.ts';
import { DONE, FAILED, type Io, Refusal, UsageError, verb } from './command.ts';
import { type FleetQube, readFleet } from './fleet.ts';
import { JSON_OPTION, YES_OPTION } from './places.ts';
import { tableOf } from './table.ts';
import { seenAt, settingsWith, type Where, writeSettings } from './write-settings.ts';

const MODES = ['compat', 'least-privilege'] as const;
type Mode = (typeof MODES)[number];
const TIER_DEFAULT: Readonly<Record<Mode, 'full' | 'ro'>> = { compat: 'full', 'least-privilege': 'ro' };

export const mode = verb(
  {
    name: 'qmcpctl mode',
    summary: 'what managed qubes without a tier grant: compat or least-privilege',
    operands: '[compat|least-privilege]',
    words: [MODES],
    about: [
      'In mode compat a managed qube without a tier tag grants everything, as before there were tiers. In mode ' +
        'least-privilege it can only be read, and whatever more agents are to have is given by qmcpctl tier set.',
      'Shows which qubes lose or gain what, asks, and then writes the setting tier-default and the include of the qrexec ' +
        'policy together: both are checked first, by the parser of the platform where it is installed, and on any failure ' +
        'everything is as before. While the two disagree the broker follows the stricter one. Without an operand it says ' +
        'which mode is in force.',
    ],
    options: {
      ...YES_OPTION,
      'dry-run': { type: 'boolean', short: 'n', default: false, text: 'show what would change, and change nothing' },
      'without-policy': {
        type: 'boolean',
        default: false,
        text: 'write the setting alone, where the policy of this broker is not installed',
      },
      ...JSON_OPTION,
    },
    examples: [
      ['qmcpctl mode least-privilege --dry-run', 'Which qubes would lose what.'],
      ['sudo qmcpctl mode least-privilege', 'The same, and once you have said yes it is so.'],
    ],
    json:
      '{"mode": "compat" or "least-privilege", "policy": "compat" or "least-privilege" or "absent" or "unknown", ' +
      '"qubes": [{"name", "tier", "before": [capability], "after": [capability]}], "changed": [path], "backup": id or null}',
    exits: ['if the mode is as wanted, or without an operand if both places agree', 'if not'],
  },
  async (values, operands, io) => {
    const [wanted, surplus] = operands;
    const before = settingsWith(values, new Map(), io.now);
    if (wanted === undefined) return say(before, values.json, io);
    if (!isMode(wanted) || surplus !== undefined) throw new UsageError('Say compat or least-privilege.');

    const changes = await changesTo(wanted, before.policyMode, values['without-policy'], values);
    const policyAfter = before.policyMode === 'absent' ? 'absent' : wanted;
    const fleet = await readFleet(values.qubesd, { properties: false });
    const qubes = differences(fleet, before, { tierDefault: TIER_DEFAULT[wanted], policyMode: policyAfter });
    if (!values.json) await io.out(differenceText(wanted, qubes, io));
    if (!values['dry-run'] && !values.yes) {
      if (values.json) throw new UsageError('With --json, say --yes or --dry-run too.');
      const typed = await io.ask(`Go over to ${wanted}? [y/N] `);
      if (typed === null)
        throw new Refusal('Nobody is there to ask. Say --yes to do it without, or --dry-run to look.');
      if (!/^y(es)?$/i.test(typed.trim())) throw new Refusal('Nothing was changed.');
    }
    const changed = values['dry-run'] ? { paths: [], backup: null } : await writeSettings('mode', changes, values, io);
    if (values.json) {
      const answer = { mode: wanted, policy: policyAfter, qubes, changed: changed.paths, backup: changed.backup };
      await io.out(`${JSON.stringify(answer)}\n`);
    } else if (values['dry-run']) await io.out('Nothing was changed.\n');
    else if (changed.backup === null) await io.out(`The mode was ${wanted} already.\n`);
    else await io.out(`The mode is ${wanted}. As it was: sudo qmcpctl config restore ${changed.backup}\n`);
    return DONE;
  },
);

const isMode = (text: string): text is Mode => MODES.includes(text as Mode);

const say = async ({ tierDefault, policyMode, complaints }: Settings, json: boolean, io: Io): Promise<number> => {
  const own = tierDefault === 'full' ? 'compat' : 'least-privilege';
  const disagree = complaints.filter(({ file }) => file === 'tier-default' || file.endsWith(POLICY_MODE_FILE));
  if (json) {
    await io.out(`${JSON.stringify({ mode: own, policy: policyMode, qubes: [], changed: [], backup: null })}\n`);
  } else {
    const grants = tierDefault === 'full' ? 'everything (full)' : 'reading alone (ro)';
    const policy = policyMode === 'absent' ? '. The policy of this broker is not installed' : '';
    await io.out(`${own}: a managed qube without a tier grants ${grants}${policy}.\n`);
  }
  for (const { sentence } of disagree) io.err(`${sentence}\n`);
  return disagree.length === 0 ? DONE : FAILED;
};

/** In the order in which a crash between the two leaves the stricter one in force. Only what was shown is agreed to. */
const changesTo = async (
  wanted: Mode,
  policyMode: PolicyMode,
  withoutPolicy: boolean,
  { etc, policy }: Where,
): Promise<Change[]> => {
  const file = join(etc, 'tier-default');
  const setting: Change = { path: file, text: `${TIER_DEFAULT[wanted]}\n`, seen: await seenAt(file) };
  const path = join(policy, POLICY_MODE_FILE);
  if (policyMode === 'absent') {
    if (withoutPolicy) return [setting];
    throw new Refusal(
      `Nothing was changed: there is no ${path}, so the policy of this broker is not installed. Install it, or say --without-policy.`,
    );
  }
  if (withoutPolicy)
    throw new UsageError(`The policy is installed (${path}), so it is written too. Leave out --without-policy.`);
  const seen = await seenAt(path);
  const include: Change = { path, text: withMode(seen ?? '', wanted), seen };
  return wanted === 'least-privilege' ? [include, setting] : [setting, include];
};

/** The include with its comments, and the one line of that mode. */
const withMode = (text: string, wanted: Mode): string => {
  const content = new Set(contentLines(text).map(({ number }) => number));
  const comments = text.split('\n').filter((line, index) => !content.has(index + 1) && line.trim() !== '');
  return [...comments, `!include include/qmcp-${wanted}`, ''].join('\n');
};

interface Difference {
  readonly name: string;
  readonly tier: string;
  readonly before: readonly Capability[];
  readonly after: readonly Capability[];
}
type Setup = Pick<Settings, 'tierDefault' | 'policyMode'>;

/** The managed qubes that grant something else after than before. */
const differences = (fleet: readonly FleetQube[], before: Setup, after: Setup): Difference[] =>
  fleet
    .filter(isManaged)
    .map((qube) => ({
      name: qube.name,
      tier: tierWord(qube.tags ?? new Set()),
      before: granted(qube, before),
      after: granted(qube, after),
    }))
    .filter((each) => each.before.join() !== each.after.join());

/** By the broker or by the policy: in mode compat the policy lets agents run programs in, and set the firewall of, all managed qubes. */
const granted = ({ tags }: FleetQube, { tierDefault, policyMode }: Setup): Capability[] => {
  const tier = tierOf(tags ?? new Set(), tierDefault);
  const byPolicy: readonly Capability[] = policyMode === 'compat' ? ['exec', 'net'] : [];
  const all = new Set([...(tier === null ? [] : (CAPABILITIES.get(tier) ?? [])), ...byPolicy]);
  return (['read', 'exec', 'net', 'full'] as const).filter((each) => all.has(each));
};

const differenceText = (wanted: Mode, qubes: readonly Difference[], io: Io): string => {
  if (qubes.length === 0) return `No qube grants anything else in mode ${wanted} than now.\n`;
  const isLoss = wanted === 'least-privilege';
  const rows = qubes.map(({ name, tier, before, after }) => [
    name,
    tier,
    after.join(' '),
    (isLoss ? before.filter((each) => !after.includes(each)) : after.filter((each) => !before.includes(each))).join(
      ' ',
    ),
  ]);
  const words = 'exec: programs and files. net: the firewall. full: whatever the broker does.\n';
  return `${tableOf(['QUBE', 'TIER', 'GRANTS THEN', isLoss ? 'LOSES' : 'GAINS'], rows, io)}${words}`;
};
