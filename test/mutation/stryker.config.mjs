// One area at a time, each held against its own tests. The vitest is the one of the directory above, of one version with the tests.
import { fileURLToPath } from 'node:url';
import { chosenArea } from './areas.ts';

const name = process.env.QMCP_MUTATED_AREA;

export default {
  testRunner: 'vitest',
  plugins: [fileURLToPath(import.meta.resolve('@stryker-mutator/vitest-runner'))],
  vitest: { configFile: 'test/mutation/vitest.config.ts', related: false },
  mutate: [...chosenArea().code],
  ignorePatterns: [
    'build',
    'dist',
    'packaging',
    'qrexec-services',
    'daemon/dialog/types',
    'test/mutation/node_modules',
  ],
  coverageAnalysis: 'perTest',
  concurrency: Number(process.env.QMCP_MUTATION_WORKERS ?? 2),
  timeoutMS: chosenArea().patience,
  tempDirName: 'build/mutation',
  reporters: ['json', process.stdout.isTTY ? 'progress' : 'progress-append-only'],
  jsonReporter: { fileName: `build/mutation-${name}.json` },
  // What a run before found of code and tests that are the same holds, if asked for; it does not see what tests import.
  incremental: process.env.QMCP_MUTATION_CHANGED === '1',
  incrementalFile: `build/mutation-${name}.incremental.json`,
  warnings: { slow: false },
};
