// The package as `npm run rpm` builds it, built once for all of these; the installed machine is test/install.
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { DOM0, makeRepository, resolve, type Stub } from './rpm-repository.ts';
import { buildFrom, copySources, PROJECT } from './sources.ts';

const TIME = 1_790_000_000;
const PATIENCE_MS = 180_000;
const RPM = 'qmcp-broker-0.1.0-1.x86_64.rpm';

let place: string;
/** The package, and its files below a root. */
let rpm: string;
let root: string;

const build = async (out: string, umask: string): Promise<Buffer> => {
  await buildFrom(join(place, 'sources'), out, TIME, umask);
  return readFile(join(out, RPM));
};

const query = async (format: string): Promise<string[]> => {
  const { stdout } = await execa('rpm', ['-qp', '--dbpath', join(place, 'db'), '--queryformat', format, rpm]);
  return stdout.split('\n').filter((line) => line !== '');
};

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), 'qmcp-rpm-'));
  await copySources(join(place, 'sources'));
  await build(join(place, 'built'), '022');
  rpm = join(place, 'built', RPM);
  root = join(place, 'root');
  await mkdir(root);
  await execa('sh', ['-c', 'rpm2cpio "$0" | cpio --quiet --extract --make-directories', rpm], { cwd: root });
}, PATIENCE_MS);
afterAll(() => rm(place, { recursive: true, force: true }));

test(
  'a second build, in another directory and under another umask, gives the same bytes',
  async () => {
    const again = await build(join(place, 'a/second/time'), '077');
    expect(again.equals(await readFile(rpm))).toBe(true);
  },
  PATIENCE_MS,
);

test('the checksum beside the package is its own', async () => {
  const { stdout } = await execa('sha256sum', ['--check', 'SHA256SUMS'], { cwd: dirname(rpm) });
  expect(stdout).toBe(`${RPM}: OK`);
});

describe('signing', () => {
  const sign = (...words: string[]) =>
    execa('packaging/sign.sh', words, { cwd: PROJECT, env: { GNUPGHOME: join(place, 'gnupg') }, reject: false });
  beforeAll(async () => {
    await mkdir(join(place, 'gnupg'), { mode: 0o700 });
    const make = [
      '--batch',
      '--passphrase',
      '',
      '--quick-generate-key',
      'Release <release@example.org>',
      'ed25519',
      'sign',
    ];
    await execa('gpg', make, { env: { GNUPGHOME: join(place, 'gnupg') } });
  });
  afterAll(() => execa('gpgconf', ['--kill', 'all'], { env: { GNUPGHOME: join(place, 'gnupg') } }));

  it('gives a package that the public key beside it verifies, with the same header as the one that was built', async () => {
    const { exitCode, stdout } = await sign('release@example.org', rpm, join(place, 'signed'));
    expect(exitCode).toBe(0);
    const header = await readFile(join(place, 'built/HEADER-SHA256'), 'utf8');
    expect(stdout).toContain(`Header SHA-256 ${header.split(' ')[0]}`);
    const database = ['--dbpath', join(place, 'signed/db')];
    await execa('rpmkeys', [...database, '--import', join(place, 'signed/RPM-GPG-KEY-qmcp-broker')]);
    const checked = await execa('rpmkeys', [...database, '--checksig', join(place, 'signed', RPM)]);
    expect(checked.stdout).toMatch(/: digests signatures OK$/);
  });

  it('leaves nothing behind when the key is not there', async () => {
    const { exitCode } = await sign('nobody@example.org', rpm, join(place, 'unsigned'));
    expect(exitCode).not.toBe(0);
    expect(await readdir(join(place, 'unsigned'))).not.toContain(RPM);
  });

  it('replaces nothing', async () => {
    await sign('release@example.org', rpm, join(place, 'once'));
    const { exitCode, stderr } = await sign('release@example.org', rpm, join(place, 'once'));
    expect(exitCode).toBe(1);
    expect(stderr).toContain('is there already');
  });
});

test('rpmlint finds nothing that has no reason', async () => {
  const settings = join(PROJECT, 'packaging/rpm_spec/rpmlint.toml');
  const { stdout } = await execa('rpmlint', ['-c', settings, rpm], { reject: false });
  expect(stdout.split('\n').filter((line) => / [EW]: /.test(line))).toEqual([]);
  expect(stdout).toContain('0 errors, 0 warnings');
});

