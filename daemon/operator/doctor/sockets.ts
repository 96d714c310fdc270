// The sockets, and the links by which qrexec finds ours.
import { readFileSync, readlinkSync, type Stats, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { SERVICES } from '../../authority/tables.ts';
import { accountsOf } from './accounts.ts';
import { type Check, error, type Finding, type Machine } from './finding.ts';

/** Services of the broker that no table of authority has: they carry plans. */
const PLANS = ['qmcp.Prepare', 'qmcp.Commit', 'qmcp.Status', 'qmcp.Cancel'];
/** Decided by the qrexec policy, and answered in the qube. */
const NOT_OURS: ReadonlySet<string> = new Set(['qmcp.RunInAIManaged', 'qmcp.CopyToAIManaged']);

/** The services that are answered on the broker's socket. */
export const OUR_SERVICES: readonly string[] = [...SERVICES.keys(), ...PLANS]
  .filter((name) => name.startsWith('qmcp.') && !NOT_OURS.has(name))
  .sort();

const REINSTALL = 'sudo qubes-dom0-update --action=reinstall qmcp-broker';
const TMPFILES = 'sudo systemd-tmpfiles --create qmcp-broker.conf';

export const socketsCheck: Check = async (machine) => {
  const { run } = machine;
  const found: Finding[] = [];
  const gid = accountsOf(machine).qubes?.gid ?? null;
  const directory = statOf(run);
  if (!directory?.isDirectory()) return [error(`The directory ${run} is missing.`, TMPFILES)];
  if (gid !== null && (directory.gid !== gid || (directory.mode & 0o2070) !== 0o2070)) {
    found.push(
      error(`${run} is not the group's as it must be (root:qubes 2770), so the dialog cannot listen there.`, TMPFILES),
    );
  }
  if ((directory.mode & 0o007) !== 0) found.push(error(`${run} is open to every user.`, TMPFILES));
  for (const [name, mend] of [
    ['qrexec.sock', 'sudo systemctl restart qmcp-brokerd.socket qmcp-brokerd.service'],
    ['control.sock', 'sudo systemctl restart qmcp-brokerd.service'],
  ] as const) {
    const path = join(run, name);
    const stat = statOf(path);
    if (stat === null) found.push(error(`There is no ${path}.`, mend));
    else if (!stat.isSocket()) found.push(error(`${path} is not a socket.`, `sudo rm -r ${path} && ${mend}`));
    else if ((stat.mode & 0o777) !== 0o660)
      found.push(error(`${path} has the mode ${modeOf(stat)} and not 660.`, mend));
    else if (gid !== null && stat.gid !== gid) found.push(error(`${path} is not of the group qubes.`, mend));
  }
  return [...found, ...linkFindings(machine), ...configFindings(machine)];
};

const linkFindings = ({ run, system }: Machine): Finding[] => {
  const socket = join(run, 'qrexec.sock');
  const missing: string[] = [];
  const foreign: string[] = [];
  for (const name of OUR_SERVICES) {
    const path = system(`/etc/qubes-rpc/${name}`);
    const target = linkOf(path);
    if (target === null) (statOf(path) === null ? missing : foreign).push(name);
    else if (!isSameFile(resolve(dirname(path), target), socket)) foreign.push(name);
  }
  const found: Finding[] = [];
  if (missing.length > 0) {
    found.push(
      error(`Services that agents cannot call, because their links are missing: ${listed(missing)}.`, REINSTALL),
    );
  }
  if (foreign.length > 0) {
    found.push(
      error(
        `Services that something else answers than this broker: ${listed(foreign)}.`,
        'sudo qmcpctl migrate --dry-run',
      ),
    );
  }
  return found;
};

/** Settings of qrexec under which the broker cannot tell who is calling, or its replies are lost (qubes.md, "rpc-config"). */
const HARMFUL = /^\s*(skip-service-descriptor|exit-on-client-eof)\s*=\s*true\s*$/m;

const configFindings = ({ system }: Machine): Finding[] =>
  OUR_SERVICES.flatMap((name) => {
    const path = system(`/etc/qubes/rpc-config/${name}`);
    const [, key] = HARMFUL.exec(textOf(path) ?? '') ?? [];
    return key === undefined ? [] : [error(`${path} says ${key}: the service does not work so.`, `sudo rm ${path}`)];
  });

const listed = (names: readonly string[]): string =>
  names.length > 4 ? `${names.slice(0, 4).join(', ')} and ${names.length - 4} more` : names.join(', ');

const isSameFile = (a: string, b: string): boolean => {
  const [one, other] = [statOf(a), statOf(b)];
  return a === b || (one !== null && other !== null && one.ino === other.ino && one.dev === other.dev);
};

export const modeOf = ({ mode }: Pick<Stats, 'mode'>): string => (mode & 0o7777).toString(8);

export const statOf = (path: string): Stats | null => {
  try {
    return statSync(path);
  } catch {
    return null;
  }
};

const linkOf = (path: string): string | null => {
  try {
    return readlinkSync(path);
  } catch {
    return null;
  }
};

export const textOf = (path: string): string | null => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return null;
  }
};
