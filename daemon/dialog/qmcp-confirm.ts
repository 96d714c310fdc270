#!/usr/bin/env node
// Entry of qmcp-confirm: see command.ts for what it can be asked to do. Built as CommonJS; everything up to Gtk.main()
// is synchronous, because a main loop started from a promise starves Node's timers (node-gtk).
import { writeFileSync } from 'node:fs';
import { type Command, commandOf, HELP } from './command.ts';
import { answerOneQuestion } from './dialog.ts';
import { tameEnvironment } from './environment.ts';
import { openToolkit } from './gtk.ts';
import { KeyError, loadSeed, makeKey, publicHalf } from './key.ts';
import { listen } from './listener.ts';
import { screenLock } from './screenlock.ts';

const MISUSE = 2;

const run = (command: Command): void => {
  if (command.kind === 'help') process.stdout.write(HELP);
  else if (command.kind === 'mistake') fail(command.sentence, MISUSE);
  else if (command.kind === 'enroll') enroll(command);
  else if (command.kind === 'listen') serve(command);
  else answer(command);
};

const enroll = ({ key, rotate, public: publicFile }: Extract<Command, { kind: 'enroll' }>): void => {
  const line = `${publicHalf(makeKey(key, rotate, new Date().toISOString().replaceAll(':', '')))}\n`;
  if (publicFile === null) process.stdout.write(line);
  else writeFileSync(publicFile, line, { mode: 0o644 });
};

const serve = ({ socket, childArguments }: Extract<Command, { kind: 'listen' }>): void => {
  const ready = () => process.stdout.write(`listening on ${socket}\n`);
  listen(socket, [process.execPath, __filename, ...childArguments], ready).then(
    () => process.exit(0),
    (error: Error) => fail(error.message),
  );
};

const answer = ({ connection, key, acceptSynthetic }: Extract<Command, { kind: 'answer' }>): void => {
  const seed = loadSeed(key);
  tameEnvironment(process.env);
  const lock = screenLock(process.env);
  const toolkit = openToolkit();
  if (toolkit === null) fail('There is no display to show a question on.');
  const display = process.env.DISPLAY ?? '';
  const uid = process.getuid?.() ?? 0;
  const now = () => performance.now();
  const end = (why: string | null): never => (why === null ? process.exit(0) : fail(why));
  let problem: string | null = 'The main loop ended by itself.';
  answerOneQuestion(toolkit, { connection, seed, acceptSynthetic, display, lock, uid, now }, (why) => {
    problem = why;
    // Before the loop has begun there is nothing to quit, and it would run for ever.
    if (toolkit.Gtk.mainLevel() === 0) end(problem);
    toolkit.Gtk.mainQuit();
  });
  toolkit.Gtk.main();
  end(problem);
};

function fail(sentence: string, code = 1): never {
  process.stderr.write(`qmcp-confirm: ${sentence}\n`);
  process.exit(code);
}

try {
  run(commandOf(process.argv.slice(2), process.env, process.pid));
} catch (error) {
  fail(error instanceof KeyError ? error.message : String(error));
}
