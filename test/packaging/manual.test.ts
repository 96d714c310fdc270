import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, onTestFinished, test } from 'vitest';
import { completion, manPages, manual } from '../../packaging/manual.ts';
import { allVerbs } from '../operator/stage.ts';

const DIST = fileURLToPath(new URL('../../dist', import.meta.url));
const PAGES = [...manPages()];

test('there is a page for each verb of the first level, and one for all', () => {
  const verbs = [...new Set(allVerbs().map(({ path }) => path[0]))].sort();
  expect(PAGES.map(([name]) => name).sort()).toEqual(
    ['man/qmcpctl.8', ...verbs.map((verb) => `man/qmcpctl-${verb}.8`)].sort(),
  );
});

test('every option and example of every verb is in its page', () => {
  for (const { path, command } of allVerbs()) {
    const page = manPages().get(`man/qmcpctl-${path[0]}.8`)?.replaceAll('\\-', '-') ?? '';
    for (const option of Object.keys(command.definition?.options ?? {}))
      expect(page, path.join(' ')).toContain(`--${option}`);
    for (const [example] of command.definition?.examples ?? []) expect(page, path.join(' ')).toContain(example);
  }
});

test('the formatter of man pages has nothing to complain of', async () => {
  const { exitCode } = await execa('groff', ['--version'], { reject: false });
  if (exitCode !== 0) return;
  for (const [name, text] of PAGES) {
    const { all } = await execa('groff', ['-ww', '-z', '-man', '-Tutf8'], { input: text, all: true, reject: false });
    expect(all, name).toBe('');
  }
});

test('a build writes them', () => {
  for (const [name, text] of manual()) expect(readFileSync(join(DIST, name), 'utf8')).toBe(text);
});

/** What bash offers for the last of these words. */
const offered = async (...words: string[]): Promise<string[]> => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-completion-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, 'completion'), completion());
  writeFileSync(join(dir, 'a-file'), '');
  const script = `. ./completion; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _qmcpctl; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const qvm = 'qvm-ls() { printf "%s\\n" ai-work vault; }; ';
  const { stdout, stderr } = await execa('bash', ['-c', qvm + script, 'bash', 'qmcpctl', ...words], { cwd: dir });
  expect(stderr).toBe('');
  return stdout.split('\n').filter(Boolean).sort();
};

test.each([
  ['verbs', ['fr'], ['freeze']],
  ['verbs of a verb', ['tombstones', ''], ['list', 'reap', 'restore']],
  ['qubes', ['freeze', ''], ['ai-work', 'vault']],
  ['a qube among several', ['tier', 'set', 'vault', 'ai'], ['ai-work']],
  ['options', ['mode', '--d'], ['--dry-run']],
  ['options after operands', ['mode', 'compat', '--y'], ['--yes']],
  ['the words of an option', ['tombstones', 'restore', 'x', '--tier', ''], ['exec', 'full', 'net', 'ro']],
  ['the words of an operand', ['mode', ''], ['compat', 'least-privilege']],
  ['settings', ['config', 'set', 'enforce'], ['enforce-mode']],
  ['services', ['explain', 'qmcp.Life'], ['qmcp.LifecycleAIManaged']],
  ['files', ['audit', 'verify', 'a-'], ['a-file']],
  ['directories of places', ['status', '--run', '/et'], ['/etc']],
  ['nothing where there is nothing', ['status', 'x'], []],
])('bash offers %s', async (_, words, expected) => {
  expect(await offered(...words)).toEqual(expected);
});
