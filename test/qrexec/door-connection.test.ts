// Connections in memory, on timers and a clock of the test's: each piece, hang-up and unread reply comes exactly when it says.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  type Call,
  type Handler,
  LAST_FRAMES_MS,
  MAX_BODY_BYTES,
  MAX_CALLS,
  MAX_CALLS_PER_SOURCE,
  MAX_CONNECTIONS,
  MAX_WAITING_PER_SOURCE,
  NOT_FOUND,
  openDoor,
  REFUSAL_TICK_MS,
  type Reply,
  SEND_DEADLINE_MS,
} from '../../daemon/qrexec/door.ts';
import { MAX_HEADER_BYTES } from '../../daemon/qrexec/frame.ts';
import { frame } from '../broker/caller.ts';
import { Line } from '../simulation/caller.ts';

const OK: Reply = { ok: true };
const ANSWERED = '{"ok":true}\n';
const REFUSED = '{"ok":false,"error":"not found"}\n';
const SURPLUS = 64;

const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
};

const opened = (handle: Handler = () => OK) => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const clock = { ms: 1_000_007 };
  const calls: Call[] = [];
  const door = openDoor(
    (call) => {
      calls.push(call);
      return handle(call);
    },
    () => clock.ms,
  );
  /** A caller; one that does not read leaves its reply where it is. */
  const caller = (manner: 'reads' | 'does not read' = 'reads'): Line => {
    const line = new Line(
      manner === 'reads',
      () => {},
      () => {},
    );
    door.take(line);
    return line;
  };
  /** A caller that has sent this and, but for `open`, ended its side. */
  const calling = (bytes: string, { reads = true, open = false } = {}): Line => {
    const line = caller(reads ? 'reads' : 'does not read');
    line.push(bytes);
    if (!open) line.push(null);
    return line;
  };
  const pass = async (ms: number): Promise<void> => {
    clock.ms += ms;
    vi.advanceTimersByTime(ms);
    await settle();
  };
  return { door, clock, calls, caller, calling, pass };
};

/** Work that is answered when the test says, in the order of the calls. */
const work = () => {
  const waiting: ((reply: Reply) => void)[] = [];
  return {
    handle: (): Promise<Reply> => new Promise((resolve) => waiting.push(resolve)),
    answer: async (reply: Reply, count = 1): Promise<void> => {
      for (const resolve of waiting.splice(0, count)) resolve(reply);
      await settle();
    },
  };
};

const X = frame('qmcp.X', {});

test('a frame may come byte by byte', async () => {
  const at = opened();
  const line = at.caller();
  for (const byte of frame('qmcp.X', { a: 'b' })) {
    line.push(byte);
    await settle();
  }
  line.push(null);
  await settle();
  expect(at.calls).toEqual([{ service: 'qmcp.X', argument: '', source: 'mcp-control', body: { json: { a: 'b' } } }]);
  expect(line.heard).toBe(ANSWERED);
});

describe('without a byte and without waiting for the rest is closed', () => {
  test.each([
    ['a header that cannot be parsed', 'nonsense\0{'],
    ['an empty header', '\0{'],
    ['a header that is too long', 'a'.repeat(MAX_HEADER_BYTES + 1)],
  ])('%s', async (_, bytes) => {
    const at = opened();
    const line = at.calling(bytes, { open: true });
    await settle();
    expect([line.destroyed, line.heard, at.door.calls()]).toEqual([true, '', 0]);
  });

  test('no header that may yet end', async () => {
    const at = opened();
    const line = at.calling('a'.repeat(MAX_HEADER_BYTES), { open: true });
    await settle();
    expect(line.destroyed).toBe(false);
    line.push('a');
    await settle();
    expect(line.destroyed).toBe(true);
  });
});

