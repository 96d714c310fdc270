/**
 * `npm run rpm`: makes build/rpm/qmcp-broker-<version>-<rel>.x86_64.rpm and its checksums beside it. The same sources, lockfile
 * and rpm give the same bytes, in whatever directory.
 *
 *   node packaging/rpm.ts [--out DIR] [--compile | --sources]
 *
 * --compile takes nothing that was built here before: node-gtk is compiled once more, as a builder without network does.
 * --sources makes only what Qubes builder wants to download: node_modules without anything that was built here.
 * SOURCE_DATE_EPOCH (seconds since 1970) is the time that everything inside bears; by default that of the last commit.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { execa } from 'execa';

const root = fileURLToPath(new URL('..', import.meta.url));
const NAME = 'qmcp-broker';

/** What the package is built from, beside node_modules. What is not there yet is left out. */
const SOURCES = [
  ...['daemon', 'packaging', 'policy', 'qrexec-services'],
  ...['package.json', 'package-lock.json', 'LICENSE', 'README.md', 'SECURITY.md', 'CHANGELOG.md'],
];
/** Made on each machine, or of no use to a build. */
const LEFT_OUT = ['daemon/dialog/types', 'node_modules/node-gtk/build', 'node_modules/node-gtk/lib/binding/built-for'];
/** Development packages that the bundler is. */
const BUNDLER = /^node_modules\/(?:esbuild|@esbuild\/linux-x64)$/;

export interface Built {
  /** The package. */
  readonly rpm: string;
  /** SHA-256 of its bytes, in hexadecimal digits. */
  readonly sha256: string;
  /** Everything that rpmbuild said. */
  readonly log: string;
}

/** node-gtk's binding in the archive of node_modules. */
type Binding = 'as built here' | 'left out';

/** Builds the package below `out`, which is emptied first. Rejects with what rpmbuild said when it fails. */
export const buildRpm = async (out: string, binding: Binding = 'as built here'): Promise<Built> => {
  const { version, rel, time } = await release();
  const [top, sources] = [join(out, 'rpmbuild'), join(out, 'rpmbuild/SOURCES')];
  await rm(out, { recursive: true, force: true });
  await mkdir(sources, { recursive: true });
  await archiveSources(join(sources, `${NAME}-${version}.tar.gz`), `${NAME}-${version}`, time);
  await archiveVendor(join(sources, `${NAME}-vendor-${version}.tar.gz`), time, binding);
  const spec = join(top, `${NAME}.spec`);
  await writeFile(spec, await specText(version, rel, time));
  const log = await rpmbuild(top, spec, time);
  const file = `${NAME}-${version}-${rel}.x86_64.rpm`;
  const rpm = join(out, file);
  await copyFile(join(top, 'RPMS/x86_64', file), rpm);
  await rm(top, { recursive: true });
  const sha256 = createHash('sha256')
    .update(await readFile(rpm))
    .digest('hex');
  await writeFile(join(out, 'SHA256SUMS'), `${sha256}  ${file}\n`);
  // A signature changes the file but not this, by which a signed package can be compared with one's own build.
  const { stdout: header } = await execa('rpm', [
    '-qp',
    '--dbpath',
    out,
    '--nosignature',
    '--qf',
    '%{SHA256HEADER}',
    rpm,
  ]);
  await writeFile(join(out, 'HEADER-SHA256'), `${header}  ${file}\n`);
  return { rpm, sha256, log };
};

const release = async (): Promise<{ version: string; rel: string; time: number }> => {
  const [version, rel] = await Promise.all(['version', 'rel'].map((name) => firstLine(join(root, 'packaging', name))));
  if (!version || !rel) throw new Error('packaging/version and packaging/rel have to hold one line each.');
  const text = process.env.SOURCE_DATE_EPOCH ?? (await lastCommitTime());
  if (!/^[0-9]{1,11}$/.test(text)) {
    throw new Error('There is no last commit to take the time from. Set SOURCE_DATE_EPOCH to seconds since 1970.');
  }
  return { version, rel, time: Number(text) };
};

const firstLine = async (path: string): Promise<string> => (await readFile(path, 'utf8')).split('\n', 1)[0] ?? '';

