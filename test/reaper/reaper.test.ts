import { describe, expect, test } from 'vitest';
import { EVERY_MS, FIRST_PASS_MS, JITTER_MS, type ReaperParts, startReaper } from '../../daemon/reaper/reaper.ts';

/** A reaper whose passes end when told, on a clock that is wound by hand. */
const wound = (random = () => 0) => {
  const timers: { ms: number; work: () => void; off: boolean }[] = [];
  const passes: { end: () => void; fail: (error: Error) => void }[] = [];
  const failures: unknown[] = [];
  const stopping = new AbortController();
  const parts = {
    settings: { current: () => ({ tombstoneRetention: null }) },
    alone: (): Promise<never> =>
      new Promise((resolve, reject) => passes.push({ end: () => resolve(undefined as never), fail: reject })),
    stopping: stopping.signal,
    random,
    after: (ms: number, work: () => void) => {
      const timer = { ms, work, off: false };
      timers.push(timer);
      return () => {
        timer.off = true;
      };
    },
    failed: (error: unknown) => failures.push(error),
  } as unknown as ReaperParts;
  return { atRest: startReaper(parts), timers, passes, failures, stop: () => stopping.abort() };
};

describe('the reaper', () => {
  test('makes its first pass a quarter of an hour after the start', () => {
    const { timers, passes } = wound();
    expect(timers.map(({ ms }) => ms)).toEqual([15 * 60_000]);
    expect(FIRST_PASS_MS).toBe(15 * 60_000);
    expect(passes).toEqual([]);
  });

  test('comes back an hour after each pass, and never before it has ended', async () => {
    const { timers, passes, atRest } = wound();
    timers[0]?.work();
    expect(passes).toHaveLength(1);
    expect(timers).toHaveLength(1);
    passes[0]?.end();
    await atRest();
    expect(timers.map(({ ms }) => ms)).toEqual([FIRST_PASS_MS, EVERY_MS]);
    timers[1]?.work();
    expect(passes).toHaveLength(2);
  });

  test('comes up to five minutes later, by chance', async () => {
    const { timers, passes, atRest } = wound(() => 0.999_999_999);
    timers[0]?.work();
    passes[0]?.end();
    await atRest();
    expect(timers.map(({ ms }) => ms)).toEqual([FIRST_PASS_MS + JITTER_MS - 1, EVERY_MS + JITTER_MS - 1]);
    expect(JITTER_MS).toBe(5 * 60_000);
  });

  test('tells of a pass that failed, and comes back all the same', async () => {
    const { timers, passes, failures, atRest } = wound();
    timers[0]?.work();
    passes[0]?.fail(new Error('qubesd is away'));
    await atRest();
    expect(failures).toEqual([new Error('qubesd is away')]);
    expect(timers).toHaveLength(2);
  });

  test('stops: what waits is called off, and after a pass under way there is no other', async () => {
    const idle = wound();
    idle.stop();
    expect(idle.timers.map(({ off }) => off)).toEqual([true]);

    const { timers, passes, stop, atRest } = wound();
    timers[0]?.work();
    stop();
    let rests = false;
    const rest = atRest().then(() => {
      rests = true;
    });
    await Promise.resolve();
    expect(rests).toBe(false);
    passes[0]?.end();
    await rest;
    expect(timers).toHaveLength(1);
  });
});
