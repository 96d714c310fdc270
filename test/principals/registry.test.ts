import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { QubeName } from '../../daemon/names.ts';
import { FILES_MAX, Registry } from '../../daemon/principals/registry.ts';
import { type Complaint, complaintText } from '../../daemon/settings/settings.ts';
import { enrolled, unsignedFile } from './signing.ts';

vi.mock('node:fs', async (original) => {
  const real = await original<typeof fs>();
  return {
    ...real,
    statSync: vi.fn(real.statSync),
    openSync: vi.fn(real.openSync),
    readdirSync: vi.fn(real.readdirSync),
  };
});
const { statSync, openSync, readdirSync } = await import('node:fs');

const MCP = 'mcp-control' as QubeName;
const OTHER = 'mcp-other' as QubeName;

let etc: string;
let dir: string;
/** The clock by which the registry looks again; the test moves it. */
let ms: number;
/** By the wall clock of the registry every change is long past, so that what did not change is not read again. */
const late = (): number => Date.now() + 60_000;

const put = (name: string, text: string): void => {
  fs.writeFileSync(join(dir, `.${name}.new`), text);
  fs.renameSync(join(dir, `.${name}.new`), join(dir, name));
};
const open = (options: ConstructorParameters<typeof Registry>[1] = {}): Registry =>
  new Registry(etc, { monotonicMs: () => ms, ...options });
const who = (registry: Registry, source: QubeName = MCP): string => {
  const unsigned = registry.unsigned(source);
  return unsigned === null ? 'nobody' : unsigned.kind === 'default' ? 'the default' : unsigned.of.name;
};
const texts = (complaints: readonly Complaint[]): string[] =>
  complaints.map((each) => complaintText('/etc/qmcp', each));

beforeEach(() => {
  etc = fs.mkdtempSync(join(tmpdir(), 'qmcp-registry-'));
  dir = join(etc, 'principals');
  fs.mkdirSync(dir);
  ms = 0;
  for (const each of [statSync, openSync, readdirSync]) vi.mocked(each).mockReset();
  onTestFinished(() => fs.rmSync(etc, { recursive: true }));
});

describe('where nobody is enrolled', () => {
  test.each([
    ['there is no directory', () => fs.rmdirSync(dir)],
    ['the directory is empty', () => {}],
    ['it holds hidden files only', () => fs.writeFileSync(join(dir, '.web.json.swp'), 'x')],
  ])('since %s, unsigned calls are the default ones', (_, make) => {
    make();
    const registry = open();
    expect(who(registry)).toBe('the default');
    expect(registry.isInUse).toBe(false);
    expect(registry.signed('web', MCP)).toBeNull();
    expect(registry.all()).toEqual([]);
    expect(registry.complaints).toEqual([]);
  });
});

describe('a registry that was absent a moment ago', () => {
  const reads = (registry: Registry): string => registry.unsigned(MCP, 'read')?.kind ?? 'nobody';

  test('is not looked at again for a read within 5 ms, and is after them', () => {
    const registry = open();
    expect(reads(registry)).toBe('default');
    put('web.json', enrolled({ sources: ['mcp-control'] }));
    ms = 4.9;
    expect(reads(registry)).toBe('default');
    ms = 5;
    expect(reads(registry)).toBe('nobody');
  });

  test('is looked at for every change, and whatever that finds holds for reads too', () => {
    const registry = open();
    expect(reads(registry)).toBe('default');
    put('web.json', enrolled({ sources: ['mcp-control'] }));
    expect(who(registry)).toBe('nobody');
    expect(reads(registry)).toBe('nobody');
  });
});

