// `npm run test:install`: the package on a machine of its own, from the first installation to the last trace. Needs root.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { build as bundle } from 'esbuild';
import { DOM0, makeRepository } from '../packaging/rpm-repository.ts';
import { buildFrom, copySources, PROJECT } from '../packaging/sources.ts';
import { Machine, makeBase, mirrorOfHost, type RunOptions } from './machine.ts';
import { Person } from './person.ts';

const TIME = 1_790_000_000;
const FIRST = 'qmcp-broker-0.1.0-1.x86_64.rpm';
const SECOND = 'qmcp-broker-0.1.0-2.x86_64.rpm';
const INSIDE = '/opt/qmcp-test';
const PROGRAMS = ['qubesd', 'caller', 'probe'];
const CHANGES = '/var/log/qubesd-changes';
const PATIENCE_MS = 20_000;
/** The mode include as an operator may have left it. */
const MODE = '## The operator was here.\n!include include/qmcp-compat';

/** What an erased package may leave: state, journal, what the operator wrote, and what he edited, set aside. */
const MAY_STAY = [/^\/var\/(lib|log)\/qmcp(\/|$)/, /^\/etc\/qmcp(\/|$)/, /\.rpm(save|new)$/];
/** What comes and goes on any machine, and what this test itself brings. */
const NOT_OURS = [
  /^\/(proc|sys|dev|tmp|x11|opt|root|home)(\/|$)/,
  /^\/run\/(systemd|user|log|lock|udev|credentials|host|sudo|utmp|agetty\.reload|qubesd\.sock)/,
  /^\/var\/(lib\/(rpm|systemd|private|qmcp-migration)|log\/(journal|private|qubesd-changes|wtmp|btmp|lastlog)|tmp|cache)(\/|$)/,
  /^\/etc\/(passwd|group|shadow|gshadow|subuid|subgid)-?$/,
];

type Work = () => Promise<void>;
let passed = 0;
const step = async (title: string, work: Work): Promise<void> => {
  const started = performance.now();
  process.stdout.write(`  ${title} ... `);
  await work();
  passed += 1;
  process.stdout.write(`${((performance.now() - started) / 1_000).toFixed(1)} s\n`);
};

/** Both versions of the package: this one, and the next with another policy, another mode include and another release. */
const buildBoth = async (place: string): Promise<string[]> => {
  const sources = join(place, 'sources');
  await copySources(sources);
  await buildFrom(sources, join(place, 'first'), TIME);
  writeFileSync(join(sources, 'packaging/rel'), '2\n');
  for (const file of ['policy/32-qmcp.policy', 'policy/include/qmcp-mode']) {
    writeFileSync(join(sources, file), `## Second release.\n${readFileSync(join(sources, file), 'utf8')}`);
  }
  await buildFrom(sources, join(place, 'second'), TIME + 1);
  return [join(place, 'first', FIRST), join(place, 'second', SECOND)];
};

const main = async (place: string): Promise<void> => {
  let started = performance.now();
  const done = (what: string): void => {
    console.log(`${what} (${((performance.now() - started) / 1_000).toFixed(1)} s)`);
    started = performance.now();
  };
  const base = await makeBase(join(PROJECT, 'build/install'), mirrorOfHost());
  done('Debian 13 is there');
  const packages = await buildBoth(place);
  await makeRepository(join(place, 'dom0'), DOM0);
  await bundleInside(join(place, 'inside'));
  done('The package and its successor are built');

  const person = await Person.sitDown();
  const machine = await Machine.boot(base, (layer) => prepare(layer, place, packages)).catch(async (error) => {
    await person.leave();
    throw error;
  });
  done('The machine is up');
  try {
    await story(machine, person);
  } catch (error) {
    const { out } = await machine.try(['journalctl', '--no-pager', '--lines=200', '--output=short-monotonic']);
    const log = out.split('\n').filter((line) => !/ run-p|\(systemd-run\)/.test(line));
    console.log(`failed\n\n${log.slice(-30).join('\n')}\n`);
    throw error;
  } finally {
    await machine.off();
    await person.leave();
  }
};

const bundleInside = (outdir: string) =>
  bundle({
    absWorkingDir: PROJECT,
    entryPoints: PROGRAMS.map((name) => `test/install/inside/${name}.ts`),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    logLevel: 'warning',
  });

