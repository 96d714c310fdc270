// A disk that is full in the middle of a change, wherever the middle is: everything is as it was, and a sentence says what to do.
// As root on real file systems that are too small, page by page and name by name; as anybody under a limit on file sizes.
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, onTestFinished, test } from 'vitest';
import { runCommand } from '../../daemon/operator/command.ts';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';
import { FLEET } from '../demo/fleet.ts';
import { startQubesd } from '../qubesd/server.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/qmcpctl.mjs', import.meta.url));
const KEY = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
const OTHER_KEY = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';
const PAGE = 4_096;

interface Case {
  readonly args: readonly string[];
  /** What there is before, below the small file system: path -> text. */
  readonly files: Readonly<Record<string, string>>;
  /** A file that is there after it was done, and none before, or with another content. */
  readonly shows: string;
}

const principal = (key: string): string =>
  `${JSON.stringify({ key, sources: ['mcp-control'], ceiling: 'ro' }, null, 2)}\n`;
/** So large that not only its copy in the backup, but it itself does not fit into what is left. */
const CONSENT = Array.from({ length: 200 }, (_, n) => `# ${'x'.repeat(60)} ${n}\n`).join('');

const CASES: Readonly<Record<string, Case>> = {
  'mode least-privilege': {
    args: ['mode', 'least-privilege', '--yes'],
    files: {},
    shows: 'etc/tier-default',
  },
  'mode compat': {
    args: ['mode', 'compat', '--yes'],
    files: { 'etc/tier-default': 'ro\n', 'policy.d/include/qmcp-mode': '!include include/qmcp-least-privilege\n' },
    shows: 'etc/tier-default',
  },
  'config set of what is there': {
    args: ['config', 'set', 'consent-policy', 'qmcp.SpawnAIManagedQube:spawn'],
    files: { 'etc/consent-policy': CONSENT },
    shows: 'etc/consent-policy',
  },
  'config set of what is not': {
    args: ['config', 'set', 'pool-cap', '50GiB'],
    files: { 'etc/guarded': 'vault\n' },
    shows: 'etc/pool-cap',
  },
  'principals add': {
    args: ['principals', 'add', 'web', '--key', KEY, '--source', 'mcp-control', '--ceiling', 'ro', '--yes'],
    files: {},
    shows: 'etc/principals/web.json',
  },
  'principals rotate': {
    args: ['principals', 'rotate', 'web', '--key', OTHER_KEY],
    files: { 'etc/principals/web.json': principal(KEY) },
    shows: 'etc/principals/web.json',
  },
  init: { args: ['init', '--apply'], files: { 'etc/guarded': 'vault\n' }, shows: 'etc/pool-cap' },
  'config restore': {
    args: ['config', 'restore', '20260131T120000000Z'],
    files: {
      'etc/pool-cap': '2\n',
      'etc/backups/20260131T120000000Z/0': '1\n',
      'etc/backups/20260131T120000000Z/manifest.json': 'MANIFEST',
    },
    shows: 'etc/pool-cap',
  },
  migrate: {
    args: ['migrate', '--yes', '--root', 'ROOT', '--etc', '/etc/qmcp'],
    files: {
      'etc/qubes-rpc/qmcp.LifecycleAIManaged': '#!/bin/sh\n',
      'etc/qubes-rpc/qmcp.ListAIManagedQubes': '#!/bin/sh\n',
      'etc/qubes/policy.d/30-mcp-control.policy': '# theirs\n',
      'etc/qmcp/pool-cap': '1\n',
      'etc/qmcp/consent-policy': CONSENT,
    },
    shows: 'var/lib/qmcp-migration',
  },
};

