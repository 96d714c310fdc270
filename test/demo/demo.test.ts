// The demo as a newcomer without a display runs it. Its transcript is kept beside this file, as an example of what the
// broker does and so that nothing in it changes unnoticed: run this test with -u after a change that is meant.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SERVICES } from '../../daemon/services/registry.ts';
import { TOUR_LENGTH } from './tour.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
const PNG = '\x89PNG\r\n\x1a\n';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'qmcp-demo-'));
  mkdirSync(join(directory, 'tmp'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Runs it with a temporary directory of its own, which is how what it leaves behind can be told from anybody else's. */
const demo = (...args: string[]) => {
  const { DISPLAY: _, FORCE_COLOR: __, ...env } = process.env;
  return execa(process.execPath, [MAIN, '--pictures', join(directory, 'pictures'), ...args], {
    cwd: directory,
    env: { ...env, TMPDIR: join(directory, 'tmp') },
    extendEnv: false,
    reject: false,
  });
};

const expectNothingLeft = (): void => {
  expect(readdirSync(join(directory, 'tmp'))).toEqual([]);
  expect(processesOf(join(directory, 'tmp'))).toEqual([]);
};

/** The command lines of all processes with that TMPDIR. */
const processesOf = (temporary: string): string[] =>
  readdirSync('/proc')
    .filter((entry) => /^[0-9]+$/.test(entry))
    .filter((pid) => read(`/proc/${pid}/environ`).split('\0').includes(`TMPDIR=${temporary}`))
    .map((pid) => read(`/proc/${pid}/cmdline`).replaceAll('\0', ' '))
    .filter((line) => line !== '');

const read = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
};

/** The transcript with what differs from run to run replaced. */
const alike = (transcript: string): string =>
  transcript
    .replaceAll(join(directory, 'pictures'), 'build/demo')
    .replaceAll(/\/\S*\/qmcp-\w+/g, '/tmp/qmcp')
    .replaceAll(/key [0-9a-f]{16}/g, 'key 0123456789abcdef');

test('the demo tells its story, answers the questions by itself, leaves pictures and nothing else', async () => {
  const { exitCode, stdout, stderr } = await demo();
  expect(stderr).toBe('');
  await expect(`${alike(stdout)}\n`).toMatchFileSnapshot('transcript.txt');
  expect(stdout.split('\n').at(-1)).toBe('Everything went as it should.');
  expect(exitCode).toBe(0);
  const pictures = readdirSync(join(directory, 'pictures'));
  expect(pictures).toEqual(['remove-allowed.png', 'remove-denied.png', 'remove-unanswered.png']);
  for (const picture of pictures) {
    const bytes = readFileSync(join(directory, 'pictures', picture));
    expect(bytes.toString('latin1', 0, PNG.length)).toBe(PNG);
    expect(bytes.length).toBeGreaterThan(5_000);
  }
  expectNothingLeft();
}, 60_000);

test('the tour shows every kind of question once, and every window is answered', async () => {
  const { exitCode, stdout, stderr } = await demo('--tour');
  expect(stderr).toBe('');
  expect(stdout).not.toContain('WRONG');
  expect(exitCode).toBe(0);
  const changing = [...SERVICES.values()].filter(({ kind }) => kind === 'change').map(({ name }) => name);
  expect(new Set(stdout.match(/(?<=agent +)qmcp\.\w+/g))).toEqual(
    new Set([...changing, 'qmcp.Prepare', 'qmcp.Commit']),
  );
  expect(stdout.match(/answer +approved, signed over exactly the lines above/g)).toHaveLength(TOUR_LENGTH);
  expect(readdirSync(join(directory, 'pictures'))).toHaveLength(TOUR_LENGTH);
  expectNothingLeft();
}, 120_000);

describe('the demo ends with an error, and leaves nothing behind, when', () => {
  test('something does not go as it should', async () => {
    writeFileSync(join(directory, 'pictures'), 'in the way');
    const { exitCode, stdout } = await demo();
    expect(stdout).toContain('WRONG: EEXIST');
    expect(stdout.split('\n').at(-1)).toMatch(/^Something went wrong/);
    expect(exitCode).toBe(1);
    expectNothingLeft();
  });

  test('it is interrupted in the middle of a question', async () => {
    const running = demo();
    let text = '';
    running.stdout.on('data', (chunk) => {
      if (!text.includes('┌') && `${text}${chunk}`.includes('┌')) running.kill('SIGINT');
      text += chunk;
    });
    const { exitCode, stderr } = await running;
    expect(stderr).toContain('Interrupted.');
    expect(exitCode).toBe(130);
    expectNothingLeft();
  });

  test('nobody reads its transcript to the end', async () => {
    const running = demo();
    running.stdout.once('data', () => running.stdout.destroy());
    expect((await running).exitCode).toBe(130);
    expectNothingLeft();
  });

  test('it is asked for something that it does not know', async () => {
    const { exitCode, stderr } = await demo('--loud');
    expect(stderr).toMatch(/^Unknown option '--loud'.* See npm run demo -- --help\.$/);
    expect(exitCode).toBe(2);
    expect(existsSync(join(directory, 'pictures'))).toBe(false);
    expectNothingLeft();
  });
});

test('a terminal of its dom0 has an operator set the machine up, be told why a call was refused, and leaves nothing', async () => {
  const { DISPLAY: _, FORCE_COLOR: __, ...env } = process.env;
  const typed = `
    qmcpctl
    sudo qmcpctl init --apply
    sudo qmcpctl config set confirm.pub "$(qmcp-confirm --enroll)"
    qmcpctl tier set ai-notes ai-research exec
    sudo qmcpctl mode least-privilege --yes
    sudo qmcpctl doctor
    agent qmcp.LifecycleAIManaged '{"name":"ai-notes","action":"start"}'
    qmcpctl explain lifecycle '{"name":"ai-notes","action":"start"}'
    exit 7
  `;
  const { exitCode, stdout } = await execa(process.execPath, [MAIN, '--terminal'], {
    ...{
      cwd: directory,
      env: { ...env, TMPDIR: join(directory, 'tmp') },
      extendEnv: false,
      reject: false,
      input: typed,
    },
  });
  expect(exitCode).toBe(7);
  for (const said of [
    /^Usage: qmcpctl VERB/m,
    /^done {2}pool-cap is 200\.0 GiB/m,
    /^confirm\.pub is [A-Za-z0-9+/]{43}=\./m,
    /^ai-research has the tier exec \(\+ai-exec -ai-full\)\.$/m,
    /^The mode is least-privilege\./m,
    /^All is well; 14 things were looked at\.$/m,
    /^\{"ok":false,"error":"not found"\}$/m,
    /^REFUSE, by the rule insufficient:full/m,
  ]) {
    expect(stdout).toMatch(said);
  }
  expectNothingLeft();
}, 60_000);
