import {
  appendFile,
  chmod,
  mkdtemp,
  open as openFile,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { GENESIS, verifyLine } from '../../daemon/journal/chain.ts';
import { type Health, MAX_OUTCOMES_QUEUED, MAX_QUEUED, openJournal } from '../../daemon/journal/journal.ts';
import type { Intent, JournalRecord, Outcome, Stop } from '../../daemon/journal/record.ts';
import { JournalUnavailable } from '../../daemon/journal/unavailable.ts';
import { type FaultyFiles, faultyFiles } from './faulty-files.ts';

let dir: string;
let path: string;
let files: FaultyFiles;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'qmcp-journal-'));
  path = join(dir, 'audit.jsonl');
  files = faultyFiles();
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const NEVER = { bytes: Number.POSITIVE_INFINITY, ageMs: Number.POSITIVE_INFINITY, keep: 1 };
const open = (reopened: (opening: unknown) => void = () => {}, healthChanged: (health: Health) => void = () => {}) =>
  openJournal({
    dir,
    now: () => Date.UTC(2026, 0, 2),
    monotonicMs: () => 5,
    bootId: 'boot',
    files,
    reopened,
    healthChanged,
    rotation: NEVER,
  });

const stop = (reason: string): Stop => ({ type: 'stop', reason });
const START: JournalRecord = { type: 'start', version: '0', unfinished: 0 };
const OF_CALL = { source: 'agent', principal: 'agent', service: 'qmcp.X', action: 'x', qubes: [], args: {} };
const intent = (call: number): Intent => ({ type: 'intent', call, ...OF_CALL, digest: 'd', nonce: null });
const outcome = (call: number): Outcome => ({
  ...{ type: 'outcome', call, ...OF_CALL, ok: true, error: null, cause: null, duration_ms: 1 },
});

/** The record with as long a text as takes up 64 KiB, stamped and without what joins its members. */
const lengthened = <T extends JournalRecord>(record: (text: string) => T): T => {
  const stamp = { boot: 'boot', mono_ms: 5, ts: '2026-01-02T00:00:00.000Z', v: 2 };
  return record('x'.repeat(64 * 1024 + 1 - JSON.stringify({ ...record(''), ...stamp }).length));
};

const text = () => readFile(path, 'utf8');
const lines = async () => (await text()).split('\n').slice(0, -1);
const records = async () => (await lines()).map((line) => JSON.parse(line));
const reasons = async () => (await records()).map((record) => record.reason ?? record.type);

/** Every line verifies after the one before; only the first may say that something came before it. */
async function expectChain() {
  let head = null;
  for (const line of await lines()) {
    const opener = JSON.parse(line).type === 'break';
    const verdict = verifyLine(line, head ?? (opener ? null : GENESIS));
    if (!verdict.ok) throw new Error(`${verdict.fault} at ${verdict.seq}`);
    head = verdict.head;
  }
  expect((await text()).endsWith('\n')).toBe(true);
}

