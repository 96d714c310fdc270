// Writing operator files: one way for every verb that does, so that what is written is always what the daemon will read.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { noted } from '../control/answers.ts';
import { FILE_NAMES, type FileName, parseSettings, type Source } from '../settings/files.ts';
import { look } from '../settings/look.ts';
import { POLICY_MODE_FILE } from '../settings/mode.ts';
import { complaintText, type Settings } from '../settings/settings.ts';
import { askDaemonIfThere } from './ask-daemon.ts';
import { type Change, type Changed, changeTogether, type Staged } from './change/change.ts';
import { realDisk } from './change/disk.ts';
import { type Io, printable, Refusal } from './command.ts';
import { programsIn } from './programs.ts';

/** The flags that say where things are. */
export interface Where {
  readonly etc: string;
  readonly run: string;
  readonly policy: string;
  readonly 'tool-path': string;
}

const LINT = 'qubes-policy-lint';

/**
 * Makes the changes, all or none, and tells the daemon. Rejects with Refusal where they cannot be made or the result would not
 * be understood. `by` is the verb, for the journal and the backup. `also` is asked while nobody else changes settings, and
 * rejects with Refusal where what the change stands on is not so.
 */
export async function writeSettings(
  by: string,
  changes: readonly Change[],
  where: Where,
  io: Io,
  also: () => void = () => {},
): Promise<Changed> {
  const check = async (staged: readonly Staged[]): Promise<void> => {
    also();
    await checkSettings(staged, where, io.now);
  };
  const changed = await changeTogether(by, changes, check, {
    ...{ disk: realDisk, etc: where.etc, now: io.now, pid: process.pid, isAlive: isQmcpctl },
  });
  if (changed.paths.length > 0) await tellDaemon(by, changed.paths, where.run, io);
  return changed;
}

/** What is in a file now, for `Change.seen`; undefined where that cannot be told, which the change itself then runs into. */
export const seenAt = (path: string): Promise<string | null | undefined> =>
  realDisk.read(path).then(
    (found) => found?.text ?? null,
    () => undefined,
  );

/** The settings that would be in force with these contents, and whether they are understood. Rejects with Refusal. */
async function checkSettings(staged: readonly Staged[], where: Where, now: () => number): Promise<void> {
  const wanted = new Map(staged.map(({ path, text }) => [path, text]));
  const settings = settingsWith(where, wanted, now);
  const names = new Set<string>(FILE_NAMES.filter((name) => wanted.has(join(where.etc, name))));
  const policyPath = join(where.policy, POLICY_MODE_FILE);
  if (wanted.has(policyPath)) names.add(policyPath).add('tier-default');
  const wrong = settings.complaints.find(({ file }) => names.has(file));
  // What would hold until it is mended does not matter here: it is not written.
  if (wrong) {
    const sentence = wrong.sentence.replace(/ Until (?:it is mended|they agree), .*$/, '');
    throw new Refusal(`Nothing was changed. ${complaintText(where.etc, { ...wrong, sentence })}`);
  }
  const policy = staged.find(({ path }) => path === policyPath);
  if (policy?.staged) await lint(policy.staged, where);
}

/** The settings as they are, but for these contents: null stands for a file that is not there. */
export function settingsWith(
  where: Pick<Where, 'etc' | 'policy'>,
  wanted: ReadonlyMap<string, string | null>,
  now: () => number,
): Settings {
  const sourceAt = (path: string): Source => {
    const text = wanted.get(path);
    if (text === undefined) return look(path, undefined, now).source;
    return text === null ? { kind: 'absent' } : { kind: 'text', text };
  };
  const sources = new Map<FileName, Source>(FILE_NAMES.map((name) => [name, sourceAt(join(where.etc, name))]));
  const policyPath = join(where.policy, POLICY_MODE_FILE);
  return parseSettings(sources, { path: policyPath, source: sourceAt(policyPath) });
}

/** By the platform's own parser, where it is installed; it looks at each file by itself. */
async function lint(path: string, where: Where): Promise<void> {
  const linted = await programsIn(where['tool-path']).run(LINT, [path]);
  if (linted.kind === 'ended' && linted.code !== 0) {
    throw new Refusal(
      `Nothing was changed: ${LINT} does not accept the policy. ${printable(linted.out.split('\n', 1)[0] ?? '')}`,
    );
  }
  if (linted.kind === 'failed') throw new Refusal(`Nothing was changed: ${LINT} could not be run to its end.`);
}

async function tellDaemon(by: string, paths: readonly string[], run: string, io: Io): Promise<void> {
  try {
    const told = await askDaemonIfThere(run, 'noted', { by, files: paths }, noted, io);
    if (told === null) io.err('The daemon is not running; it reads the settings when it starts.\n');
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    io.err(`${error.message}\nThe settings are written; the daemon reads them at its next call.\n`);
  }
}

/** Whether that process is a qmcpctl: numbers are given again after a restart. */
const isQmcpctl = (pid: number): boolean => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('qmcpctl');
  } catch {
    return false;
  }
};
