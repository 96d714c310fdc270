import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/built.ts'],
    setupFiles: ['test/seed.ts'],
    reporters: ['default', fileURLToPath(new URL('reporter.ts', import.meta.url))],
    // Processes, not threads: tests start daemons, send signals and change their environment.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 10_000,
    allowOnly: false,
  },
});
