// Tags that contradict each other, and qubes that lead out of the agents' world.
import { DUMP_TAG, ELEVATIONS, GUARD_TAG, UMBRELLA_TAG } from '../../authority/tables.ts';
import { isTombstoneMarker } from '../../authority/tombstone.ts';
import { isManaged } from '../../qube.ts';
import type { Settings } from '../../settings/settings.ts';
import { distance } from '../command.ts';
import { USUAL_AGENT } from '../explain.ts';
import type { FleetQube } from '../fleet.ts';
import { type Check, error, type Finding, note, warning } from './finding.ts';

const AGENT_TAG = 'mcp-agent';
const OURS = [UMBRELLA_TAG, DUMP_TAG, GUARD_TAG, AGENT_TAG, 'anon-vm', ...ELEVATIONS.map(([tag]) => tag)];

export const tagsCheck: Check = async ({ fleet, settings }) => tagFindings(await fleet(), settings);

export const tagFindings = (fleet: readonly FleetQube[], settings: Pick<Settings, 'namePrefix'>): Finding[] => {
  const managed = new Set<string>(fleet.filter(isManaged).map(({ name }) => name));
  return [
    ...fleet.flatMap((qube) => qubeFindings(qube, settings)),
    ...wayOutFindings(fleet, managed),
    ...agentFindings(fleet),
  ];
};

const qubeFindings = (qube: FleetQube, { namePrefix }: Pick<Settings, 'namePrefix'>): Finding[] => {
  const { name, klass, tags } = qube;
  if (tags === null)
    return [error(`The tags of ${name} cannot be read, so the broker takes it for unmanaged.`, `qvm-tags ${name}`)];
  const isManagedQube = tags.has(UMBRELLA_TAG);
  const tiers = ELEVATIONS.filter(([tag]) => tags.has(tag));
  const [highest] = tiers;
  const markers = [...tags].filter(isTombstoneMarker);
  const found: Finding[] = [];
  if (klass === 'AdminVM' && isManagedQube)
    found.push(error('dom0 is tagged ai-managed.', `qvm-tags ${name} del ai-managed`));
  if (isManagedQube && tags.has(DUMP_TAG)) {
    found.push(
      error(
        `${name} is managed and a dump (ai-dump) at once, so what is copied into the dump can come back out.`,
        `qvm-tags ${name} del ai-dump`,
      ),
    );
  }
  if (tiers.length > 1 && highest) {
    found.push(
      warning(
        `${name} has several tiers (${tiers.map(([tag]) => tag).join(', ')}); the highest counts.`,
        `qmcpctl tier set ${name} ${highest[1]}`,
      ),
    );
  }
  if (!isManagedQube && highest) {
    found.push(
      warning(
        `${name} has a tier (${highest[0]}) and is not managed, so it grants nothing.`,
        `qmcpctl tier set ${name} ${highest[1]}, or: qmcpctl tier set ${name} none`,
      ),
    );
  }
  if (isManagedQube && markers.length > 0) {
    found.push(
      error(
        `${name} has the marker of a tombstone and is managed, so nobody destroys it and agents still have it.`,
        `qvm-tags ${name} del ${markers.join(' ')}`,
      ),
    );
  }
  if (!isManagedQube && markers.length > 0 && !markers.some((tag) => /_[0-9]+$/.test(tag))) {
    found.push(
      warning(
        `The tombstone ${name} has no date, so it is never destroyed.`,
        `qmcpctl tombstones restore ${name}, or: qmcpctl tombstones reap ${name}`,
      ),
    );
  }
  if (!isManagedQube && markers.length === 0 && klass !== 'AdminVM' && name.startsWith(namePrefix)) {
    found.push(
      note(
        `${name} is not managed, but its name begins with ${namePrefix}: an agent that tries to create it learns that it is there.`,
        `qmcpctl tier set ${name} TIER, or give it another name`,
      ),
    );
  }
  for (const tag of tags) {
    const near = OURS.find((each) => each !== tag && distance(each, tag) === 1);
    if (near && !OURS.includes(tag)) {
      found.push(
        warning(
          `${name} has the tag ${tag}, which means nothing. Is ${near} meant?`,
          `qvm-tags ${name} del ${tag}; qvm-tags ${name} add ${near}`,
        ),
      );
    }
  }
  return found;
};

/** By their network, or by disposables that programs in them could ask for. Who gives network is the way out on purpose. */
const wayOutFindings = (fleet: readonly FleetQube[], managed: ReadonlySet<string>): Finding[] => {
  const unread = fleet.filter((qube) => isManaged(qube) && qube.properties === null).map(({ name }) => name);
  const found =
    unread.length === 0
      ? []
      : [
          warning(
            `The properties of ${listed(unread)} could not be read, so where they lead is unknown.`,
            `qvm-prefs ${unread[0]}`,
          ),
        ];
  return [
    ...found,
    ...outside(fleet, managed, 'netvm').map(([netvm, names]) =>
      warning(
        `${listed(names)} ${isAre(names)} managed and ${names.length === 1 ? 'has its' : 'have their'} network from ${netvm}, which is not.`,
        forEach(names, "qvm-prefs NAME netvm ''"),
      ),
    ),
    ...outside(fleet, managed, 'default_dispvm').map(([template, names]) =>
      warning(
        `${listed(names)} ${isAre(names)} managed, and ${names.length === 1 ? 'its' : 'their'} disposables would be made of ${template}, which is not.`,
        forEach(names, "qvm-prefs NAME default_dispvm ''"),
      ),
    ),
  ];
};

/** Qubes that are not managed, and the managed ones whose property names them. */
const outside = (
  fleet: readonly FleetQube[],
  managed: ReadonlySet<string>,
  property: 'netvm' | 'default_dispvm',
): [string, string[]][] => {
  const by = new Map<string, string[]>();
  for (const { name, properties } of fleet) {
    const other = properties?.get(property)?.text ?? '';
    if (other === '' || managed.has(other)) continue;
    if (property === 'netvm' && properties?.get('provides_network')?.text === 'True') continue;
    by.set(other, [...(by.get(other) ?? []), name]);
  }
  return [...by];
};

const listed = (names: readonly string[]): string =>
  names.length > 3 ? `${names.slice(0, 3).join(', ')} and ${names.length - 3} more` : names.join(', ');
const isAre = (names: readonly string[]): string => (names.length === 1 ? 'is' : 'are');

const forEach = (names: readonly string[], command: string): string =>
  names.length === 1
    ? command.replace('NAME', names[0] as string)
    : `for qube in ${names.join(' ')}; do ${command.replace('NAME', '"$qube"')}; done`;

const agentFindings = (fleet: readonly FleetQube[]): Finding[] => {
  const agents = fleet.filter(({ name, tags }) => name === USUAL_AGENT || tags?.has(AGENT_TAG));
  if (agents.length === 0) {
    return [
      note(
        `No qube may call the broker: there is neither ${USUAL_AGENT} nor one tagged ${AGENT_TAG}.`,
        `qvm-tags QUBE add ${AGENT_TAG}`,
      ),
    ];
  }
  return agents
    .filter(isManaged)
    .map(({ name }) =>
      warning(`${name} is where agents run, and they manage it themselves.`, `qmcpctl tier set ${name} none`),
    );
};
