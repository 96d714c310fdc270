// What an operator can mistype, for every verb: it is said in one sentence, with exit code 2, and nothing is looked at or done.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../../daemon/operator/command.ts';
import { PLACES } from '../../daemon/operator/places.ts';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';
import { allVerbs } from './stage.ts';

/** Places where there is nothing, not even a qubesd. */
const nowhere = (): { readonly dir: string; readonly places: string[] } => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-nowhere-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return { dir, places: Object.keys(PLACES).flatMap((place) => [`--${place}`, join(dir, place)]) };
};

const typed = async (args: readonly string[], input = '') => {
  let [out, err] = ['', ''];
  const code = await runCommand(QMCPCTL, args, {
    out: async (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    ...{ watched: false, colour: false, ask: async () => null, input: async () => input, now: Date.now },
  });
  return { code, out, err };
};

/** One line that a terminal can be shown, and that is a sentence. */
const SENTENCE = /^[A-Za-z/'"-][\x20-\x7e\u00a0-\u02ff]*[.?]\n$/;

const VERBS = allVerbs().map(({ path, command }) => [path.join(' '), command] as const);

describe.each(VERBS)('%s', (name, { definition }) => {
  const words = name.split(' ');
  const refused = async (...args: string[]): Promise<string> => {
    const { dir, places } = nowhere();
    const { code, out, err } = await typed([...words, ...args, ...places]);
    expect({ code, out }, err).toEqual({ code: 2, out: '' });
    expect(err).toMatch(SENTENCE);
    expect(readdirSync(dir)).toEqual([]);
    return err;
  };

  test.each([['--no-such-flag'], ['--no-such-flag=x'], ['-Z'], ['-1'], ['--JSON'], ['--\u001b[2J']])(
    'does not know the flag %j',
    async (flag) => {
      expect(await refused(flag)).toMatch(/^(?:Unknown option|Option) .* See --help\.\n$/);
    },
  );

  const options = Object.entries(definition?.options ?? {});
  const booleans = options.filter(([, { type }]) => type === 'boolean');
  const strings = options.filter(([, { type }]) => type === 'string');
  if (booleans.length > 0) {
    test.each(booleans)('takes no value for --%s', async (flag) => {
      await refused(`--${flag}=yes`);
    });
  }
  if (strings.length > 0) {
    test.each(strings)('wants a value for --%s', async (flag) => {
      const { code, out, err } = await typed([...words, `--${flag}`]);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toMatch(SENTENCE);
    });
  }

  test('takes no more operands than it has', async () => {
    const most: Readonly<Record<string, number>> = {
      ...{ 'config set': 2, 'config get': 1, 'config unset': 1, 'config restore': 1, mode: 1, explain: 2 },
      ...{ freeze: 1, thaw: 1, undo: 1, 'tombstones restore': 1, 'tombstones reap': 1 },
      ...{ 'principals add': 1, 'principals remove': 1, 'principals rotate': 1 },
      ...{ 'audit tail': 1, 'audit show': 1, 'audit verify': 1, 'audit export': 1, 'audit report': 1 },
    };
    const valid: Readonly<Record<string, string>> = { config: 'pool-cap', undo: '1', mode: 'compat' };
    if (name === 'tier show') return;
    const word = valid[words[0] ?? ''] ?? 'ai-work';
    const operands =
      name === 'tier set' ? ['ai-work', 'ai-work'] : Array.from({ length: (most[name] ?? 0) + 1 }, () => word);
    await refused(...operands);
  });

  const isOptional = /^(?:\[[^\]]*\] ?)*(?:--.*)?$/.test(definition?.operands ?? '');
  if (!isOptional) {
    test('says which operand it misses', async () => {
      expect(await refused()).toMatch(/^(?:Say|The last word is) /);
    });
  }
});

test.each([
  ['tier set', ['vault', 'root']],
  ['tier set', ['a b', 'exec']],
  ['mode', ['paranoid']],
  ['config set', ['no-such-setting', 'x']],
  ['config set', ['pool-cap']],
  ['config set', ['pool-cap', '']],
  ['config set', ['guarded', 'a\nb']],
  ['config get', ['no-such-setting']],
  ['config unset', ['tier-default']],
  ['explain', ['lifecycle', '{}', '--source', '../x']],
  ['explain', ['lifecycle', 'x'.repeat(65_537)]],
  ['freeze', ['../x']],
  ['thaw', ['']],
  ['simulate', []],
  ['simulate', ['--mode', 'paranoid']],
  ['simulate', ['--mode', 'compat', '--since', 'yesterday']],
  ['principals add', ['Web']],
  ['principals add', ['operator']],
  ['principals add', ['x', '--bytes', 'much']],
  ['principals remove', ['../x']],
  ['principals rotate', ['web']],
  ['tombstones restore', ['ai-work', '--tier', 'root']],
  ['tombstones reap', ['a/b']],
  ['undo', ['0']],
  ['undo', ['1e3']],
  ['undo', ['99999999999999999999']],
  ['audit tail', ['-n', '0']],
  ['audit tail', ['-n', '10001']],
  ['audit show', ['--since', 'tomorrow']],
  ['audit verify', ['--known-break', '-']],
  ['audit report', ['--out', '-', '--known-break', 'x']],
  ['audit report', []],
  ['audit report', ['--out', '-', '--json']],
  ['audit export', ['--json', '--format', 'csv']],
  ['audit export', ['--format', 'xml']],
  ['doctor', ['--known-break', 'x']],
  ['init', ['--agent', 'a b']],
  ['init', ['--egress', '../x']],
])('%s %j makes no sense', async (name, args) => {
  const { dir, places } = nowhere();
  const { code, out, err } = await typed([...name.split(' '), ...args, ...places]);
  expect({ code, out }, err).toEqual({ code: 2, out: '' });
  expect(err).toMatch(SENTENCE);
  expect(readdirSync(dir)).toEqual([]);
});

describe('a file that is not what it should be', () => {
  const BAD: readonly (readonly [string, (path: string) => unknown])[] = [
    ['a directory', (path) => mkdirSync(path)],
    ['binary', (path) => writeFileSync(path, Buffer.from([0, 255, 27, 91, 50, 74, 10]))],
    ['far too large', (path) => writeFileSync(path, Buffer.alloc(2 ** 20 + 1, 'a'))],
    ['not there', () => {}],
  ];
  const USES: readonly (readonly [string, (file: string) => readonly string[]])[] = [
    ['config set --file', (file) => ['config', 'set', 'guarded', '--file', file]],
    ['principals add --file', (file) => ['principals', 'add', 'web', '--yes', '--file', file]],
    ['simulate --consent-policy', (file) => ['simulate', '--consent-policy', file]],
    ['audit verify --key', (file) => ['audit', 'verify', '--key', file]],
  ];
  test.each(USES.flatMap(([use, args]) => BAD.map(([how, make]) => [use, how, args, make] as const)))(
    '%s with a file that is %s: a sentence, and nothing is done',
    async (_, __, args, make) => {
      const { dir, places } = nowhere();
      for (const name of ['etc', 'log']) mkdirSync(join(dir, name));
      const file = join(dir, 'file');
      make(file);
      const { code, out, err } = await typed([...args(file), ...places]);
      expect({ code, out }, err).toEqual({ code: 1, out: '' });
      expect(err).toMatch(SENTENCE);
      expect(readdirSync(join(dir, 'etc')).filter((name) => name !== 'principals')).toEqual([]);
    },
  );

  test.each(['etc/pool-cap', 'etc/backups', 'etc/principals', 'etc/.qmcpctl.lock', 'etc'])(
    'in the place of %s: what would be written is not, and a sentence says why',
    async (wrong) => {
      const { dir, places } = nowhere();
      if (wrong !== 'etc') mkdirSync(join(dir, 'etc'));
      // A directory where a file should be, a file where a directory should be.
      if (wrong === 'etc/pool-cap' || wrong.endsWith('.lock')) mkdirSync(join(dir, wrong, 'x'), { recursive: true });
      else writeFileSync(join(dir, wrong), 'x\n');
      const before = wrong === 'etc' ? [] : readdirSync(join(dir, 'etc'));
      const principal = ['principals', 'add', 'rest', '--unsigned', '--source', 'any', '--ceiling', 'ro', '--yes'];
      const args = wrong === 'etc/principals' ? principal : ['config', 'set', 'pool-cap', '1'];
      const { code, out, err } = await typed([...args, ...places]);
      expect({ code, out }, err).toEqual({ code: 1, out: '' });
      expect(err).toMatch(SENTENCE);
      if (wrong !== 'etc') expect(readdirSync(join(dir, 'etc'))).toEqual(before);
    },
  );

  test('a backup that somebody made up is not restored over another file', async () => {
    const { dir, places } = nowhere();
    const backup = join(dir, 'etc/backups/20260131T120000000Z');
    mkdirSync(backup, { recursive: true });
    const files = [{ path: join(dir, 'passwd'), copy: '0', mode: 0o644, uid: 0, gid: 0 }];
    const manifest = { v: 1, made: '2026-01-31T12:00:00.000Z', by: 'x', files };
    writeFileSync(join(backup, 'manifest.json'), JSON.stringify(manifest));
    writeFileSync(join(backup, '0'), 'root::0:0\n');
    const { code, out, err } = await typed(['config', 'restore', '20260131T120000000Z', ...places]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/passwd, which is no setting here\.\n$/);
    expect(readdirSync(dir)).toEqual(['etc']);
  });
});
