// The users and groups that the broker stands on.
import { type Check, error, type Finding, type Machine } from './finding.ts';
import { textOf } from './sockets.ts';

export interface Accounts {
  /** The daemon's own user. */
  readonly qmcp: { readonly uid: number } | null;
  readonly qubes: { readonly gid: number; readonly members: readonly string[] } | null;
}

/** From the files of accounts; dom0 has no others. */
export const accountsOf = ({ system }: Pick<Machine, 'system'>): Accounts => {
  const user = entry(textOf(system('/etc/passwd')), 'qmcp');
  const group = entry(textOf(system('/etc/group')), 'qubes');
  return {
    qmcp: user && { uid: Number(user[2]) },
    qubes: group && { gid: Number(group[2]), members: (group[3] ?? '').split(',').filter(Boolean) },
  };
};

const entry = (text: string | null, name: string): string[] | null =>
  text
    ?.split('\n')
    .map((line) => line.split(':'))
    .find((fields) => fields[0] === name && /^[0-9]{1,10}$/.test(fields[2] ?? '')) ?? null;

export const accountsCheck: Check = async (machine) => {
  const { qmcp, qubes } = accountsOf(machine);
  const found: Finding[] = [];
  if (qubes === null) found.push(error('There is no group qubes, so this is not dom0 of Qubes OS.', null));
  if (qmcp === null) {
    found.push(
      error(
        'There is no user qmcp, which the daemon runs as.',
        'sudo qubes-dom0-update --action=reinstall qmcp-broker',
      ),
    );
  }
  // dom0's tools take the first member for the person at the desktop, and sudo gives the group everything.
  if (qubes?.members.includes('qmcp')) {
    found.push(
      error(
        'The user qmcp is a member of the group qubes in /etc/group, which makes it root by sudo.',
        'sudo gpasswd -d qmcp qubes',
      ),
    );
  }
  return found;
};
