// What the widgets show is compared with the question before anything is signed (I5). No question can make the two differ, so
// here something inside the process does.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { enroll } from '../end-to-end/dialog-program.ts';
import { Screen } from '../end-to-end/screen.ts';
import { askOn, question, REMOVE } from './asking.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let screen: Screen;
let directory: string;
let publicKey: Buffer;

beforeAll(async () => {
  screen = await Screen.start();
  // Below the project, where node-gtk is found.
  directory = mkdtempSync(join(root, 'node_modules', '.qmcp-altered-'));
  await enroll(join(directory, 'key'), join(directory, 'pub'));
  publicKey = Buffer.from(readFileSync(join(directory, 'pub'), 'utf8'), 'base64');
  await build({
    entryPoints: [join(root, 'test/dialog/altered.ts')],
    outfile: join(directory, 'altered.cjs'),
    bundle: true,
    platform: 'node',
    format: 'cjs',
    external: ['node-gtk'],
    logLevel: 'silent',
  });
});
afterAll(async () => {
  await screen?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** What comes back, and what the dialog complains of, when the label with the one text gets the other. */
const altered = async (before: string, after: string): Promise<{ heard: string; complaint: string }> => {
  const path = join(directory, 's');
  let complaint = '';
  const server: Server = createServer({ pauseOnConnect: true }, (connection: Socket) => {
    const program = spawn(process.execPath, [join(directory, 'altered.cjs'), before, after], {
      env: { ...screen.env, KEY: join(directory, 'key'), NO_AT_BRIDGE: '1' },
      stdio: ['ignore', 'pipe', 'inherit', connection],
    });
    onTestFinished(() => void program.kill());
    program.stdout?.on('data', (chunk) => {
      complaint += chunk;
    });
    connection.destroy();
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const { heard } = askOn(connect({ path, allowHalfOpen: true }), question(), publicKey);
  const what = await heard;
  await expect.poll(() => complaint).not.toBe('');
  server.close();
  return { heard: what, complaint: complaint.trim() };
};

const HEADLINE = REMOVE.lines[0] as string;

test('a window whose labels hold the question signs the answer', async () => {
  expect(await altered(HEADLINE, HEADLINE)).toEqual({ heard: 'denied', complaint: 'null' });
});

test.each([
  ['says something else', HEADLINE, 'Start ai-work (red)'],
  ['has a letter too many', HEADLINE, `${HEADLINE}.`],
  ['has another value', 'AppVM, not running', 'AppVM, running'],
  ['has another name of a value', 'Qube:', 'Cube:'],
  ['is not on the screen', HEADLINE, 'HIDE'],
  ['is empty', HEADLINE, ''],
])('a window with a label that %s signs nothing, not even a no', async (_, before, after) => {
  expect(await altered(before, after)).toEqual({
    heard: 'nothing',
    complaint: 'The window does not show the question.',
  });
});
