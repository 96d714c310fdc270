// qmcpctl doctor on a machine that is well, and on the same machine spoilt in one way after the other.
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ownerTag } from '../../daemon/authority/birth.ts';
import type { QubeName } from '../../daemon/names.ts';
import { OUR_SERVICES } from '../../daemon/operator/doctor/sockets.ts';
import { tagFindings } from '../../daemon/operator/doctor/tags.ts';
import { TESTED } from '../../daemon/operator/doctor/versions.ts';
import type { FleetQube } from '../../daemon/operator/fleet.ts';
import { ownerOf } from '../../daemon/principals/caller.ts';
import { type Daemon, startDaemon } from '../broker/daemon.ts';
import { startApprover } from '../confirm/approver.ts';
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { verbsOf } from './stage.ts';

const GIB = 2 ** 30;
const managed = (more: QubeSpec = {}): QubeSpec => ({
  klass: 'AppVM',
  tags: ['ai-managed', 'ai-exec'],
  ...more,
  props: { netvm: 'ai-router', ...more.props },
});
const own = (more: QubeSpec = {}): QubeSpec => ({
  klass: 'AppVM',
  tags: [],
  ...more,
  props: { netvm: null, ...more.props },
});

const FLEET: FleetSpec = {
  default_netvm: 'sys-firewall',
  qubes: {
    dom0: own({ klass: 'AdminVM', state: 'Running' }),
    'mcp-control': own({ klass: 'StandaloneVM' }),
    'ai-router': managed({ props: { netvm: 'sys-firewall', provides_network: 'True' } }),
    'ai-one': managed(),
    'ai-two': managed(),
    'sys-firewall': own({ props: { provides_network: 'True' } }),
    vault: own(),
  },
};

interface Place {
  readonly daemon: Daemon;
  readonly qubesd: Qubesd;
  readonly root: string;
  readonly policy: string;
  readonly doctor: (...args: string[]) => ReturnType<ReturnType<typeof verbsOf>>;
}

