import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import {
  type Call,
  type Door,
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
import { exchange, frame, held } from '../broker/caller.ts';

const OK: Reply = { ok: true };
const REFUSED = '{"ok":false,"error":"not found"}\n';

const openedDoor = async (handle: (call: Call) => Reply | Promise<Reply>): Promise<{ door: Door; path: string }> => {
  const root = mkdtempSync(join(tmpdir(), 'door-'));
  const path = join(root, 's');
  const door = openDoor(handle);
  door.server.listen(path);
  await once(door.server, 'listening');
  onTestFinished(async () => {
    door.server.close();
    rmSync(root, { recursive: true, force: true });
  });
  return { door, path };
};

/** A handler whose calls wait until they are released. */
const holding = () => {
  const waiting: ((reply: Reply) => void)[] = [];
  const arrived: Call[] = [];
  const watchers: { count: number; reached: () => void }[] = [];
  return {
    arrived,
    handle: (call: Call) => {
      arrived.push(call);
      for (const watcher of watchers) if (arrived.length >= watcher.count) watcher.reached();
      return new Promise<Reply>((resolve) => waiting.push(resolve));
    },
    reached: (count: number) =>
      arrived.length >= count ? Promise.resolve() : new Promise<void>((reached) => watchers.push({ count, reached })),
    release: (reply: Reply) => {
      for (const resolve of waiting.splice(0)) resolve(reply);
    },
  };
};

test('a call is handed on with its service, argument, source and body, and its reply is one line', async () => {
  const calls: Call[] = [];
  const { path } = await openedDoor((call) => {
    calls.push(call);
    return { ok: true, value: 'é' };
  });
  expect(await exchange(path, frame('qmcp.X', { a: 1 }, { source: 'agent', argument: 'b' }))).toBe(
    '{"ok":true,"value":"é"}\n',
  );
  expect(calls).toEqual([{ service: 'qmcp.X', argument: 'b', source: 'agent', body: { json: { a: 1 } } }]);
});

test.each([
  ['a header that cannot be parsed', 'nonsense\0{}'],
  ['no NUL at all', 'qmcp.X+ a keyword adminvm'],
  ['nothing', ''],
  ['a header without end', 'a'.repeat(4096)],
])('%s is closed without a byte', async (_, bytes) => {
  const { path } = await openedDoor(() => OK);
  expect(await exchange(path, bytes)).toBe('');
});

test('a body of 64 KiB is read, one byte more is a body that cannot be used', async () => {
  const { path } = await openedDoor((call) => ({ ok: true, usable: call.body !== null }));
  const body = (length: number): string => `"${'x'.repeat(length - 2)}"`;
  expect(await exchange(path, frame('qmcp.X', body(MAX_BODY_BYTES)))).toBe('{"ok":true,"usable":true}\n');
  expect(await exchange(path, frame('qmcp.X', body(MAX_BODY_BYTES + 1)))).toBe('{"ok":true,"usable":false}\n');
  expect(await exchange(path, frame('qmcp.X', body(8 * MAX_BODY_BYTES)))).toBe('{"ok":true,"usable":false}\n');
});

/** A clock that only `vi.advanceTimersByTime` moves; sockets go on. */
const stopTheClock = (): void => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
};
/** Lets what is under way on sockets arrive. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
};
/** A connection that the door has, and whether it is closed by now. */
const connected = async (path: string, door: Door) => {
  const before = door.calls();
  const connection = await held(path);
  while (door.calls() === before) await new Promise((resolve) => setImmediate(resolve));
  let isClosed = false;
  void connection.closed.then(() => {
    isClosed = true;
  });
  const send = (bytes: string): Promise<unknown> => new Promise((sent) => connection.socket.write(bytes, sent));
  return { ...connection, isClosed: () => isClosed, send };
};