/** The implementation that was in use before, as far as it shows. */
const THEIRS = [
  '/etc/qubes-rpc/qmcp.LifecycleAIManaged',
  '/etc/qubes-rpc/qmcp_consent.py',
  '/etc/qubes/policy.d/30-mcp-control.policy',
  '/usr/local/lib/qmcp/qmcp-tombstone-reaper',
  '/etc/systemd/system/qmcp-tombstone-reaper.service',
  '/etc/systemd/system/qmcp-tombstone-reaper.timer',
  '/etc/tmpfiles.d/qmcp.conf',
];
const isCheckedFirst = (path: string): boolean => !/^\/usr|\.service$/.test(path);
const TIMER = '[Timer]\nOnBootSec=1h\n[Install]\nWantedBy=timers.target\n';

const QUBESD = `[Service]
ExecStart=/usr/bin/node ${INSIDE}/qubesd.mjs /run/qubesd.sock ${CHANGES}
Group=qubes
UMask=0007
`;
const QVM_DEVICE = `#!/usr/bin/python3
import socket, sys
if '--help' not in sys.argv:
    with socket.socket(socket.AF_UNIX) as qubesd:
        qubesd.connect('/var/run/qubesd.sock')
`;

/** What the machine has before the package comes: its Node, a qubesd, and a person with a secret. */
const prepare = (layer: string, place: string, packages: readonly string[]): void => {
  const put = (path: string, text: string, mode = 0o644): void => {
    mkdirSync(join(layer, path, '..'), { recursive: true });
    writeFileSync(join(layer, path), text, { mode });
  };
  mkdirSync(join(layer, 'usr/bin'), { recursive: true });
  cpSync(process.execPath, join(layer, 'usr/bin/node'));
  cpSync(join(place, 'inside'), join(layer, INSIDE), { recursive: true });
  cpSync(join(place, 'dom0/RPMS/noarch'), join(layer, INSIDE, 'dom0'), { recursive: true });
  for (const file of packages) cpSync(file, join(layer, INSIDE, basename(file)));
  put('etc/systemd/system/qubesd.service', QUBESD);
  put('usr/bin/qvm-device', QVM_DEVICE, 0o755);
  const old = join(place, 'theirs');
  for (const path of THEIRS) {
    mkdirSync(join(old, path, '..'), { recursive: true });
    writeFileSync(
      join(old, path),
      path.endsWith('.timer') ? TIMER : path.endsWith('.service') ? '[Service]\nExecStart=/bin/true\n' : '',
    );
  }
  execFileSync('tar', ['-C', old, '--owner=0', '--group=0', '-cf', join(layer, INSIDE, 'theirs.tar'), 'etc', 'usr']);
  put('etc/qmcp/pool-cap', '1099511627776 # an operator wrote this\n');
  put('etc/qmcp/consent-timeout', '60\n');
};

