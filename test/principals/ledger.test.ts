import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { AHEAD_MS, Ledger } from '../../daemon/principals/ledger.ts';
import type { StateFiles } from '../../daemon/state-files.ts';

const NOW = 1_700_000_000_000;
const NUMBER = '0'.repeat(32);

/** Files in memory, whose writes end when the test says so, or fail. */
class Memory implements StateFiles {
  readonly texts = new Map<string, string>();
  writes = 0;
  failing = false;
  hold: Promise<void> = Promise.resolve();
  pathOf = (name: string): string => `/state/principals/${name}`;
  read = (name: string): string | null => this.texts.get(name) ?? null;
  write = async (name: string, text: string): Promise<void> => {
    this.writes += 1;
    await this.hold;
    if (this.failing) throw new Error('no space left on device');
    this.texts.set(name, text);
  };
}

const open = (files = new Memory()) => {
  const later: (() => void)[] = [];
  const said: string[] = [];
  const ledger = new Ledger('/state', {
    files,
    after: (_, work) => later.push(work),
    complain: (text) => said.push(text),
  });
  return { files, ledger, later, said };
};

describe('an account', () => {
  test('of which there is no file is new', () => {
    const { ledger } = open();
    const account = ledger.account('web');
    expect(account.isKnown).toBe(true);
    expect(account.calls.count(NOW)).toBe(0);
    expect(account.freshness.isNew(NOW, NUMBER, NOW)).toBe(true);
    expect(ledger.account('web')).toBe(account);
    expect(ledger.account('web@mcp-control')).not.toBe(account);
  });

  test('has a signed call covered on disk before it is said to be', async () => {
    const { files, ledger } = open();
    const account = ledger.account('web');
    account.tookUpTo(NOW);
    expect(account.covers(NOW)).toBe(false);
    expect(await account.settled()).toBe(true);
    expect(account.covers(NOW + AHEAD_MS)).toBe(true);
    expect(account.covers(NOW + AHEAD_MS + 1)).toBe(false);
    expect(JSON.parse(files.texts.get('web.json') ?? '')).toEqual({
      v: 1,
      horizon: NOW + AHEAD_MS,
      calls: [],
      questions: [],
    });
    account.tookUpTo(NOW + AHEAD_MS);
    expect(await account.settled()).toBe(true);
    expect(files.writes).toBe(1);
  });

  test('counts lazily, in one write for all that was counted meanwhile', async () => {
    const { files, ledger, later } = open();
    const account = ledger.account('web');
    for (let each = 0; each < 5; each++) {
      account.calls.add(NOW);
      account.used();
    }
    expect(files.writes).toBe(0);
    expect(later).toHaveLength(1);
    later[0]?.();
    expect(await account.settled()).toBe(true);
    expect(files.writes).toBe(1);
    account.used();
    expect(later).toHaveLength(2);
  });

  test('waits for a write that began after what it waits for', async () => {
    const { files, ledger } = open();
    let release = (): void => {};
    files.hold = new Promise((resolve) => {
      release = resolve;
    });
    const account = ledger.account('web');
    account.calls.add(NOW);
    account.used();
    const first = account.settled();
    account.questions.add(NOW);
    account.used();
    const second = account.settled();
    const third = account.settled();
    release();
    expect(await Promise.all([first, second, third])).toEqual([true, true, true]);
    expect(files.writes).toBe(2);
    expect(JSON.parse(files.texts.get('web.json') ?? '')).toMatchObject({ questions: [[28_333_333, 1]] });
  });

  test('that cannot be written says so once per outage, and is settled when it can be again', async () => {
    const { files, ledger, said } = open();
    const account = ledger.account('web');
    files.failing = true;
    account.tookUpTo(NOW);
    expect(await account.settled()).toBe(false);
    expect(files.writes).toBe(2);
    expect(await account.settled()).toBe(false);
    expect(account.covers(NOW)).toBe(false);
    expect(said).toEqual([
      '/state/principals/web.json cannot be written (no space left on device), so changes that it counts are refused. Check the disk.',
    ]);
    files.failing = false;
    expect(await account.settled()).toBe(true);
    files.failing = true;
    account.used();
    expect(await account.settled()).toBe(false);
    expect(said).toHaveLength(2);
  });
});

