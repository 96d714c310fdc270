// `npm run demo`: an agent's calls travel the whole way, and the person at this machine answers the questions. Without a
// display a pair of hands answers on a screen of its own and leaves pictures.
import { execFile } from 'node:child_process';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { type Row, rowOf } from '../../daemon/journal/rows.ts';
import { Screen } from '../end-to-end/screen.ts';
import { FLEET, OPERATOR_FILES, TOUR_FILES, TOUR_FLEET } from './fleet.ts';
import { hands, type Operator, person } from './operators.ts';
import { Play } from './play.ts';
import { missingPrograms, Stage } from './stage.ts';
import { playStory, STORY_LENGTH } from './story.ts';
import { beginMachine, playTerminal } from './terminal.ts';
import { playTour, TOUR_LENGTH } from './tour.ts';
import { columns, Transcript } from './transcript.ts';

const HELP = `Plays an AI agent's calls against the broker and shows what happens to them.

  npm run demo [-- OPTION...]

  --terminal            instead, a terminal of that machine's dom0, to try qmcpctl in
  --tour                show every kind of question once, instead of the story
  --headless            answer by itself on a screen of its own, also where there is a display
  --pictures DIRECTORY  where it then leaves pictures of the windows (default build/demo)
`;
const OPTIONS = {
  terminal: { type: 'boolean', default: false },
  tour: { type: 'boolean', default: false },
  headless: { type: 'boolean', default: false },
  pictures: { type: 'string', default: relative('', fileURLToPath(new URL('../../build/demo', import.meta.url))) },
  help: { type: 'boolean', default: false },
} as const;

const DONE = 0;
const FAILED = 1;
const MISUSE = 2;
const INTERRUPTED = 130;
const DISPLAY_PATIENCE_MS = 3_000;

const main = async (): Promise<number> => {
  let flags: ReturnType<typeof parse>;
  try {
    flags = parse();
  } catch (error) {
    process.stderr.write(`${(error as Error).message.replace(/\.?$/, '.')} See npm run demo -- --help.\n`);
    return MISUSE;
  }
  if (flags.help) {
    process.stdout.write(HELP);
    return DONE;
  }
  const missing = missingPrograms();
  if (missing.length > 0) {
    process.stderr.write(`${missing.join(', ')} must be built first. Run npm run demo, which does that.\n`);
    return FAILED;
  }
  return flags.terminal ? terminal() : perform(flags);
};

const terminal = async (): Promise<number> => {
  const stage = new Stage();
  // The shell is told too, and ends; what it was on ends after it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  try {
    await beginMachine(stage, process.env, (line) => process.stderr.write(`the dialog said: ${line}\n`));
    return await playTerminal(stage);
  } finally {
    await stage.end();
  }
};

const parse = () => parseArgs({ options: OPTIONS, strict: true }).values;

const perform = async ({ tour, headless, pictures }: ReturnType<typeof parse>): Promise<number> => {
  const coloured = process.stdout.isTTY === true && !process.env.NO_COLOR;
  let interrupted = false;
  const out = new Transcript((text) => interrupted || process.stdout.write(text), coloured);
  const stage = new Stage();
  let screen: Screen | null = null;

  const start = async (): Promise<Operator> => {
    const atDisplay = !headless && process.stdout.isTTY === true && (await isUsable(process.env.DISPLAY));
    if (!atDisplay) screen = await Screen.start();
    const operator = screen ? hands(screen, pictures) : person(process.env);
    introduce(out, atDisplay, tour ? TOUR_LENGTH : STORY_LENGTH);
    const complain = (line: string): void => out.check(false, `the dialog said: ${line}`);
    const set = tour
      ? { fleet: TOUR_FLEET, operatorFiles: TOUR_FILES }
      : { fleet: FLEET, operatorFiles: OPERATOR_FILES };
    await stage.begin({ env: operator.env, acceptSynthetic: screen !== null, complain, ...set });
    return operator;
  };
  const starting = start();
  let ending: Promise<void> | null = null;
  const end = (): Promise<void> => {
    // Only what has started can be ended.
    ending ??= starting
      .catch(() => {})
      .then(() => stage.end())
      .finally(() => screen?.stop());
    return ending;
  };
  const interrupt = (): void => {
    if (interrupted) return;
    interrupted = true;
    void end().finally(() => {
      process.stderr.write('\nInterrupted. All that was started has been ended.\n');
      process.exit(INTERRUPTED);
    });
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // Whoever reads the transcript may have seen enough (`| head`).
  process.stdout.on('error', interrupt);

  try {
    const operator = await starting;
    const play = new Play(stage, operator, out);
    if (tour) await playTour(play, stage);
    else await playStory(play, stage, operator.patience);
    await lookBack(stage, out, !tour);
  } catch (error) {
    out.check(false, error instanceof Error ? error.message : String(error));
  } finally {
    await end();
  }
  out.blank();
  out.verdict();
  return out.failures.length === 0 ? DONE : FAILED;
};

const introduce = (out: Transcript, atDisplay: boolean, questions: number): void => {
  out.title('qmcp-broker: an AI agent asks for changes to qubes, and you decide');
  out.blank();
  out.prose(
    'The agent lives in the qube mcp-control. The broker, its sockets, the window and the journal are the real ones; ' +
      'the qubes are simulated, so nothing can happen to yours.',
  );
  out.prose(
    atDisplay
      ? `You will be asked ${questions} times. Each time a line that begins with "you" says what to do.`
      : 'Here is no display with a terminal where you could be asked, so a program answers in your place.',
  );
};

const lookBack = async (stage: Stage, out: Transcript, whole: boolean): Promise<void> => {
  out.scene('The journal of all this');
  await stage.daemon.end();
  if (whole) {
    out.prose('Every decision and its rule; what was begun was on the disk before qubesd heard of it.');
    out.quote(columns(stage.journalLines().map((line) => cellsOf(rowOf(line)))));
    out.blank();
  }
  const { text, ok } = await stage.verifyJournal();
  out.quote(['qmcpctl audit verify says:', ...text.trimEnd().split('\n')]);
  out.check(ok, 'the journal should be intact');
  for (const { msg } of stage.warnings()) out.check(false, `the broker warned: ${msg}`);
};

/** Number, what was to be done, what became of it and why. */
const cellsOf = (row: Row | null): string[] => {
  if (row === null) return ['an unreadable line'];
  const { seq, action, qubes, result, detail } = row;
  const what = [action, ...qubes.map(({ name }) => name)].join(' ');
  return [String(seq), what, result, detail === result ? '' : detail];
};

/** Whether there is an X server behind DISPLAY that lets us in. */
const isUsable = (display: string | undefined): Promise<boolean> => {
  if (!display) return Promise.resolve(false);
  const looking = promisify(execFile)('xdpyinfo', [], { timeout: DISPLAY_PATIENCE_MS });
  return looking.then(
    () => true,
    () => false,
  );
};

process.exitCode = await main();
