// Programs of the platform that qmcpctl looks things up with. None of them changes anything, and none goes through a shell.
import { toolsIn } from '../qubesadmin/tool.ts';

const DEADLINE_MS = 10_000;
const MAX_OUTPUT_BYTES = 262_144;

export type Ran =
  | { readonly kind: 'missing' }
  /** `out` is what it said on both outputs. */
  | { readonly kind: 'ended'; readonly code: number; readonly out: string }
  | { readonly kind: 'failed' };

export interface Programs {
  has(name: string): Promise<boolean>;
  /** Runs it with exactly these arguments, and a constant environment. Never rejects. */
  run(name: string, args: readonly string[]): Promise<Ran>;
}

/** The programs in the directories of `path`, which are parted by colons. */
export const programsIn = (path: string): Programs => {
  const tools = toolsIn(path);
  const has = (name: string): Promise<boolean> => tools.has(name);
  return {
    has,
    async run(name, args) {
      if (!(await has(name))) return { kind: 'missing' };
      // Loaded when it is needed, which for most verbs is never.
      const { execa } = await import('execa');
      const result = await execa(name, args, {
        env: { PATH: path, LC_ALL: 'C.UTF-8', PYTHONNOUSERSITE: '1' },
        extendEnv: false,
        cwd: '/',
        stdin: 'ignore',
        all: true,
        timeout: DEADLINE_MS,
        killSignal: 'SIGKILL',
        maxBuffer: MAX_OUTPUT_BYTES,
        encoding: 'latin1',
        reject: false,
      });
      return result.exitCode === undefined
        ? { kind: 'failed' }
        : { kind: 'ended', code: result.exitCode, out: result.all ?? '' };
    },
  };
};