/** Fills a directory anew with what there is before. */
const prepare = (root: string, { files }: Case): void => {
  for (const name of readdirSync(root)) rmSync(join(root, name), { recursive: true });
  cpSync('policy', join(root, 'policy.d'), { recursive: true });
  for (const [path, text] of Object.entries(files)) {
    const manifest = {
      ...{ v: 1, made: '2026-01-31T12:00:00.000Z', by: 'x' },
      files: [{ path: join(root, 'etc/pool-cap'), copy: '0', mode: 0o644, uid: 0, gid: 0 }],
    };
    const content = text === 'MANIFEST' ? JSON.stringify(manifest) : text;
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  mkdirSync(join(root, 'etc'), { recursive: true });
  if (existsSync(join(root, 'etc/qmcp/pool-cap'))) chmodSync(join(root, 'etc/qmcp/pool-cap'), 0o600);
};

const flags = (root: string, run: string): string[] => [
  ...[
    '--policy',
    join(root, 'policy.d'),
    '--qubesd',
    join(run, 'qubesd.sock'),
    '--run',
    run,
    '--tool-path',
    '/nonexistent',
  ],
];
const argsOf = ({ args }: Case, root: string, run: string): string[] => {
  const etc = args.includes('--etc') ? [] : ['--etc', join(root, 'etc')];
  return [...args.map((each) => (each === 'ROOT' ? root : each)), ...etc, ...flags(root, run)];
};

/** Every file with its mode and content, but for the ballast; empty directories are nothing. */
const picture = (root: string): Record<string, string> =>
  Object.fromEntries(
    readdirSync(root, { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('ballast'))
      .map((entry) => {
        const path = join(entry.parentPath, entry.name);
        const content = entry.isSymbolicLink() ? readlinkSync(path) : readFileSync(path, 'latin1');
        return [path.slice(root.length + 1), `${(lstatSync(path).mode & 0o7777).toString(8)} ${content}`];
      }),
  );

const typed = async (args: readonly string[]) => {
  let [out, err] = ['', ''];
  const code = await runCommand(QMCPCTL, args, {
    out: async (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    ...{ watched: false, colour: false, ask: async () => null, input: async () => '', now: Date.now },
  });
  return { code, out, err };
};

const directory = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-full-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

const withQubesd = async (): Promise<string> => {
  const run = directory();
  const qubesd = await startQubesd({ path: join(run, 'qubesd.sock'), fleet: FLEET });
  onTestFinished(() => qubesd.stop());
  return run;
};

/** A line about the disk, and none about the daemon, which is not there. */
const WHY = /^.*(?:disk is full|may get that large)\b.*\b(?:try again|run it again)\.(?: .*)?\n$/;
const hidden = (of: Record<string, string>): string[] =>
  Object.keys(of).filter((path) => path.split('/').some((name) => name.startsWith('.')));

const isRoot = process.getuid?.() === 0;
const canMount = isRoot && (await mountable());

/** Whether root may mount here; in some containers it may not. */
async function mountable(): Promise<boolean> {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-mount-'));
  const mounted = await execa('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', dir], { reject: false });
  if (mounted.exitCode === 0) await execa('umount', [dir]);
  rmSync(dir, { recursive: true });
  return mounted.exitCode === 0;
}

/** Takes all the room there is but so much; says whether there was that much. */
const BALLAST = {
  pages: (root: string, left: number): void => {
    const path = join(root, 'ballast');
    const room = (): number => {
      for (let size = 0; ; size += PAGE) {
        try {
          writeFileSync(path, Buffer.alloc(PAGE), { flag: 'a' });
        } catch {
          return size;
        }
      }
    };
    const size = room();
    rmSync(path);
    writeFileSync(path, Buffer.alloc(Math.max(0, size - left * PAGE)));
  },
  names: (root: string, left: number): void => {
    mkdirSync(join(root, 'ballasts'));
    const made: string[] = [];
    try {
      for (;;) {
        const path = join(root, 'ballasts', `ballast${made.length}`);
        writeFileSync(path, '');
        made.push(path);
      }
    } catch {
      for (const path of made.slice(0, left)) rmSync(path);
    }
  },
} as const;

if (canMount) {
  describe.each(Object.entries(CASES))('%s', (_, each) => {
    test.each([
      ['pages', 'size=256k'],
      ['names', 'size=1m,nr_inodes=90'],
    ] as const)(
      'in a file system with too few %s left: all of it or nothing, and then all of it',
      async (what, options) => {
        const [run, root] = [await withQubesd(), directory()];
        await execa('mount', ['-t', 'tmpfs', '-o', options, 'none', root]);
        try {
          let refused = 0;
          for (let left = 0; ; left++) {
            prepare(root, each);
            const before = picture(root);
            BALLAST[what](root, left);
            const { code, out, err } = await typed(argsOf(each, root, run));
            const after = picture(root);
            expect(hidden(after), `${left} ${what}`).toEqual([]);
            if (code === 0) {
              expect(after[each.shows] ?? Object.keys(after).find((path) => path.startsWith(each.shows))).not.toBe(
                before[each.shows],
              );
              break;
            }
            refused += 1;
            // What migrate is about to move it shows first.
            expect({ code, out: each.args[0] === 'migrate' || each.args[0] === 'mode' ? '' : out }).toEqual({
              code: 1,
              out: '',
            });
            expect(err, `${left} ${what}`).toMatch(WHY);
            expect(after, `${left} ${what}`).toEqual(before);
            // With some room it is done, from where it was left.
            rmSync(join(root, 'ballast'), { force: true });
            rmSync(join(root, 'ballasts'), { recursive: true, force: true });
            expect((await typed(argsOf(each, root, run))).code, `${left} ${what}, then room`).toBe(0);
            expect(left).toBeLessThan(60);
          }
          expect(refused).toBeGreaterThan(0);
        } finally {
          await execa('umount', [root]);
        }
      },
      60_000,
    );
  });

  test.each([
    ['32m', 'error'],
    ['256m', 'warning'],
    ['1g', null],
  ])('doctor, with a journal on %s that are all empty, finds that an %s', async (size, level) => {
    const [run, log] = [await withQubesd(), directory()];
    await execa('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'none', log]);
    try {
      const { out } = await typed(['doctor', '--json', '--root', run, '--etc', run, '--log', log, ...flags(run, run)]);
      const { findings } = JSON.parse(out) as { findings: { what: string; level: string; mend: string }[] };
      const room = findings.filter(({ what }) => / of room left for the journal in /.test(what));
      expect(room.map((each) => [each.level, each.mend])).toEqual(level === null ? [] : [[level, `df -h ${log}`]]);
    } finally {
      await execa('umount', [log]);
    }
  });

  test('mode, when only the file system of the policy is full, or only that of the settings: neither is changed', async () => {
    const each = CASES['mode least-privilege'] as Case;
    for (const full of ['etc', 'policy.d/include']) {
      const [run, root] = [await withQubesd(), directory()];
      prepare(root, each);
      const small = directory();
      await execa('mount', ['-t', 'tmpfs', '-o', 'size=32k', 'none', small]);
      await execa('cp', ['-a', `${join(root, full)}/.`, small]);
      await execa('mount', ['--bind', small, join(root, full)]);
      try {
        const before = picture(root);
        BALLAST.pages(small, 0);
        const { code, err } = await typed(argsOf(each, root, run));
        expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(WHY) });
        expect(picture(root), full).toEqual(before);
      } finally {
        await execa('umount', [join(root, full)]);
        await execa('umount', [small]);
      }
    }
  });
}

describe.each(Object.entries(CASES))('%s', (_, each) => {
  const limited = async (how: string) => {
    const [run, root] = [await withQubesd(), directory()];
    prepare(root, each);
    const before = picture(root);
    const command = `ulimit -c 0; ${how} ulimit -f 0; exec "$0" "$@"`;
    const { exitCode, stderr } = await execa(
      'sh',
      ['-c', command, process.execPath, PROGRAM, ...argsOf(each, root, run)],
      {
        reject: false,
        stripFinalNewline: false,
      },
    );
    return { run, root, before, code: exitCode, err: stderr };
  };

  test('where no byte can be written: nothing is changed, and a sentence says why', async () => {
    const { root, before, code, err } = await limited(`trap '' XFSZ;`);
    expect(code).toBe(1);
    expect(err).toMatch(WHY);
    expect(picture(root)).toEqual(before);
  });

  test('killed at the first byte: what anybody reads is as it was, and the next time it is done', async () => {
    const { run, root, before, code } = await limited('');
    expect(code).not.toBe(0);
    const after = Object.entries(picture(root)).filter(
      ([path]) => !path.split('/').some((name) => name.startsWith('.')) && !path.startsWith('var/lib/qmcp-migration/'),
    );
    expect(Object.fromEntries(after)).toEqual(before);
    expect((await typed(argsOf(each, root, run))).code).toBe(0);
    expect(hidden(picture(root))).toEqual([]);
  });
});
