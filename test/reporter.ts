import type { Reporter, SerializedError, TestModule, Vitest } from 'vitest/node';

export type Count = { passed: number; failed: number };

/**
 * Test cases that passed, and everything that did not: cases that failed, were skipped or never ran, files and suites
 * that failed outside a case (while loading, in a hook), errors that nobody caught.
 * With `selected` (a run narrowed to some names) the cases left out are not counted.
 */
export const count = (modules: readonly TestModule[], uncaught: readonly unknown[], selected: boolean): Count => {
  const total = { passed: 0, failed: uncaught.length };
  for (const module of modules) {
    for (const { type, state, errors } of outcomes(module)) {
      if (type === 'test' && state === 'passed') total.passed += 1;
      else if (type === 'test' && !(selected && state === 'skipped')) total.failed += 1;
      else if (type !== 'test' && errors > 0) total.failed += 1;
    }
  }
  return total;
};

type Outcome = { type: 'module' | 'suite' | 'test'; state: string; errors: number };

function* outcomes(module: TestModule): Generator<Outcome> {
  yield { type: 'module', state: module.state(), errors: module.errors().length };
  for (const suite of module.children.allSuites()) {
    yield { type: 'suite', state: suite.state(), errors: suite.errors().length };
  }
  for (const test of module.children.allTests()) {
    yield { type: 'test', state: test.result().state, errors: 0 };
  }
}

/** Ends the output with the line `N passed, N failed`, and the run with an error if anything failed or was skipped. */
export default class ClosingLine implements Reporter {
  private selected = false;

  onInit(vitest: Vitest): void {
    this.selected = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[], uncaught: readonly SerializedError[]): void {
    const { passed, failed } = count(modules, uncaught, this.selected);
    if (failed > 0 || passed === 0) process.exitCode = 1;
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
  }
}