const write = (path: string, text: string): void => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
};
const tool = ({ daemon }: Pick<Place, 'daemon'>, name: string, script: string): void => {
  writeFileSync(join(daemon.tools, name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(daemon.tools, name), 0o755);
};
const units = (states: Record<string, string>): string =>
  `printf '%s\\n' ${Object.entries(states)
    .flatMap(([id, state]) => [`Id=${id}`, ...state.split(' '), ''])
    .map((line) => `'${line}'`)
    .join(' ')}`;
const WELL = 'LoadState=loaded ActiveState=active UnitFileState=enabled';

/** A machine on which everything is as it should be. */
const healthy = async (): Promise<Place> => {
  const operatorFiles = { 'tier-default': 'full\n', 'pool-cap': `${100 * GIB}\n`, guarded: 'ai-one\n' };
  const { daemon, qubesd } = await startDaemon({ fleet: FLEET, operatorFiles });
  const [root, policy] = [join(daemon.root, 'machine'), join(daemon.root, 'policy.d')];
  const approver = await startApprover(join(daemon.run, 'confirm.sock'));
  daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  write(join(root, 'etc/passwd'), `root:x:0:0::/root:/bin/sh\nqmcp:x:${uid}:${gid}::/:/sbin/nologin\n`);
  write(join(root, 'etc/group'), `root:x:0:\nqubes:x:${gid}:user\n`);
  mkdirSync(join(root, 'etc/qubes-rpc'));
  for (const name of OUR_SERVICES) symlinkSync(daemon.path, join(root, 'etc/qubes-rpc', name));
  cpSync('policy', policy, { recursive: true });
  writeFileSync(join(policy, '30-user.policy'), '# mine\nqubes.GetDate * work @adminvm allow\n');
  writeFileSync(join(policy, '90-default.policy'), '* * @anyvm @anyvm allow\n');
  chmodSync(daemon.run, 0o2770);
  chmodSync(daemon.etc, 0o755);
  const place = { daemon, qubesd, root, policy };
  tool(place, 'systemctl', units({ 'qmcp-brokerd.socket': WELL, 'qmcp-brokerd.service': WELL }));
  tool(
    place,
    'rpm',
    Object.entries(TESTED)
      .map(([name, [from]]) => `echo ${name} ${from}.1`)
      .join('\n'),
  );
  tool(place, 'qubes-policy-lint', 'exit 0');
  const run = verbsOf(daemon);
  return { ...place, doctor: (...args) => run(['doctor', '--root', root, ...args]) };
};

test('a machine on which everything is as it should be is well', async () => {
  const { doctor } = await healthy();
  expect(await doctor()).toMatchObject({ code: 0, err: '', out: 'All is well; 14 things were looked at.\n' });
  const { code, out } = await doctor('--json');
  expect({ code, ...JSON.parse(out) }).toMatchObject({ code: 0, ok: true, findings: [] });
  expect(JSON.parse(out).checks).toHaveLength(14);
  expect(JSON.parse((await doctor('--json', '--quick')).out).checks).not.toContain('journal');
}, 30_000);

test('the services that are looked for are those that an install links', () => {
  expect(readdirSync('qrexec-services').sort()).toEqual(OUR_SERVICES);
});

/** What is spoilt and how, what is then said, at which level, and the command that mends it. */
type Spoiling = readonly [
  what: string,
  spoil: (place: Place) => unknown,
  level: string,
  said: RegExp,
  mend: RegExp | null,
];

const service = ({ root }: Place, name: string): string => join(root, 'etc/qubes-rpc', name);
const tag = ({ qubesd }: Place, name: string, ...tags: string[]): void => {
  for (const each of tags) qubesd.world.addTag(name, each);
};

/** A principal with these limits, whose ai-two is. */
const owning = ({ daemon, qubesd }: Place, limits: object): void => {
  const key = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
  const file = { key, sources: ['mcp-control'], ceiling: 'full', ...limits };
  write(join(daemon.etc, 'principals/web.json'), JSON.stringify(file));
  qubesd.world.addTag(
    'ai-two',
    ownerTag(ownerOf({ source: 'mcp-control' as QubeName, principal: 'web', signed: true })),
  );
};

/** Somebody who says the same to whoever comes. */
const answering = async (path: string, line: string): Promise<void> => {
  const server = createServer((socket) => socket.on('error', () => {}).end(line)).listen(path);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
};
const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

const SPOILINGS: readonly Spoiling[] = [
  ['the group qubes', ({ root }) => write(join(root, 'etc/group'), ''), 'error', /There is no group qubes/, null],
  ['the user qmcp', ({ root }) => write(join(root, 'etc/passwd'), ''), 'error', /There is no user qmcp/, /reinstall/],
  [
    'qmcp in group qubes',
    ({ root }) => write(join(root, 'etc/group'), `qubes:x:${process.getgid?.() ?? 0}:user,qmcp\n`),
    ...(['error', /member of the group qubes/, /gpasswd -d qmcp qubes/] as const),
  ],
  [
    'the run directory',
    ({ daemon }) => chmodSync(daemon.run, 0o2777),
    'error',
    /open to every user/,
    /systemd-tmpfiles/,
  ],
  [
    'the set-group-id bit',
    ({ daemon }) => chmodSync(daemon.run, 0o770),
    'error',
    /the dialog cannot listen there/,
    /systemd-tmpfiles/,
  ],
  [
    'a socket',
    ({ daemon }) => chmodSync(daemon.path, 0o600),
    'error',
    /qrexec\.sock has the mode 600 and not 660/,
    /restart/,
  ],
  [
    'the dialog',
    ({ daemon }) => unlinkSync(join(daemon.run, 'confirm.sock')),
    'warning',
    /No session listens/,
    /systemctl --user start/,
  ],
  [
    'a missing link',
    (place) => unlinkSync(service(place, 'qmcp.Commit')),
    'error',
    /cannot call.*qmcp\.Commit\./,
    /reinstall/,
  ],
  [
    'a script in place of a link',
    (place) => {
      unlinkSync(service(place, 'qmcp.Commit'));
      write(service(place, 'qmcp.Commit'), '#!/bin/sh\n');
    },
    ...(['error', /something else answers.*qmcp\.Commit\./, /migrate/] as const),
  ],
  [
    'the header taken away',
    ({ root }) => write(join(root, 'etc/qubes/rpc-config/qmcp.Commit'), 'skip-service-descriptor = true\n'),
    ...(['error', /skip-service-descriptor/, /sudo rm /] as const),
  ],
  [
    'the settings directory',
    ({ daemon }) => chmodSync(daemon.etc, 0o777),
    'error',
    /others than root decide/,
    /chmod 755/,
  ],
  [
    'a setting for root alone',
    ({ daemon }) => chmodSync(join(daemon.etc, 'pool-cap'), 0o600),
    'error',
    /the daemon cannot read it/,
    /chmod 644/,
  ],
  [
    'a setting for all to write',
    ({ daemon }) => chmodSync(join(daemon.etc, 'guarded'), 0o666),
    'error',
    /others than root decide/,
    /chmod 644/,
  ],
  ['the state directory', ({ daemon }) => chmodSync(daemon.state, 0o755), 'error', /other users get in/, /chmod 700/],
  [
    'the key of the journal',
    ({ daemon }) => chmodSync(join(daemon.state, 'journal.key'), 0o644),
    'error',
    /journal\.key has the mode 644/,
    /chmod 600/,
  ],
  [
    'a malformed setting',
    ({ daemon }) => daemon.operatorFile('birth-ceiling', '# x\nai-fool\n'),
    'error',
    /birth-ceiling, line 2: .*get no tier tag/,
    /config set birth-ceiling/,
  ],
  [
    'a mistyped name of a setting',
    ({ daemon }) => daemon.operatorFile('concent-policy', 'x'),
    'warning',
    /Is consent-policy meant/,
    /sudo mv/,
  ],
  [
    'a file that is no setting',
    ({ daemon }) => daemon.operatorFile('shopping', 'x'),
    'note',
    /nobody reads it/,
    /sudo mv/,
  ],
  [
    'an entry that never matches',
    ({ daemon }) => daemon.operatorFile('consent-policy', 'qmcp.Nothing:remove\n'),
    'warning',
    /never matches/,
    /consent-policy/,
  ],
  [
    'no key for answers',
    ({ daemon }) => unlinkSync(join(daemon.etc, 'confirm.pub')),
    'error',
    /no question can be answered yes/,
    /qmcp-confirm --enroll/,
  ],
  [
    'no pool cap',
    ({ daemon }) => unlinkSync(join(daemon.etc, 'pool-cap')),
    'note',
    /cannot create qubes/,
    /pool-cap 50GiB/,
  ],
  [
    'a principal',
    ({ daemon }) => write(join(daemon.etc, 'principals/web.json'), '{'),
    'error',
    /principals\/web\.json/,
    /sudoedit .*principals\/web\.json/,
  ],
  [
    'the mode in one place only',
    ({ daemon }) => daemon.operatorFile('tier-default', 'ro\n'),
    'error',
    /is in mode compat/,
    /qmcpctl mode least-privilege/,
  ],
  [
    'the policy',
    ({ policy }) => unlinkSync(join(policy, '32-qmcp.policy')),
    'error',
    /The policy is not installed/,
    /reinstall/,
  ],
  [
    'an include',
    ({ policy }) => unlinkSync(join(policy, 'include/qmcp-admin-deny')),
    'error',
    /qrexec refuses every call/,
    /reinstall/,
  ],
  [
    'the policy in use before',
    ({ policy }) => write(join(policy, '30-mcp-control.policy'), ''),
    'error',
    /decides before 32-qmcp\.policy/,
    /migrate/,
  ],
  [
    'what the lint says',
    (place) => tool(place, 'qubes-policy-lint', 'echo "x:3: error: wrong"; exit 1'),
    'error',
    /x:3: error: wrong/,
    /reinstall/,
  ],
  [
    'an earlier rule that allows',
    ({ policy }) => appendFileSync(join(policy, '30-user.policy'), 'qubes.VMShell * @tag:ai-managed @anyvm allow\n'),
    ...(['error', /30-user\.policy, line 3, comes before.*allows what that would deny/, /sudoedit/] as const),
  ],
  [
    'an earlier rule that denies',
    ({ policy }) => appendFileSync(join(policy, '30-user.policy'), 'qmcp.GetPoolStats * mcp-control @adminvm deny\n'),
    ...(['warning', /does not let through/, /sudoedit/] as const),
  ],
  [
    'our own rules',
    ({ policy }) => {
      const path = join(policy, '32-qmcp.policy');
      writeFileSync(path, readFileSync(path, 'utf8').replace(/^qmcp\.GetPoolStats .*\n/gm, ''));
    },
    ...(['error', /does not let agents call 1 of our services, qmcp\.GetPoolStats for one/, /reinstall/] as const),
  ],
  [
    'a guard of a qube that is gone',
    ({ daemon }) => daemon.operatorFile('guarded', 'ai-gone\n'),
    'warning',
    /ai-gone is guarded, and there is no such qube/,
    /config set guarded/,
  ],
  [
    'birth-egress to nobody',
    ({ daemon }) => daemon.operatorFile('birth-egress', 'nobody\n'),
    'warning',
    /there is no such qube/,
    /unset birth-egress/,
  ],
  [
    'birth-egress to the outside',
    ({ daemon }) => daemon.operatorFile('birth-egress', 'vault\n'),
    'warning',
    /which is not managed/,
    /tier set vault ro/,
  ],
  [
    'a managed dump',
    (place) => tag(place, 'ai-one', 'ai-dump'),
    'error',
    /ai-one is managed and a dump/,
    /qvm-tags ai-one del ai-dump/,
  ],
  [
    'several tiers',
    (place) => tag(place, 'ai-one', 'ai-full'),
    'warning',
    /several tiers \(ai-full, ai-exec\)/,
    /tier set ai-one full/,
  ],
  [
    'a tier without the umbrella',
    (place) => tag(place, 'vault', 'ai-net'),
    'warning',
    /vault has a tier \(ai-net\) and is not managed/,
    /tier set vault none/,
  ],
  [
    'a managed tombstone',
    (place) => tag(place, 'ai-one', 'qmcp-tombstone_1'),
    'error',
    /marker of a tombstone and is managed/,
    /del qmcp-tombstone_1/,
  ],
  [
    'a mistyped tag',
    (place) => tag(place, 'ai-one', 'ai-ful'),
    'warning',
    /Is ai-full meant/,
    /qvm-tags ai-one del ai-ful/,
  ],
  [
    'an agent that manages itself',
    (place) => tag(place, 'mcp-control', 'ai-managed'),
    'warning',
    /they manage it themselves/,
    /tier set mcp-control none/,
  ],
  [
    'a network from outside',
    ({ qubesd }) => qubesd.world.setProperty('ai-two', 'netvm', 'sys-firewall'),
    'warning',
    /ai-two is managed and has its network from sys-firewall/,
    /qvm-prefs ai-two netvm/,
  ],
  [
    'disposables from outside',
    ({ qubesd }) => qubesd.world.setProperty('ai-two', 'default_dispvm', 'vault'),
    'warning',
    /disposables would be made of vault/,
    /default_dispvm ''/,
  ],
  [
    'a full pool',
    ({ daemon }) => daemon.operatorFile('pool-cap', `${6 * GIB}\n`),
    'warning',
    /Agents use 6\.0 GiB of the pool cap of 6\.0 GiB/,
    /config set pool-cap 9GiB/,
  ],
  [
    'a unit that failed',
    (place) =>
      tool(
        place,
        'systemctl',
        units({ 'qmcp-brokerd.service': 'LoadState=loaded ActiveState=failed UnitFileState=enabled' }),
      ),
    'error',
    /has failed/,
    /journalctl -u qmcp-brokerd\.service/,
  ],
  [
    'a unit that is disabled',
    (place) =>
      tool(
        place,
        'systemctl',
        units({ 'qmcp-brokerd.socket': 'LoadState=loaded ActiveState=active UnitFileState=disabled' }),
      ),
    'warning',
    /not started at boot/,
    /enable --now qmcp-brokerd\.socket/,
  ],
  [
    'a unit that is not there',
    (place) =>
      tool(
        place,
        'systemctl',
        units({ 'qmcp-brokerd.service': 'LoadState=not-found ActiveState=inactive UnitFileState=' }),
      ),
    'error',
    /not installed/,
    /reinstall/,
  ],
  [
    'a platform that is too new',
    (place) => tool(place, 'rpm', 'echo qubes-core-dom0 5.0.1'),
    'warning',
    /qubes-core-dom0 is of version 5\.0\.1/,
    /qubes-dom0-update/,
  ],
  [
    'a record of the journal',
    ({ daemon }) => {
      const text = readFileSync(daemon.journalFile, 'utf8');
      writeFileSync(daemon.journalFile, text.replace('"type":"start"', '"type":"stort"'));
    },
    'error',
    /The journal is not intact: /,
    /audit verify/,
  ],
  ['the daemon', ({ daemon }) => daemon.end(), 'error', /The daemon is not running/, /systemctl start qmcp-brokerd/],
  [
    'a daemon that hangs',
    ({ daemon }) => daemon.process?.kill('SIGSTOP'),
    'error',
    /does not answer/,
    /systemctl restart qmcp-brokerd/,
  ],
  ['qubesd', ({ qubesd }) => qubesd.stop(), 'error', /qubesd (?:is not there|fails)/, /systemctl restart qubesd/],
  [
    'a daemon that hears nothing from qubesd',
    async ({ qubesd, daemon }) => {
      await qubesd.stop();
      while (JSON.parse((await verbsOf(daemon)(['status', '--json'])).out).qubesd !== 'away') await soon();
    },
    ...(['error', /The daemon does not hear from qubesd/, /systemctl restart qubesd/] as const),
  ],
  [
    'the daemon of another version',
    async ({ daemon }) => {
      await daemon.end();
      const said = { pid: 1, uptime_s: 1 };
      await answering(
        join(daemon.run, 'control.sock'),
        `{"v":1,"version":"0.0.9","ok":true,"result":${JSON.stringify(said)}}\n`,
      );
    },
    ...(['error', /The daemon is of version 0\.0\.9/, /systemctl restart qmcp-brokerd/] as const),
  ],
  [
    'a journal that cannot be written',
    async ({ daemon }) => {
      unlinkSync(daemon.journalFile);
      mkdirSync(daemon.journalFile);
      await daemon.call('qmcp.LifecycleAIManaged', { name: 'vault', action: 'start' });
      while (JSON.parse((await verbsOf(daemon)(['status', '--json'])).out).journal.ok) await soon();
    },
    ...(['error', /The journal .* cannot be written/, /df -h .*; sudo ls -l/] as const),
  ],
  [
    'what could be undone',
    async ({ daemon }) => {
      await daemon.end();
      writeFileSync(join(daemon.state, 'undo'), 'garbage\n');
      await daemon.start(['--policy', join(daemon.root, 'policy.d')]);
    },
    ...(['warning', /held something that the broker did not write/, /sudo ls -l/] as const),
  ],
  [
    'the freezes',
    async ({ daemon }) => {
      await daemon.end();
      writeFileSync(join(daemon.state, 'frozen'), '?\n');
      await daemon.start(['--policy', join(daemon.root, 'policy.d')]);
    },
    ...(['error', /frozen/, /systemctl restart qmcp-brokerd/] as const),
  ],
  [
    'the quarantine',
    async ({ daemon }) => {
      await daemon.end();
      writeFileSync(join(daemon.state, 'quarantine'), '?\n');
      await daemon.start(['--policy', join(daemon.root, 'policy.d')]);
    },
    ...(['error', /every qube counts as in quarantine/, /systemctl restart qmcp-brokerd/] as const),
  ],
  [
    'a qube that a creation left half-made',
    async ({ daemon, qubesd }) => {
      await daemon.end();
      const { uuid } = qubesd.world.qube('ai-two');
      writeFileSync(join(daemon.state, 'quarantine'), `${uuid} ai-two 2026-01-31T12:00:00.000Z\n`);
      await daemon.start(['--policy', join(daemon.root, 'policy.d')]);
    },
    ...(['warning', /left ai-two half-made \(2026-01-31 12:00 UTC\)/, /qvm-remove ai-two/] as const),
  ],
  [
    'a qube that may yet come of a creation',
    async ({ daemon }) => {
      await daemon.end();
      writeFileSync(join(daemon.state, 'quarantine'), `- ai-soon ${new Date().toISOString()}\n`);
      await daemon.start(['--policy', join(daemon.root, 'policy.d')]);
    },
    ...([
      'warning',
      /given up on while it created ai-soon, and may have made it or do so yet/,
      /qvm-remove ai-soon/,
    ] as const),
  ],
  [
    'the run directory altogether',
    ({ daemon }) => renameSync(daemon.run, `${daemon.run}.away`),
    ...(['error', /run is missing/, /systemd-tmpfiles/] as const),
  ],
  [
    'a socket that is gone',
    ({ daemon }) => unlinkSync(daemon.path),
    ...(['error', /There is no .*qrexec\.sock/, /systemctl restart qmcp-brokerd\.socket/] as const),
  ],
  [
    'a file in the place of a socket',
    ({ daemon }) => {
      unlinkSync(daemon.path);
      writeFileSync(daemon.path, '');
    },
    ...(['error', /qrexec\.sock is not a socket/, /sudo rm -r/] as const),
  ],
  [
    'the group of a socket',
    ({ daemon, root }) => {
      chownSync(daemon.path, process.getuid?.() ?? 0, 4_242);
      void root;
    },
    ...(['error', /qrexec\.sock is not of the group qubes/, /restart/] as const),
  ],
  [
    'a reply that would be lost',
    ({ root }) => write(join(root, 'etc/qubes/rpc-config/qmcp.Commit'), 'exit-on-client-eof = true\n'),
    ...(['error', /exit-on-client-eof/, /sudo rm /] as const),
  ],
  [
    'the settings directory altogether',
    ({ daemon }) => renameSync(daemon.etc, `${daemon.etc}.away`),
    ...(['error', /settings directory .* is missing/, /init --apply/] as const),
  ],
  [
    'the state directory altogether',
    ({ daemon }) => renameSync(daemon.state, `${daemon.state}.away`),
    ...(['error', /state is missing/, /systemctl restart/] as const),
  ],
  [
    'the owner of the journal',
    ({ daemon }) => chownSync(daemon.log, 4_242, 4_242),
    ...(['error', /log is not the user qmcp's/, /chown -R qmcp:qmcp/] as const),
  ],
  [
    'the signature of the journal',
    ({ daemon }) => {
      for (const dir of [daemon.state, daemon.log])
        for (const name of readdirSync(dir)) if (name.startsWith('journal.')) unlinkSync(join(dir, name));
    },
    ...(['warning', /not signed/, /systemctl restart qmcp-brokerd/] as const),
  ],
  [
    'a key for answers that is none',
    ({ daemon }) => daemon.operatorFile('confirm.pub', 'mine\n'),
    ...(['error', /confirm\.pub, line 1/, /config set confirm\.pub/] as const),
  ],
  [
    'a way out of the policy',
    ({ policy }) => writeFileSync(join(policy, 'include/qmcp-mode'), '!include include/qmcp-compat\n!include x\n'),
    ...(['error', /qmcp-mode/, /qmcpctl mode least-privilege/] as const),
  ],
  [
    'a guarded uuid that is gone',
    ({ daemon }) => daemon.operatorFile('guarded', '01234567-89ab-4def-8123-456789abcdef\n'),
    ...(['warning', /01234567-.* is guarded, and there is no such qube/, /config set guarded/] as const),
  ],
  [
    'a name in the reserved prefix',
    ({ qubesd }) => qubesd.world.removeTag('ai-two', 'ai-managed') ?? qubesd.world.removeTag('ai-two', 'ai-exec'),
    ...(['note', /ai-two is not managed, but its name begins with ai-/, /tier set ai-two TIER/] as const),
  ],
  [
    'a tombstone without a date',
    (place) => tag(place, 'vault', 'qmcp-tombstone_soon'),
    ...(['warning', /vault has no date/, /tombstones restore vault.*tombstones reap vault/] as const),
  ],
  [
    'dom0 under the umbrella',
    (place) => tag(place, 'dom0', 'ai-managed'),
    ...(['error', /dom0 is tagged ai-managed/, /qvm-tags dom0 del ai-managed/] as const),
  ],
  [
    'several networks from outside',
    ({ qubesd }) => {
      for (const name of ['ai-one', 'ai-two']) qubesd.world.setProperty(name, 'netvm', 'sys-firewall');
    },
    ...([
      'warning',
      /ai-one, ai-two are managed and have their network/,
      /^for qube in ai-one ai-two; do qvm-prefs/,
    ] as const),
  ],
  [
    'a pool that is nearly full',
    ({ daemon }) => daemon.operatorFile('pool-cap', `${Math.floor((6 * GIB) / 0.9)}\n`),
    ...(['warning', /Agents use 6\.0 GiB of the pool cap of 6\.7 GiB/, /config set pool-cap/] as const),
  ],
  [
    'a principal with nearly all of its qubes',
    (place) => owning(place, { total: { qubes: 1 } }),
    ...(['warning', /The principal web holds 1 of 1 qubes/, /principals\/web\.json/] as const),
  ],
  [
    'a principal with nearly all of its bytes',
    (place) => owning(place, { total: { bytes: Math.floor(2.2 * GIB) } }),
    ...([
      'warning',
      /What the principal web has created takes 2\.0 GiB of its 2\.2 GiB/,
      /principals\/web\.json/,
    ] as const),
  ],
  [
    'a unit that is masked',
    (place) =>
      tool(
        place,
        'systemctl',
        units({ 'qmcp-brokerd.service': 'LoadState=masked ActiveState=inactive UnitFileState=masked' }),
      ),
    ...(['error', /is masked/, /systemctl unmask qmcp-brokerd\.service/] as const),
  ],
  [
    'a unit that is stopped',
    (place) =>
      tool(
        place,
        'systemctl',
        units({ 'qmcp-brokerd.service': 'LoadState=loaded ActiveState=inactive UnitFileState=enabled' }),
      ),
    ...(['error', /is stopped/, /systemctl start qmcp-brokerd\.service/] as const),
  ],
  [
    'a platform that is too old',
    (place) => tool(place, 'rpm', 'echo qubes-core-qrexec-dom0 4.2.18'),
    ...(['warning', /qubes-core-qrexec-dom0 is of version 4\.2\.18/, /qubes-dom0-update/] as const),
  ],
];

test.each(SPOILINGS)(
  '%s is found, with the command that mends it',
  async (_, spoil, level, said, mend) => {
    const place = await healthy();
    await spoil(place);
    const { code, out } = await place.doctor('--json');
    const { ok, findings } = JSON.parse(out) as {
      ok: boolean;
      findings: { level: string; what: string; mend: string | null }[];
    };
    const found = findings.filter(({ what }) => said.test(what));
    expect(found, out).toHaveLength(1);
    expect(found[0]).toMatchObject({ level, mend: mend === null ? null : expect.stringMatching(mend) });
    expect([code, ok]).toEqual(level === 'note' ? [0, true] : [1, false]);
    const text = await place.doctor();
    for (const line of text.out.split('\n').filter((each) => !/^ +\$ /.test(each)))
      expect(line.length).toBeLessThanOrEqual(80);
  },
  30_000,
);

test('every finding that is more than a note comes with a command, but for a machine that is not dom0 at all', () => {
  const without = SPOILINGS.filter(([, , level, , mend]) => level !== 'note' && mend === null);
  expect(without.map(([what]) => what)).toEqual(['the group qubes']);
});

test('quotas that are not near their end, and a version within the tested range, are no finding', async () => {
  const place = await healthy();
  owning(place, { total: { qubes: 2, bytes: 3 * GIB } });
  place.daemon.operatorFile('pool-cap', `${Math.ceil((6 * GIB) / 0.89)}\n`);
  tool(place, 'rpm', 'echo qubes-core-dom0 4.4.99');
  expect(JSON.parse((await place.doctor('--json')).out).findings).toEqual([]);
});

test('a break in the journal that the operator knows of is no finding', async () => {
  const { daemon, doctor } = await healthy();
  await daemon.end();
  writeFileSync(daemon.journalFile, 'garbage\n');
  await daemon.start(['--policy', join(daemon.root, 'policy.d')]);
  const said = async (...args: string[]): Promise<string[]> =>
    JSON.parse((await doctor('--json', ...args)).out).findings.map(({ what }: { what: string }) => what);
  expect(await said()).toEqual([expect.stringMatching(/The journal is not intact/)]);
  const seq = daemon.journal().find(({ type }) => type === 'break')?.seq;
  expect(await said('--known-break', String(seq))).toEqual([]);
});

test('frozen and resting sources are told, and are no fault', async () => {
  const { daemon, doctor } = await healthy();
  await verbsOf(daemon)(['freeze', 'mcp-control']);
  expect(await doctor()).toMatchObject({
    ...{
      code: 0,
      out: expect.stringMatching(/mcp-control is frozen[\s\S]*qmcpctl thaw mcp-control[\s\S]*All is well/),
    },
  });
});

test('a clock that was put back is noticed by the newest record', async () => {
  const { daemon, root } = await healthy();
  const past = verbsOf(daemon, { now: () => Date.now() - 3_600_000 });
  expect((await past(['doctor', '--root', root])).out).toMatch(/yet to come[\s\S]*\$ sudo qvm-sync-clock/);
  const long = verbsOf(daemon, { now: () => Date.UTC(2001, 0, 1) });
  expect((await long(['doctor', '--root', root])).out).toMatch(/which is long\s+ago[\s\S]*\$ sudo qvm-sync-clock/);
});

test('a machine that has nothing of this on it is told all of it, and nothing breaks', async () => {
  const { daemon, doctor, root, policy } = await healthy();
  await daemon.end();
  for (const path of [root, policy, daemon.etc, daemon.log, daemon.state, daemon.run]) {
    if (existsSync(path)) renameSync(path, `${path}.away`);
  }
  const { code, out } = await doctor('--json');
  expect(code).toBe(1);
  const { findings } = JSON.parse(out) as { findings: { what: string }[] };
  const all = findings.map(({ what }) => what).join('\n');
  for (const said of [/not running/, /settings directory .* is missing/, /policy is not installed/, /run is missing/]) {
    expect(all).toMatch(said);
  }
  rmSync(`${root}.away`, { recursive: true });
});

const qube = (name: string, tags: string[] | null, klass = 'AppVM'): FleetQube =>
  ({
    name,
    uuid: name,
    klass,
    state: 'Halted',
    tags: tags && new Set(tags),
    properties: new Map(),
  }) as unknown as FleetQube;

test('tags that cannot be read, dom0 under the umbrella, and a tombstone without a date are found', () => {
  const said = (...fleet: FleetQube[]): string[] =>
    tagFindings([qube('mcp-control', []), ...fleet], { namePrefix: 'ai-' }).map(({ what }) => what);
  expect(said(qube('x', null))).toEqual([expect.stringContaining('cannot be read')]);
  expect(said(qube('dom0', ['ai-managed'], 'AdminVM'))).toEqual(['dom0 is tagged ai-managed.']);
  expect(said(qube('x', ['qmcp-tombstone_soon']))).toEqual([expect.stringContaining('has no date')]);
  expect(said(qube('ai-x', ['qmcp-tombstone_1']))).toEqual([]);
  expect(said(qube('ai-x', []))).toEqual([expect.stringContaining('name begins with ai-')]);
  expect(said(qube('x', ['anything', 'ai-x']))).toEqual([]);
  expect(said({ ...qube('x', ['ai-managed']), properties: null })).toEqual([
    expect.stringContaining('The properties of x could not be read'),
  ]);
  expect(tagFindings([], { namePrefix: 'ai-' }).map(({ what }) => what)).toEqual([
    expect.stringContaining('No qube may call'),
  ]);
});
