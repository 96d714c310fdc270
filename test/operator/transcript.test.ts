// The first day of an operator, as daemon/operator/README.md tells it: each command is run, and the page has to show what it
// prints. After a change that is meant, run this test with -u: it writes the page anew.
import { chmodSync, cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { OUR_SERVICES } from '../../daemon/operator/doctor/sockets.ts';
import { type Daemon, startDaemon } from '../broker/daemon.ts';
import { startApprover } from '../confirm/approver.ts';
import { FLEET } from '../demo/fleet.ts';
import { placesOf, qmcpctl } from './stage.ts';

const PAGE = fileURLToPath(new URL('../../daemon/operator/README.md', import.meta.url));
const AGENT = 'mcp-control$ ';
const OPERATOR = '$ ';

/** The machine of the page: the demo's fleet, the policy installed, nothing set. */
const machine = async () => {
  const { daemon } = await startDaemon({ fleet: FLEET, operatorFiles: {} });
  const policy = join(daemon.root, 'policy.d');
  cpSync('policy', policy, { recursive: true });
  await daemon.end();
  await daemon.start(['--policy', policy]);
  const approver = await startApprover(join(daemon.run, 'confirm.sock'));
  approver.reflex = (asked) => asked.approve();
  const root = join(daemon.root, 'machine');
  const gid = process.getgid?.() ?? 0;
  mkdirSync(join(root, 'etc/qubes-rpc'), { recursive: true });
  writeFileSync(join(root, 'etc/passwd'), `qmcp:x:${process.getuid?.() ?? 0}:${gid}::/:/sbin/nologin\n`);
  writeFileSync(join(root, 'etc/group'), `qubes:x:${gid}:user\n`);
  for (const name of OUR_SERVICES) symlinkSync(daemon.path, join(root, 'etc/qubes-rpc', name));
  chmodSync(daemon.run, 0o2770);
  chmodSync(daemon.etc, 0o755);
  return { daemon, key: approver.publicKey, root };
};

/** A line as a shell would split it, so far as the page needs. */
const wordsOf = (line: string): string[] =>
  [...line.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(([, single, double, plain]) => single ?? double ?? plain ?? '');

const run = async (line: string, daemon: Daemon, key: string, root: string): Promise<string> => {
  if (line.startsWith(AGENT)) {
    const [service = '', ...body] = line.slice(AGENT.length).split(' ');
    return `${JSON.stringify(await daemon.call(service, body.join(' '), { source: 'mcp-control' }))}\n`;
  }
  const words = wordsOf(line.slice(OPERATOR.length).replace(/^sudo /, ''));
  const args = words.slice(1).map((word) => (word.startsWith('$(qmcp-confirm') ? key : word));
  const system = args[0] === 'doctor' ? ['--root', root] : [];
  const { out, err } = await qmcpctl([...args, ...system, ...placesOf(daemon)]);
  return out + err;
};

/** What differs from run to run, as it looks on an installed machine. */
const alike = (text: string, { root, etc, run: sockets, state, log }: Daemon, key: string): string =>
  text
    .replaceAll(`${root}/policy.d`, '/etc/qubes/policy.d')
    .replaceAll(etc, '/etc/qmcp')
    .replaceAll(sockets, '/run/qmcp')
    .replaceAll(state, '/var/lib/qmcp')
    .replaceAll(log, '/var/log/qmcp')
    .replaceAll(key, 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=')
    .replaceAll(/\d{8}T\d{9}Z(-\d+)?/g, '20260131T091500000Z')
    .replaceAll(/\d{4}-\d{2}-\d{2} \d{2}:\d{2}(?= to| UTC)/g, '2026-01-31 09:15')
    .replaceAll(/\b\d{2}-\d{2} \d{2}:\d{2}:\d{2}\b/g, '01-31 09:15:00')
    .replaceAll(/\bin \d\d hours\b/g, 'in 23 hours')
    .replaceAll(/(?<= REMOVED) +(?=DESTROYED )/g, '       ')
    .replaceAll(/(?<=^SEQ {2}AGE) +(?=QUBE)/gm, '        ')
    .replaceAll(/ago +(?=in \d)/g, 'ago  ')
    .replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, '2026-01-31T09:15:00.000Z')
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, '01234567-89ab-4def-8123-456789abcdef')
    .replaceAll(/\r\n/g, '\n')
    .replaceAll(/process \d+/g, 'process 4711')
    .replaceAll(/\b\d+ (second|minute)s?\b( ago)?/g, (whole, unit) =>
      whole.endsWith('ago') ? '1 minute ago' : whole.replace(/\d+ .*/, `2 ${unit}s`),
    )
    .replaceAll(/^(\d+ +)\d+ seconds?( +)/gm, '$15 seconds$2');

test('the page shows what the program prints', async () => {
  const { daemon, key, root } = await machine();
  const before = readFileSync(PAGE, 'utf8');
  let page = '';
  let inBlock = false;
  let listed = '';
  for (const each of before.split('\n')) {
    // What is undone is what was listed just before, whatever number it has.
    const line = each.replace(/(?<=^\$ qmcpctl undo )\d*(?=$| -)/, () => /^\d+/m.exec(listed)?.[0] ?? '');
    if (line.startsWith('```')) inBlock = line === '```console';
    const isCommand = inBlock && (line.startsWith(OPERATOR) || line.startsWith(AGENT));
    // Inside a block everything else is what was printed before.
    if (inBlock && !isCommand && !line.startsWith('```')) continue;
    page += `${line}\n`;
    if (!isCommand) continue;
    const printed = alike(await run(line, daemon, key, root), daemon, key);
    if (line.endsWith('undo list')) listed = printed;
    page += printed;
  }
  await expect(page.replace(/\n$/, '')).toMatchFileSnapshot(PAGE);
}, 60_000);
