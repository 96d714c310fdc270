import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { KEPT_FOR_MS } from '../../daemon/journal/undo-entries.ts';
import { type UndoEntry, undoLineText } from '../../daemon/journal/undo-entry.ts';
import {
  MAX_ENTRY_BYTES,
  MAX_QUEUED_BYTES,
  REWRITE_BYTES,
  UndoStore,
  UndoUnavailable,
} from '../../daemon/journal/undo-store.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { type FaultyFiles, faultyFiles } from './faulty-files.ts';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';

const DIR = '/state';
const PATH = '/state/undo';
const NOW = 1_800_000_000_000;

const entryOf = (seq: number, after = 'red', at = NOW): UndoEntry => ({
  seq,
  at,
  service: 'qmcp.SetPropertyAIManaged',
  source: 'mcp-control',
  principal: 'default',
  qube: { name: `ai-${seq}` as QubeName, uuid: `00000000-0000-5000-8000-${String(seq).padStart(12, '0')}` as Uuid },
  change: { kind: 'property', name: 'label', before: { value: 'blue' }, after },
});
const line = (entry: UndoEntry): string => `${undoLineText({ kind: 'entry', entry })}\n`;

/** One whose line is as long as any may be. */
const longest = (seq: number): UndoEntry =>
  entryOf(seq, 'x'.repeat(MAX_ENTRY_BYTES - Buffer.byteLength(line(entryOf(seq, '')))));

interface Place {
  readonly memory: MemoryFiles;
  readonly files: FaultyFiles;
  readonly open: (now?: () => number) => Promise<UndoStore>;
  /** What it complained of, null where all was well again. */
  readonly complaints: (string | null)[];
  /** How many files are open. */
  readonly held: () => number;
}
const place = (memory = memoryFiles()): Place => {
  const files = faultyFiles(memory);
  const complaints: (string | null)[] = [];
  const complain = (complaint: string | null): unknown => complaints.push(complaint);
  return {
    ...{ memory, files, complaints, held: memory.held },
    open: (now = () => NOW) => UndoStore.open({ dir: DIR, now, files, complain }),
  };
};
const seqs = (store: UndoStore): number[] => store.list().map(({ seq }) => seq);

