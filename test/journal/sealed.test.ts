import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { type JournalOptions, openJournal } from '../../daemon/journal/journal.ts';
import type { Intent, JournalRecord, Outcome } from '../../daemon/journal/record.ts';
import { oldFileName, ROTATION, type RotationLimits } from '../../daemon/journal/rotation.ts';
import { type FaultyFiles, faultyFiles } from './faulty-files.ts';

let base: string;
let log: string;
let state: string;
let files: FaultyFiles;
let timers: { ms: number; run: () => void; off: boolean }[];
let time: number;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'qmcp-sealed-'));
  log = join(base, 'log');
  state = join(base, 'state');
  await mkdir(log);
  await mkdir(state);
  files = faultyFiles();
  timers = [];
  time = Date.UTC(2026, 0, 2);
});
afterEach(() => rm(base, { recursive: true, force: true }));

const open = (rotation: RotationLimits = ROTATION) =>
  openJournal({
    ...{ dir: log, state, bootId: 'b', files, rotation, now: () => time, monotonicMs: () => 1 },
    after: (ms, run) => {
      const timer = { ms, run, off: false };
      timers.push(timer);
      return () => {
        timer.off = true;
      };
    },
  });

const stop = (reason: string): JournalRecord => ({ type: 'stop', reason });
const OF_CALL = { source: 'agent', principal: 'agent', service: 'qmcp.X', action: 'x', qubes: [], args: {} };
const intent = (call: number): Intent => ({ type: 'intent', call, ...OF_CALL, digest: 'd', nonce: null });
const outcome = (call: number): Outcome => ({
  ...{ type: 'outcome', call, ...OF_CALL, ok: true, error: null, cause: null, duration_ms: 1 },
});
const readRecords = async (name = 'audit.jsonl') => {
  const bytes = await readFile(join(log, name));
  const text = name.endsWith('.gz') ? gunzipSync(bytes).toString() : bytes.toString();
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
};
const checkpoints = async () => (await readRecords()).filter(({ type }) => type === 'checkpoint').map(({ seq }) => seq);
const anchored = async (dir = state) =>
  JSON.parse(JSON.parse(await readFile(join(dir, 'checkpoint.json'), 'utf8')).statement).seq;