describe('the time to send a call', () => {
  test('is counted from the arrival; then a body that did not end is one that cannot be used', async () => {
    stopTheClock();
    const { door, path } = await openedDoor((call) => ({ ok: true, usable: call.body !== null }));
    const { closed, isClosed, send } = await connected(path, door);
    await send(frame('qmcp.X', '{}'));
    await settle();
    vi.advanceTimersByTime(REFUSAL_TICK_MS);
    vi.advanceTimersByTime(SEND_DEADLINE_MS - REFUSAL_TICK_MS - 1);
    await settle();
    expect(isClosed()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await closed).toBe('{"ok":true,"usable":false}\n');
  });

  test('is the same for a header, without which there is no byte in return', async () => {
    stopTheClock();
    const { door, path } = await openedDoor(() => OK);
    const { closed, isClosed } = await connected(path, door);
    vi.advanceTimersByTime(SEND_DEADLINE_MS - 1);
    await settle();
    expect(isClosed()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await closed).toBe('');
  });

  test('is over for nobody whose call was complete, however long the work takes', async () => {
    stopTheClock();
    const calls = holding();
    const { path } = await openedDoor(calls.handle);
    const reply = exchange(path, frame('qmcp.X', {}));
    await calls.reached(1);
    vi.advanceTimersByTime(100 * SEND_DEADLINE_MS);
    await settle();
    calls.release(OK);
    expect(await reply).toBe('{"ok":true}\n');
    expect(calls.arrived).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('a source holds as many calls as its limit; one more is refused at its tick while another source is served', async () => {
  const calls = holding();
  const { path } = await openedDoor((call) => (call.source === 'other' ? OK : calls.handle(call)));
  const pending = Array.from({ length: MAX_CALLS_PER_SOURCE }, () => exchange(path, frame('qmcp.X', {})));
  await calls.reached(MAX_CALLS_PER_SOURCE);
  expect(await exchange(path, frame('qmcp.X', {}))).toBe(REFUSED);
  expect(await exchange(path, frame('qmcp.X', {}, { source: 'other' }))).toBe('{"ok":true}\n');
  expect(calls.arrived).toHaveLength(MAX_CALLS_PER_SOURCE);
  calls.release(OK);
  expect(new Set(await Promise.all(pending))).toEqual(new Set(['{"ok":true}\n']));
  expect(await exchange(path, frame('qmcp.X', {}, { source: 'other' }))).toBe('{"ok":true}\n');
});

test('all sources together hold as many calls as the limit; one more is refused, and served once there is room', async () => {
  const calls = holding();
  const { door, path } = await openedDoor(calls.handle);
  const sources = Array.from({ length: MAX_CALLS / MAX_CALLS_PER_SOURCE }, (_, index) => `ai-${index}`);
  const pending = sources.flatMap((source) =>
    Array.from({ length: MAX_CALLS_PER_SOURCE }, () => exchange(path, frame('qmcp.X', {}, { source }))),
  );
  await calls.reached(MAX_CALLS);
  expect(await exchange(path, frame('qmcp.X', {}, { source: 'ai-other' }))).toBe(REFUSED);
  expect(calls.arrived).toHaveLength(MAX_CALLS);
  calls.release(OK);
  expect(new Set(await Promise.all(pending))).toEqual(new Set(['{"ok":true}\n']));
  while (door.calls() > 0) await new Promise((resolve) => setImmediate(resolve));
  const again = exchange(path, frame('qmcp.X', {}, { source: 'ai-other' }));
  await calls.reached(MAX_CALLS + 1);
  calls.release(OK);
  expect(await again).toBe('{"ok":true}\n');
});

test('replies that nobody takes up hold the places of their source, and so none of another', async () => {
  const long: Reply = { ok: true, value: 'x'.repeat(4 * 2 ** 20) };
  const { door, path } = await openedDoor(({ source }) => (source === 'ai-greedy' ? long : OK));
  const greedy = await Promise.all(
    Array.from({ length: MAX_CONNECTIONS }, async () => {
      const socket = createConnection({ path });
      socket.on('error', () => {});
      await once(socket, 'connect');
      socket.pause().write(frame('qmcp.Status', {}, { source: 'ai-greedy' }));
      socket.end();
      return socket;
    }),
  );
  await vi.waitFor(() => expect(door.calls()).toBe(MAX_CALLS_PER_SOURCE));
  expect(JSON.parse(await exchange(path, frame('qmcp.Status', {}, { source: 'ai-other' })))).toEqual(OK);
  for (const socket of greedy) socket.destroy();
  await vi.waitFor(() => expect(door.calls()).toBe(0));
  const again = { source: 'ai-greedy' };
  expect(await exchange(path, frame('qmcp.Status', {}, again))).toHaveLength(JSON.stringify(long).length + 1);
});

test('a surplus call that gets a place before its tick is served', async () => {
  let free = (_: Reply): void => {};
  let count = 0;
  const { path } = await openedDoor(() => {
    count += 1;
    if (count < MAX_CALLS_PER_SOURCE) return new Promise<Reply>(() => {});
    if (count > MAX_CALLS_PER_SOURCE) return { ok: true, served: true };
    return new Promise<Reply>((resolve) => {
      free = resolve;
    });
  });
  for (let i = 0; i < MAX_CALLS_PER_SOURCE; i++) void exchange(path, frame('qmcp.X', {})).catch(() => {});
  while (count < MAX_CALLS_PER_SOURCE) await new Promise((resolve) => setImmediate(resolve));
  const { socket, closed } = await held(path);
  socket.end(frame('qmcp.X', {}));
  await new Promise((resolve) => setImmediate(resolve));
  free(OK);
  expect(await closed).toBe('{"ok":true,"served":true}\n');
});

test('of calls over the limit of their source so many wait for a place, one more is refused at once, and others are served', async () => {
  const calls = holding();
  const { door, path } = await openedDoor((call) => (call.source === 'other' ? OK : calls.handle(call)));
  const many = MAX_CALLS_PER_SOURCE + MAX_WAITING_PER_SOURCE;
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const pending = Array.from({ length: many }, () => exchange(path, frame('qmcp.X', {})));
  while (door.calls() < many) await new Promise((resolve) => setImmediate(resolve));
  // No timer fires: what is answered here is answered without a tick.
  expect(await exchange(path, frame('qmcp.X', {}))).toBe(REFUSED);
  expect(await exchange(path, frame('qmcp.X', {}, { source: 'other' }))).toBe('{"ok":true}\n');
  expect(calls.arrived).toHaveLength(MAX_CALLS_PER_SOURCE);
  calls.release(OK);
  while (calls.arrived.length < many) await new Promise((resolve) => setImmediate(resolve));
  calls.release(OK);
  expect(new Set(await Promise.all(pending))).toEqual(new Set(['{"ok":true}\n']));
});

test('a connection over the limit in all is refused at once, and served again when there is room', async () => {
  const { path, door } = await openedDoor(() => OK);
  const idle = await Promise.all(Array.from({ length: MAX_CONNECTIONS }, () => held(path)));
  while (door.calls() < MAX_CONNECTIONS) await new Promise((resolve) => setImmediate(resolve));
  expect(await exchange(path, frame('qmcp.X', {}))).toBe(REFUSED);
  for (const { socket } of idle) socket.destroy();
  while (door.calls() > 0) await new Promise((resolve) => setImmediate(resolve));
  expect(await exchange(path, frame('qmcp.X', {}))).toBe('{"ok":true}\n');
});

test('a refusal leaves on the tick and not before, however soon it was decided; an answer leaves at once', async () => {
  const { path } = await openedDoor((call) => (call.argument === 'ok' ? OK : NOT_FOUND));
  await exchange(path, frame('qmcp.X', {}, { argument: 'ok' }));
  const timed = async (argument: string): Promise<number> => {
    const began = performance.now();
    await exchange(path, frame('qmcp.X', {}, { argument }));
    return performance.now() - began;
  };
  expect(await timed('no')).toBeGreaterThan(REFUSAL_TICK_MS - 2);
  const fastest = Math.min(
    await timed('ok'),
    await timed('ok'),
    await timed('ok'),
    await timed('ok'),
    await timed('ok'),
  );
  expect(fastest).toBeLessThan(REFUSAL_TICK_MS);
});

describe('on a clock that the test moves', () => {
  test('a refusal leaves exactly on its tick, counted from the arrival', async () => {
    stopTheClock();
    const { door, path } = await openedDoor(() => NOT_FOUND);
    const { socket, closed, isClosed } = await connected(path, door);
    vi.advanceTimersByTime(7);
    socket.end(frame('qmcp.X', {}));
    await settle();
    vi.advanceTimersByTime(REFUSAL_TICK_MS - 8);
    await settle();
    expect(isClosed()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await closed).toBe(REFUSED);
  });

  test.each([
    [1, 2 * REFUSAL_TICK_MS],
    [REFUSAL_TICK_MS - 1, 2 * REFUSAL_TICK_MS],
    [REFUSAL_TICK_MS + 1, 3 * REFUSAL_TICK_MS],
  ])('a refusal that is decided %i ms after its tick leaves at %i ms from the arrival', async (late, leaves) => {
    stopTheClock();
    const calls = holding();
    const { door, path } = await openedDoor(calls.handle);
    const { socket, closed, isClosed } = await connected(path, door);
    socket.end(frame('qmcp.X', {}));
    await calls.reached(1);
    vi.advanceTimersByTime(REFUSAL_TICK_MS + late);
    calls.release(NOT_FOUND);
    await settle();
    vi.advanceTimersByTime(leaves - REFUSAL_TICK_MS - late - 1);
    await settle();
    expect(isClosed()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await closed).toBe(REFUSED);
  });

  test('an answer leaves at once, before the tick and after it', async () => {
    stopTheClock();
    const calls = holding();
    const { path } = await openedDoor((call) => (call.argument === 'now' ? OK : calls.handle(call)));
    expect(await exchange(path, frame('qmcp.X', {}, { argument: 'now' }))).toBe('{"ok":true}\n');
    const later = exchange(path, frame('qmcp.X', {}));
    await calls.reached(1);
    vi.advanceTimersByTime(REFUSAL_TICK_MS + 3);
    calls.release(OK);
    expect(await later).toBe('{"ok":true}\n');
    expect(vi.getTimerCount()).toBe(0);
  });

  /** A source with all its places held. */
  const full = async () => {
    const calls = holding();
    const { door, path } = await openedDoor(calls.handle);
    for (let i = 0; i < MAX_CALLS_PER_SOURCE; i++) void exchange(path, frame('qmcp.X', {}));
    await calls.reached(MAX_CALLS_PER_SOURCE);
    return { calls, door, path };
  };

  test('a call over the limit is refused on its tick, or at once where its header comes after that', async () => {
    stopTheClock();
    const { calls, door, path } = await full();
    const [early, late] = [await connected(path, door), await connected(path, door)];
    early.socket.end(frame('qmcp.X', {}));
    await settle();
    vi.advanceTimersByTime(REFUSAL_TICK_MS - 1);
    await settle();
    expect(early.isClosed()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await early.closed).toBe(REFUSED);
    await settle();
    expect(late.isClosed()).toBe(false);
    await late.send(frame('qmcp.X', {}));
    expect(await late.closed).toBe(REFUSED);
    expect(calls.arrived).toHaveLength(MAX_CALLS_PER_SOURCE);
  });

  test('a call whose body comes after it was given a place is made then', async () => {
    stopTheClock();
    const { calls, door, path } = await full();
    const slow = await connected(path, door);
    const text = frame('qmcp.X', { a: 1 }, { argument: 'slow' });
    const cut = text.indexOf('{');
    await slow.send(text.slice(0, cut));
    await settle();
    calls.release(OK);
    await settle();
    slow.socket.end(text.slice(cut));
    await calls.reached(MAX_CALLS_PER_SOURCE + 1);
    calls.release(OK);
    expect(await slow.closed).toBe('{"ok":true}\n');
  });

  test('a reply that nobody takes up is dropped when the time to send is over, and its place is free', async () => {
    stopTheClock();
    const long: Reply = { ok: true, value: 'x'.repeat(4 * 2 ** 20) };
    const { door, path } = await openedDoor(() => long);
    const socket = createConnection({ path });
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.pause().end(frame('qmcp.X', {}));
    await settle();
    vi.advanceTimersByTime(SEND_DEADLINE_MS - 1);
    await settle();
    expect(door.calls()).toBe(1);
    vi.advanceTimersByTime(1);
    while (door.calls() > 0) await new Promise((resolve) => setImmediate(resolve));
    socket.destroy();
  });

  test('closing gives a frame that is not complete so long and no longer, and leaves no timer', async () => {
    stopTheClock();
    const { door, path } = await openedDoor(() => OK);
    const incomplete = await connected(path, door);
    await incomplete.send('qmcp.X+ a keyword adminvm\0{');
    await settle();
    const closing = door.close();
    vi.advanceTimersByTime(LAST_FRAMES_MS - 1);
    await settle();
    expect(incomplete.isClosed()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await incomplete.closed).toBe('');
    await closing;
    expect(vi.getTimerCount()).toBe(0);
  });

  test('a call that ended in any way leaves no timer', async () => {
    stopTheClock();
    const { door, path } = await openedDoor((call) => (call.argument === 'no' ? NOT_FOUND : OK));
    expect(await exchange(path, frame('qmcp.X', {}))).toBe('{"ok":true}\n');
    expect(await exchange(path, 'nonsense\0')).toBe('');
    const gone = await connected(path, door);
    await gone.send('qmcp.X+ a key');
    vi.advanceTimersByTime(REFUSAL_TICK_MS);
    gone.socket.destroy();
    while (door.calls() > 0) await new Promise((resolve) => setImmediate(resolve));
    expect(vi.getTimerCount()).toBe(0);
  });
});

test('a flood over the limit in all is refused or dropped, and the door stays open', async () => {
  const { path, door } = await openedDoor(() => OK);
  const idle = await Promise.all(Array.from({ length: MAX_CONNECTIONS }, () => held(path)));
  while (door.calls() < MAX_CONNECTIONS) await new Promise((resolve) => setImmediate(resolve));
  for (let round = 0; round < 2; round++) {
    const flood = await Promise.all(
      Array.from({ length: 100 }, () => exchange(path, frame('qmcp.X', {})).catch(() => '')),
    );
    expect(flood.every((reply) => reply === REFUSED || reply === '')).toBe(true);
    expect(flood).toContain(REFUSED);
    expect(door.calls()).toBe(MAX_CONNECTIONS);
  }
  for (const { socket } of idle) socket.destroy();
});

test('a long reply that is given again is not put into text again, a short one is', async () => {
  const texts: number[] = [];
  /** Of a line this long, with its newline. */
  const reply = (length: number): Reply => {
    const value = 'x'.repeat(length - '{"ok":true,"value":""}\n'.length);
    const toJSON = (): unknown => {
      texts.push(length);
      return { ok: true, value };
    };
    return Object.defineProperty({ ok: true as const, value }, 'toJSON', { value: toJSON });
  };
  const replies = new Map([4_096, 4_097, 50_000].map((length) => [String(length), reply(length)]));
  const { path } = await openedDoor((call) => replies.get(call.argument) ?? NOT_FOUND);
  for (const argument of [...replies.keys(), ...replies.keys()])
    expect(await exchange(path, frame('qmcp.X', {}, { argument }))).toHaveLength(Number(argument));
  expect(texts).toEqual([4_096, 4_097, 50_000, 4_096]);
});

test('closing still answers a call whose last bytes are on their way', async () => {
  const { path, door } = await openedDoor(() => OK);
  const late = await held(path);
  late.socket.write('qmcp.X+ a keyword adminvm\0{');
  await vi.waitUntil(() => door.calls() === 1);
  const closing = door.close();
  late.socket.end('}');
  expect(await late.closed).toBe('{"ok":true}\n');
  await closing;
});

test('closing answers what is worked on and drops frames that are incomplete', async () => {
  const calls = holding();
  const { path, door } = await openedDoor(calls.handle);
  const incomplete = await held(path);
  incomplete.socket.write('qmcp.X+ a keyword adminvm\0{');
  const working = exchange(path, frame('qmcp.X', {}));
  await calls.reached(1);
  const closing = door.close();
  expect(await incomplete.closed).toBe('');
  calls.release(OK);
  expect(await working).toBe('{"ok":true}\n');
  await closing;
});