describe('the undo store', () => {
  test('has what it kept after the next start, and not what was spent', async () => {
    const { open } = place();
    const store = await open();
    expect(store.remembers(NOW)).toBe(false);
    await Promise.all([1, 2, 3].map((seq) => store.keep(entryOf(seq))));
    store.spend(2);
    await store.close();
    const again = await open();
    expect(again.list()).toEqual([entryOf(1), entryOf(3)]);
    expect(again.get(3)).toEqual(entryOf(3));
    expect(again.get(2)).toBeNull();
    expect(again.remembers(NOW)).toBe(true);
    expect(again.complaint).toBeNull();
  });

  test('is a file that nobody else may read', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'qmcp-undo-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    const store = await UndoStore.open({ dir, now: () => NOW });
    await store.keep(entryOf(1));
    await store.close();
    expect((await stat(join(dir, 'undo'))).mode & 0o777).toBe(0o600);
    await writeFile(join(dir, 'undo'), line(entryOf(2)), { mode: 0o644 });
    await (await UndoStore.open({ dir, now: () => NOW })).close();
    expect((await stat(join(dir, 'undo'))).mode & 0o777).toBe(0o600);
  });

  test('shares one write among what arrives while another runs', async () => {
    const { files, open } = place();
    const store = await open();
    files.log.length = 0;
    await Promise.all([1, 2, 3, 4, 5].map((seq) => store.keep(entryOf(seq))));
    expect(files.log.filter((operation) => operation === 'datasync')).toHaveLength(2);
  });

  test('lets go of what is too old, on the disk too', async () => {
    const { memory, open } = place();
    const store = await open();
    await store.keep(entryOf(1, 'red', NOW - KEPT_FOR_MS));
    await store.keep(entryOf(2));
    expect(seqs(store)).toEqual([1, 2]);
    await store.close();
    const later = await open(() => NOW + 1);
    expect(seqs(later)).toEqual([2]);
    expect(later.get(1)).toBeNull();
    expect([later.remembers(NOW - KEPT_FOR_MS), later.remembers(NOW + 1 - KEPT_FOR_MS)]).toEqual([false, true]);
    expect(memory.text(PATH)).toBe(line(entryOf(2)));
  });

  test('lets go of what gets too old while it is open, and does not write it again', async () => {
    const { memory, open } = place();
    let now = NOW;
    const store = await open(() => now);
    await store.keep(entryOf(1, 'red', NOW - KEPT_FOR_MS));
    await store.keep(entryOf(2, 'red', NOW - KEPT_FOR_MS + 1));
    await store.keep(entryOf(3, 'red', NOW - KEPT_FOR_MS + 2));
    now = NOW + 1;
    expect(store.get(1)).toBeNull();
    expect(store.get(2)).not.toBeNull();
    now = NOW + 2;
    expect(seqs(store)).toEqual([3]);
    now = NOW + 3;
    await store.keep(entryOf(4, 'red', now));
    await memory.unlink(PATH);
    await store.keep(entryOf(5, 'red', now));
    expect(memory.text(PATH)).toBe(line(entryOf(4, 'red', now)) + line(entryOf(5, 'red', now)));
  });

  test('goes on at the end of the file that it found, and of one that it wrote anew', async () => {
    const { files, memory, open } = place();
    memory.put(PATH, line(entryOf(1)));
    const store = await open();
    await store.keep(entryOf(2));
    expect(files.log).not.toContain('rename');
    await memory.unlink(PATH);
    await store.keep(entryOf(3));
    files.log.length = 0;
    await store.keep(entryOf(4));
    expect(files.log).toEqual(['identify', 'write', 'datasync']);
    expect(memory.text(PATH)).toBe([1, 2, 3, 4].map((seq) => line(entryOf(seq))).join(''));
  });

  test('keeps what is as long as the limit, and refuses what is longer', async () => {
    const { open } = place();
    const store = await open();
    const room = MAX_ENTRY_BYTES - Buffer.byteLength(line(entryOf(1, '')));
    await expect(store.keep(entryOf(1, 'x'.repeat(room + 1)))).rejects.toThrow(UndoUnavailable);
    await store.keep(entryOf(1, 'x'.repeat(room)));
    expect(seqs(store)).toEqual([1]);
    expect(store.complaint).toBeNull();
  });

  test('lets as much wait for the disk as its limit says, refuses what is more, and goes on after', async () => {
    const { open } = place();
    const store = await open();
    // The first is being written while the others arrive.
    const fitting = 1 + MAX_QUEUED_BYTES / MAX_ENTRY_BYTES;
    const results = await Promise.allSettled(
      Array.from({ length: fitting + 2 }, (_, index) => store.keep(longest(index + 1))),
    );
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual([
      ...Array.from({ length: fitting }, () => true),
      ...[false, false],
    ]);
    expect(results.at(-1)).toMatchObject({
      reason: { name: 'UndoUnavailable', message: expect.stringContaining(PATH) },
    });
    await store.keep(longest(999));
    expect(seqs(store)).toContain(999);
  });

  test('writes its file anew before it gets too long, and holds no other open', async () => {
    const { memory, open, held } = place();
    const store = await open();
    const fitting = REWRITE_BYTES / MAX_ENTRY_BYTES;
    for (let seq = 1; seq <= fitting; seq++) await store.keep(longest(seq));
    expect((await memory.identify(PATH))?.size).toBe(REWRITE_BYTES);
    await store.close();
    const again = await open();
    expect(again.complaint).toBeNull();
    await again.keep(longest(fitting + 1));
    expect((await memory.identify(PATH))?.size).toBeLessThanOrEqual(REWRITE_BYTES / 2 + MAX_ENTRY_BYTES);
    expect(held()).toBe(1);
    const before = again.list();
    expect(before.at(-1)).toEqual(longest(fitting + 1));
    await again.close();
    expect(held()).toBe(0);
    expect((await open()).list()).toEqual(before);
  });

  test('begins its new file anew where a crash left half of one', async () => {
    const { memory, open } = place();
    memory.put(PATH, `${line(entryOf(1))}junk\n`);
    memory.put(`${PATH}.new`, 'half of one that a crash left');
    await (await open()).close();
    expect(memory.text(PATH)).toBe(line(entryOf(1)));
  });

  test('writes nothing at a start that finds all well, nor for the end of what it does not have', async () => {
    const { files, memory, open } = place();
    memory.put(PATH, line(entryOf(1)));
    const store = await open();
    store.spend(2);
    await store.close();
    const changes = ['write', 'truncate', 'rename', 'unlink', 'createNew', 'link'];
    expect(files.log.filter((operation) => changes.includes(operation))).toEqual([]);
    expect(memory.text(PATH)).toBe(line(entryOf(1)));
  });

  test('has on the disk what it was asked for before it was closed', async () => {
    const { memory, open } = place();
    const store = await open();
    const kept = store.keep(entryOf(1));
    await store.close();
    expect(memory.text(PATH)).toBe(line(entryOf(1)));
    await kept;
  });

  test('is not to be had where something else is in the place of its file', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'qmcp-undo-'));
    onTestFinished(() => rm(dir, { recursive: true }));
    execFileSync('mkfifo', [join(dir, 'undo')]);
    const store = await UndoStore.open({ dir, now: () => NOW });
    expect(store.complaint).toContain('not a plain file');
    await expect(store.keep(entryOf(1))).rejects.toThrow('not a plain file');
    await store.close();
  });
});