describe('a registry with files', () => {
  test('finds who signs by name and source', () => {
    put('web.json', enrolled({ sources: ['mcp-control', 'mcp-third'] }));
    const registry = open();
    expect(registry.signed('web', MCP)?.name).toBe('web');
    expect(registry.signed('web', OTHER)).toBeNull();
    expect(registry.signed('mail', MCP)).toBeNull();
    expect(registry.isInUse).toBe(true);
  });

  test('has nobody for unsigned calls unless it says who', () => {
    put('web.json', enrolled());
    expect(who(open())).toBe('nobody');
    expect(who(open(), OTHER)).toBe('nobody');
  });

  test('takes who is named for the source before who is for any', () => {
    put('all.json', unsignedFile());
    put('some.json', unsignedFile({ sources: ['mcp-control', 'mcp-third'] }));
    const registry = open();
    expect(who(registry)).toBe('some');
    expect(who(registry, OTHER)).toBe('all');
    expect(registry.signed('some', MCP)).toBeNull();
    expect(registry.all().map(({ name }) => name)).toEqual(['all', 'some']);
    expect(registry.unsigned(MCP)).toMatchObject({ kind: 'principal', of: { name: 'some' } });
  });

  test('tells all who there are by name, once each, but for files that are wrong and sources that two claim', () => {
    put('web.json', enrolled());
    put('bad.json', '{"key":"x"}');
    put('all.json', unsignedFile());
    put('few.json', unsignedFile({ sources: ['mcp-a', 'mcp-b'] }));
    put('one.json', unsignedFile({ sources: ['mcp-control'] }));
    put('two.json', unsignedFile({ sources: ['mcp-control'] }));
    put('abc.json', enrolled());
    expect(
      open()
        .all()
        .map(({ name }) => name),
    ).toEqual(['abc', 'all', 'few', 'web']);
  });

  test('complains about files by name, in whatever order the file system has them', () => {
    put('b.json', '');
    put('a.json', '');
    vi.mocked(readdirSync).mockReturnValue(['b.json', 'a.json'] as never);
    expect(open().complaints.map(({ file }) => file)).toEqual(['principals/a.json', 'principals/b.json']);
  });

  test.each([
    ['one source', { sources: ['mcp-control'] }, 'Unsigned calls of mcp-control are claimed by one and two.'],
    ['any source', {}, 'Unsigned calls of any are claimed by one and two.'],
  ])('has nobody for unsigned calls of %s that two claim, and says so', (_, changes, sentence) => {
    put('one.json', unsignedFile(changes));
    put('two.json', unsignedFile(changes));
    const registry = open();
    expect(who(registry)).toBe('nobody');
    expect(texts(registry.complaints)).toEqual([expect.stringContaining(`/etc/qmcp/principals: ${sentence}`)]);
  });

  test.each([
    ['web.json', '{', '/etc/qmcp/principals/web.json: It is not one JSON object. Until it is mended, this principal'],
    ['Web.json', enrolled(), '/etc/qmcp/principals/Web.json: The name of the file must be'],
    ['web.jsn', enrolled(), '/etc/qmcp/principals/web.jsn: The name of the file must be'],
    ['a\u001b[31m.json', enrolled(), '/etc/qmcp/principals/a?[31m.json: The name of the file must be'],
    ["it's.json", enrolled(), "/etc/qmcp/principals/it's.json: The name of the file must be"],
  ])('with a file %j that is wrong says so, and is in use all the same', (name, text, sentence) => {
    put(name, text);
    const registry = open();
    expect(texts(registry.complaints)).toEqual([expect.stringContaining(sentence)]);
    expect(who(registry)).toBe('nobody');
    expect(registry.isInUse).toBe(true);
  });

  test('lets nobody fall back on who is for any source, while a file is wrong that might have named that source', () => {
    put('all.json', unsignedFile());
    put('some.json', unsignedFile({ sources: ['mcp-other'] }));
    put('bad.json', '{"unsigned":true');
    const registry = open();
    expect(who(registry)).toBe('nobody');
    expect(who(registry, OTHER)).toBe('some');
    expect(texts(registry.complaints)[0]).toContain(
      'unsigned calls are refused but for sources that another file names',
    );
    put('bad.json', '{"key":"not one"}');
    expect(who(registry)).toBe('all');
    expect(texts(registry.complaints)[0]).toContain('Until it is mended, this principal does not exist.');
    put('Bad.json', enrolled());
    expect(who(registry)).toBe('nobody');
    fs.rmSync(join(dir, 'Bad.json'));
    expect(who(registry)).toBe('all');
    fs.mkdirSync(join(dir, 'worse.json'));
    expect(who(registry)).toBe('nobody');
    expect(texts(registry.complaints).at(-1)).toContain(
      'principals/worse.json: It cannot be read: it is not a regular file.',
    );
  });

  test('that becomes readable again is what it was, also where it holds nobody', () => {
    const registry = open();
    vi.mocked(readdirSync).mockImplementation(() => {
      throw new Error('no');
    });
    fs.writeFileSync(join(dir, '.hidden'), '');
    expect(who(registry)).toBe('nobody');
    expect(texts(registry.complaints)[0]).toContain('it gives an unknown error.');
    vi.mocked(readdirSync).mockReset();
    expect(who(registry)).toBe('the default');
  });

  test('that cannot be read is told once, and once more for every other reason', () => {
    const told: string[][] = [];
    const registry = open({ changed: (complaints) => told.push(texts(complaints)) });
    for (const code of ['EACCES', 'EACCES', 'EIO', 'EIO']) {
      vi.mocked(readdirSync).mockImplementation(() => {
        throw Object.assign(new Error('no'), { code });
      });
      ms += 1_000;
      expect(who(registry)).toBe('nobody');
    }
    expect(told).toEqual([[expect.stringContaining('EACCES')], [expect.stringContaining('EIO')]]);
  });

  test('that cannot be read knows nobody', () => {
    put('all.json', unsignedFile());
    put('web.json', enrolled());
    const registry = open();
    expect(who(registry)).toBe('all');
    vi.mocked(readdirSync).mockImplementation(() => {
      throw Object.assign(new Error('no'), { code: 'EACCES' });
    });
    put('more.json', enrolled());
    expect(who(registry)).toBe('nobody');
    expect(registry.signed('web', MCP)).toBeNull();
    expect(registry.isInUse).toBe(true);
    expect(texts(registry.complaints)).toEqual([
      '/etc/qmcp/principals: The directory cannot be read: it gives EACCES. Until it is mended, every call is refused.',
    ]);
    vi.mocked(readdirSync).mockReset();
    expect(who(registry)).toBe('all');
    expect(registry.complaints).toEqual([]);
  });

  test('that is a file, or a link to nothing, knows nobody', () => {
    fs.rmdirSync(dir);
    fs.writeFileSync(dir, '');
    expect(who(open())).toBe('nobody');
    expect(texts(open().complaints)[0]).toContain('it is below something that is not a directory.');
    fs.rmSync(dir);
    fs.symlinkSync('/nonexistent/here', dir);
    expect(who(open())).toBe('nobody');
    expect(texts(open().complaints)[0]).toContain('it is below a link to nothing.');
    fs.rmSync(dir);
    fs.mkdirSync(dir);
  });

  test('with more files than anybody means knows nobody', () => {
    vi.mocked(readdirSync).mockReturnValue(
      Array.from({ length: FILES_MAX + 1 }, (_, index) => `a${index}.json`) as never,
    );
    const registry = open();
    expect(who(registry)).toBe('nobody');
    expect(texts(registry.complaints)[0]).toContain(`holds more than ${FILES_MAX} files`);
  });

  test('with as many files as the limit says looks at each, one that has just gone included', () => {
    vi.mocked(readdirSync).mockReturnValue(Array.from({ length: FILES_MAX }, (_, index) => `a${index}.json`) as never);
    expect(texts(open().complaints)[0]).toMatch(/principals\/a0\.json: It was there a moment ago\./);
  });

  test('complains about so many files, and counts the others', () => {
    for (let index = 0; index < 50; index++) put(`a${index}.json`, '');
    const registry = open();
    expect(registry.complaints).toHaveLength(50);
    expect(registry.complaints.at(-1)?.sentence).toContain('It is not one JSON object.');
    for (let index = 50; index < 60; index++) put(`a${index}.json`, '');
    expect(registry.complaints).toHaveLength(51);
    expect(texts(registry.complaints).at(-1)).toBe('/etc/qmcp/principals: 10 more complaints about files here.');
  });
});