describe('the files', () => {
  // Pages and completion are generated, and come and go with what generates them.
  const isGenerated = (path: string): boolean => /^\/usr\/share\/(man|bash-completion)\//.test(path);
  const filesWith = (fields: string) => query(`[%{FILENAMES} ${fields}\n]`);

  it('are those of the table, with its owners, modes and kinds', async () => {
    const files = await filesWith(
      '%{FILEMODES:perms} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILEFLAGS:fflags} %{FILELINKTOS}',
    );
    const rows = files.filter((line) => !isGenerated(line)).map((line) => line.trimEnd());
    const head =
      '# Path, mode, owner, group, flags (c config, n noreplace, g ghost, d doc, l licence), target of a link.\n';
    await expect(`${head}${rows.sort().join('\n')}\n`).toMatchFileSnapshot('rpm-files.txt');
  });

  it('are writable by nobody but root, save the policy, which is the operator’s too', async () => {
    const writable = (await filesWith('%{FILEMODES:octal} %{FILEGROUPNAME}'))
      .map((line) => line.split(' '))
      .filter(([, mode]) => !mode?.startsWith('12') && (Number.parseInt(mode ?? '', 8) & 0o022) !== 0);
    const paths = writable.map(([path, , group]) => `${path} ${group}`);
    expect(paths.filter((path) => !path.startsWith('/etc/qubes/policy.d/'))).toEqual(['/run/qmcp qubes']);
  });

  it('that are generated are plain text for everybody', async () => {
    const modes = (await filesWith('%{FILEMODES:perms} %{FILEUSERNAME}'))
      .filter(isGenerated)
      .map((line) => line.split(' ', 2)[1]);
    expect(new Set(modes).size).toBeLessThanOrEqual(1);
  });

  it('carry no trace of the machine they were built on', async () => {
    const words = [PROJECT.replace(/\/$/, ''), place, 'rpmbuild'];
    const found = await execa('grep', ['-rlF', ...words.flatMap((word) => ['-e', word]), root], { reject: false });
    expect(found.stdout).toBe('');
  });

  it('do not own directories of other packages, nor state, nor the journal', async () => {
    const paths = (await filesWith('')).map((line) => line.trimEnd());
    for (const path of [
      '/etc/qubes',
      '/etc/qubes/policy.d',
      '/etc/qubes/policy.d/include',
      '/etc/qubes-rpc',
      '/usr/bin',
    ]) {
      expect(paths).not.toContain(path);
    }
    expect(paths.filter((path) => path.startsWith('/var/'))).toEqual([]);
  });
});

describe('what is inside', () => {
  interface Bill {
    readonly components: readonly { name: string; version: string; licenses: [{ license: { id: string } }] }[];
  }
  const bill = async (): Promise<Bill> =>
    JSON.parse(await readFile(join(root, 'usr/share/doc/qmcp-broker/sbom.cdx.json'), 'utf8'));

  it('is said by the package as by the bill of materials', async () => {
    const bundled = (await bill()).components.map(({ name, version }) => `bundled(npm(${name})) = ${version}`);
    const provided = await query('[%{PROVIDENAME} = %{PROVIDEVERSION}\n]');
    expect(provided.filter((line) => line.startsWith('bundled(')).sort()).toEqual(bundled.sort());
  });

  it('has no licence that the package does not name', async () => {
    const licenses = (await bill()).components.map(({ licenses: [{ license }] }) => license.id);
    const [named = ''] = await query('%{LICENSE}\n');
    expect([...new Set(['MIT', ...licenses])].sort()).toEqual(named.split(' AND ').sort());
  });

  it('comes with the text of every licence', async () => {
    const texts = await readFile(join(root, 'usr/share/licenses/qmcp-broker/LICENSES.txt'), 'utf8');
    for (const { name, version } of (await bill()).components) {
      const beside = join(root, 'usr/lib/qmcp-broker/node_modules', name, 'LICENSE');
      const text = await readFile(beside, 'utf8').catch(() => texts.split(`${name} ${version}, `)[1] ?? '');
      expect(text.length, name).toBeGreaterThan(500);
    }
  });

  it('is the daemon without anything native: it runs where addons are forbidden', async () => {
    const daemon = join(root, 'usr/lib/qmcp-broker/qmcp-brokerd.mjs');
    const unit = await readFile(join(root, 'usr/lib/systemd/system/qmcp-brokerd.service'), 'utf8');
    const flags = /^ExecStart=\/usr\/bin\/node (.*) \S+$/m.exec(unit)?.[1]?.split(' ') ?? [];
    expect(flags).toEqual(expect.arrayContaining(['--jitless', '--no-addons']));
    const { exitCode, stderr } = await execa(process.execPath, [...flags, daemon, '--nonsense'], { reject: false });
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^qmcp-brokerd: Unknown option '--nonsense'/);
  });

  it.each(['qmcpctl', 'qmcp-confirm'])('is %s, which finds itself through its link', async (name) => {
    const { stdout } = await execa(process.execPath, [join(root, 'usr/bin', name), '--help']);
    expect(stdout).toContain(name);
    expect((await readFile(join(root, 'usr/bin', name), 'utf8')).startsWith('#!/usr/bin/node\n')).toBe(true);
  });

  it('is all that the dialog needs of node-gtk', async () => {
    const dialog = join(root, 'usr/lib/qmcp-broker/qmcp-confirm.cjs');
    const load = `require('node:module').createRequire(${JSON.stringify(dialog)})('node-gtk')`;
    const ask = `const gi = ${load}; for (const it of ['Gtk', 'Gdk']) gi.require(it, '3.0'); gi.require('Pango', '1.0');`;
    const { stdout } = await execa(process.execPath, [
      '-e',
      `${ask} console.log(gi.require('Gtk', '3.0').MAJOR_VERSION)`,
    ]);
    expect(stdout).toBe('3');
    expect(createRequire(dialog).resolve('node-gtk')).toContain(root);
  });
});