describe('the journal', () => {
  it('begins as an empty file of mode 0600 and is healthy', async () => {
    const { journal, unfinished, findings } = await open();
    expect({ unfinished, findings, health: journal.health() }).toEqual({
      unfinished: [],
      findings: [],
      health: { ok: true },
    });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await journal.close();
  });

  it('takes away other people’s access to a file that was there', async () => {
    await writeFile(path, '', { mode: 0o600 });
    await chmod(path, 0o666);
    await (await open()).journal.close();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('has the record on disk, synced, when append resolves', async () => {
    const { journal } = await open();
    files.log.length = 0;
    expect(await journal.append(stop('one'))).toEqual({ seq: 1 });
    expect(files.log).toEqual(['identify', 'write', 'datasync']);
    expect(await reasons()).toEqual(['one']);
    await journal.close();
    await expectChain();
  });

  it('goes on where it ended after a restart', async () => {
    const first = await open();
    await first.journal.append(stop('one'));
    await first.journal.close();
    const second = await open();
    expect(await second.journal.append(stop('two'))).toEqual({ seq: 2 });
    await second.journal.close();
    expect(await reasons()).toEqual(['one', 'two']);
    await expectChain();
  });

  it('writes appends and notes in the order of the calls, in shared batches', async () => {
    const { journal } = await open();
    files.log.length = 0;
    const numbers: Promise<{ seq: number }>[] = [];
    for (let i = 0; i < 100; i += 1) {
      if (i % 3 === 0) journal.note(stop(String(i)));
      else numbers.push(journal.append(stop(String(i))));
    }
    await Promise.all(numbers);
    expect(files.log.filter((operation) => operation === 'datasync')).toHaveLength(1);
    expect((await Promise.all(numbers)).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1).filter((seq) => (seq - 1) % 3 !== 0),
    );
    expect(await reasons()).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    await journal.close();
    await expectChain();
  });

  it('gathers what arrives during a write into one next write', async () => {
    const { journal } = await open();
    files.log.length = 0;
    const first = journal.append(stop('first'));
    let later: Promise<unknown>[] = [];
    files.fault = (operation) => {
      if (operation === 'datasync' && later.length === 0) {
        later = Array.from({ length: 50 }, (_, i) => journal.append(stop(String(i))));
      }
      return null;
    };
    await first;
    await Promise.all(later);
    expect(files.log.filter((operation) => operation === 'datasync')).toHaveLength(2);
    await journal.close();
    await expectChain();
  });

  it('writes notes before it closes, and refuses everything afterwards', async () => {
    const { journal } = await open();
    journal.note(stop('noted'));
    await journal.close();
    journal.note(stop('too late'));
    await expect(journal.append(stop('too late'))).rejects.toBeInstanceOf(JournalUnavailable);
    expect(await reasons()).toEqual(['noted']);
    await journal.close();
  });

  it('lists intents without outcome at the next start, by call and start', async () => {
    const first = await open();
    for (const record of [
      START,
      intent(1),
      intent(2),
      outcome(1),
      START,
      intent(1),
      outcome(2),
      intent(3),
      intent(3),
      outcome(3),
    ]) {
      await first.journal.append(record);
    }
    await first.journal.close();
    const second = await open();
    expect(second.unfinished.map(({ seq, call }) => [seq, call])).toEqual([
      [3, 2],
      [6, 1],
      [8, 3],
    ]);
    expect(second.unfinished[0]).toMatchObject(intent(2));
    const finding = { type: 'finding', finding: 'done', qubes: [], service: 's', action: 'a' } as const;
    await second.journal.append({ ...finding, intent_seq: 3 });
    await second.journal.close();
    const third = await open();
    expect(third.unfinished.map(({ seq }) => seq)).toEqual([6, 8]);
    await third.journal.close();
  });

  it('takes a record of 64 KiB and refuses one byte more', async () => {
    const { journal } = await open();
    const longest = lengthened((reason) => stop(reason));
    await expect(journal.append(stop(`${longest.reason}x`))).rejects.toThrow('a record is too long');
    await expect(journal.append(stop(`${longest.reason.slice(1)}ö`))).rejects.toThrow('a record is too long');
    await journal.append(longest);
    await journal.close();
    await expectChain();
  });

  it('says why it refuses in words of its own, and then nothing else', async () => {
    const { journal } = await open();
    await expect(journal.append(stop('\ud800'))).rejects.toThrow(/^The journal .* cannot be written: .*surrogate/);
    await journal.close();
    await expect(journal.append(stop('x'))).rejects.toThrow(/^it is closed$/);
  });

  it('stamps a record with the time at which it was asked for', async () => {
    let time = Date.UTC(2026, 0, 2);
    const { journal } = await openJournal({ dir, now: () => time, monotonicMs: () => time, bootId: 'b', files });
    const written = journal.append(intent(1));
    time += 1000;
    await written;
    await journal.close();
    expect((await records())[0]).toMatchObject({ ts: '2026-01-02T00:00:00.000Z', mono_ms: Date.UTC(2026, 0, 2) });
    const again = await open();
    expect(again.unfinished).toMatchObject([{ ts: '2026-01-02T00:00:00.000Z' }]);
    await again.journal.close();
  });

  it('refuses a record that JSON cannot carry, and counts a note of that kind as lost', async () => {
    const { journal } = await open();
    await expect(journal.append(stop('\ud800'))).rejects.toBeInstanceOf(JournalUnavailable);
    journal.note(stop('\ud800'));
    await journal.append(stop('fine'));
    expect((await records())[0]).toMatchObject({ type: 'gap', refused: 1, lost: 1 });
    expect(journal.health()).toEqual({ ok: true });
    await journal.append(stop('and again'));
    await journal.close();
    // What was counted is said once.
    expect(await reasons()).toEqual(['gap', 'fine', 'and again']);
  });

  it('lets as many records wait as the limit says, and refuses one more', async () => {
    const { journal } = await open();
    const waiting = Array.from({ length: MAX_QUEUED }, (_, i) => journal.append(stop(String(i))));
    await expect(journal.append(stop('one more'))).rejects.toThrow(/too many records/);
    await Promise.all(waiting);
    expect(await journal.append(stop('now'))).toMatchObject({ seq: MAX_QUEUED + 2 });
    await journal.close();
    await expectChain();
  });
});

describe('a journal whose disk fails', () => {
  it('comes back also when notes have filled the queue meanwhile, and counts those that found no room', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow();
    for (let i = 0; i < MAX_QUEUED + 3; i += 1) journal.note(stop(String(i)));
    await journal.recover();
    files.fault = () => null;
    await expect(journal.append(stop('finds no room'))).rejects.toThrow(/too many/);
    expect(await journal.recover()).toEqual({ ok: true });
    await journal.append(stop('after'));
    const present = await records();
    expect(present[0]).toMatchObject({ type: 'gap', refused: 2, lost: 3 });
    expect(present).toHaveLength(MAX_QUEUED + 2);
    await journal.close();
    await expectChain();
  });

  it('writes how effects ended also when notes have filled the queue meanwhile, up to a limit', async () => {
    const { journal } = await open();
    const calls = Array.from({ length: MAX_OUTCOMES_QUEUED + 1 }, (_, index) => index + 1);
    await Promise.all(calls.map((call) => journal.append(intent(call))));
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow();
    for (let i = 0; i < MAX_QUEUED + 1; i += 1) journal.note(stop(String(i)));
    for (const call of calls) journal.note(outcome(call));
    await journal.recover();
    files.fault = () => null;
    expect(await journal.recover()).toEqual({ ok: true });
    const present = await records();
    expect(present.filter(({ type }) => type === 'outcome')).toHaveLength(MAX_OUTCOMES_QUEUED);
    expect(present.find(({ type }) => type === 'gap')).toMatchObject({ refused: 1, lost: 2 });
    await journal.close();
  });

  it('holds 16 MiB of records, and 4 MiB more of how effects ended', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    const note = lengthened((reason) => stop(reason));
    for (let i = 0; i < 256 + 5; i += 1) journal.note(note);
    const end = lengthened((cause) => ({ ...outcome(1), cause }));
    for (let i = 0; i < 64 + 5; i += 1) journal.note(end);
    await journal.recover();
    // Nor is there more room once a write has failed.
    journal.note(note);
    journal.note(end);
    files.fault = () => null;
    await journal.recover();
    const [gap, ...present] = await records();
    expect(present.filter(({ type }) => type === 'stop')).toHaveLength(256);
    expect(present.filter(({ type }) => type === 'outcome')).toHaveLength(64);
    expect(gap).toMatchObject({ type: 'gap', refused: 0, lost: 12 });
    await journal.close();
  });

  it('has room again for as much as it has written', async () => {
    const { journal } = await open();
    for (let round = 0; round < 2; round += 1) {
      for (let i = 0; i < 200; i += 1) journal.note(stop('x'.repeat(60_000)));
      await journal.recover();
    }
    await journal.close();
    expect((await records()).filter(({ type }) => type === 'stop')).toHaveLength(400);
  });

  it('stays closed, whatever is asked of it then', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow();
    await journal.close();
    files.fault = () => null;
    files.log.length = 0;
    expect(await journal.recover()).toMatchObject({ ok: false });
    await journal.close();
    expect(files.log).toEqual([]);
  });

  it.each(['ENOSPC', 'EIO', 'EROFS', 'EACCES', 'EDQUOT'])(
    'refuses on %s in a write, says so, and recovers by itself',
    async (code) => {
      const { journal } = await open();
      await journal.append(stop('before'));
      files.fault = (operation) => (operation === 'write' ? code : null);
      await expect(journal.append(stop('refused'))).rejects.toBeInstanceOf(JournalUnavailable);
      expect(journal.health()).toMatchObject({ ok: false, reason: expect.stringContaining(code) });
      await expect(journal.append(stop('refused'))).rejects.toBeInstanceOf(JournalUnavailable);
      files.fault = () => null;
      expect(await journal.append(stop('after'))).toEqual({ seq: 3 });
      expect(journal.health()).toEqual({ ok: true });
      expect(await reasons()).toEqual(['before', 'gap', 'after']);
      expect((await records())[1]).toMatchObject({ refused: 2, lost: 0 });
      await journal.append(stop('and again'));
      await journal.close();
      expect(await reasons()).toEqual(['before', 'gap', 'after', 'and again']);
      await expectChain();
    },
  );

  it('tells each change of its health once', async () => {
    const told: string[] = [];
    files.fault = (operation) => (operation === 'openAppend' ? 'EACCES' : null);
    const tell = (health: Health): unknown =>
      told.push(health.ok ? 'well' : (/\((E.+?)\)/.exec(health.reason)?.[1] ?? ''));
    const { journal } = await open(() => {}, tell);
    expect(told).toEqual(['EACCES']);
    for (const code of ['EACCES', 'ENOSPC', 'ENOSPC', null, null]) {
      files.fault = (operation) => (operation === 'openAppend' || operation === 'write' ? code : null);
      await journal.append(stop('1')).catch(() => {});
    }
    expect(told).toEqual(['EACCES', 'ENOSPC', 'well']);
    await journal.close();
    expect(told).toHaveLength(3);
  });

  it('refuses when the sync fails, and the refused record is not in the journal afterwards', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'datasync' ? 'EIO' : null);
    await expect(journal.append(stop('refused'))).rejects.toBeInstanceOf(JournalUnavailable);
    expect(await reasons()).toEqual(['refused']);
    files.fault = () => null;
    expect(await journal.recover()).toEqual({ ok: true });
    expect(await reasons()).toEqual(['gap']);
    await journal.close();
    await expectChain();
  });

  it('goes on after a short write until all is written', async () => {
    const { journal } = await open();
    files.fault = (operation, count) => (operation === 'write' && count < 20 ? 7 : null);
    expect(await journal.append(stop('whole'))).toEqual({ seq: 1 });
    await journal.close();
    await expectChain();
  });

  it('refuses when a write takes nothing at all', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'write' ? 0 : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow(/takes no more/);
    files.fault = () => null;
    await journal.append(stop('after'));
    await journal.close();
    await expectChain();
  });

  it('keeps notes of the time it was down and writes them when it is back', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    journal.note(stop('noted 1'));
    await expect(journal.append(stop('refused'))).rejects.toBeInstanceOf(JournalUnavailable);
    journal.note(stop('noted 2'));
    await journal.recover();
    expect(journal.health().ok).toBe(false);
    files.fault = () => null;
    await journal.append(stop('after'));
    expect(await reasons()).toEqual(['gap', 'noted 1', 'noted 2', 'after']);
    await journal.close();
    await expectChain();
  });

  it('takes records that are asked for while it gives up, one way or the other', async () => {
    const { journal } = await open();
    files.fault = (operation) => (operation === 'write' ? 'EIO' : null);
    const results: Promise<unknown>[] = [];
    const again = (times: number): Promise<unknown> =>
      journal.append(stop('x')).catch(() => {
        if (times === 2) files.fault = () => null;
        return times === 0 ? null : again(times - 1);
      });
    for (let i = 0; i < 10; i += 1) results.push(again(4));
    await Promise.all(results);
    await journal.close();
    await expectChain();
  });

  it('opens in a bad state where nothing can be opened, and comes up at the first append that works', async () => {
    files.fault = (operation) => (operation === 'openAppend' ? 'EACCES' : null);
    const openings: unknown[] = [];
    const { journal, unfinished, findings } = await open((opening) => openings.push(opening));
    expect([unfinished, findings]).toEqual([[], []]);
    expect(journal.health()).toMatchObject({ ok: false });
    await expect(journal.append(stop('refused'))).rejects.toThrow(/permission/);
    files.fault = () => null;
    await journal.append(stop('after'));
    expect(openings).toEqual([{ unfinished: [], findings: [] }]);
    await journal.close();
    await expectChain();
  });

  it.each(['read', 'openAppend', 'identify', 'list', 'datasync', 'syncDirectory'] as const)(
    'finds the intents of earlier starts also when it comes up late, because %s failed in its opening',
    async (failing) => {
      const first = await open();
      await first.journal.append(START);
      await first.journal.append(intent(7));
      await first.journal.close();
      files.fault = (operation) => (operation === failing ? 'EIO' : null);
      const openings: unknown[] = [];
      const second = await open((opening) => openings.push(opening));
      files.fault = () => null;
      await second.journal.recover();
      expect(openings).toMatchObject([{ unfinished: [{ seq: 2, call: 7 }] }]);
      await second.journal.close();
    },
  );

  it('does not report its own intents in flight as unfinished when it comes back', async () => {
    const openings: unknown[] = [];
    const { journal } = await open((opening) => openings.push(opening));
    await journal.append(intent(1));
    files.fault = (operation) => (operation === 'datasync' ? 'EIO' : null);
    await expect(journal.append(stop('x'))).rejects.toThrow();
    files.fault = () => null;
    await journal.append(outcome(1));
    expect(openings).toEqual([{ unfinished: [], findings: [] }]);
    await journal.close();
  });

  it('does not follow a symbolic link in the place of the file', async () => {
    await writeFile(join(dir, 'elsewhere'), '');
    await symlink(join(dir, 'elsewhere'), path);
    const { journal } = await open();
    expect(journal.health()).toMatchObject({ ok: false, reason: expect.stringContaining('symbolic link') });
    await journal.close();
    expect(await readFile(join(dir, 'elsewhere'), 'utf8')).toBe('');
  });
});

