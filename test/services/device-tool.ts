// A stand-in for qvm-device: writes down how it was called, and ends as it is told.
import { existsSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { InProcess } from '../broker/in-process.ts';

export type ToolBehaviour = 'works' | 'fails' | 'hangs';

const END: Readonly<Record<ToolBehaviour, string>> = {
  works: '',
  fails: 'process.stderr.write("Unknown device of vault\\n"); process.exitCode = 1;',
  hangs: 'setInterval(() => {}, 1000);',
};

/** Puts the tool where the broker looks. Gives what tells its runs so far, each as its arguments. */
export const installTool = async (broker: InProcess, behaviour: ToolBehaviour = 'works'): Promise<() => string[][]> => {
  const log = join(broker.root, 'tool.jsonl');
  const record = `require('node:fs').appendFileSync(${JSON.stringify(log)}, JSON.stringify(process.argv.slice(2)) + '\\n');`;
  await writeFile(join(broker.tools, 'qvm-device'), `#!${process.execPath}\n${record}\n${END[behaviour]}\n`, {
    mode: 0o755,
  });
  return () =>
    existsSync(log)
      ? readFileSync(log, 'utf8')
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line))
      : [];
};