describe('over a restart', () => {
  test('after a clean end counts go on, and the next call is new at once', async () => {
    const { files, ledger } = open();
    const account = ledger.account('web');
    account.calls.add(NOW);
    account.questions.add(NOW);
    account.used();
    account.freshness.take(NOW, NUMBER);
    account.tookUpTo(NOW);
    await account.settled();
    await ledger.close();

    const next = open(files).ledger.account('web');
    expect(next.calls.count(NOW)).toBe(1);
    expect(next.questions.count(NOW)).toBe(1);
    expect(next.freshness.isNew(NOW, NUMBER, NOW)).toBe(false);
    expect(next.freshness.isNew(NOW, '1'.repeat(32), NOW)).toBe(false);
    expect(next.freshness.isNew(NOW + 1, '1'.repeat(32), NOW)).toBe(true);
  });

  test('after a crash every call that may have been taken is refused, and none longer than the step ahead', async () => {
    const { files, ledger } = open();
    const account = ledger.account('web');
    account.freshness.take(NOW, NUMBER);
    account.tookUpTo(NOW);
    await account.settled();
    account.freshness.take(NOW + AHEAD_MS, '2'.repeat(32));

    const next = open(files).ledger.account('web');
    for (const time of [NOW - 1, NOW, NOW + 1, NOW + AHEAD_MS]) {
      expect(next.freshness.isNew(time, '3'.repeat(32), NOW)).toBe(false);
    }
    expect(next.freshness.isNew(NOW + AHEAD_MS + 1, '3'.repeat(32), NOW)).toBe(true);
  });

  test('an end writes nothing for an account that took no signed call and counted nothing', async () => {
    const { files, ledger } = open();
    ledger.account('web');
    await ledger.close();
    expect(files.writes).toBe(0);
  });

  test.each([
    ['no JSON', 'x'],
    ['another version', '{"v":2,"horizon":0,"calls":[],"questions":[]}'],
    ['another field', '{"v":1,"horizon":0,"calls":[],"questions":[],"x":1}'],
    ['a negative time', '{"v":1,"horizon":-1,"calls":[],"questions":[]}'],
    ['a count of nothing', '{"v":1,"horizon":0,"calls":[[1,0]],"questions":[]}'],
    [
      'more minutes than an hour has',
      JSON.stringify({ v: 1, horizon: 0, calls: Array(62).fill([1, 1]), questions: [] }),
    ],
  ])('a file with %s is not believed, kept, and complained about', async (_, text) => {
    const files = new Memory();
    files.texts.set('web.json', text);
    const { ledger, said } = open(files);
    expect(ledger.account('web').isKnown).toBe(false);
    expect(said).toEqual([
      expect.stringMatching(/^\/state\/principals\/web\.json .* wait four minutes before the next start\.$/),
    ]);
    await ledger.close();
    expect(files.texts.get('web.json')).toBe(text);
  });

  test('a file that is not believed is not written over, whatever is used', async () => {
    const files = new Memory();
    files.texts.set('web.json', 'x');
    const { ledger, later } = open(files);
    const account = ledger.account('web');
    account.calls.add(NOW);
    account.used();
    account.tookUpTo(NOW);
    account.freshness.take(NOW, NUMBER);
    later[0]?.();
    expect(await account.settled()).toBe(false);
    await ledger.close();
    expect([files.writes, files.texts.get('web.json')]).toEqual([0, 'x']);
  });

  test('a file with every minute of an hour is believed', () => {
    const files = new Memory();
    const calls = Array.from({ length: 61 }, (_, minute) => [Math.floor(NOW / 60_000) - minute, 1]);
    files.texts.set('web.json', JSON.stringify({ v: 1, horizon: 0, calls, questions: calls }));
    const account = open(files).ledger.account('web');
    expect([account.calls.count(NOW), account.questions.count(NOW)]).toEqual([61, 61]);
  });
});

test('left to itself the ledger is below the state directory, and counts are there after a second', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const state = mkdtempSync(join(tmpdir(), 'qmcp-ledger-'));
  onTestFinished(() => rmSync(state, { recursive: true }));
  const account = new Ledger(state).account('web');
  account.calls.add(NOW);
  account.used();
  vi.advanceTimersByTime(999);
  expect(readdirSync(state)).toEqual([]);
  vi.advanceTimersByTime(1);
  vi.useRealTimers();
  await vi.waitFor(() => expect(readdirSync(join(state, 'principals'))).toEqual(['web.json']));
});
