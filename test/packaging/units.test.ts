// packaging/units.sh before a systemctl that only writes down what it was asked.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const HELPER = '/usr/lib/systemd/systemd-update-helper';

let machine: string;
beforeEach(() => {
  machine = mkdtempSync(join(tmpdir(), 'qmcp-units-'));
  mkdirSync(join(machine, 'bin'));
  program('bin/systemctl', `[ "$1" = list-units ] && { echo '  user@1000.service loaded active running x'; exit; }`);
  program('bin/systemd-tmpfiles', '');
});
afterEach(() => rmSync(machine, { recursive: true, force: true }));

const program = (path: string, body: string): void => {
  const file = join(machine, path);
  // Fails, as systemctl does in many ways: nothing of that may reach rpm.
  const log = `echo "\${0##*/} $*" >>"${machine}/calls"`;
  writeFileSync(file, `#!/bin/sh\n${body}\n${log}\nexit 1\n`);
  chmodSync(file, 0o755);
};

/** What is called on a machine: with dom0's helper or without, with a running systemd or (in an installation root) none. */
const units = async (words: string[], { helper = false, running = true } = {}): Promise<string[]> => {
  if (helper) program('helper', '');
  if (running) mkdirSync(join(machine, 'running'));
  const script = readFileSync('packaging/units.sh', 'utf8')
    .replaceAll(HELPER, join(machine, 'helper'))
    .replaceAll('/run/systemd/system', join(machine, 'running'));
  const { exitCode } = await execa('sh', ['-c', script, 'units', ...words], {
    env: { PATH: `${machine}/bin:/usr/bin:/bin` },
    extendEnv: false,
    reject: false,
  });
  expect(exitCode).toBe(0);
  const calls = join(machine, 'calls');
  return existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [];
};

describe('a first installation', () => {
  test('makes the directory of the sockets and enables by preset', async () => {
    expect(await units(['install', '1'])).toEqual([
      'systemd-tmpfiles --create qmcp-broker.conf',
      'systemctl --no-reload preset qmcp-brokerd.socket qmcp-brokerd.service',
      'systemctl --no-reload preset --global qmcp-confirm.socket',
      'systemctl daemon-reload',
    ]);
  });
  test("leaves that to dom0's helper", async () => {
    expect(await units(['install', '1'], { helper: true })).toEqual([
      'systemd-tmpfiles --create qmcp-broker.conf',
      'helper install-system-units qmcp-brokerd.socket qmcp-brokerd.service',
      'helper install-user-units qmcp-confirm.socket',
    ]);
  });
  test('touches nothing that runs when it goes into a root of files', async () => {
    const calls = await units(['install', '1'], { running: false });
    expect(calls.every((call) => call.startsWith('systemctl --no-reload preset'))).toBe(true);
  });
});

describe('an upgrade', () => {
  test('leaves enabled and disabled what the operator enabled and disabled', async () => {
    expect(await units(['install', '2'])).toEqual(['systemd-tmpfiles --create qmcp-broker.conf']);
  });
  test('starts the service again and leaves its socket alone', async () => {
    expect(await units(['upgrade', '1'])).toEqual([
      'systemctl daemon-reload',
      'systemctl --user -M 1000@ daemon-reload',
      'systemctl try-restart qmcp-brokerd.service',
    ]);
  });
  test("has dom0's helper start the service again once everything is upgraded", async () => {
    expect(await units(['upgrade', '1'], { helper: true })).toEqual([
      'helper mark-restart-system-units qmcp-brokerd.service',
    ]);
  });
});

describe('erasing', () => {
  test('stops and disables everything, an open question too', async () => {
    expect(await units(['remove', '0'])).toEqual([
      'systemctl --no-reload disable --global qmcp-confirm.socket',
      'systemctl --user -M 1000@ stop qmcp-confirm.socket',
      'systemctl --no-reload disable qmcp-brokerd.socket qmcp-brokerd.service',
      'systemctl stop qmcp-brokerd.socket qmcp-brokerd.service',
      'systemctl --user -M 1000@ stop qmcp-confirm@*.service',
    ]);
  });
  test("leaves that to dom0's helper but for an open question", async () => {
    expect(await units(['remove', '0'], { helper: true })).toEqual([
      'helper remove-user-units qmcp-confirm.socket',
      'helper remove-system-units qmcp-brokerd.socket qmcp-brokerd.service',
      'systemctl --user -M 1000@ stop qmcp-confirm@*.service',
    ]);
  });
  test('does nothing for the old version of an upgrade', async () => {
    expect(await units(['remove', '1'])).toEqual([]);
  });
});

test('a machine without systemd is left alone', async () => {
  rmSync(join(machine, 'bin/systemctl'));
  const script = readFileSync('packaging/units.sh', 'utf8');
  const { exitCode } = await execa('/bin/sh', ['-c', script, 'units', 'install', '1'], {
    env: { PATH: join(machine, 'bin') },
    extendEnv: false,
  });
  expect(exitCode).toBe(0);
  expect(existsSync(join(machine, 'calls'))).toBe(false);
});