describe('a body', () => {
  test('of 64 KiB comes whole', async () => {
    const at = opened();
    const body = `"${'x'.repeat(MAX_BODY_BYTES - 2)}"`;
    at.calling(frame('qmcp.X', body));
    await settle();
    expect(at.calls.map((call) => call.body)).toEqual([{ json: JSON.parse(body) }]);
  });

  test('that is too long is not kept while the rest of it comes', async () => {
    const at = opened();
    const line = at.calling(X, { open: true });
    const sent = ((bytes: Buffer) => {
      line.push(bytes);
      return new WeakRef(bytes);
    })(Buffer.alloc(MAX_BODY_BYTES));
    line.push('x');
    await settle();
    setFlagsFromString('--expose-gc');
    runInNewContext('gc')();
    expect(sent.deref()).toBeUndefined();
    line.push(null);
    await settle();
    expect(at.calls.map((call) => call.body)).toEqual([null]);
  });

  test('that ends after its time makes no second call', async () => {
    const at = opened();
    const line = at.calling(X, { open: true, reads: false });
    await settle();
    await at.pass(REFUSAL_TICK_MS);
    await at.pass(SEND_DEADLINE_MS - REFUSAL_TICK_MS);
    line.push('{}');
    line.push(null);
    await settle();
    expect(at.calls.map((call) => call.body)).toEqual([null]);
  });
});

test('the connection is closed after the reply, even where the caller never ends its own side', async () => {
  const at = opened();
  const line = at.calling(X, { open: true });
  await settle();
  await at.pass(REFUSAL_TICK_MS);
  await at.pass(SEND_DEADLINE_MS - REFUSAL_TICK_MS);
  expect([line.heard, line.isEnded, line.destroyed, at.door.calls()]).toEqual([ANSWERED, true, true, 0]);
});

describe('a refusal', () => {
  test('within the tick leaves by the timer of its arrival, whatever the clock says since', async () => {
    const at = opened(() => NOT_FOUND);
    const line = at.caller();
    vi.advanceTimersByTime(7);
    at.clock.ms += 13;
    line.push(X);
    line.push(null);
    await settle();
    await at.pass(REFUSAL_TICK_MS - 8);
    expect(line.heard).toBe('');
    await at.pass(1);
    expect(line.heard).toBe(REFUSED);
  });

  test('later leaves on a tick that is counted from the arrival', async () => {
    const { handle, answer } = work();
    const at = opened(handle);
    const line = at.calling(X);
    await settle();
    await at.pass(REFUSAL_TICK_MS + 5);
    await answer(NOT_FOUND);
    await at.pass(REFUSAL_TICK_MS - 6);
    expect(line.heard).toBe('');
    await at.pass(1);
    expect(line.heard).toBe(REFUSED);
  });
});