describe('changes', () => {
  test('hold at once when files are replaced, added, taken away', () => {
    const told: string[][] = [];
    const registry = open({ changed: (complaints) => told.push(texts(complaints)) });
    expect(who(registry)).toBe('the default');
    put('all.json', unsignedFile());
    expect(who(registry)).toBe('all');
    put('some.json', unsignedFile({ sources: ['mcp-control'] }));
    expect(who(registry)).toBe('some');
    put('some.json', 'x');
    expect(who(registry)).toBe('nobody');
    fs.rmSync(join(dir, 'some.json'));
    expect(who(registry)).toBe('all');
    fs.rmSync(join(dir, 'all.json'));
    expect(who(registry)).toBe('the default');
    expect(told.map((each) => each.length)).toEqual([0, 0, 1, 0, 0]);
  });

  test('hold at once whatever is asked first', () => {
    const registry = open();
    put('web.json', enrolled());
    expect(registry.isInUse).toBe(true);
    put('mail.json', enrolled());
    expect(registry.all()).toHaveLength(2);
    put('bad.json', '');
    expect(registry.complaints).toHaveLength(1);
    put('new.json', enrolled());
    expect(registry.signed('new', MCP)?.name).toBe('new');
  });

  test('hold at once when the whole directory is taken away', () => {
    put('all.json', unsignedFile());
    const registry = open();
    expect(who(registry)).toBe('all');
    fs.rmSync(dir, { recursive: true });
    expect(who(registry)).toBe('the default');
    fs.mkdirSync(dir);
  });

  test('hold after a second also by the clock that the registry takes by itself', () => {
    put('all.json', unsignedFile());
    put('some.json', unsignedFile({ sources: ['mcp-third'] }));
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => ms);
    onTestFinished(() => clock.mockRestore());
    const registry = new Registry(etc, { now: late });
    fs.writeFileSync(join(dir, 'some.json'), unsignedFile({ sources: ['mcp-control'] }));
    expect(who(registry)).toBe('all');
    ms = 1_000;
    expect(who(registry)).toBe('some');
  });

  test('of the file of the caller hold at once also when it is written over', () => {
    put('web.json', enrolled());
    put('all.json', unsignedFile());
    const registry = open({ now: late });
    expect(registry.signed('web', MCP)?.limits.ceiling).toBe('full');
    expect(who(registry)).toBe('all');
    fs.writeFileSync(join(dir, 'web.json'), enrolled({ ceiling: 'ro' }));
    expect(registry.signed('web', MCP)?.limits.ceiling).toBe('ro');
    fs.writeFileSync(join(dir, 'all.json'), '');
    expect(who(registry)).toBe('nobody');
    fs.writeFileSync(join(dir, 'web.json'), '');
    expect(registry.signed('web', MCP)).toBeNull();
  });

  test('of any other file that is written over hold within a second', () => {
    put('all.json', unsignedFile());
    put('some.json', unsignedFile({ sources: ['mcp-third'] }));
    const registry = open({ now: late });
    expect(who(registry)).toBe('all');
    fs.writeFileSync(join(dir, 'some.json'), unsignedFile({ sources: ['mcp-control'] }));
    ms = 999;
    expect(who(registry)).toBe('all');
    ms = 1_000;
    expect(who(registry)).toBe('some');
  });

  test('keep what is known of principals whose file did not change', () => {
    put('web.json', enrolled());
    const registry = open();
    const before = registry.signed('web', MCP);
    put('mail.json', enrolled());
    expect(registry.signed('web', MCP)).toBe(before);
    put('web.json', enrolled());
    expect(registry.signed('web', MCP)).toBe(before);
    put('web.json', enrolled({ ceiling: 'ro' }));
    expect(registry.signed('web', MCP)).not.toBe(before);
  });
});