describe('a store whose disk fails', () => {
  test.each([
    ['write', 'ENOSPC'],
    ['write', 'EIO'],
    ['write', 0],
    ['datasync', 'EIO'],
    ['openAppend', 'EACCES'],
  ] as const)('refuses while %s fails with %s, says so, and comes back by itself', async (operation, fault) => {
    const { files, open, complaints, held } = place();
    const store = await open();
    await store.keep(entryOf(1));
    // The file is opened again only after an append failed.
    const isHit = (each: string): boolean => each === operation || (operation === 'openAppend' && each === 'write');
    files.fault = (each) => (isHit(each) ? fault : null);
    await expect(store.keep(entryOf(2))).rejects.toThrow(UndoUnavailable);
    await expect(store.keep(entryOf(2))).rejects.toThrow(UndoUnavailable);
    expect(store.complaint).toMatch(/^Old values cannot be kept in \/state\/undo: .*\.$/);
    expect(complaints).toEqual([store.complaint]);
    expect(held()).toBe(0);
    files.fault = () => null;
    await store.keep(entryOf(3));
    expect(store.complaint).toBeNull();
    expect(complaints).toHaveLength(2);
    expect(complaints.at(-1)).toBeNull();
    expect(seqs(store)).toContain(1);
    expect(seqs(store)).toContain(3);
    await store.close();
    const again = await open();
    expect(again.list().filter(({ seq }) => seq !== 2)).toEqual([entryOf(1), entryOf(3)]);
    expect(again.complaint).toBeNull();
  });

  test('writes all of a line however little each write takes', async () => {
    const { files, open } = place();
    const store = await open();
    files.fault = (operation) => (operation === 'write' ? 7 : null);
    await store.keep(entryOf(1));
    await store.close();
    files.fault = () => null;
    expect((await open()).list()).toEqual([entryOf(1)]);
  });

  test('that could not be read at the start is read before anything is written', async () => {
    const { files, memory, open, complaints, held } = place();
    memory.put(PATH, line(entryOf(1)));
    files.fault = (operation) => (operation === 'read' ? 'EIO' : null);
    const store = await open();
    expect(complaints).toEqual([store.complaint]);
    expect(held()).toBe(0);
    expect(store.complaint).toContain('the disk reports an error');
    expect(store.remembers(NOW)).toBe(false);
    await expect(store.keep(entryOf(2))).rejects.toThrow(UndoUnavailable);
    files.fault = () => null;
    await store.keep(entryOf(3));
    expect(seqs(store)).toEqual([1, 3]);
    expect(store.remembers(NOW)).toBe(true);
    expect(memory.text(PATH)).toBe(line(entryOf(1)) + line(entryOf(3)));
  });

  test('notices that its file was taken away or replaced, and writes all of it again', async () => {
    const { memory, open } = place();
    const store = await open();
    await store.keep(entryOf(1));
    await memory.unlink(PATH);
    await store.keep(entryOf(2));
    expect(memory.text(PATH)).toBe(line(entryOf(1)) + line(entryOf(2)));
    memory.put(PATH, 'other');
    await store.keep(entryOf(3));
    expect(memory.text(PATH)).toBe([1, 2, 3].map((seq) => line(entryOf(seq))).join(''));
  });
});