describe('no timer is left', () => {
  test('for a complete call while its work takes its time', async () => {
    const at = opened(work().handle);
    at.calling(X);
    await settle();
    await at.pass(REFUSAL_TICK_MS);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('of a reply that was not taken up by a caller which is gone', async () => {
    const at = opened();
    const line = at.calling(X, { reads: false });
    await settle();
    expect(vi.getTimerCount()).toBeGreaterThan(0);
    line.destroy();
    await settle();
    expect(vi.getTimerCount()).toBe(0);
  });

  test('of a frame that became complete while the door was closing', async () => {
    const at = opened();
    const line = at.calling(X, { open: true });
    await settle();
    const closing = at.door.close();
    line.push(null);
    await closing;
    expect([line.heard, vi.getTimerCount()]).toEqual([ANSWERED, 0]);
  });
});

describe('a caller that hangs up', () => {
  test.each([
    ['answered', OK],
    ['refused', NOT_FOUND],
  ])('keeps the place of its work until that is %s', async (_, reply) => {
    const { handle, answer } = work();
    const at = opened(handle);
    const lines = Array.from({ length: MAX_CALLS_PER_SOURCE }, () => at.calling(X));
    await settle();
    for (const line of lines) line.destroy();
    await settle();
    expect(at.door.calls()).toBe(MAX_CALLS_PER_SOURCE);
    const more = at.calling(X);
    await at.pass(REFUSAL_TICK_MS);
    expect([more.heard, at.calls.length]).toEqual([REFUSED, MAX_CALLS_PER_SOURCE]);
    await answer(reply, MAX_CALLS_PER_SOURCE);
    await at.pass(REFUSAL_TICK_MS);
    expect([at.door.calls(), vi.getTimerCount()]).toEqual([0, 0]);
    at.calling(X);
    await settle();
    expect(at.calls).toHaveLength(MAX_CALLS_PER_SOURCE + 1);
  });

  test('with a refusal decided and waiting for its tick is gone with it', async () => {
    const at = opened(() => NOT_FOUND);
    const line = at.calling(X);
    await settle();
    line.destroy();
    await settle();
    expect(at.door.calls()).toBe(1);
    await at.pass(REFUSAL_TICK_MS);
    expect([at.door.calls(), vi.getTimerCount(), line.heard]).toEqual([0, 0, '']);
  });

  test('while it waits for a place is given none', async () => {
    const { handle, answer } = work();
    const at = opened(handle);
    for (let i = 0; i < MAX_CALLS_PER_SOURCE; i++) at.calling(X);
    const waiting = at.calling(X);
    await settle();
    waiting.destroy(new Error('reset by its caller'));
    await settle();
    await answer(OK, MAX_CALLS_PER_SOURCE);
    expect([at.calls.length, at.door.calls()]).toEqual([MAX_CALLS_PER_SOURCE, 0]);
  });
});

describe('over the limits', () => {
  test('a call that was refused is not made after all when a place becomes free, read or unread', async () => {
    const { handle, answer } = work();
    const at = opened(handle);
    for (let i = 0; i < MAX_CALLS_PER_SOURCE; i++) at.calling(X);
    const over = at.calling(X, { reads: false });
    await at.pass(REFUSAL_TICK_MS);
    expect(over.heard).toBe(REFUSED);
    await answer(OK, MAX_CALLS_PER_SOURCE);
    expect([at.calls.length, over.heard]).toEqual([MAX_CALLS_PER_SOURCE, REFUSED]);
  });

  test('who waits counts, whoever of them goes, even where their source holds no place', async () => {
    const at = opened(work().handle);
    for (let i = 0; i < MAX_CALLS; i++) at.calling(frame('qmcp.X', {}, { source: `ai-${i % 4}` }));
    const waiting = Array.from({ length: MAX_WAITING_PER_SOURCE }, () => at.calling(X));
    await settle();
    waiting[0]?.destroy();
    await settle();
    const [last, over] = [at.calling(X), at.calling(X)];
    await settle();
    expect([last.heard, over.heard]).toEqual(['', REFUSED]);
  });

  test('so many connections are read and refused, one more is dropped, and a place among them becomes free again', async () => {
    const at = opened();
    for (let i = 0; i < MAX_CONNECTIONS; i++) at.caller();
    const surplus = Array.from({ length: SURPLUS }, () => at.calling(X, { reads: false, open: true }));
    await settle();
    expect(surplus.every(({ heard, readableLength }) => heard === REFUSED && readableLength === 0)).toBe(true);
    const dropped = at.calling(X, { open: true });
    await settle();
    expect([dropped.heard, dropped.destroyed]).toEqual(['', true]);
    surplus[0]?.destroy(new Error('reset by its caller'));
    await settle();
    const again = at.calling(X, { open: true });
    await settle();
    expect([again.heard, again.destroyed, at.calls]).toEqual([REFUSED, true, []]);
  });
});

describe('closing', () => {
  test('of a door without connections is done at once', async () => {
    await opened().door.close();
  });

  test('waits for all work whose callers hung up', async () => {
    const { handle, answer } = work();
    const at = opened(handle);
    for (const line of [at.calling(X), at.calling(X)]) {
      await settle();
      line.destroy();
    }
    await settle();
    let isClosed = false;
    const closing = at.door.close().then(() => {
      isClosed = true;
    });
    await settle();
    await answer(OK);
    expect(isClosed).toBe(false);
    await answer(OK);
    await closing;
  });

  test('leaves work alone that takes longer than a frame may', async () => {
    const { handle, answer } = work();
    const at = opened(handle);
    const line = at.calling(X);
    await settle();
    const closing = at.door.close();
    await at.pass(LAST_FRAMES_MS);
    expect(line.destroyed).toBe(false);
    await answer(OK);
    await closing;
    expect(line.heard).toBe(ANSWERED);
  });
});
