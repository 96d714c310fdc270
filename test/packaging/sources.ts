// The package built from a copy of the sources: nobody changes a file between two builds, and a test may.
import { cp, mkdir, readdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url));

const NAMES = ['daemon', 'packaging', 'policy', 'qrexec-services', 'package.json', 'package-lock.json', 'LICENSE'];

/** Copies all that the package is built from into a directory that is made, beside the project's node_modules. */
export const copySources = async (to: string): Promise<void> => {
  await mkdir(to);
  const pages = (await readdir(PROJECT)).filter((name) => name.endsWith('.md'));
  for (const name of [...NAMES, ...pages]) {
    await cp(join(PROJECT, name), join(to, name), { recursive: true, verbatimSymlinks: true });
  }
  await symlink(join(PROJECT, 'node_modules'), join(to, 'node_modules'));
};

/** Builds the package of such a copy below `out`, as `npm run rpm` does. `time` is what everything inside bears. */
export const buildFrom = async (sources: string, out: string, time: number, umask = '022'): Promise<void> => {
  const command = `umask ${umask}; exec "$0" packaging/rpm.ts --out "$1"`;
  await execa('sh', ['-c', command, process.execPath, out], {
    cwd: sources,
    env: { SOURCE_DATE_EPOCH: `${time}` },
  });
};
