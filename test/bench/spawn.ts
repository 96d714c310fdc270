// What a process per call costs before it does anything: the floor of an implementation that starts one for each.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { median, ms, type Row } from './row.ts';

const ROUNDS = 60;
const PROGRAMS: readonly (readonly [string, ...string[]])[] = [['true'], ['python3', '-c', 'pass']];

/** One row per program, in turns so that both meet the same machine. */
export const spawnRows = async (): Promise<Row[]> => {
  const took = PROGRAMS.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [index, [command, ...args]] of PROGRAMS.entries()) {
      const began = performance.now();
      await once(spawn(command, args, { stdio: 'ignore' }), 'exit');
      took[index]?.push(performance.now() - began);
    }
  }
  return PROGRAMS.map((words, index) => ({
    what: `starting \`${words.join(' ')}\`, which a process per call pays at the least`,
    measured: ms(median(took[index] ?? [])),
  }));
};
