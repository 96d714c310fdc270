// What a verb of qmcpctl is, and how it speaks to the person.

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
  /** Wall clock, milliseconds. */
  now(): number;
}

export interface Command {
  /** One line for the list of verbs. */
  readonly summary: string;
  /** What --help says, ending in a newline. */
  readonly help: string;
  /** Gives the exit code. Rejects with UsageError for arguments it does not understand, with Refusal for what it cannot do. */
  run(args: readonly string[], io: Io): Promise<number>;
}

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
  const width = Math.max(...Object.keys(verbs).map((verb) => verb.length));
  const list = Object.entries(verbs).map(([verb, command]) => `  ${verb.padEnd(width)}  ${command.summary}\n`);
  const help = `Usage: ${name} VERB [...]\n\n${summary}\n\n${list.join('')}\n"${name} VERB --help" tells more.\n`;
  return {
    summary,
    help,
    async run([verb, ...args], io) {
      if (verb === undefined || isHelp(verb)) {
        await io.out(help);
        return verb === undefined ? USAGE : DONE;
      }
      const command = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
      if (command === undefined) throw new UsageError(`There is no verb "${printable(verb)}". See "${name} --help".`);
      if (args.some(isHelp)) {
        await io.out(command.help);
        return DONE;
      }
      return command.run(args, io);
    },
  };
}

/** Runs a verb, and turns what it rejects with into a sentence and an exit code. */
export async function runCommand(command: Command, args: readonly string[], io: Io): Promise<number> {
  try {
    return await command.run(args, io);
  } catch (error) {
    if (error instanceof UsageError) {
      io.err(`${error.message}\n`);
      return USAGE;
    }
    // parseArgs says in a sentence what it does not know.
    if (String((error as NodeJS.ErrnoException)?.code).startsWith('ERR_PARSE_ARGS')) {
      io.err(`${(error as Error).message}\n`);
      return USAGE;
    }
    io.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return FAILED;
  }
}

/** Text from a file or an argument, safe for a terminal: whatever is not plain printable becomes a question mark. */
export const printable = (text: string): string => text.replace(/[^\x20-\x7e\u00a0-\u02ff]/g, '?');

const isHelp = (argument: string): boolean => argument === '--help' || argument === '-h';