const lastCommitTime = async (): Promise<string> =>
  (await execa('git', ['log', '-1', '--format=%ct'], { cwd: root, reject: false })).stdout ?? '';

const archiveSources = async (file: string, top: string, time: number): Promise<void> => {
  const there = new Set(await readdir(root));
  const names = SOURCES.filter((name) => there.has(name));
  await archive(file, names, time, [`--transform=flags=r;s|^|${top}/|`]);
};

/** The packages of the lockfile that are needed at run time, to build node-gtk, or to bundle. */
const archiveVendor = async (file: string, time: number, binding: Binding): Promise<void> => {
  const { packages } = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  const names = Object.entries(packages)
    .filter(([path, { dev }]) => path !== '' && (!dev || BUNDLER.test(path)))
    .map(([path]) => path)
    // A package inside another one comes along with it.
    .filter((path) => path.lastIndexOf('node_modules/') === 0);
  const without = binding === 'left out' ? ['--exclude=node_modules/node-gtk/lib/binding'] : [];
  await archive(file, names, time, without);
};

// Modes too: git keeps only the executable bit, and the rest is the umask's of whoever cloned.
const archive = async (file: string, names: readonly string[], time: number, options: string[]): Promise<void> => {
  const constant = [
    '--sort=name',
    `--mtime=@${time}`,
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=u=rwX,go=rX',
  ];
  const without = LEFT_OUT.map((path) => `--exclude=${path}`);
  const tar = execa('tar', ['-C', root, '--create', ...constant, ...without, ...options, '--', ...names], {
    encoding: 'buffer',
    stdout: 'pipe',
  });
  await tar.pipe('gzip', ['-n', '-1'], { stdout: { file }, encoding: 'buffer' });
};

const specText = async (version: string, rel: string, time: number): Promise<string> => {
  const template = await readFile(join(root, 'packaging/rpm_spec', `${NAME}.spec.in`), 'utf8');
  const [day, date, month, year] = new Date(time * 1_000).toUTCString().replace(',', '').split(' ');
  const changes = `* ${day} ${month} ${date} ${year} ${NAME} maintainers - ${version}-${rel}\n- See CHANGELOG.md.`;
  return template.replaceAll('@VERSION@', version).replaceAll('@REL@', rel).replaceAll('@CHANGELOG@', changes);
};

const rpmbuild = async (top: string, spec: string, time: number): Promise<string> => {
  const macros = [`_topdir ${top}`, `_dbpath ${top}/rpmdb`, `nodedir ${dirname(dirname(process.execPath))}`];
  const defines = macros.flatMap((macro) => ['--define', macro]);
  // --nodeps: the build requirements are Fedora's names, and bootstrap.sh has seen to what is needed here.
  const { all } = await execa('rpmbuild', ['-bb', '--nodeps', ...defines, spec], {
    env: {
      PATH: [dirname(process.execPath), '/usr/bin', '/bin', '/usr/sbin', '/sbin'].join(delimiter),
      HOME: top,
      LC_ALL: 'C.UTF-8',
      TZ: 'UTC',
      SOURCE_DATE_EPOCH: `${time}`,
    },
    extendEnv: false,
    all: true,
  });
  return all ?? '';
};

const main = async (): Promise<void> => {
  process.umask(0o022);
  const options = {
    out: { type: 'string', default: join(root, 'build/rpm') },
    compile: { type: 'boolean' },
    sources: { type: 'boolean' },
  } as const;
  const { values } = parseArgs({ options });
  const out = resolve(values.out);
  if (!values.sources) {
    const { rpm, sha256 } = await buildRpm(out, values.compile ? 'left out' : 'as built here');
    console.log(`${rpm}\nSHA-256 ${sha256}`);
    return;
  }
  const { version, time } = await release();
  const file = join(out, `${NAME}-vendor-${version}.tar.gz`);
  await mkdir(out, { recursive: true });
  await archiveVendor(file, time, 'left out');
  console.log(
    `${file}\nSHA-512 ${createHash('sha512')
      .update(await readFile(file))
      .digest('hex')}`,
  );
};

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(`The package could not be built. ${error.message}`);
    process.exitCode = 1;
  });
}