describe('a store after a crash', () => {
  test('is what was whole, wherever the last line is cut', async () => {
    const whole = line(entryOf(1)) + line(entryOf(2));
    for (let end = line(entryOf(1)).length; end < whole.length; end++) {
      const { memory, open } = place();
      memory.put(PATH, whole.slice(0, end));
      const store = await open();
      expect(seqs(store)).toEqual([1]);
      expect(store.complaint).toBeNull();
      expect(memory.text(PATH)).toBe(line(entryOf(1)));
      await store.keep(entryOf(3));
      expect(memory.text(PATH)).toBe(line(entryOf(1)) + line(entryOf(3)));
    }
  });

  test.each([
    ['something else in the middle', () => `${line(entryOf(1))}junk\n${line(entryOf(2))}`, [1, 2]],
    ['no UTF-8', () => `${line(entryOf(1))}\ufffd\n`, [1]],
    ['nothing of ours', () => '\0\0\0\0\n', []],
    ['more than it ever holds', () => 'x'.repeat(REWRITE_BYTES + 1), []],
  ])('with %s keeps that aside and says so', async (_, content, left) => {
    const text = content();
    const { memory, open, held } = place();
    memory.put(PATH, text);
    const store = await open();
    expect(held()).toBe(1);
    expect(seqs(store)).toEqual(left);
    expect(store.remembers(NOW)).toBe(false);
    const [, name] = /kept as (undo\.damaged-\S+?),/.exec(store.complaint ?? '') ?? [];
    expect(memory.text(`${DIR}/${name}`)).toBe(text);
    await store.keep(entryOf(9));
    expect(memory.text(PATH)).toBe([...left, 9].map((seq) => line(entryOf(seq))).join(''));
    await store.close();
    expect((await open()).complaint).toBeNull();
  });

  test('says both where it is damaged and cannot be written anew either', async () => {
    const { files, memory, open, held } = place();
    memory.put(PATH, `${line(entryOf(1))}junk\n`);
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    const store = await open();
    expect(store.complaint).toMatch(/^Old values cannot be kept in .*\. \/state\/undo held something .*\.$/);
    expect(held()).toBe(0);
    files.fault = () => null;
    await store.keep(entryOf(2));
    expect(store.complaint).toMatch(/^\/state\/undo held something/);
    expect(memory.text(PATH)).toBe(line(entryOf(1)) + line(entryOf(2)));
  });

  test('leaves its file where it is when that cannot be set aside', async () => {
    const { files, memory, open } = place();
    memory.put(PATH, 'junk\n');
    files.fault = (operation) => (operation === 'rename' ? 'EACCES' : null);
    const store = await open();
    expect(store.complaint).toMatch(/permission is denied/);
    expect(memory.text(PATH)).toBe('junk\n');
    files.fault = () => null;
    await store.keep(entryOf(1));
    expect(store.complaint).toContain('kept as undo.damaged-20270115T080000.000Z,');
    expect(memory.text(PATH)).toBe(line(entryOf(1)));
  });

  test('has everything it acknowledged, and nothing twice or in halves, whatever fails and whenever the power goes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ crash: fc.boolean(), turns: fc.nat(30), tear: fc.nat(999) }), { maxLength: 12 }),
        fc.infiniteStream(fc.nat(99)),
        async (rounds, dice) => {
          let memory = memoryFiles();
          const kept = new Set<number>();
          let seq = 0;
          for (const { crash, turns, tear } of rounds) {
            const { files, open } = place(memory);
            const store = await open();
            expect(store.complaint).toBeNull();
            expect(seqs(store).filter((each) => kept.has(each))).toEqual([...kept]);
            files.fault = () => ((dice.next().value ?? 0) < 10 ? 'EIO' : null);
            const writes = Array.from({ length: 3 }, () => {
              const mine = ++seq;
              return store.keep(entryOf(mine)).then(
                () => kept.add(mine),
                () => {},
              );
            });
            if (crash) {
              for (let turn = 0; turn < turns; turn++) await Promise.resolve();
              const acknowledged = [...kept];
              memory = memory.crash((unsynced) => tear % (unsynced + 1));
              await Promise.all(writes);
              kept.clear();
              for (const each of acknowledged) kept.add(each);
            } else {
              await Promise.all(writes);
              await store.close();
            }
          }
          const last = await place(memory).open();
          expect(seqs(last).filter((each) => kept.has(each))).toEqual([...kept]);
          expect(new Set(seqs(last)).size).toBe(seqs(last).length);
        },
      ),
      { numRuns: 300 },
    );
  });
});
