import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { chosenArea } from './areas.ts';

const { tests, withoutTests, patience } = chosenArea();

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: [...tests],
    exclude: [...withoutTests],
    setupFiles: ['test/seed.ts', 'test/mutation/fewer-runs.ts'],
    testTimeout: patience,
  },
});
