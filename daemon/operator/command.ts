// What a verb of qmcpctl is, and how it speaks to the person. A verb is a definition: its help, its man page and its
// completion are made of it (help.ts, packaging/manual.ts), so that none of them can say anything else.
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { groupHelp, verbHelp } from './help.ts';
import { PLACES } from './places.ts';

/** Exit codes, the same for every verb. */
export const DONE = 0;
export const FAILED = 1;
export const USAGE = 2;

export interface Io {
  /** Writes to standard output; resolves when more may be written. */
  out(text: string): Promise<void>;
  err(text: string): void;
  /** Whether a person watches standard error, so that progress makes sense. */
  readonly watched: boolean;
  /** Whether standard output takes colours. */
  readonly colour: boolean;
  /** Asks the person in a line and gives the one they type; null where nobody is there to ask. */
  ask(question: string): Promise<string | null>;
  /** All of standard input. */
  input(): Promise<string>;
  /** Wall clock, milliseconds. */
  now(): number;
}

export interface Command {
  /** One line for the list of verbs. */
  readonly summary: string;
  /** What --help says, ending in a newline. */
  readonly help: string;
  /** What the man page and the completion are made of. */
  readonly definition?: Definition;
  readonly verbs?: Readonly<Record<string, Command>>;
  /** Gives the exit code. Rejects with UsageError for arguments it does not understand, with Refusal for what it cannot do. */
  run(args: readonly string[], io: Io): Promise<number>;
}

/** What can be offered for an operand or the value of an option: these words, or what there is of a kind. */
export type Words = readonly string[] | 'file' | 'directory' | 'qube' | 'service' | 'setting' | 'principal';

export interface Option {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  readonly default?: string | boolean | string[];
  /** What stands for its value in the help: `DIR`. */
  readonly value?: string;
  /** What it does, in the help. Not a sentence: no capital, no full stop. */
  readonly text: string;
  readonly words?: Words;
}
export type Options = Readonly<Record<string, Option>>;

export interface Definition<O extends Options = Options> {
  /** As it is typed, without its arguments: `qmcpctl tier set`. */
  readonly name: string;
  readonly summary: string;
  /** Its operands as the help shows them: `QUBE... TIER`; empty for none. */
  readonly operands: string;
  /** What can stand for the operands, in their order; the last counts for all further ones. */
  readonly words?: readonly Words[];
  /** Paragraphs; wrapped where they are shown. */
  readonly about: readonly string[];
  readonly options: O;
  /** A command as it is typed, and what it does. At least one. */
  readonly examples: readonly (readonly [command: string, does: string])[];
  /** The shape of what --json prints (help.ts, NOTATION), one a line after what it depends on; null where there is no --json. */
  readonly json: string | null;
  /** What the exit codes mean beyond the usual: a clause for 0 and one for 1. */
  readonly exits?: readonly [done: string, failed: string];
}

/** Every verb takes the places too, so that one set of flags serves for all of them. */
type All<O extends Options> = Omit<typeof PLACES, keyof O> & O;
type Given<O extends Options> = ReturnType<
  typeof parseArgs<{ options: All<O> & ParseArgsConfig['options'] }>
>['values'];

/** A verb from its definition. `run` is given the options and operands. */
export function verb<const O extends Options>(
  definition: Definition<O>,
  run: (given: Given<O>, operands: readonly string[], io: Io) => Promise<number>,
): Command {
  return {
    summary: definition.summary,
    help: verbHelp(definition),
    definition,
    async run(args, io) {
      const options = parsable({ ...PLACES, ...definition.options });
      const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options });
      if (definition.operands === '' && positionals.length > 0) {
        throw new UsageError(`${definition.name} takes no "${printable(positionals[0] ?? '')}". See its --help.`);
      }
      return run(values as Given<O>, positionals, io);
    },
  };
}

/** parseArgs refuses to know more than this of an option. */
const parsable = (options: Options): NonNullable<ParseArgsConfig['options']> =>
  Object.fromEntries(
    Object.entries(options).map(([name, { type, short, multiple, default: standard }]) => [
      name,
      {
        type,
        ...(short && { short }),
        ...(multiple && { multiple }),
        ...(standard !== undefined && { default: standard }),
      },
    ]),
  );

/** The arguments make no sense; the message is a sentence. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** It cannot be done; the message is a sentence that says what to do. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
}

/** A verb that has verbs of its own. */
export function group(name: string, summary: string, verbs: Readonly<Record<string, Command>>): Command {
  const help = groupHelp(name, summary, verbs);
  return {
    summary,
    help,
    verbs,
    async run([verb, ...args], io) {
      if (verb === undefined || isHelp(verb)) {
        await io.out(help);
        return verb === undefined ? USAGE : DONE;
      }
      const command = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
      if (command === undefined) {
        if (verb.startsWith('-'))
          throw new UsageError(`The verb comes first, its options after it. See "${name} --help".`);
        throw new UsageError(unknownVerb(name, verb, Object.keys(verbs)));
      }
      if (command.verbs === undefined && args.some(isHelp)) {
        await io.out(command.help);
        return DONE;
      }
      return command.run(args, io);
    },
  };
}

const unknownVerb = (name: string, verb: string, verbs: readonly string[]): string => {
  const near = nearest(verb, verbs, 2);
  const guess = near === null ? '' : ` Did you mean ${near}?`;
  return `There is no verb "${printable(verb.slice(0, 40))}".${guess} See "${name} --help".`;
};

/** The word that is most like the text, if any is so like it. */
export const nearest = <W extends string>(text: string, words: readonly W[], most: number): W | null => {
  const [best] = words.map((word) => ({ word, by: distance(word, text) })).sort((a, b) => a.by - b.by);
  return best !== undefined && best.by <= most ? best.word : null;
};

/** How many characters to put in, leave out or exchange to make one of the other; of long words only whether they are equal. */
export const distance = (a: string, b: string): number => {
  if (a === b) return 0;
  if (a.length > 40 || b.length > 40) return Number.POSITIVE_INFINITY;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
};

/** Runs a verb, and turns what it rejects with into a sentence and an exit code. */
export async function runCommand(command: Command, args: readonly string[], io: Io): Promise<number> {
  try {
    return await command.run(args, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.err(`${error.message}\n`);
      return USAGE;
    }
    // parseArgs says in its first sentence what it does not know; the ones after it advise on the syntax of options.
    if (String((error as NodeJS.ErrnoException)?.code).startsWith('ERR_PARSE_ARGS')) {
      const [wrong] = (error as Error).message.split('. ', 1);
      io.err(`${printable(wrong ?? '').replace(/\.?$/, '.')} See --help.\n`);
      return USAGE;
    }
    io.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return FAILED;
  }
}

/** Text from a file or an argument, safe for a terminal: whatever is not plain printable becomes a question mark. */
export const printable = (text: string): string => text.replace(/[^\x20-\x7e\u00a0-\u02ff]/g, '?');

/** The one operand of that name. Throws UsageError where there is none, or more. */
export function oneOperand(operands: readonly string[], what: string): string {
  const [only, second] = operands;
  if (only === undefined) throw new UsageError(`Say which ${what}.`);
  if (second !== undefined)
    throw new UsageError(`One ${what} at a time, not also "${printable(second.slice(0, 40))}".`);
  return only;
}

const isHelp = (argument: string): boolean => argument === '--help' || argument === '-h';
