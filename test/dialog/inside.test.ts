// What only the window's own process can tell: names for those who cannot see it, and presses without any event.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { QubeName } from '../../daemon/names.ts';
import { Screen } from '../end-to-end/screen.ts';
import { question, REMOVE, START } from './asking.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
let screen: Screen;
let directory: string;

beforeAll(async () => {
  screen = await Screen.start();
  // Below the project, where node-gtk is found.
  directory = mkdtempSync(join(root, 'node_modules', '.qmcp-inside-'));
  await build({
    entryPoints: [join(root, 'test/dialog/inside.ts')],
    outfile: join(directory, 'inside.cjs'),
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

const inside = (asked = question()) => {
  const env = { ...screen.env, QUESTION: JSON.stringify(asked), NO_AT_BRIDGE: '1' };
  const program = spawn(process.execPath, [join(directory, 'inside.cjs')], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(async () => {
    program.kill();
    await screen.until(() => screen.windows.length === 0, 'an empty screen');
  });
  const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  const ended = once(program, 'exit');
  return { next: async () => JSON.parse((await lines.next()).value as string), ended };
};

test('every control has a name and can be reached by keyboard, and no text is read for markup or mnemonics', async () => {
  const asked = question({ ...REMOVE, freeze: 'mcp_control' as QubeName });
  const { next } = inside(asked);
  const { controls, labels } = await next();
  expect(controls).toHaveLength(4);
  for (const control of controls) {
    expect(control).toMatchObject({ name: expect.stringMatching(/./), focusable: true, mnemonic: false });
  }
  expect(controls.map(({ name }: { name: string }) => name)).toEqual([
    'Deny and freeze mcp_control',
    'Deny',
    'Allow',
    'Type ai-work to allow',
  ]);
  for (const label of labels) expect(label).toMatchObject({ markup: false, selectable: false });
  expect(labels.map(({ text }: { text: string }) => text)).toContain('Deny and freeze mcp_control');
});

test('what is read back are the lines while they are on the screen, and nothing before or while it is hidden', async () => {
  const { next } = inside();
  expect(await next()).toMatchObject({ before: null, hidden: null, lines: REMOVE.lines });
});

test('text that a program puts into the entry does not stay there', async () => {
  const { next } = inside();
  expect(await next()).toMatchObject({ typedByProgram: '' });
});

test('a press without an event, as an accessibility client makes it, does nothing to Allow', async () => {
  const { next, ended } = inside(question(START));
  await next();
  const window = await screen.window();
  await window.focus();
  expect(await next()).toEqual({ allow: 0, deny: 0, freeze: 0 });
  expect(await next()).toEqual({ allow: 0, deny: 1, freeze: 0 });
  await ended;
  await window.gone();
});
