// What the implementation that was in use before us has on a machine: scripts under the names of our services, their
// libraries, a policy that would decide before ours, a reaper that would destroy tombstones beside ours, a consent daemon.
// Only looks.
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** A file, directory or link of it. */
export interface Remain {
  /** Absolute, on the machine that it is about: without the root that was looked below. */
  readonly path: string;
  /** In a few words, for a list. */
  readonly what: string;
}

interface Place {
  /** A `*` stands for every directory there. */
  readonly dir: string;
  readonly name: RegExp;
  readonly what: string;
}

/** What our own package puts where a script of theirs may be. */
export const OUR_LINK = '../../run/qmcp/qrexec.sock';

// Our own units have these names, also where an operator overrides them below /etc.
const UNIT = /^qmcp-(?!brokerd\b|confirm\b)[a-z-]+\.(?:service|timer|socket)$/;
const CONSENT = /^qmcp-consent\.service$/;

/** In the order in which they are moved: what can be called first. */
const PLACES: readonly Place[] = [
  { dir: '/etc/qubes-rpc', name: /^qmcp\.[A-Za-z0-9]+$/, what: 'the script of a service' },
  { dir: '/etc/qubes/policy.d', name: /^30-mcp-control\.policy$/, what: 'a policy that decides before ours' },
  { dir: '/etc/qubes-rpc', name: /^qmcp_[A-Za-z0-9_]+\.py$/, what: 'a library of the scripts' },
  { dir: '/etc/qubes-rpc/__pycache__', name: /^qmcp_.+\.pyc$/, what: 'a library of the scripts' },
  { dir: '/etc/systemd/system', name: UNIT, what: 'a unit' },
  { dir: '/etc/systemd/system/*', name: UNIT, what: 'what starts a unit' },
  { dir: '/home/*/.config/systemd/user', name: CONSENT, what: "the consent daemon's unit" },
  { dir: '/home/*/.config/systemd/user/*', name: CONSENT, what: "what starts the consent daemon's unit" },
  { dir: '/etc/tmpfiles.d', name: /^qmcp\.conf$/, what: 'the directory of its sockets' },
  { dir: '/usr/local/lib', name: /^qmcp$/, what: 'its programs' },
  { dir: '/usr/local/bin', name: /^qmcp(?:-gui)?$/, what: 'a command' },
  { dir: '/usr/share/applications', name: /^qubes-mcp\.desktop$/, what: 'an entry of the menu' },
];

/** All of it below a root (`/` for this machine). Rejects where a directory can be seen but not read. */
export const remainsBelow = async (root: string): Promise<Remain[]> => {
  const found: Remain[] = [];
  for (const { dir, name, what } of PLACES) {
    for (const directory of await matching(root, dir)) {
      for (const each of await namesIn(join(root, directory))) {
        const path = join(directory, each);
        if (name.test(each) && !(await isOurs(join(root, path)))) found.push({ path, what });
      }
    }
  }
  return found;
};

/** The directories that a pattern stands for. */
const matching = async (root: string, pattern: string): Promise<string[]> => {
  const [before = '', ...after] = pattern.split('/*');
  if (after.length === 0) return [before];
  const inside = await Promise.all(
    (await namesIn(join(root, before)))
      .toSorted()
      .map((name) => matching(root, `${join(before, name)}${after.join('/*')}`)),
  );
  return inside.flat();
};

const namesIn = async (directory: string): Promise<string[]> => {
  try {
    // Not through a link: what it leads to is not theirs to have and not ours to move.
    return (await lstat(directory)).isDirectory() ? (await readdir(directory)).toSorted() : [];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
};

const isOurs = async (path: string): Promise<boolean> => {
  try {
    return (await readlink(path)) === OUR_LINK;
  } catch {
    return false;
  }
};
