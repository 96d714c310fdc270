// A repository of empty packages that offer what dom0's offer, to see against which of them ours would be installed.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

export interface Stub {
  readonly epoch?: number;
  readonly version: string;
  readonly provides?: readonly string[];
}

/** The packages of dom0's Fedora 41 and of Qubes OS 4.3 that ours leans on, each with what ours finds in it. */
export const DOM0: Readonly<Record<string, Stub>> = {
  nodejs: { epoch: 1, version: '22.20.0', provides: ['/usr/bin/node'] },
  bash: { version: '5.2.32', provides: ['/bin/sh'] },
  glibc: {
    version: '2.40',
    provides: [
      ...['libc.so.6()(64bit)', 'libm.so.6()(64bit)', 'rtld(GNU_HASH)'],
      // Every version of the interface up to its own.
      ...['2.2.5', '2.3', '2.3.4', '2.4', '2.14', '2.17', '2.28', '2.29', '2.32', '2.33', '2.34', '2.38'].flatMap(
        (version) => ['libc.so.6', 'libm.so.6'].map((name) => `${name}(GLIBC_${version})(64bit)`),
      ),
    ],
  },
  libgcc: { version: '14.2.1', provides: ['libgcc_s.so.1()(64bit)', 'libgcc_s.so.1(GCC_3.0)(64bit)'] },
  'libstdc++': {
    version: '14.2.1',
    provides: [
      'libstdc++.so.6()(64bit)',
      ...['1.3', '1.3.5', '1.3.8', '1.3.9', '1.3.11', '1.3.13'].map((it) => `libstdc++.so.6(CXXABI_${it})(64bit)`),
      ...['', '.9', '.11', '.14', '.15', '.18', '.20', '.21', '.22', '.26', '.29', '.30', '.32'].map(
        (it) => `libstdc++.so.6(GLIBCXX_3.4${it})(64bit)`,
      ),
    ],
  },
  glib2: { version: '2.82.2', provides: ['libglib-2.0.so.0()(64bit)', 'libgobject-2.0.so.0()(64bit)'] },
  'gobject-introspection': { version: '1.82.0', provides: ['libgirepository-1.0.so.1()(64bit)'] },
  cairo: { version: '1.18.2', provides: ['libcairo.so.2()(64bit)'] },
  gtk3: { version: '3.24.43' },
  systemd: { version: '256.15' },
  'shadow-utils': { epoch: 2, version: '4.15.1' },
  'qubes-core-dom0': { version: '4.3.20' },
  'qubes-core-qrexec-dom0': { version: '4.3.8' },
  'qubes-core-admin-client': { version: '4.3.20' },
};

/** Makes the packages and their index in `directory`. */
export const makeRepository = async (directory: string, stubs: Readonly<Record<string, Stub>>): Promise<void> => {
  await mkdir(directory, { recursive: true });
  const head =
    'Name: none\nVersion: 1\nRelease: 1\nSummary: none\nLicense: MIT\nBuildArch: noarch\n%description\nnone\n';
  const spec = join(directory, 'stubs.spec');
  await writeFile(spec, head + Object.entries(stubs).map(sectionOf).join(''));
  const macros = [`_topdir ${directory}`, `_dbpath ${directory}/db`];
  await execa('rpmbuild', ['-bb', '--quiet', ...macros.flatMap((macro) => ['--define', macro]), spec]);
  await execa('createrepo_c', ['--quiet', directory]);
};

const sectionOf = ([name, { epoch, version, provides = [] }]: [string, Stub]): string =>
  [
    `%package -n ${name}`,
    'Summary: none',
    `Version: ${version}`,
    ...(epoch === undefined ? [] : [`Epoch: ${epoch}`]),
    ...provides.map((offer) => `Provides: ${offer}`),
    `%description -n ${name}`,
    'none',
    `%files -n ${name}`,
    '',
  ].join('\n');

/** Whether dnf would install the package into an empty root from that repository; if not, what it says is missing. */
export const resolve = async (rpm: string, repository: string, root: string): Promise<'resolved' | string> => {
  await mkdir(join(root, 'log'), { recursive: true });
  const settings = [`cachedir=${root}/cache`, `logdir=${root}/log`, 'install_weak_deps=0', 'gpgcheck=0'];
  const { all = '' } = await execa(
    'dnf',
    [
      ...[`--installroot=${root}`, '--releasever=41', '--forcearch=x86_64', '--assumeno', '--color=never'],
      ...[`--repofrompath=dom0,file://${repository}`, '--repo=dom0'],
      ...settings.map((setting) => `--setopt=${setting}`),
      ...['install', rpm],
    ],
    { reject: false, all: true, env: { LC_ALL: 'C.UTF-8' } },
  );
  const missing = [...all.matchAll(/nothing provides (.+?) needed by/g)].map(([, what]) => what);
  if (missing.length > 0) return [...new Set(missing)].sort().join(', ');
  return /^ qmcp-broker +x86_64 /m.test(all) && all.includes('Operation aborted') ? 'resolved' : all;
};
