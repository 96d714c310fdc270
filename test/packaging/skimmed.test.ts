import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { skimmed } from '../../packaging/skimmed.ts';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'qmcp-skimmed-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** The source as it comes out of a bundle, and what it exports as `value`. */
const bundled = async (source: string): Promise<{ code: string; value: unknown }> => {
  const file = join(directory, 'source.ts');
  await writeFile(file, source);
  const options = { bundle: true, format: 'esm', target: 'node22', write: false } as const;
  const { outputFiles } = await build({ entryPoints: [file], ...options, plugins: [skimmed] });
  const code = outputFiles[0]?.text ?? '';
  const { value } = await import(`data:text/javascript,${encodeURIComponent(code)}`);
  return { code, value };
};

test('an arrow function becomes a function that does the same, whatever a comment says of this', async () => {
  const { code, value } = await bundled(`
    // this one
    const twice = async (of: number): Promise<number> => 2 * of;
    export const value = await twice(21);`);
  expect(value).toBe(42);
  expect(code).not.toContain('=>');
});

test.each([
  [
    'this',
    'class A { #n = 1; next = () => ++this.#n; }\nexport const value = [new A()].map(({ next }) => next())[0];',
    2,
  ],
  [
    'super',
    'class A { n() { return 3; } }\nclass B extends A { n() { return (() => super.n())(); } }\nexport const value = new B().n();',
    3,
  ],
  ['arguments', 'function f() { return (() => arguments[0])(); }\nexport const value = f(4);', 4],
])('a file in which %s is meant keeps its arrow functions', async (_, source, expected) => {
  const { code, value } = await bundled(source);
  expect(value).toBe(expected);
  expect(code).toContain('=>');
});
