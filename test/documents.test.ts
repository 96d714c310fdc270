// What the documents say about this repository, as far as a program can tell.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const at = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const read = (path: string): string => readFileSync(at(path), 'utf8');

describe.each(['README.md', 'SECURITY.md', 'CHANGELOG.md'])('%s', (document) => {
  const text = read(document);

  test('links to nothing that is not there', () => {
    const links = [...text.matchAll(/\]\((?!https:)([^)#]+)/g)].map(([, path]) => path as string);
    expect(links.filter((path) => !existsSync(at(path)))).toEqual([]);
  });

  test('names no file or directory of the project that is not there', () => {
    const paths = [...text.matchAll(/`((?:daemon|test|policy|packaging)\/[\w./-]*)`/g)].map(
      ([, path]) => path as string,
    );
    expect(paths.filter((path) => !existsSync(at(path)))).toEqual([]);
  });
});

describe('the README', () => {
  const text = read('README.md');

  test('says of each invariant where it is tried', () => {
    const rows = [...text.matchAll(/^\| (I\d+) \|.*\| ([^|]+) \|$/gm)];
    expect(rows.map(([, number]) => number)).toEqual(Array.from({ length: 10 }, (_, index) => `I${index + 1}`));
    const tests = rows.flatMap(([, , names]) =>
      [...(names as string).matchAll(/`([\w/-]+)`/g)].map(([, name]) => name),
    );
    expect(tests.filter((name) => !existsSync(at(`test/${name}.test.ts`)))).toEqual([]);
  });

  test('quotes the demo as it is', () => {
    const [quoted] = /^7\. It removes another[^`]*/m.exec(text) ?? [];
    expect(read('test/demo/transcript.txt')).toContain(quoted);
  });

  test('names no command that there is not', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm (?:run (\w+)|(test))/g)].map(([, command, test]) => command ?? test);
    expect(named.filter((name) => name !== undefined && !Object.hasOwn(scripts, name))).toEqual([]);
  });

  test('shows no directory of the daemon that is not there', () => {
    const shown = [...text.matchAll(/^ {2}(\w+)\/ +\S/gm)].map(([, name]) => `daemon/${name}`);
    expect(shown.filter((path) => !existsSync(at(path)))).toEqual([]);
  });
});
