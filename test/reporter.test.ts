import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'qmcp-reporter-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

/** Runs one test file of that text as `npm test` would; gives the exit code and the last line of the output. */
const outcomeOf = async (text: string, ...options: string[]) => {
  await writeFile(join(directory, 'one.test.js'), text);
  const vitest = here('../node_modules/vitest/vitest.mjs');
  const reporters = ['--reporter=default', `--reporter=${here('reporter.ts')}`];
  const { exitCode, stdout } = await execa(
    process.execPath,
    [vitest, 'run', '--root', directory, '--globals', '--pool=forks', ...reporters, ...options],
    { cwd: directory, reject: false },
  );
  return { exitCode, closing: stdout.trimEnd().split('\n').at(-1) };
};

describe('the closing line', () => {
  it('counts the cases that passed', async () => {
    const text = 'describe("a", () => { it("x", () => {}); it("y", () => {}); }); it("z", () => {});';
    expect(await outcomeOf(text)).toEqual({ exitCode: 0, closing: '3 passed, 0 failed' });
  });

  it.each([
    ['a case that fails', 'it("x", () => {}); it("y", () => { throw new Error("no"); });', '1 passed, 1 failed'],
    ['a skipped case', 'it("x", () => {}); it.skip("y", () => {});', '1 passed, 1 failed'],
    ['a case that skips itself', 'it("x", () => {}); it("y", ({ skip }) => skip());', '1 passed, 1 failed'],
    ['a case still to be written', 'it("x", () => {}); it.todo("y");', '1 passed, 1 failed'],
    ['a skipped suite', 'it("x", () => {}); describe.skip("a", () => { it("y", () => {}); });', '1 passed, 1 failed'],
    ['a file that does not load', 'import "./missing.js"; it("x", () => {});', '0 passed, 1 failed'],
    ['a file without cases', 'export {};', '0 passed, 1 failed'],
    ['a hook that fails', 'afterAll(() => { throw new Error("no"); }); it("x", () => {});', '1 passed, 1 failed'],
    [
      'an error that nobody caught',
      'it("x", async () => { Promise.reject(new Error("no")); await new Promise(setImmediate); });',
      '1 passed, 1 failed',
    ],
  ])('counts %s as failed, and the run fails', async (_, text, closing) => {
    expect(await outcomeOf(text)).toEqual({ exitCode: 1, closing });
  });

  it('leaves out the cases that a run by name did not ask for', async () => {
    const text = 'it("x", () => {}); it("y", () => { throw new Error("no"); });';
    expect(await outcomeOf(text, '-t', 'x')).toEqual({ exitCode: 0, closing: '1 passed, 0 failed' });
  });

  it('fails a run in which nothing ran', async () => {
    expect(await outcomeOf('it("x", () => {});', '-t', 'other')).toEqual({
      exitCode: 1,
      closing: '0 passed, 0 failed',
    });
  });
});
