// The operator files: what is not understood, what is understood and can never take effect, and what is missing.
import { readdirSync } from 'node:fs';
import { SERVICES } from '../../authority/tables.ts';
import { Registry } from '../../principals/registry.ts';
import { isManaged } from '../../qube.ts';
import { FILE_NAMES } from '../../settings/files.ts';
import { complaintText, type Settings } from '../../settings/settings.ts';
import { nearest, printable } from '../command.ts';
import type { FleetQube } from '../fleet.ts';
import { type Check, error, type Finding, note, warning } from './finding.ts';

/** Of other implementations and of qmcpctl itself. */
const KNOWN_OTHERS: ReadonlySet<string> = new Set(['principals', 'backups', 'budget.lock']);

export const ENROL = 'sudo qmcpctl config set confirm.pub "$(qmcp-confirm --enroll)"';

export const settingsCheck: Check = async ({ etc, settings, now }) => {
  const complaints = [...settings.complaints, ...new Registry(etc, { now }).complaints];
  return [
    ...complaints.map((each) => error(complaintText(etc, each), mendOf(each.file, etc))),
    ...strayFindings(etc),
    ...unmatchable(settings).map((entry) =>
      warning(
        `The entry ${printable(entry)} in consent-policy never matches: there is no such service or action.`,
        'sudo qmcpctl config set consent-policy ...',
      ),
    ),
    ...(settings.confirmKey === null && !complaints.some(({ file }) => file === 'confirm.pub')
      ? [error('There is no key for answers, so no question can be answered yes. As the user of the desktop:', ENROL)]
      : []),
    ...(settings.poolCap === null && !complaints.some(({ file }) => file === 'pool-cap')
      ? [note('There is no pool cap, so agents cannot create qubes.', 'sudo qmcpctl config set pool-cap 50GiB')]
      : []),
  ];
};

const mendOf = (file: string, etc: string): string => {
  if (file === 'tier-default' || file.startsWith('/')) return 'sudo qmcpctl mode least-privilege';
  if (file.startsWith('principals/')) return `sudoedit ${etc}/${file}`;
  return file === 'principals' ? 'qmcpctl principals list' : `sudo qmcpctl config set ${file} ...`;
};

/** Files that nobody reads: mostly a setting whose name was mistyped, and so is not in force. */
const strayFindings = (etc: string): Finding[] => {
  const known: readonly string[] = FILE_NAMES;
  return entriesOf(etc)
    .filter((name) => !known.includes(name) && !KNOWN_OTHERS.has(name) && !name.startsWith('.'))
    .map((name) => {
      const near = nearest(name, known, 3);
      const path = `${etc}/${printable(name)}`;
      return near === null
        ? note(`${path} is no setting, and nobody reads it.`, `sudo mv ${path} /root/`)
        : warning(`${path} is no setting, and nobody reads it. Is ${near} meant?`, `sudo mv ${path} ${etc}/${near}`);
    });
};

const entriesOf = (directory: string): string[] => {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
};

/** The entries of a consent-policy that no call can match. */
export const unmatchable = ({ consentPolicy }: Pick<Settings, 'consentPolicy'>): string[] =>
  [...consentPolicy.asked].filter((entry) => {
    const [service = '', action = ''] = entry.split(':');
    const rules = service === '*' ? [...SERVICES.values()] : [SERVICES.get(service)];
    return !rules.some((rule) => rule?.access === 'change' && (action === '*' || rule.actions.has(action)));
  });

/** What the settings say of qubes that are not there, or not what they would have to be. */
export const qubeSettingsCheck: Check = async ({ settings, fleet }) => {
  const qubes = await fleet();
  return [...guardFindings(settings, qubes), ...egressFindings(settings, qubes)];
};

const guardFindings = ({ guarded }: Settings, qubes: readonly FleetQube[]): Finding[] => {
  const names = new Set<string>(qubes.map(({ name }) => name));
  const uuids = new Set<string>(qubes.map(({ uuid }) => uuid));
  const gone = [
    ...[...guarded.names].filter((name) => !names.has(name)),
    ...[...guarded.uuids].filter((id) => !uuids.has(id)),
  ];
  return gone.map((each) =>
    warning(
      `${each} is guarded, and there is no such qube (any more). Was it renamed?`,
      'qmcpctl config get guarded; sudo qmcpctl config set guarded ...',
    ),
  );
};

const egressFindings = ({ birthEgress }: Settings, qubes: readonly FleetQube[]): Finding[] => {
  if (birthEgress === null) return [];
  const egress = qubes.find(({ name }) => name === birthEgress);
  if (egress === undefined)
    return [
      warning(
        `birth-egress names ${birthEgress}, and there is no such qube.`,
        'sudo qmcpctl config unset birth-egress',
      ),
    ];
  return isManaged(egress)
    ? []
    : [
        warning(
          `birth-egress names ${birthEgress}, which is not managed, so it gives created qubes no network.`,
          `qmcpctl tier set ${birthEgress} ro`,
        ),
      ];
};
