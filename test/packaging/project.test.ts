import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readJson = async (path: string) => JSON.parse(await readFile(join(root, path), 'utf8'));

const expected = new Set([
  ...['package.json', 'package-lock.json', 'tsconfig.json', 'LICENSE', 'README.md', 'SECURITY.md', 'CHANGELOG.md'],
  ...['daemon', 'qrexec-services', 'policy', 'packaging', 'test'],
]);

describe('the top level', () => {
  it('holds nothing but what a newcomer is told to find there, and dotfiles', async () => {
    const { stdout } = await execa('git', ['ls-files'], { cwd: root });
    const entries = new Set(stdout.split('\n').map((path) => path.split('/')[0] as string));
    const unexpected = [...entries].filter((entry) => !entry.startsWith('.') && !expected.has(entry));
    expect(entries).toContain('daemon');
    expect(unexpected).toEqual([]);
  });
});

describe('the packages', () => {
  it('are asked for in exact versions', async () => {
    const { dependencies, devDependencies } = await readJson('package.json');
    for (const [name, version] of Object.entries({ ...dependencies, ...devDependencies })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
    }
  });

  it('are locked by version and hash, from no host in particular', async () => {
    const { packages } = await readJson('package-lock.json');
    for (const [path, entry] of Object.entries<Record<string, unknown>>(packages)) {
      if (path === '') continue;
      expect(entry, path).toMatchObject({ version: expect.any(String), integrity: expect.stringMatching(/^sha512-/) });
      expect(entry, path).not.toHaveProperty('resolved');
    }
  });

  it('of the daemon at run time are the ones agreed on', async () => {
    const { dependencies } = await readJson('package.json');
    expect(Object.keys(dependencies).sort()).toEqual(['execa', 'node-gtk', 'pino', 'tweetnacl', 'zod']);
  });
});
