// qmcpctl as the operator types it: the built program, beside the built daemon of the test.
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { type Command, runCommand } from '../../daemon/operator/command.ts';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';
import type { Daemon } from '../broker/daemon.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/qmcpctl.mjs', import.meta.url));

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** Milliseconds. */
  readonly took: number;
}

/** Where the things of a test's daemon are, as flags. */
export const placesOf = (daemon: Daemon): string[] => [
  ...['--etc', daemon.etc, '--run', daemon.run, '--state', daemon.state, '--log', daemon.log],
  ...['--qubesd', daemon.qubesdPath, '--policy', `${daemon.root}/policy.d`, '--tool-path', daemon.tools],
];

/** Runs it to its end. `input` is what is on its standard input, which is no terminal. */
export const qmcpctl = async (args: readonly string[], input = ''): Promise<Ran> => {
  const began = performance.now();
  const { exitCode, stdout, stderr } = await execa(process.execPath, [PROGRAM, ...args], {
    input,
    reject: false,
    stripFinalNewline: false,
    env: { NO_COLOR: undefined, FORCE_COLOR: undefined, TERM: 'xterm' },
  });
  return { code: exitCode ?? -1, out: stdout, err: stderr, took: performance.now() - began };
};

/** The same, about this daemon. */
export const qmcpctlOf =
  (daemon: Daemon) =>
  (...args: string[]): Promise<Ran> =>
    qmcpctl([...args, ...placesOf(daemon)]);

interface VerbsOptions {
  readonly now?: () => number;
  readonly colour?: boolean;
  /** Called when the person is asked something, before they answer. */
  readonly whenAsked?: () => void;
}

/** The same verbs in this process, which is quicker. `answers` are what a person types, in order; without any, nobody is there. */
export const verbsOf =
  (daemon: Daemon, { now = Date.now, colour = false, whenAsked = () => {} }: VerbsOptions = {}) =>
  async (
    args: readonly string[],
    answers: string[] = [],
  ): Promise<Omit<Ran, 'took'> & { readonly asked: string[] }> => {
    let [out, err] = ['', ''];
    const asked: string[] = [];
    const hasPerson = answers.length > 0;
    const code = await runCommand(QMCPCTL, [...args, ...placesOf(daemon)], {
      out: async (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      watched: false,
      colour,
      ask: async (question) => {
        asked.push(question);
        whenAsked();
        return hasPerson ? (answers.shift() ?? '') : null;
      },
      input: async () => '',
      now,
    });
    return { code, out, err, asked };
  };

/** Every verb with the words that it is called by, the groups themselves left out. */
export const allVerbs = (
  command: Command = QMCPCTL,
  path: readonly string[] = [],
): { path: readonly string[]; command: Command }[] =>
  command.verbs === undefined
    ? [{ path, command }]
    : Object.entries(command.verbs).flatMap(([name, inner]) => allVerbs(inner, [...path, name]));