describe('the checkpoints of the journal', () => {
  it('are every 256th record, one write of many records included', async () => {
    const { journal } = await open();
    await Promise.all(Array.from({ length: 600 }, (_, i) => journal.append(stop(String(i)))));
    expect(await checkpoints()).toEqual([256, 512]);
    await journal.recover();
    // The second file names the end of the write that held the newest of them.
    expect(await anchored()).toBe(602);
    expect(await anchored(log)).toBe(602);
    await journal.close();
  });

  it('are made at the end, and not again where nothing was added', async () => {
    const first = await open();
    await first.journal.append(stop('1'));
    await first.journal.close();
    expect(await checkpoints()).toEqual([2]);
    expect(await anchored()).toBe(2);
    await (await open()).journal.close();
    expect(await checkpoints()).toEqual([2]);
  });

  it('cover everything at the end, also where the file is full then, which the next start follows by another', async () => {
    const small = { ...ROTATION, bytes: 1_000 };
    const first = await open(small);
    await first.journal.append(stop('x'.repeat(500)));
    await first.journal.recover();
    const closing = first.journal.append(stop('x'.repeat(500)));
    await first.journal.close();
    await closing;
    expect(await readRecords()).toMatchObject([{}, {}, { type: 'checkpoint', seq: 3 }]);
    expect(await anchored()).toBe(3);
    const next = await open(small);
    await next.journal.append(stop('after'));
    await next.journal.recover();
    await next.journal.close();
    expect(await readRecords()).toMatchObject([{ type: 'segment' }, { reason: 'after' }, { type: 'checkpoint' }]);
  });

  it('are not made at once for what a broker left that was killed, but by the timer', async () => {
    const killed = await open();
    await killed.journal.append(stop('1'));
    const left = await readFile(join(log, 'audit.jsonl'));
    await killed.journal.close();
    await writeFile(join(log, 'audit.jsonl'), left);
    await rm(join(state, 'checkpoint.json'));
    timers.length = 0;
    const { journal } = await open();
    expect(await checkpoints()).toEqual([]);
    expect(timers).toHaveLength(1);
    await journal.close();
    expect(await checkpoints()).toEqual([2]);
  });

  it('are kept by the timer when they could not be kept at once, and at the end, without a record more', async () => {
    const { journal } = await open();
    await journal.append(stop('1'));
    await journal.recover();
    await mkdir(join(state, 'checkpoint.json.new'));
    timers.at(-1)?.run();
    expect(await journal.recover()).toMatchObject({ ok: true, warning: expect.stringContaining('cannot be kept') });
    expect(await checkpoints()).toEqual([2]);
    const again = timers.at(-1);
    expect([timers.length, again?.off]).toEqual([2, false]);
    await rm(join(state, 'checkpoint.json.new'), { recursive: true });
    again?.run();
    expect(await journal.recover()).toEqual({ ok: true });
    expect([await anchored(), await checkpoints()]).toEqual([2, [2]]);

    await journal.append(stop('3'));
    await mkdir(join(state, 'checkpoint.json.new'));
    timers.at(-1)?.run();
    await journal.recover();
    await rm(join(state, 'checkpoint.json.new'), { recursive: true });
    await journal.close();
    expect([await anchored(), await checkpoints()]).toEqual([4, [2, 4]]);
  });

  it('are waited for by no timer where there is no key', async () => {
    const after = (): (() => void) => expect.fail('a timer');
    const { journal } = await openJournal({
      ...{ dir: log, bootId: 'b', now: () => time, monotonicMs: () => 1, after },
    });
    await journal.append(stop('1'));
    expect(await journal.recover()).toEqual({ ok: true });
    await journal.close();
  });

  it('are made some minutes after the first record that none covers, by a timer that is not armed without news', async () => {
    const { journal } = await open();
    expect(timers).toEqual([]);
    await journal.append(stop('1'));
    await journal.append(stop('2'));
    await journal.recover();
    expect(timers.map(({ ms }) => ms)).toEqual([5 * 60 * 1000]);
    timers[0]?.run();
    await journal.recover();
    expect(await checkpoints()).toEqual([3]);
    expect(await anchored()).toBe(3);
    expect(timers).toHaveLength(1);
    await journal.append(stop('3'));
    await journal.recover();
    expect(timers).toHaveLength(2);
    await journal.close();
    expect(timers[1]?.off).toBe(true);
    expect(await checkpoints()).toEqual([3, 5]);
  });

  it('are made after a write that was running when the timer went off', async () => {
    const { journal } = await open();
    await journal.append(stop('1'));
    await journal.recover();
    let gone = false;
    files.fault = (operation) => {
      if (operation === 'datasync' && !gone) {
        gone = true;
        timers[0]?.run();
      }
      return null;
    };
    await journal.append(stop('2'));
    await journal.recover();
    expect(await checkpoints()).toEqual([3]);
    expect(await anchored()).toBe(3);
    await journal.close();
    expect(await checkpoints()).toEqual([3]);
  });

  it('are not made up for in the next write where one failed, but by the next timer', async () => {
    const { journal } = await open();
    await journal.append(stop('1'));
    await journal.recover();
    files.fault = (operation) => (operation === 'write' ? 'EIO' : null);
    timers[0]?.run();
    await journal.recover();
    files.fault = () => null;
    await journal.append(stop('2'));
    await journal.recover();
    expect(await checkpoints()).toEqual([]);
    timers.at(-1)?.run();
    await journal.recover();
    expect(await checkpoints()).toEqual([3]);
    await journal.close();
  });

  it('are waited for by a timer that is called off when they are made for another reason', async () => {
    const { journal } = await open();
    await journal.append(stop('1'));
    await journal.recover();
    expect(timers.map(({ off }) => off)).toEqual([false]);
    await Promise.all(Array.from({ length: 254 }, (_, i) => journal.append(stop(String(i)))));
    await journal.recover();
    expect(timers.map(({ off }) => off)).toEqual([false]);
    await journal.append(stop('the 256th is the checkpoint, and this is one more'));
    await journal.recover();
    expect(await checkpoints()).toEqual([256]);
    await journal.close();
    expect(timers.filter(({ off }) => !off)).toEqual([]);
  });

  it('are waited for by a timer of its own where none is given, which ends with the journal', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { journal } = await openJournal({
      ...{ dir: log, state, bootId: 'b', now: () => time, monotonicMs: () => 1 },
    });
    await journal.append(stop('1'));
    await journal.recover();
    vi.advanceTimersByTime(5 * 60 * 1000 - 1);
    await journal.recover();
    expect(await checkpoints()).toEqual([]);
    vi.advanceTimersByTime(1);
    await journal.recover();
    expect(await checkpoints()).toEqual([2]);
    await journal.append(stop('2'));
    await journal.recover();
    expect(vi.getTimerCount()).toBe(1);
    await journal.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('are counted on over a restart', async () => {
    const first = await open();
    await first.journal.append(stop('1'));
    await first.journal.close();
    const second = await open();
    await Promise.all(Array.from({ length: 300 }, (_, i) => second.journal.append(stop(String(i)))));
    expect(await checkpoints()).toEqual([2, 258]);
    await second.journal.close();
  });

  it('are counted on over the end of a broker that was killed between two of them', async () => {
    const killed = await open();
    await Promise.all(Array.from({ length: 250 }, (_, i) => killed.journal.append(stop(String(i)))));
    const left = await readFile(join(log, 'audit.jsonl'));
    await killed.journal.close();
    await writeFile(join(log, 'audit.jsonl'), left);
    await rm(join(state, 'checkpoint.json'));
    const { journal } = await open();
    await Promise.all(Array.from({ length: 10 }, (_, i) => journal.append(stop(String(i)))));
    expect(await checkpoints()).toEqual([256]);
    await journal.close();
  });

  it('leave the journal in service when the second file cannot be written, with a warning', async () => {
    const { journal } = await open();
    await rm(state, { recursive: true });
    await Promise.all(Array.from({ length: 256 }, (_, i) => journal.append(stop(String(i)))));
    expect(await journal.recover()).toEqual({ ok: true, warning: expect.stringContaining('checkpoint') });
    await mkdir(state);
    await journal.append(stop('more'));
    await journal.close();
    expect(journal.health()).toEqual({ ok: true });
    expect(await anchored()).toBe(259);
  });

  it('keep key and checkpoint from others, and the public key for everybody', async () => {
    await (await open()).journal.close();
    const { journal } = await open();
    await journal.append(stop('1'));
    await journal.close();
    expect((await stat(join(state, 'journal.key'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(state, 'checkpoint.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(state, 'journal.pub'))).mode & 0o777).toBe(0o644);
    expect(await readFile(join(log, 'journal.pub'), 'utf8')).toBe(await readFile(join(state, 'journal.pub'), 'utf8'));
  });
});

describe('a start of the journal', () => {
  const filled = async () => {
    const { journal } = await open();
    for (let i = 1; i <= 4; i += 1) await journal.append(stop(String(i)));
    await journal.close();
  };
  const reopened = async () => {
    const { journal, findings } = await open();
    await journal.append(stop('after'));
    await journal.close();
    return findings;
  };
  const path = () => join(log, 'audit.jsonl');

  it('finds nothing where all is well', async () => {
    await filled();
    expect(await reopened()).toEqual([]);
  });

  it('notices that whole records are missing at the end, and uses none of their numbers again', async () => {
    await filled();
    const lines = (await readFile(path(), 'utf8')).split('\n');
    await writeFile(path(), `${lines.slice(0, 3).join('\n')}\n`);
    expect(await reopened()).toMatchObject([{ type: 'break', reason: 'cut', last_good_seq: 3, line: null }]);
    expect((await readRecords())[0]).toMatchObject({ type: 'break', seq: 6 });
  });

  it('notices that the file is gone', async () => {
    await filled();
    await rm(path());
    expect(await reopened()).toMatchObject([{ type: 'break', reason: 'gone', kept: null }]);
    expect((await readRecords())[0]).toMatchObject({ type: 'break', seq: 6 });
  });

  it('notices that the journal was written anew by somebody without the key', async () => {
    await filled();
    const other = await mkdtemp(join(base, 'other-'));
    const forged = await openJournal({ dir: other, bootId: 'b', now: () => time, monotonicMs: () => 1 });
    for (let i = 1; i <= 9; i += 1) await forged.journal.append(stop('forged'));
    await forged.journal.close();
    await rename(join(other, 'audit.jsonl'), path());
    expect(await reopened()).toMatchObject([{ type: 'break', reason: 'rewritten', line: 5 }]);
  });

  it('says when the second file was taken away or forged', async () => {
    await filled();
    await filled();
    await rm(join(state, 'checkpoint.json'));
    expect(await reopened()).toEqual([{ type: 'anchor', found: 'missing' }]);
    const forged = (await readFile(join(state, 'checkpoint.json'), 'utf8')).replace(/"seq\\":\d+/, '"seq\\":99');
    await writeFile(join(state, 'checkpoint.json'), forged);
    expect(await reopened()).toEqual([{ type: 'anchor', found: 'bad' }]);
    expect(await reopened()).toEqual([]);
  });

  it('calls the file cut, not gone, where a piece of a line is left of it', async () => {
    await filled();
    await writeFile(path(), '{"boot"');
    expect(await reopened()).toMatchObject([{ type: 'break', reason: 'cut', last_good_seq: 0, line: null }]);
  });

  it('does not miss a second file that a crash kept from being written', async () => {
    await filled();
    await rm(join(state, 'checkpoint.json'));
    expect(await reopened()).toEqual([]);
  });

  it('says when the second file was taken away right after a new file was begun', async () => {
    const rotating = await open({ ...ROTATION, ageMs: 1000 });
    await rotating.journal.append(stop('1'));
    time += 1000;
    await rotating.journal.append(stop('2'));
    await rotating.journal.recover();
    expect((await readRecords()).map(({ type }) => type)).toEqual(['segment']);
    await rm(join(state, 'checkpoint.json'));
    const { journal, findings } = await open();
    expect(findings).toEqual([{ type: 'anchor', found: 'missing' }]);
    await journal.close();
    await rotating.journal.close();
  });

  it('makes a new key where all of the state is gone, and keeps the public half that stood beside the journal', async () => {
    await filled();
    const former = await readFile(join(log, 'journal.pub'), 'utf8');
    await rm(state, { recursive: true });
    await mkdir(state);
    const [finding] = await reopened();
    expect(finding).toMatchObject({ type: 'key' });
    const { lost } = finding as { lost: string };
    expect(await readFile(join(log, `journal.pub.${lost}`), 'utf8')).toBe(former);
    expect(await readFile(join(log, 'journal.pub'), 'utf8')).toBe(await readFile(join(state, 'journal.pub'), 'utf8'));
  });

  it('makes a new key where only the public half is left, keeps that, and says so', async () => {
    await filled();
    const former = await readFile(join(state, 'journal.pub'), 'utf8');
    await rm(join(state, 'journal.key'));
    const [finding, ...others] = await reopened();
    expect(finding).toMatchObject({ type: 'key' });
    expect(others).toEqual([]);
    const { lost } = finding as { lost: string };
    expect(await readFile(join(state, `journal.pub.${lost}`), 'utf8')).toBe(former);
    expect(await reopened()).toEqual([]);
  });

  it('refuses everything while the key is damaged, and goes on when it is restored', async () => {
    await filled();
    const key = await readFile(join(state, 'journal.key'));
    await writeFile(join(state, 'journal.key'), 'garbage');
    const { journal } = await open();
    await expect(journal.append(stop('x'))).rejects.toThrow(/holds no key/);
    await writeFile(join(state, 'journal.key'), key);
    await journal.append(stop('after'));
    expect(journal.health()).toEqual({ ok: true });
    await journal.close();
  });
});

describe('the rotation of the journal', () => {
  const SMALL = { bytes: 3000, ageMs: Number.POSITIVE_INFINITY, keep: 3 };
  const names = async () => (await readdir(log)).filter((name) => name.startsWith('audit')).sort();

  it('begins a new file when the old one is long enough, with the chain carried over and the old one compressed', async () => {
    const { journal } = await open({ ...SMALL, keep: 100 });
    for (let i = 1; i <= 30; i += 1) await journal.append(stop(String(i)));
    await journal.close();
    const [first, second, ...more] = await names();
    expect(first).toMatch(/^audit-000000000001-\d{12}\.jsonl\.gz$/);
    expect(more.at(-1)).toBe('audit.jsonl');
    const all = (await Promise.all((await names()).map((name) => readRecords(name)))).flat();
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1));
    for (const [index, record] of all.entries()) if (index > 0) expect(record.prev).toBe(all[index - 1].hash);
    expect((await readRecords(first)).at(-1)).toMatchObject({ type: 'checkpoint' });
    expect((await readRecords(second))[0]).toMatchObject({
      type: 'segment',
      previous: first?.replace('.gz', ''),
      open: [],
    });
    expect((await stat(join(log, first as string))).mode & 0o777).toBe(0o600);
    expect((await stat(join(log, 'audit.jsonl'))).mode & 0o777).toBe(0o600);
  });

  it('begins a new file when the old one is old enough, at the first record after that', async () => {
    const { journal } = await open({ ...ROTATION, ageMs: 1000 });
    await journal.append(stop('1'));
    time += 999;
    await journal.append(stop('2'));
    expect(await names()).toEqual(['audit.jsonl']);
    time += 1;
    await journal.append(stop('3'));
    await journal.recover();
    await journal.close();
    expect(await names()).toEqual(['audit-000000000001-000000000004.jsonl.gz', 'audit.jsonl']);
  });

  it('begins a new file after 30 days where nobody says otherwise', async () => {
    const { journal } = await open();
    await journal.append(stop('1'));
    time += 30 * 24 * 3600 * 1000 - 1;
    await journal.append(stop('2'));
    expect(await names()).toEqual(['audit.jsonl']);
    time += 1;
    await journal.append(stop('3'));
    await journal.recover();
    await journal.close();
    expect(await names()).toHaveLength(2);
  });

  it('begins a new file when the old one is old enough, its age before a restart counted', async () => {
    const first = await open({ ...ROTATION, ageMs: 1000 });
    await first.journal.append(stop('1'));
    await first.journal.close();
    time += 999;
    const second = await open({ ...ROTATION, ageMs: 1000 });
    await second.journal.append(stop('2'));
    expect(await names()).toEqual(['audit.jsonl']);
    time += 1;
    await second.journal.append(stop('3'));
    await second.journal.recover();
    await second.journal.close();
    expect(await names()).toEqual(['audit-000000000001-000000000005.jsonl.gz', 'audit.jsonl']);
  });

  it('begins no file after one that holds nothing but its beginning, however short files have to be', async () => {
    const { journal } = await open({ bytes: 1, ageMs: 0, keep: 100 });
    await journal.recover();
    expect(await names()).toEqual(['audit.jsonl']);
    await journal.append(stop('1'));
    await journal.append(stop('2'));
    await journal.recover();
    await journal.close();
    await (await open({ bytes: 1, ageMs: 0, keep: 100 })).journal.close();
    const types = await Promise.all(
      (await names()).map(async (name) => (await readRecords(name)).map(({ type, reason }) => reason ?? type)),
    );
    expect(types.slice(0, 2)).toEqual([
      ['1', 'checkpoint'],
      ['segment', '2', 'checkpoint'],
    ]);
    for (const file of types.slice(2)) expect(file[0]).toBe('segment');
  });

  const unsealed = (rotation: RotationLimits, more: Partial<JournalOptions> = {}) =>
    openJournal({ ...{ dir: log, bootId: 'b', files, rotation, now: () => time, monotonicMs: () => 1 }, ...more });

  it('begins a new file after one that is exactly as long as the limit', async () => {
    const first = await unsealed(ROTATION);
    for (const reason of ['1', '2']) await first.journal.append(stop(reason));
    const { size: bytes } = await stat(join(log, 'audit.jsonl'));
    await first.journal.close();
    const longer = await unsealed({ ...ROTATION, bytes: bytes + 1 });
    await longer.journal.close();
    expect(await names()).toEqual(['audit.jsonl']);
    const exact = await unsealed({ ...ROTATION, bytes });
    await exact.journal.close();
    expect(await names()).toEqual(['audit-000000000001-000000000002.jsonl.gz', 'audit.jsonl']);
  });

  it('keeps as many old files as the limit says, and begins none when it is closed where nothing was added', async () => {
    const { journal } = await unsealed({ bytes: 1, ageMs: Number.POSITIVE_INFINITY, keep: 3 });
    for (let i = 1; i <= 4; i += 1) await journal.append(stop(String(i)));
    await journal.close();
    expect(await names()).toEqual([
      'audit-000000000001-000000000002.jsonl.gz',
      'audit-000000000003-000000000004.jsonl.gz',
      'audit-000000000005-000000000006.jsonl.gz',
      'audit.jsonl',
    ]);
    expect((await readRecords()).map(({ type }) => type)).toEqual(['segment']);
  });

  it('removes none any more once it is closed, and does not complain of that', async () => {
    for (const first of [1, 3]) await writeFile(join(log, oldFileName(first, first + 1)), '');
    let release: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { journal } = await unsealed({ ...ROTATION, keep: 1 }, { compress: () => gate });
    // Well from the beginning, though the old files were not looked at yet.
    expect(journal.health()).toStrictEqual({ ok: true });
    const closing = journal.close();
    release();
    await closing;
    expect(journal.health()).toEqual({ ok: true });
    expect(await names()).toHaveLength(3);
  });

  it('removes the oldest of too many, and says so in the journal first', async () => {
    const { journal } = await open(SMALL);
    for (let i = 1; i <= 100; i += 1) {
      await journal.append(stop(String(i)));
      await journal.recover();
    }
    const old = await vi.waitFor(async () => {
      const old = (await names()).filter((name) => name !== 'audit.jsonl');
      expect(old.length).toBeLessThanOrEqual(SMALL.keep);
      return old;
    });
    await journal.close();
    expect(old[0]).not.toMatch(/^audit-000000000001-/);
    const all = (await Promise.all((await names()).map((name) => readRecords(name)))).flat();
    expect(all.some(({ type, last_seq }) => type === 'pruned' && last_seq === all[0].seq - 1)).toBe(true);
  });

  it('carries intents without outcome into the new file, and closes them there', async () => {
    const first = await open(SMALL);
    await first.journal.append({ type: 'start', version: '0', unfinished: 0 });
    for (const call of [1, 2]) await first.journal.append(intent(call));
    for (let i = 1; i <= 30; i += 1) await first.journal.append(stop(String(i)));
    await first.journal.append(outcome(1));
    await first.journal.close();
    const second = await open(SMALL);
    expect(second.unfinished).toMatchObject([{ seq: 3, ...intent(2) }]);
    await second.journal.append({ type: 'start', version: '0', unfinished: 1 });
    for (let i = 1; i <= 30; i += 1) await second.journal.append(stop(String(i)));
    // Another call with that number, of another start.
    await second.journal.append(outcome(2));
    await second.journal.close();
    const third = await open(SMALL);
    expect(third.unfinished).toMatchObject([{ seq: 3, ...intent(2) }]);
    await third.journal.close();
  });

  it('goes on where a crash in the middle of a rotation left two names for one file', async () => {
    const first = await open();
    for (let i = 1; i <= 3; i += 1) await first.journal.append(stop(String(i)));
    await first.journal.close();
    await files.link(join(log, 'audit.jsonl'), join(log, 'audit-000000000001-000000000004.jsonl'));
    const second = await open();
    expect(second.findings).toEqual([]);
    await second.journal.append(stop('after'));
    await second.journal.close();
    expect(await names()).toEqual(['audit.jsonl']);
  });

  it.each(['openAppend', 'write', 'datasync', 'link', 'rename', 'syncDirectory', 'truncate', 'list'] as const)(
    'loses nothing when %s fails in it',
    async (operation) => {
      const { journal } = await open({ ...SMALL, keep: 100 });
      let armed = false;
      files.fault = (present) => {
        if (present === 'list') armed = true;
        if (!armed || present !== operation) return null;
        files.fault = () => null;
        return 'ENOSPC';
      };
      const kept: string[] = [];
      for (let i = 1; i <= 40; i += 1) {
        await journal.append(stop(String(i))).then(
          () => kept.push(String(i)),
          () => {},
        );
      }
      await journal.close();
      expect(armed).toBe(true);
      const all = (await Promise.all((await names()).map((name) => readRecords(name)))).flat();
      expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1));
      expect(all.flatMap(({ reason }) => reason ?? [])).toEqual(kept);
      expect(kept.length).toBeGreaterThan(37);
    },
  );

  it('leaves no record in two files when it fails between its steps and cannot even clear that away', async () => {
    const { journal } = await open({ ...SMALL, keep: 100 });
    const failing = new Set(['rename', 'unlink']);
    // The listing is where a rotation begins.
    let isRotating = false;
    files.fault = (operation) => {
      if (operation === 'list') isRotating = true;
      return isRotating && failing.delete(operation) ? 'EIO' : null;
    };
    for (let i = 1; i <= 40; i += 1) await journal.append(stop(String(i))).catch(() => {});
    await journal.close();
    expect(failing.size).toBe(0);
    const all = (await Promise.all((await names()).map((name) => readRecords(name)))).flat();
    expect(all.map(({ seq }) => seq)).toEqual(all.map((_, i) => i + 1));
  });

  it('goes on, with a warning, where old files cannot be compressed', async () => {
    const { journal } = await open(SMALL);
    await mkdir(join(log, 'audit-000000000900-000000000999.jsonl'));
    for (let i = 1; i <= 30; i += 1) await journal.append(stop(String(i)));
    await journal.close();
    expect(journal.health()).toEqual({ ok: true, warning: expect.stringContaining('Old files') });
  });

  it('says in its warning what the one who compresses said, whatever that is', async () => {
    for (const [error, said] of [
      [new Error('no room'), 'no room'],
      ['odd', 'odd'],
    ] as const) {
      const told: unknown[] = [];
      let fail: () => void = () => {};
      const { journal } = await unsealed(ROTATION, {
        compress: () =>
          new Promise((_, reject) => {
            fail = () => reject(error);
          }),
        healthChanged: (health) => told.push(health),
      });
      fail();
      const warning = `Old files of the journal cannot be compressed or removed: ${said}.`;
      await expect.poll(() => told).toEqual([{ ok: true, warning }]);
      expect(journal.health()).toEqual({ ok: true, warning });
      await journal.close();
    }
  });

  it('tries again at the next checkpoint, and takes the warning back', async () => {
    const { journal } = await open({ ...SMALL, keep: 100 });
    const inTheWay = join(log, 'audit-000000000900-000000000999.jsonl');
    await mkdir(inTheWay);
    while (!('warning' in journal.health())) await journal.append(stop('more'));
    await rm(inTheWay, { recursive: true });
    timers.findLast(({ off }) => !off)?.run();
    await expect.poll(() => journal.health()).toEqual({ ok: true });
    await journal.close();
    expect((await names()).filter((name) => !name.endsWith('.gz'))).toEqual(['audit.jsonl']);
  });
});
