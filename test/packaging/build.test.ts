import { copyFile, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, bundles, inAscii, packageOfInput } from '../../packaging/build.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { bin } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { bin: Record<string, string> };

let elsewhere: string;
let metafiles: Awaited<ReturnType<typeof build>>;

beforeAll(async () => {
  elsewhere = await mkdtemp(join(tmpdir(), 'qmcp-bundle-'));
  metafiles = await build();
});
afterAll(() => rm(elsewhere, { recursive: true, force: true }));

/** Starts a program of dist/ from a directory that has no node_modules above it. */
const startAlone = async (path: string) => {
  const alone = join(elsewhere, basename(path));
  await copyFile(join(root, path), alone);
  return execa(process.execPath, [alone, '--no-such-flag'], { cwd: elsewhere, env: { NODE_PATH: '' }, reject: false });
};

describe('a file that was bundled', () => {
  it.each([
    ['node_modules/zod/index.js', 'node_modules/zod'],
    ['node_modules/@x/y/lib/z.js', 'node_modules/@x/y'],
    ['node_modules/a/node_modules/b/index.js', 'node_modules/a/node_modules/b'],
    ['node_modules/a/node_modules/@x/y/z.js', 'node_modules/a/node_modules/@x/y'],
    ['daemon/brokerd.ts', undefined],
  ])('%s belongs to %s', (input, path) => {
    expect(packageOfInput(input)).toBe(path);
  });
});

describe('a letter beyond ASCII', () => {
  it('is taken out of a comment that is kept', async () => {
    expect(await inAscii('f(1);\n/*! © somebody */\n', 'x')).toBe('f(1);\n/*! ? somebody */\n');
  });

  it.each(['/[\u2013]/.test(f);', 'String.raw`\u2013`;'])(
    'ends the build where the program would be another: %s',
    async (code) => {
      await expect(inAscii(code, 'x.mjs')).rejects.toThrow(/^x\.mjs has a letter beyond ASCII/);
    },
  );
});

describe('the programs in dist/', () => {
  it('are those that package.json names', () => {
    expect(bundles.map(({ outfile }) => outfile).sort()).toEqual(Object.values(bin).sort());
  });

  it.each(bundles)('$outfile is an executable with a shebang', async ({ outfile }) => {
    expect((await stat(join(root, outfile))).mode & 0o777).toBe(0o755);
    const text = await readFile(join(root, outfile), 'utf8');
    expect(text.startsWith('#!/usr/bin/env node\n')).toBe(true);
    expect(text.indexOf('#!', 2)).not.toBe(text.indexOf('\n') + 1);
  });

  it.each(bundles.map(({ outfile, external }, index) => ({ outfile, external, index })))(
    "$outfile needs nothing at run time but Node's own modules and $external",
    ({ outfile, external, index }) => {
      const imports = metafiles[index]?.outputs[outfile]?.imports ?? [];
      const foreign = imports
        .map(({ path }) => path)
        .filter((path) => !builtinModules.includes(path.replace(/^node:/, '')));
      expect(foreign.filter((path) => !external.includes(path))).toEqual([]);
      expect(imports.length).toBeGreaterThan(0);
    },
  );

  it.each(bundles.map(({ outfile }, index) => ({ outfile, index })))(
    '$outfile has the code of the dialog inside only if it is the dialog',
    ({ outfile, index }) => {
      const inputs = Object.keys(metafiles[index]?.inputs ?? {});
      const gtk = inputs.filter((path) => path.startsWith('node_modules/node-gtk/') || path === 'daemon/dialog/gtk.ts');
      expect(gtk).toEqual(outfile === 'dist/qmcp-confirm.cjs' ? ['daemon/dialog/gtk.ts'] : []);
    },
  );

  it.each(bundles)('$outfile is held at one byte a letter', async ({ outfile }) => {
    expect(await readFile(join(root, outfile), 'utf8')).toMatch(/^[\0-\x7f]*$/);
  });

  it('have nothing for the shapes of what the daemon itself answers', () => {
    const withAnswers = bundles.filter((_, index) => 'daemon/control/answers.ts' in (metafiles[index]?.inputs ?? {}));
    expect(withAnswers.map(({ outfile }) => outfile)).toEqual(['dist/qmcpctl.mjs']);
  });

  // The dialog too: it loads GTK only once it has a question to show.
  it.each(bundles)('$outfile starts without node_modules', async ({ outfile }) => {
    const { exitCode, stderr } = await startAlone(outfile);
    expect(exitCode).not.toBe(0);
    expect(stderr).toMatch(/--no-such-flag|The verb comes first/);
    expect(stderr).not.toMatch(/Cannot find|ERR_MODULE_NOT_FOUND|is not defined|Dynamic require/);
  });

  it('are left alone when nothing has changed', async () => {
    const times = () => Promise.all(bundles.map(async ({ outfile }) => (await stat(join(root, outfile))).mtimeMs));
    const before = await times();
    await build();
    expect(await times()).toEqual(before);
  });

  it('travel with the licence of every package inside them', async () => {
    const inputs = metafiles.flatMap(({ inputs }) => Object.keys(inputs));
    const inside = inputs.map((path) => packageOfInput(path)?.replace(/^.*node_modules\//, ''));
    const licenses = await readFile(join(root, 'dist/LICENSES.txt'), 'utf8');
    const named = [...licenses.matchAll(/^(\S+) \d+\.\d+\.\d+, /gm)].map(([, name]) => name);
    expect(named).toContain('zod');
    expect(named.sort()).toEqual([...new Set(inside.filter((name) => name !== undefined))].sort());
  });
});