const story = async (machine: Machine, person: Person): Promise<void> => {
  const asRoot = (...words: string[]): Promise<string> => machine.run(words);
  const rpm = (...words: string[]): Promise<string> => machine.run(['rpm', '--dbpath', '/var/lib/rpm', ...words]);
  const session: RunOptions = { user: 'user', env: { XDG_RUNTIME_DIR: '/run/user/1000', HOME: '/home/user' } };
  const call = async (service: string, body: object, user = 'user') => {
    const words = ['node', `${INSIDE}/caller.mjs`, 'call', service, JSON.stringify(body)];
    const { out, err } = await machine.try(words, { user });
    return out === '' ? `nothing: ${err}` : JSON.parse(out);
  };
  const property = async (unit: string, name: string): Promise<string> =>
    (await asRoot('systemctl', 'show', `--property=${name}`, '--value', unit)).trim();
  const read = (path: string): string => readFileSync(machine.path(path), 'utf8');
  const changes = (): string[][] =>
    existsSync(machine.path(CHANGES))
      ? read(CHANGES)
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [];
  const files = async (): Promise<string[]> =>
    (await asRoot('find', '/', '-path', '/proc', '-prune', '-o', '-path', '/sys', '-prune', '-o', '-print'))
      .split('\n')
      .filter((path) => path !== '' && !NOT_OURS.some((pattern) => pattern.test(path)));
  const isUp = async (): Promise<boolean> => (await property('qmcp-brokerd.service', 'ActiveState')) === 'active';

  let filesBefore: readonly string[] = [];

  await step('there are people and packages as in dom0', async () => {
    await asRoot('groupadd', '--system', 'qubes');
    await asRoot('useradd', '--create-home', '--user-group', '--groups=qubes', '--uid=1000', 'user');
    await asRoot('useradd', '--create-home', '--user-group', '--uid=1001', 'guest');
    await asRoot(
      'sh',
      '-c',
      'echo hush >/home/user/secret; mkdir -p /etc/qubes-rpc /etc/qubes/policy.d/include /usr/share/licenses',
    );
    await asRoot('sh', '-c', 'mkdir -p /tmp/.X11-unix && ln -s /x11/X* /tmp/.X11-unix/');
    await asRoot('sh', '-c', `rpm --dbpath /var/lib/rpm --install ${INSIDE}/dom0/*.rpm`);
    filesBefore = await files();
  });

  let theirs: readonly string[] = [];
  await step('over another implementation the package does not install, and says what to do', async () => {
    const before = await files();
    await asRoot('tar', '-C', '/', '-xf', `${INSIDE}/theirs.tar`);
    await asRoot('systemctl', 'daemon-reload');
    await asRoot('systemctl', 'enable', '--now', 'qmcp-tombstone-reaper.timer');
    theirs = (await files()).filter((path) => !before.includes(path));
    const { status, err } = await machine.try(['rpm', '--dbpath', '/var/lib/rpm', '--install', `${INSIDE}/${FIRST}`]);
    assert.notEqual(status, 0);
    assert.match(err, /another implementation of qmcp\.\* is installed here/);
    for (const path of THEIRS) if (isCheckedFirst(path)) assert.ok(err.includes(path), path);
    // What it says, word for word, where the package lies.
    const [extract = '', move = ''] = err
      .split('\n')
      .flatMap((line) => /^ {2}((?:rpm2cpio|sudo) .*)$/.exec(line)?.[1] ?? []);
    await asRoot('sh', '-c', `cd ${INSIDE} && ${extract}`);
    await asRoot('sh', '-c', `cd ${INSIDE} && ${move.replace('sudo ', '')} --yes`);
    assert.deepEqual(
      (await files()).filter((path) => THEIRS.includes(path)),
      [],
    );
    assert.equal(await property('qmcp-tombstone-reaper.timer', 'ActiveState'), 'inactive');
  });

  await step('the package installs, with its own user, in no group but its own', async () => {
    await rpm('--install', `${INSIDE}/${FIRST}`);
    assert.equal((await asRoot('id', '--groups', '--name', 'qmcp')).trim(), 'qmcp');
    assert.doesNotMatch(await asRoot('getent', 'group', 'qubes'), /qmcp/);
    assert.equal(await rpm('--verify', 'qmcp-broker'), '');
    assert.equal((await asRoot('stat', '--format=%a %U %G', '/run/qmcp')).trim(), '2770 root qubes');
  });

  await step('its units are enabled and start, qubesd first', async () => {
    assert.equal(
      await asRoot('systemctl', 'is-enabled', 'qmcp-brokerd.socket', 'qmcp-brokerd.service'),
      'enabled\nenabled',
    );
    await asRoot('systemctl', 'start', 'qmcp-brokerd.socket', 'qmcp-brokerd.service');
    assert.equal(await property('qubesd.service', 'ActiveState'), 'active');
    assert.equal((await asRoot('stat', '--format=%a %U %G', '/run/qmcp/qrexec.sock')).trim(), '660 root qubes');
    for (const path of ['/var/lib/qmcp', '/var/log/qmcp']) {
      assert.equal((await asRoot('stat', '--format=%a %U %G', path)).trim(), '700 qmcp qmcp');
    }
  });

  await step('a call of the user at the desktop is answered through the link of qrexec', async () => {
    const reply = await call('qmcp.ListAIManagedQubes', {});
    assert.equal(reply.ok, true);
    assert.ok(reply.qubes.some(({ name }: { name: string }) => name === 'ai-work'));
  });

  await step('a user who is not in group qubes gets nowhere', async () => {
    assert.match(await call('qmcp.ListAIManagedQubes', {}, 'guest'), /EACCES/);
  });

  await step('without a person the daemon is there, and what has to be asked is refused', async () => {
    const reply = await call('qmcp.LifecycleAIManaged', { name: 'ai-idle', action: 'remove' });
    assert.deepEqual(reply, { ok: false, error: 'not found' });
    assert.deepEqual(changes(), []);
  });

  await step('the person logs in, and the socket for questions is there by itself', async () => {
    await asRoot('loginctl', 'enable-linger', 'user');
    await machine.until(
      'the socket for questions',
      async () => (await machine.try(['test', '-S', '/run/qmcp/confirm.sock'])).status === 0,
    );
    assert.equal((await asRoot('stat', '--format=%a %U %G', '/run/qmcp/confirm.sock')).trim(), '660 user qubes');
    await machine.run(['systemctl', '--user', 'set-environment', `DISPLAY=:${person.display}`], session);
  });

  await step('a question is asked, answered by the person, and what it said is done once', async () => {
    await machine.run(['qmcp-confirm', '--enroll', '--public', '/home/user/confirm.pub'], session);
    await asRoot('install', '-m', '0644', '/home/user/confirm.pub', '/etc/qmcp/confirm.pub');
    const reply = call('qmcp.LifecycleAIManaged', { name: 'ai-idle', action: 'remove' });
    await person.allow('ai-idle');
    assert.deepEqual(await reply, { ok: true });
    assert.deepEqual(changes(), [['admin.vm.Remove', 'ai-idle']]);
    await machine.until('the end of the dialog', async () => {
      const { out } = await machine.try(
        ['systemctl', '--user', 'list-units', '--legend=no', 'qmcp-confirm@*'],
        session,
      );
      return out === '';
    });
  });

  await step('an upgrade under load loses no call, does none twice, and keeps what the operator edited', async () => {
    await asRoot('sh', '-c', `: >${CHANGES}; echo '# mine' >>/etc/qubes/policy.d/32-qmcp.policy`);
    await asRoot('sh', '-c', `printf '${MODE.replace('\n', '\\n')}' >/etc/qubes/policy.d/include/qmcp-mode`);
    const before = await property('qmcp-brokerd.service', 'MainPID');
    const calls = machine.run(['node', `${INSIDE}/caller.mjs`, 'many', '/tmp/enough'], { user: 'user' });
    await machine.until('calls under way', async () => changes().length > 4);
    await rpm('--upgrade', `${INSIDE}/${SECOND}`);
    await machine.until(
      'the new daemon',
      async () => (await isUp()) && (await property('qmcp-brokerd.service', 'MainPID')) !== before,
    );
    const so_far = changes().length;
    await machine.until('more calls', async () => changes().length > so_far + 4);
    await asRoot('touch', '/tmp/enough');
    const ends = JSON.parse(await calls) as Record<string, number>;
    process.stdout.write(`${JSON.stringify(ends)} `);
    for (const end of Object.keys(ends)) assert.match(end, /^(read|pause|unpause): (ok|\{"ok":false)/);
    const rows = changes();
    for (const [action, method] of [
      ['pause', 'admin.vm.Pause'],
      ['unpause', 'admin.vm.Unpause'],
    ]) {
      // Where a change was refused over the restart, the one that undoes it reaches qubesd and fails there.
      const asked = (end: string): number => ends[`${action}: ${end}`] ?? 0;
      const wanted = asked('ok') + asked('{"ok":false,"error":"action failed"}');
      const count = rows.filter(([each]) => each === method).length;
      assert.equal(count, wanted, `${method} reached qubesd ${count} times; ${JSON.stringify(ends)}`);
    }

    assert.match(read('/etc/qubes/policy.d/32-qmcp.policy'), /^## Second release\./);
    assert.match(read('/etc/qubes/policy.d/32-qmcp.policy.rpmsave'), /# mine\n$/);
    assert.equal(read('/etc/qubes/policy.d/include/qmcp-mode'), MODE);
    assert.match(read('/etc/qubes/policy.d/include/qmcp-mode.rpmnew'), /^## Second release\./);
    assert.match(read('/etc/qmcp/pool-cap'), /an operator wrote this/);
  });

  await step('a daemon that was killed is started again, and the call that comes first waits for it', async () => {
    await asRoot('systemctl', 'kill', '--signal=KILL', 'qmcp-brokerd.service');
    assert.equal((await call('qmcp.ListAIManagedQubes', {})).ok, true);
  });

  await step('a daemon that hangs is found by the watchdog and started again', async () => {
    await asRoot('mkdir', '-p', '/run/systemd/system/qmcp-brokerd.service.d');
    await asRoot(
      'sh',
      '-c',
      "printf '[Service]\\nWatchdogSec=3\\n' >/run/systemd/system/qmcp-brokerd.service.d/test.conf",
    );
    await asRoot('systemctl', 'daemon-reload');
    await asRoot('systemctl', 'restart', 'qmcp-brokerd.service');
    const pid = await property('qmcp-brokerd.service', 'MainPID');
    // Longer than the watchdog's patience: signs of life keep it up.
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    assert.equal(await property('qmcp-brokerd.service', 'MainPID'), pid);
    await asRoot('kill', '-STOP', pid);
    await machine.until(
      'another process',
      async () => (await isUp()) && (await property('qmcp-brokerd.service', 'MainPID')) !== pid,
      PATIENCE_MS,
    );
    assert.match(await asRoot('journalctl', '--no-pager', '--unit=qmcp-brokerd.service'), /Watchdog timeout/);
    assert.equal((await call('qmcp.ListAIManagedQubes', {})).ok, true);
    await asRoot('rm', '-r', '/run/systemd/system/qmcp-brokerd.service.d');
    await asRoot('systemctl', 'daemon-reload');
  });

  await step('the journal of all this verifies', async () => {
    await asRoot('qmcpctl', 'audit', 'verify', '/var/log/qmcp/audit.jsonl');
  });

  await step('who stops the socket stops the service too, and calls fail at once', async () => {
    await asRoot('systemctl', 'stop', 'qmcp-brokerd.socket');
    assert.equal(await property('qmcp-brokerd.service', 'ActiveState'), 'inactive');
    assert.match(await call('qmcp.ListAIManagedQubes', {}), /ENOENT|ECONNREFUSED/);
  });

  await step('from inside the sandbox nothing can be done that the daemon does not need', async () => {
    await asRoot(
      'systemd-run',
      '--quiet',
      '--unit=port',
      'node',
      '-e',
      "require('net').createServer().listen(7, '::')",
    );
    await machine.until(
      'the port',
      async () =>
        (
          await machine.try([
            'node',
            '-e',
            "require('net').connect(7, '127.0.0.1').on('connect', () => process.exit(0))",
          ])
        ).status === 0,
    );
    const probe = '/usr/lib/qmcp-broker/qmcp-brokerd.mjs';
    const probed = async (file: string) => JSON.parse(await asRoot('cat', file));
    // Outside it can all be done, so that what follows means something.
    const free = machine.path('/tmp/free.json');
    void machine.try(['timeout', '15', 'node', `${INSIDE}/probe.mjs`, '/tmp/free.json']);
    await machine.until('the probe outside', async () => existsSync(free) && readFileSync(free).length > 0);
    await asRoot('rm', '-f', '/run/probe');
    const outside = (await probed('/tmp/free.json')).forbidden as Record<string, string>;
    assert.deepEqual(
      Object.entries(outside).filter(([, end]) => end !== 'done'),
      [],
    );

    await asRoot('sh', '-c', `cp -p ${probe} /root/daemon && cat ${INSIDE}/probe.mjs >${probe}`);
    await asRoot('systemctl', 'start', 'qmcp-brokerd.service');
    const { forbidden, needed } = await probed('/var/lib/qmcp/probe.json');
    await asRoot('systemctl', 'stop', 'qmcp-brokerd.socket');
    await asRoot('sh', '-c', `cat /root/daemon >${probe}; rm /var/lib/qmcp/probe.json; systemctl stop port`);
    const all = Object.entries(forbidden as Record<string, string>);
    assert.equal(all.length, Object.keys(outside).length);
    assert.deepEqual(
      all.filter(([, end]) => end === 'done'),
      [],
    );
    assert.deepEqual(
      Object.entries(needed as Record<string, string>).filter(([, end]) => end !== 'done'),
      [],
    );
  });

  await step('erased, it leaves nothing but state, journal and what the operator wrote', async () => {
    await asRoot('systemctl', 'start', 'qmcp-brokerd.socket', 'qmcp-brokerd.service');
    await rpm('--erase', 'qmcp-broker');
    const left = (await files()).filter((path) => !filesBefore.includes(path));
    assert.deepEqual(
      left.filter((path) => !MAY_STAY.some((pattern) => pattern.test(path))),
      [],
    );
    for (const path of ['/var/log/qmcp/audit.jsonl', '/var/lib/qmcp', '/etc/qmcp/pool-cap'])
      assert.ok(left.concat(filesBefore).includes(path), path);
    const units = ['list-units', '--all', '--legend=no', 'qmcp*'];
    assert.equal(await asRoot('systemctl', ...units), '');
    assert.equal(await machine.run(['systemctl', '--user', ...units], session), '');
    const processes = await asRoot('sh', '-c', 'cat /proc/[0-9]*/cmdline | tr "\\0" " "');
    assert.doesNotMatch(processes, /qmcp-(brokerd|confirm)/);
  });

  await step('and the implementation before can be put back as it was', async () => {
    await asRoot('node', `${INSIDE}/qmcpctl.mjs`, 'migrate', '--back');
    const now = await files();
    assert.deepEqual(
      theirs.filter((path) => !now.includes(path)),
      [],
    );
    assert.equal(await property('qmcp-tombstone-reaper.timer', 'ActiveState'), 'active');
  });
};

if (process.getuid?.() !== 0) {
  console.error('Booting a machine takes root. Run: sudo npm run test:install');
  process.exit(1);
}
const place = mkdtempSync(join(tmpdir(), 'qmcp-install-'));
let failed = 0;
try {
  await main(place);
} catch (error) {
  failed = 1;
  console.error(error);
} finally {
  rmSync(place, { recursive: true, force: true });
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exitCode = failed;