describe('a journal somebody else lays hands on while it is open', () => {
  const tamper = async (act: () => Promise<unknown>) => {
    const { journal } = await open();
    await journal.append(stop('one'));
    await journal.append(stop('two'));
    await act();
    await expect(journal.append(stop('refused'))).rejects.toBeInstanceOf(JournalUnavailable);
    expect(journal.health()).toMatchObject({ ok: false });
    await journal.append(stop('three'));
    expect(journal.health()).toEqual({ ok: true });
    await journal.close();
    await expectChain();
    return (await records()).map(({ type, seq, reason }) => [type, seq, reason]);
  };
  const kept = async () => (await readdir(dir)).filter((name) => name.startsWith('audit.broken'));

  it('notices that it was deleted, and goes on with a record that says so', async () => {
    expect(await tamper(() => rm(path))).toEqual([
      ['break', 3, 'gone'],
      ['gap', 4, undefined],
      ['stop', 5, 'three'],
    ]);
    expect(await kept()).toEqual([]);
  });

  it('goes on from the hash of the last record, so that a file moved away still fits before it', async () => {
    await tamper(() => rename(path, join(dir, 'moved')));
    const moved = (await readFile(join(dir, 'moved'), 'utf8')).trimEnd().split('\n').at(-1) as string;
    expect((await records())[0]).toMatchObject({ prev: JSON.parse(moved).hash, last_good_seq: 2, kept: null });
  });

  it('notices that it was replaced, and keeps the other file aside', async () => {
    const found = await tamper(async () => {
      await writeFile(join(dir, 'other'), await text());
      await rename(join(dir, 'other'), path);
    });
    expect(found[0]).toEqual(['break', 3, 'replaced']);
    expect(await kept()).toEqual(['audit.broken-20260102T000000.000Z.jsonl']);
    expect((await records())[0].kept).toBe((await kept())[0]);
  });

  it('notices that it was cut', async () => {
    expect((await tamper(async () => truncate(path, (await lines())[0]?.length)))[0]).toEqual(['break', 3, 'cut']);
    expect(await kept()).toHaveLength(1);
  });

  it('notices that somebody wrote to it', async () => {
    expect((await tamper(() => appendFile(path, '{}\n')))[0]).toEqual(['break', 3, 'changed']);
    expect(await kept()).toHaveLength(1);
  });

  it('notices that its last record was written over while it was down', async () => {
    const { journal } = await open();
    await journal.append(stop('one'));
    files.fault = (operation) => (operation === 'write' ? 'ENOSPC' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow();
    const file = await openFile(path, 'r+');
    await file.write('{"zzzz"', 0);
    await file.close();
    files.fault = () => null;
    await journal.append(stop('after'));
    await journal.close();
    expect((await records())[0]).toMatchObject({ type: 'break', reason: 'changed', last_good_seq: 1 });
    await expectChain();
  });

  it('never gives a file kept aside the name of another', async () => {
    await tamper(() => appendFile(path, '{}\n'));
    const { journal } = await open();
    await appendFile(path, '{}\n');
    await expect(journal.append(stop('refused'))).rejects.toThrow();
    await journal.append(stop('after'));
    await journal.close();
    expect(await kept()).toHaveLength(2);
  });
});

describe('a journal that was damaged while the broker was down', () => {
  const damaged = async (damage: (content: string) => string | Buffer) => {
    const first = await open();
    for (let i = 1; i <= 5; i += 1) await first.journal.append(stop(String(i)));
    await first.journal.close();
    const content = damage(await text());
    await writeFile(path, content);
    const second = await open();
    expect(second.journal.health()).toEqual({ ok: true });
    await second.journal.append(stop('after'));
    await second.journal.close();
    await expectChain();
    return { findings: second.findings, content };
  };

  it('cuts off a line torn by a crash, keeps the piece, and says so', async () => {
    const { findings, content } = await damaged((content) => content.slice(0, -20));
    const torn = (content as string).split('\n').at(-1) as string;
    expect(findings).toEqual([{ type: 'torn', kept: 'audit.torn-20260102T000000.000Z', bytes: torn.length }]);
    expect(await readFile(join(dir, 'audit.torn-20260102T000000.000Z'), 'utf8')).toBe(torn);
    expect(await reasons()).toEqual(['1', '2', '3', '4', 'torn', 'after']);
  });

  it.each([
    ['a changed record', (content: string) => content.replace('"reason":"3"', '"reason":"4"'), 'hash', 3],
    ['a deleted record', (content: string) => content.split('\n').toSpliced(2, 1).join('\n'), 'prev', 3],
    ['garbage', (content: string) => `${content}garbage\n`, 'unparseable', 6],
    ['a missing beginning', (content: string) => content.split('\n').slice(1).join('\n'), 'prev', 1],
    [
      'bytes that are not UTF-8',
      (content: string) => Buffer.concat([Buffer.from(content), Buffer.from([0xff, 0x0a])]),
      'unparseable',
      6,
    ],
  ])(
    'keeps the file aside where it holds %s, and begins a new one that says so',
    async (_name, damage, fault, line) => {
      const { findings, content } = await damaged(damage);
      const kept = 'audit.broken-20260102T000000.000Z.jsonl';
      expect(findings).toEqual([{ type: 'break', reason: fault, line, kept, last_good_seq: line - 1, open: [] }]);
      expect(await readFile(join(dir, kept))).toEqual(Buffer.from(content));
      const [first, second] = await records();
      expect(first).toMatchObject({ type: 'break', seq: 6 + (line === 6 ? 1 : 0) - (fault === 'prev' ? 1 : 0) });
      expect(second).toMatchObject({ reason: 'after' });
    },
  );

  it('loses neither the old file nor the break when making the new file fails at any step', async () => {
    const first = await open();
    await first.journal.append(stop('1'));
    await first.journal.close();
    for (const operation of [
      'openAppend',
      'write',
      'datasync',
      'link',
      'rename',
      'syncDirectory',
      'identify',
      'truncate',
    ] as const) {
      await writeFile(path, `garbage ${operation}\n`);
      for (const name of await readdir(dir)) if (name !== 'audit.jsonl') await rm(join(dir, name));
      let failed = false;
      files = faultyFiles();
      files.fault = (present) => {
        if (present !== operation || failed) return null;
        failed = true;
        return 'ENOSPC';
      };
      const { journal } = await open();
      await journal.append(stop('after'));
      await journal.close();
      expect(failed).toBe(true);
      const names = (await readdir(dir)).filter((name) => name.startsWith('audit.broken'));
      const contents = await Promise.all(names.map((name) => readFile(join(dir, name), 'utf8')));
      expect(contents).toContain(`garbage ${operation}\n`);
      expect((await records())[0]).toMatchObject({ type: 'break' });
      await expectChain();
    }
  });
});