test('a call looks at two files when nothing changed, however many there are', () => {
  for (let index = 0; index < 300; index++) put(`a${index}.json`, enrolled());
  const registry = open({ now: late });
  for (const each of [statSync, openSync, readdirSync]) vi.mocked(each).mockClear();
  expect(registry.signed('a7', MCP)?.name).toBe('a7');
  expect(vi.mocked(statSync).mock.calls.map(([path]) => path)).toEqual([dir, join(dir, 'a7.json')]);
  expect(openSync).not.toHaveBeenCalled();
  expect(readdirSync).not.toHaveBeenCalled();
});

test('where nobody is enrolled a call looks at the directory, and at nothing more however long', () => {
  fs.rmdirSync(dir);
  const registry = open();
  ms = 3_600_000;
  vi.mocked(readdirSync).mockClear();
  vi.mocked(statSync).mockClear();
  expect(who(registry)).toBe('the default');
  expect(vi.mocked(statSync).mock.calls.map(([path]) => path)).toEqual([dir]);
  expect(readdirSync).not.toHaveBeenCalled();
  fs.mkdirSync(dir);
});

test('a registry of up to a thousand files is looked at whenever it changes, however long that takes', () => {
  for (let index = 0; index < 1_000; index++) put(`a${index}.json`, enrolled());
  let took = 10;
  const registry = new Registry(etc, {
    monotonicMs: () => {
      ms += took;
      return ms;
    },
  });
  took = 0;
  expect(registry.all()).toHaveLength(1_000);
  fs.rmSync(join(dir, 'a7.json'));
  expect(registry.all()).toHaveLength(999);
});

test('a large registry is not looked at again and again while it is being changed', () => {
  for (let index = 0; index <= 1_000; index++) put(`a${index}.json`, enrolled());
  let took = 10;
  // Each look at all files takes ten milliseconds by this clock.
  const registry = new Registry(etc, {
    monotonicMs: () => {
      ms += took;
      return ms;
    },
  });
  took = 0;
  vi.mocked(readdirSync).mockClear();
  const before = ms;
  put('new.json', enrolled());
  ms = before + 199;
  expect(registry.signed('new', MCP)).toBeNull();
  expect(readdirSync).not.toHaveBeenCalled();
  ms = before + 200;
  expect(registry.signed('new', MCP)?.name).toBe('new');
});