describe('dnf', () => {
  const tries: [string, Record<string, Stub>, string][] = [
    ['installs it on dom0 of Qubes OS 4.3', {}, 'resolved'],
    [
      'refuses it with Node 20, whose epoch is the same',
      { nodejs: { ...DOM0.nodejs, epoch: 1, version: '20.19.0' } },
      'nodejs >= 1:22',
    ],
    ['refuses it with Node 24', { nodejs: { ...DOM0.nodejs, epoch: 1, version: '24.1.0' } }, 'nodejs < 1:23'],
    [
      'refuses it on Qubes OS 4.2, which knows no uuids',
      { 'qubes-core-dom0': { version: '4.2.35' } },
      'qubes-core-dom0 >= 4.3',
    ],
    ['refuses it with a systemd that knows less of the sandbox', { systemd: { version: '247' } }, 'systemd >= 248'],
  ];
  it.each(tries)(
    '%s',
    async (title, changed, wanted) => {
      const repository = join(place, 'repositories', title.replaceAll(/\W/g, ''));
      await makeRepository(repository, { ...DOM0, ...changed });
      expect(await resolve(rpm, repository, join(repository, 'root'))).toBe(wanted);
    },
    60_000,
  );
});

describe('before the installation', () => {
  /** The scriptlet on a machine with these files, where users are made by a program that writes down how. */
  const preinstall = async (files: readonly string[], { count = 1, groups = 'qubes' } = {}) => {
    const machine = await mkdtemp(join(place, 'machine-'));
    for (const file of files) {
      await mkdir(join(machine, dirname(file)), { recursive: true });
      if (file.endsWith('Status')) await symlink('../../run/qmcp/qrexec.sock', join(machine, file));
      else await writeFile(join(machine, file), '');
    }
    const stub = `getent() { case $2 in ${groups || '-'}) ;; *) return 2 ;; esac; }
groupadd() { echo "groupadd $*"; }
useradd() { echo "useradd $*"; }
`;
    const { stdout: script } = await execa('rpm', ['-qp', '--dbpath', join(place, 'db'), '--qf', '%{PREIN}', rpm]);
    const here = script.replaceAll(/(?<=[\s"])\/(etc|usr\/local)\//g, `${machine}/$1/`);
    const result = await execa('sh', ['-c', stub + here, 'pre', `${count}`], { reject: false });
    return { ...result, stderr: result.stderr.replaceAll(machine, '') };
  };

  it('a user is made that is in no group but its own', async () => {
    const { exitCode, stdout } = await preinstall([]);
    expect(exitCode).toBe(0);
    expect(stdout.split('\n')).toEqual([
      'groupadd -r qmcp',
      'useradd -r -g qmcp -d /var/lib/qmcp -M -s /usr/sbin/nologin -c qmcp broker qmcp',
    ]);
  });

  it('a user that is there is left as it is', async () => {
    expect(await preinstall([], { groups: 'qubes|qmcp' })).toMatchObject({ exitCode: 0, stdout: '' });
  });

  it.each([
    '/etc/qubes-rpc/qmcp.LifecycleAIManaged',
    '/etc/qubes-rpc/qmcp_consent.py',
    '/etc/qubes/policy.d/30-mcp-control.policy',
    '/usr/local/lib/qmcp/qmcp-consentd',
    '/etc/systemd/system/qmcp-tombstone-reaper.timer',
    '/etc/tmpfiles.d/qmcp.conf',
  ])('%s of another implementation stops it, with what to do', async (file) => {
    const { exitCode, stdout, stderr } = await preinstall([file]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain(file.replace('/qmcp-consentd', ''));
    expect(stderr).toContain('sudo node qmcpctl.mjs migrate');
  });

  it('a link of our own does not stop it, nor does an existing /etc/qmcp', async () => {
    expect((await preinstall(['/etc/qubes-rpc/qmcp.Status', '/etc/qmcp/pool-cap'])).exitCode).toBe(0);
  });

  it('an upgrade is never stopped: it may carry a security fix', async () => {
    expect((await preinstall(['/etc/qubes-rpc/qmcp.LifecycleAIManaged'], { count: 2 })).exitCode).toBe(0);
  });

  it('a machine that is not dom0 is told so', async () => {
    const { exitCode, stderr } = await preinstall([], { groups: '' });
    expect(exitCode).toBe(1);
    expect(stderr).toContain('This package is for dom0 of Qubes OS.');
  });
});

describe('the units', () => {
  it('of the system are understood by systemd to the last word', async () => {
    const machine = join(place, 'units');
    await cp(root, machine, { recursive: true, verbatimSymlinks: true });
    await execa('cp', ['-rn', '/usr/lib/systemd/system/.', join(machine, 'usr/lib/systemd/system')], { reject: false });
    await cp('/bin/true', join(machine, 'usr/bin/node'), { dereference: true });
    const units = ['qmcp-brokerd.service', 'qmcp-brokerd.socket'];
    const { all } = await execa('systemd-analyze', ['verify', `--root=${machine}`, '--man=no', ...units], {
      all: true,
    });
    expect(all).toBe('');
  });

  it('of the user are understood by systemd to the last word', async () => {
    const units = join(place, 'user-units');
    await cp(join(root, 'usr/lib/systemd/user'), units, { recursive: true });
    const service = join(units, 'qmcp-confirm@.service');
    await writeFile(service, (await readFile(service, 'utf8')).replace('/usr/bin/qmcp-confirm', '/bin/true'));
    const { all } = await execa(
      'systemd-analyze',
      ['--user', 'verify', '--man=no', join(units, 'qmcp-confirm.socket')],
      {
        all: true,
        env: { XDG_RUNTIME_DIR: place },
      },
    );
    expect(all).toBe('');
  });

  it('of the daemon leave an exposure of 0.5 at most', async () => {
    const unit = join(root, 'usr/lib/systemd/system/qmcp-brokerd.service');
    const { stdout } = await execa('systemd-analyze', ['security', '--offline=true', '--threshold=5', unit]);
    expect(Number(/Overall exposure level for \S+: ([0-9.]+)/.exec(stdout)?.[1])).toBeLessThanOrEqual(0.5);
  });

  it('are enabled by presets, since dom0 disables what none names', async () => {
    const preset = (kind: string) =>
      readFile(join(root, `usr/lib/systemd/${kind}-preset/80-qmcp-broker.preset`), 'utf8');
    expect(await preset('system')).toMatch(/^enable qmcp-brokerd\.socket\nenable qmcp-brokerd\.service$/m);
    expect(await preset('user')).toBe('enable qmcp-confirm.socket\n');
  });
});

test('its version is that of the project', async () => {
  const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8'));
  expect(await readFile(join(PROJECT, 'packaging/version'), 'utf8')).toBe(`${version}\n`);
  expect(await query('%{VERSION}-%{RELEASE}.%{ARCH}\n')).toEqual([`${version}-1.x86_64`]);
});
