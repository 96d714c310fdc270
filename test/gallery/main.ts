// `npm run gallery`: every question in both themes as a picture, the states a window can be in, and one sheet with all.
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { question, startDialog } from '../dialog/asking.ts';
import { Screen } from '../end-to-end/screen.ts';
import { collectQuestions, type Titled } from './collect.ts';
import { EXTREMES, STATES, type State } from './extremes.ts';

const OUT = fileURLToPath(new URL('../../build/gallery', import.meta.url));
const KEPT = fileURLToPath(new URL('kept', import.meta.url));
const THEMES = { light: 'Adwaita', dark: 'Adwaita:dark' } as const;
const COLUMNS = 4;
/** Of the screen: room for a window with every pixel twice. */
const ROOMY = { width: 1920, height: 1200 };

const run = promisify(execFile);

const main = async (): Promise<void> => {
  rmSync(OUT, { recursive: true, force: true });
  mkdirSync(OUT, { recursive: true });
  const keep = process.argv.includes('--keep');
  process.stdout.write('Collecting the questions from the broker.\n');
  const titled = [...(await collectQuestions()), ...EXTREMES];
  const screen = await Screen.start(ROOMY);
  const files: string[] = [];
  try {
    for (const theme of ['light', 'dark'] as const) {
      process.stdout.write(`Taking ${titled.length} pictures on a ${theme} theme.\n`);
      files.push(...(await picturesOf(screen, { GTK_THEME: THEMES[theme] }, titled, theme)));
    }
    process.stdout.write(`Taking ${STATES.length} pictures of states and settings.\n`);
    for (const state of STATES) files.push(...(await picturesOf(screen, state.env, [state], 'state', state)));
  } finally {
    await screen.stop();
  }
  const sheet = join(OUT, 'contact-sheet.png');
  await montage(files, sheet, []);
  process.stdout.write(`${files.length} pictures are in ${relative('', OUT)}, all of them on contact-sheet.png.\n`);
  if (keep) await keepSome(files);
};

const picturesOf = async (
  screen: Screen,
  settings: NodeJS.ProcessEnv,
  titled: readonly Titled[],
  prefix: string,
  state?: State,
): Promise<string[]> => {
  const dialog = await startDialog({ ...screen.env, ...settings }, state?.acceptSynthetic ?? true);
  const files: string[] = [];
  try {
    for (const { title, view } of titled) {
      const { socket } = dialog.ask(question(view));
      const window = await screen.window();
      await state?.prepare?.(window);
      const file = join(OUT, `${prefix}-${title.replace(/\W+/g, '-')}.png`);
      await window.picture(file);
      files.push(file);
      socket.destroy();
      await window.gone();
    }
  } finally {
    await dialog.stop();
  }
  for (const line of dialog.complaints) throw new Error(line);
  return files;
};

const montage = async (files: readonly string[], to: string, options: readonly string[]): Promise<void> => {
  const each = files.flatMap((file) => ['-label', relative(OUT, file).replace('.png', ''), file]);
  const look = ['-tile', `${COLUMNS}x`, '-geometry', '+12+12', '-gravity', 'north', '-background', '#9a9996'];
  await run('montage', [...each, ...look, ...options, to]);
};

/** A small sheet for the README: few questions, few colours. */
const keepSome = async (files: readonly string[]): Promise<void> => {
  mkdirSync(KEPT, { recursive: true });
  const chosen = ['light-remove', 'dark-attach', 'dark-firewall', 'light-plan'];
  const some = chosen.map((name) => join(OUT, `${name}.png`)).filter((file) => files.includes(file));
  const small = ['-tile', '2x', '+dither', '-colors', '48', '-strip'];
  await run('montage', [
    ...some,
    '-geometry',
    '+10+10',
    '-background',
    '#9a9996',
    ...small,
    join(KEPT, 'questions.png'),
  ]);
  process.stdout.write(`A compact sheet is in ${relative('', KEPT)}.\n`);
};

main().catch((error: Error) => {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
});
