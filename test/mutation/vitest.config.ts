import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { chosenArea } from './areas.ts';

const { tests, withoutTests, patience } = chosenArea();

/** The first failure ends the trial of a mutant, so the short files go first. */
class ShortFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const size = ({ moduleId }: TestSpecification): number => statSync(moduleId).size;
    return files.toSorted((a, b) => size(a) - size(b));
  }
}

export default defineConfig({
  root: fileURLToPath(new URL('../..', import.meta.url)),
  test: {
    include: [...tests],
    exclude: [...withoutTests],
    setupFiles: ['test/seed.ts', 'test/mutation/fewer-runs.ts'],
    testTimeout: patience,
    sequence: { sequencer: ShortFirst },
  },
});
