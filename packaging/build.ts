/**
 * Bundles what gets installed into dist/: one file per program, so that the daemon runs without node_modules and an
 * auditor reads one file. Not minified. node-gtk stays outside: it loads its overrides by computed names.
 */

import { chmod, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build as esbuild, formatMessages, type Metafile, type Plugin, transform } from 'esbuild';
import { manual } from './manual.ts';
import { skimmed } from './skimmed.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

type Bundle = { entry: string; outfile: string; format: 'esm' | 'cjs'; external: string[] };

export const bundles: readonly Bundle[] = [
  { entry: 'daemon/brokerd.ts', outfile: 'dist/qmcp-brokerd.mjs', format: 'esm', external: [] },
  { entry: 'daemon/operator/qmcpctl.ts', outfile: 'dist/qmcpctl.mjs', format: 'esm', external: [] },
  { entry: 'daemon/dialog/qmcp-confirm.ts', outfile: 'dist/qmcp-confirm.cjs', format: 'cjs', external: ['node-gtk'] },
];

const shebang = '#!/usr/bin/env node\n';

// CommonJS packages inside an ES module call require() for Node's own modules.
const requireForPackages =
  "import { createRequire as createRequireForPackages } from 'node:module';\n" +
  'const require = createRequireForPackages(import.meta.url);';

const common = {
  absWorkingDir: root,
  bundle: true,
  platform: 'node',
  target: 'node22',
  legalComments: 'eof',
  logLevel: 'silent',
  write: false,
  metafile: true,
} as const;

const optionsFor = ({ entry, outfile, format, external }: Bundle) => ({
  ...common,
  entryPoints: [entry],
  outfile,
  format,
  external,
  ...(format === 'esm' && { banner: { js: requireForPackages } }),
});

/** Loaded when it is needed, which may be never. As one function inside the bundle, V8 does no more than skim it until then. */
const LATE = 'execa';

const late = (accounts: Metafile[]): Plugin => ({
  name: LATE,
  setup: ({ onLoad, onResolve, resolve }) => {
    onResolve({ filter: new RegExp(`^${LATE}$`) }, async ({ kind, resolveDir, namespace, pluginData }) => {
      if (pluginData === LATE) return undefined;
      const { path } = await resolve(LATE, { kind, resolveDir, namespace, pluginData: LATE });
      // It stands in the bundle, which must not tell where it was built.
      return { path: relative(root, path), namespace: LATE };
    });
    onLoad({ filter: /./, namespace: LATE }, async ({ path }) => {
      const { outputFiles, metafile } = await esbuild({
        ...common,
        entryPoints: [path],
        outfile: 'late.cjs',
        format: 'cjs',
      });
      accounts.push(metafile);
      return { contents: outputFiles[0]?.text ?? '', loader: 'js' };
    });
  },
});

/** esbuild's account of a bundle, with what is inside the packages that were bundled before it. */
const whole = (account: Metafile, outfile: string, parts: readonly Metafile[]): Metafile => {
  const output = account.outputs[outfile];
  if (output === undefined) throw new Error(`esbuild gave no account of ${outfile}.`);
  const inside = parts.flatMap(({ outputs }) => Object.values(outputs)).map(({ inputs }) => inputs);
  const without = <T>(inputs: Record<string, T>) =>
    Object.fromEntries(Object.entries(inputs).filter(([name]) => !name.startsWith(`${LATE}:`)));
  return {
    inputs: Object.assign(without(account.inputs), ...parts.map(({ inputs }) => inputs)),
    outputs: { [outfile]: { ...output, inputs: Object.assign(without(output.inputs), ...inside) } },
  };
};

/**
 * Writes every bundle, dist/LICENSES.txt, and the manual (manual.ts); files whose bytes are already right stay untouched.
 * Gives esbuild's account of what went into each, in the order of `bundles`. Throws when one cannot be built.
 */
export const build = async (): Promise<Metafile[]> => {
  const metafiles = await Promise.all(bundles.map(bundleInto));
  await writeIfChanged('dist/LICENSES.txt', await licensesOf(metafiles), 0o644);
  for (const [name, text] of manual()) await writeIfChanged(`dist/${name}`, text, 0o644);
  return metafiles;
};

const bundleInto = async (bundle: Bundle): Promise<Metafile> => {
  const parts: Metafile[] = [];
  const { outputFiles, metafile, warnings } = await esbuild({ ...optionsFor(bundle), plugins: [late(parts), skimmed] });
  // For example import.meta in a CommonJS bundle: it builds, and is undefined where it runs.
  if (warnings.length > 0) throw new Error((await formatMessages(warnings, { kind: 'warning' })).join(''));
  const code = await inAscii(outputFiles[0]?.text ?? '', bundle.outfile);
  await writeIfChanged(bundle.outfile, code.startsWith('#!') ? code : shebang + code, 0o755);
  return whole(metafile, bundle.outfile, parts);
};

/**
 * Without letters that V8 would hold the whole text at two bytes a letter for. esbuild writes them as escapes but in the comments
 * that it keeps, where they do not matter, and in regular expressions and tagged templates, where they do: throws for those.
 */
export const inAscii = async (code: string, name: string): Promise<string> => {
  const withoutComments = await transform(code, { legalComments: 'none', target: common.target });
  if (OTHER.test(withoutComments.code)) {
    throw new Error(
      `${name} has a letter beyond ASCII in a regular expression or tagged template; write it as an escape.`,
    );
  }
  return code.replaceAll(new RegExp(OTHER, 'g'), '?');
};

const OTHER = /[^\0-\x7f]/;

// By rename, so that a program started meanwhile reads either the old file or the new one, never half of one.
const writeIfChanged = async (path: string, text: string, mode: number): Promise<void> => {
  const target = join(root, path);
  if ((await readFile(target, 'utf8').catch(() => undefined)) === text) return;
  const unfinished = `${target}.${process.pid}`;
  await mkdir(dirname(target), { recursive: true });
  await writeFile(unfinished, text);
  await chmod(unfinished, mode); // Whatever the umask is.
  await rename(unfinished, target);
};

/** Where the package lies that a bundler's input belongs to, below the project; undefined for a file of our own. */
export const packageOfInput = (input: string): string | undefined =>
  // The last node_modules: a package may have its own version of another one inside.
  /^((?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1];

// The licences of the packages that are inside the bundles ask for their text to travel with them.
const licensesOf = async (metafiles: Metafile[]): Promise<string> => {
  const inputs = metafiles.flatMap(({ inputs }) => Object.keys(inputs));
  const packages = new Set(inputs.map(packageOfInput).filter((path) => path !== undefined));
  return (await Promise.all([...packages].sort().map(licenseOf))).join('\n');
};

const licenseOf = async (path: string): Promise<string> => {
  const { name, version, license } = JSON.parse(await readFile(join(root, path, 'package.json'), 'utf8'));
  const file = (await readdir(join(root, path))).find((entry) => /^licen[cs]e/i.test(basename(entry)));
  const text = file ? await readFile(join(root, path, file), 'utf8') : '';
  return `${name} ${version}, ${license}\n\n${text}\n`;
};

if (import.meta.main) {
  await build().catch((error: Error) => {
    console.error(`The programs in dist/ could not be built. ${error.message}`);
    process.exitCode = 1;
  });
}
