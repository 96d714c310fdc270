// Who may read and write the broker's files.
import { readdirSync, type Stats } from 'node:fs';
import { join } from 'node:path';
import { FILE_NAMES } from '../../settings/files.ts';
import { accountsOf } from './accounts.ts';
import { type Check, CLOSED, error, type Finding, type Machine } from './finding.ts';
import { modeOf, statOf } from './sockets.ts';

export const modesCheck: Check = async (machine) => {
  const { etc, state, log } = machine;
  const uid = accountsOf(machine).qmcp?.uid ?? null;
  const found = etcFindings(etc);
  for (const directory of [state, log]) {
    const stat = statOf(directory);
    if (stat === null)
      found.push(error(`The directory ${directory} is missing.`, 'sudo systemctl restart qmcp-brokerd'));
    else if ((stat.mode & 0o077) !== 0) found.push(open(directory, stat, '700'));
    else if (uid !== null && stat.uid !== uid) {
      found.push(
        error(
          `${directory} is not the user qmcp's, so the daemon cannot write there.`,
          `sudo chown -R qmcp:qmcp ${directory}`,
        ),
      );
    }
  }
  return isClosed(state) ? [...found, CLOSED] : [...found, ...keyFindings(machine)];
};

const etcFindings = (etc: string): Finding[] => {
  const directory = statOf(etc);
  if (directory === null) return [error(`The settings directory ${etc} is missing.`, 'sudo qmcpctl init --apply')];
  const found: Finding[] = [];
  if ((directory.mode & 0o022) !== 0) found.push(writable(etc, directory, '755'));
  for (const name of FILE_NAMES) {
    const path = join(etc, name);
    const stat = statOf(path);
    if (stat === null) continue;
    if ((stat.mode & 0o022) !== 0) found.push(writable(path, stat, '644'));
    // The daemon is neither root nor of root's group.
    else if ((stat.mode & 0o004) === 0) {
      found.push(
        error(`${path} has the mode ${modeOf(stat)}, so the daemon cannot read it.`, `sudo chmod 644 ${path}`),
      );
    }
  }
  return found;
};

const writable = (path: string, stat: Stats, mode: string): Finding =>
  error(
    `${path} has the mode ${modeOf(stat)}: others than root decide what agents may do.`,
    `sudo chmod ${mode} ${path}`,
  );

const open = (path: string, stat: Stats, mode: string): Finding =>
  error(`${path} has the mode ${modeOf(stat)}: other users get in.`, `sudo chmod ${mode} ${path}`);

const keyFindings = ({ state }: Machine): Finding[] => {
  const path = join(state, 'journal.key');
  const stat = statOf(path);
  return stat !== null && (stat.mode & 0o077) !== 0 ? [open(path, stat, '600')] : [];
};

export const isClosed = (directory: string): boolean => {
  try {
    readdirSync(directory);
    return false;
  } catch (failure) {
    return ['EACCES', 'EPERM'].includes((failure as NodeJS.ErrnoException).code ?? '');
  }
};
