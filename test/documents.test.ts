// What the documents say about this repository, as far as a program can tell.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SERVICES } from '../daemon/services/registry.ts';
import { build, bundles, packageOfInput } from '../packaging/build.ts';

const at = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const read = (path: string): string => readFileSync(at(path), 'utf8');

describe.each(['README.md', 'SECURITY.md', 'CHANGELOG.md', 'test/REVIEW.md'])('%s', (document) => {
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

  test('quotes of qmcpctl what its page shows, which is what it prints', () => {
    const quoted = [...text.matchAll(/^```console\n([\s\S]*?)^```$/gm)].flatMap(([, block]) =>
      (block ?? '').split('\n').filter(Boolean),
    );
    expect(quoted.length).toBeGreaterThan(5);
    const printed = read('daemon/operator/README.md').split('\n');
    // In their order: a line may be left out, but none put in.
    let at = 0;
    for (const line of quoted) {
      at = printed.indexOf(line, at) + 1;
      expect(at, line).toBeGreaterThan(0);
    }
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

describe('the review', () => {
  const text = read('test/REVIEW.md').replace(/\s+/g, ' ');
  /** What stands in quotes after a file in backquotes, and everything in brackets after one. */
  const beside = (file: string, what: string): [string, string][] =>
    [...text.matchAll(new RegExp(`\`(${file})\`((?:,? ${what})+)`, 'g'))].flatMap(([, path, all]) =>
      [...(all as string).matchAll(/["`]([^"`]+)["`]/g)].map(([, each]): [string, string] => [
        path as string,
        each as string,
      ]),
    );

  test('has a section for each of the thirty weaknesses, and each names its code, its test, and what breaking it showed', () => {
    const sections = [...text.matchAll(/### R(\d+) (.*?)(?=###|## |$)/g)];
    expect(sections.map(([, number]) => Number(number))).toEqual(Array.from({ length: 30 }, (_, index) => index + 1));
    for (const [, , section] of sections) {
      expect(section).toMatch(/ - Here: .* - Code: `.* - Test: `test\/.* - Broken: /);
    }
  });

  test('names no test that is not there', () => {
    const named = beside('test/[\\w./-]+\\.test\\.ts', '"[^"]+"');
    expect(named.length).toBeGreaterThan(60);
    expect(named.filter(([path, name]) => !read(path).includes(name))).toEqual([]);
  });

  test('names no function that is not there', () => {
    const named = beside('daemon/[\\w./-]+\\.ts', '\\((?:`\\w+`(?:, )?)+\\)');
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter(([path, name]) => !new RegExp(`\\b${name}\\b`).test(read(path)))).toEqual([]);
  });
});

describe('SECURITY.md', () => {
  const text = read('SECURITY.md');

  test('promises every invariant, and names a test for every promise', () => {
    const [, section = ''] = /^## What is promised\n([\s\S]*?)^## /m.exec(text) ?? [];
    const rows = [...section.matchAll(/^\| ([^|]+) \| ([^|]*) \| ([^|]+) \|$/gm)].slice(1);
    const invariants = new Set(rows.flatMap(([, , numbers]) => [...(numbers as string).matchAll(/I\d+/g)].map(String)));
    expect(invariants).toEqual(new Set(Array.from({ length: 10 }, (_, index) => `I${index + 1}`)));
    for (const [, promise, , tests] of rows)
      expect(tests, promise).toMatch(/`test\/[\w/-]+\.test\.ts`|`test\/[\w/-]+\/`/);
  });

  test('lists every package that is inside the programs, with about the bytes that it takes there', async () => {
    const metafiles = await build();
    const real = new Map<string, number[]>();
    for (const [index, { outputs }] of metafiles.entries()) {
      for (const [input, { bytesInOutput }] of Object.values(outputs).flatMap(({ inputs }) => Object.entries(inputs))) {
        const name = packageOfInput(input)?.split('node_modules/').at(-1);
        if (name === undefined) continue;
        const sizes = real.get(name) ?? bundles.map(() => 0);
        sizes[index] = (sizes[index] ?? 0) + bytesInOutput;
        real.set(name, sizes);
      }
    }
    const rows = [...text.matchAll(/^\| `([@\w./-]+)` \| [^|]+ \| ([\d.]+|-) \| ([\d.]+|-) \| ([\d.]+|-) \|$/gm)];
    expect(rows.map(([, name]) => name).sort()).toEqual([...real.keys()].sort());
    for (const [, name, ...sizes] of rows) {
      for (const [index, said] of sizes.entries()) {
        const kib = (real.get(name as string)?.[index] ?? 0) / 1024;
        // Near enough to judge by: what is used of a package changes with every import.
        if (said === '-') expect(kib, name).toBe(0);
        else expect(Math.abs(Number(said) - kib), `${name}: ${kib.toFixed(1)}`).toBeLessThanOrEqual(0.2 * kib + 0.1);
      }
    }
  });

  test('has nothing beside what package.json asks for', () => {
    const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> };
    expect(Object.keys(dependencies).filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  });
});

describe('the changelog', () => {
  test('names every service and every program', () => {
    const text = read('CHANGELOG.md');
    const services = [...SERVICES.keys(), 'qmcp.Prepare', 'qmcp.Commit', 'qmcp.Status', 'qmcp.Cancel'];
    const words = services.map((name) => name.replace('qmcp.', '').replace(/AIManaged(?:Qubes?)?/, ''));
    const { bin } = JSON.parse(read('package.json')) as { bin: Record<string, string> };
    expect([...words, ...Object.keys(bin)].filter((word) => !text.includes(word))).toEqual([]);
  });
});
