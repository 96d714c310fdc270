import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { type EventSink, followEvents } from '../../daemon/qubesadmin/events.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { startQubesd } from '../qubesd/server.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';
import { encodeEvent } from '../qubesd/wire.ts';

/** Notes what it hears as words, and lets a test wait until it has heard so many. */
class Notes implements EventSink {
  readonly heard: string[] = [];
  #waiting: { count: number; done: () => void }[] = [];

  established(): void {
    this.#note('established');
  }
  lost(): void {
    this.#note('lost');
  }
  event({ subject, event }: { subject: string; event: string }): void {
    this.#note(`${subject} ${event}`.trim());
  }
  async upTo(count: number): Promise<string[]> {
    if (this.heard.length < count) await new Promise<void>((done) => this.#waiting.push({ count, done }));
    return this.heard;
  }
  #note(word: string): void {
    this.heard.push(word);
    for (const { done } of this.#waiting.filter(({ count }) => count <= this.heard.length)) done();
  }
}

const follow = (path: string) => {
  const notes = new Notes();
  const stream = followEvents(path, notes);
  onTestFinished(() => stream.stop());
  return { notes, stream };
};

/** A listener on a path of its own, with the connections it got. */
const listener = async (): Promise<{ path: string; next: () => Promise<Socket>; server: Server }> => {
  const directory = await mkdtemp(join(tmpdir(), 'events-'));
  const path = join(directory, 's');
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    sockets.push(socket);
  });
  server.listen(path);
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    for (const socket of sockets) socket.destroy();
    await rm(directory, { recursive: true, force: true });
  });
  let taken = 0;
  const next = async (): Promise<Socket> => {
    if (sockets.length <= taken) await once(server, 'connection');
    return sockets[taken++] as Socket;
  };
  return { path, next, server };
};

const ESTABLISHED = encodeEvent('', 'connection-established', {});

afterEach(() => {
  vi.useRealTimers();
});

describe('following events', () => {
  test('tells that the stream stands, and then every event in order', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    const { notes, stream } = follow(qubesd.path);
    await stream.firstTry;
    expect(notes.heard).toEqual(['established']);
    qubesd.world.addTag('ai-work', 'x');
    qubesd.world.add('ai-new', { tags: [] });
    expect(await notes.upTo(3)).toEqual(['established', 'ai-work domain-tag-add:x', 'domain-add']);
  });

  test('takes nothing for an event before the stream stands', async () => {
    const { path, next } = await listener();
    const { notes } = follow(path);
    const socket = await next();
    socket.write(encodeEvent('ai-work', 'connection-established', {}));
    socket.write(encodeEvent('ai-work', 'domain-start', {}));
    socket.write(ESTABLISHED);
    socket.write(encodeEvent('ai-work', 'domain-paused', {}));
    expect(await notes.upTo(2)).toEqual(['established', 'ai-work domain-paused']);
  });

  test('asks for all events of the machine, with a half-close', async () => {
    const { path, next } = await listener();
    follow(path);
    const socket = await next();
    let asked = '';
    socket.on('data', (chunk) => {
      asked += chunk;
    });
    await once(socket, 'end');
    expect(asked).toBe('admin.Events+ dom0 name dom0\0');
  });

  test('tells of a loss once, and comes back by itself', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    const { notes } = follow(qubesd.path);
    await notes.upTo(1);
    qubesd.streams.closeAll();
    expect(await notes.upTo(3)).toEqual(['established', 'lost', 'established']);
    qubesd.world.addTag('ai-work', 'x');
    expect((await notes.upTo(4))[3]).toBe('ai-work domain-tag-add:x');
  });

  test('gives a stream up that is no longer one of events', async () => {
    const { path, next } = await listener();
    const { notes } = follow(path);
    const first = await next();
    first.write(ESTABLISHED);
    await notes.upTo(1);
    first.write('0\0');
    const second = await next();
    second.write(ESTABLISHED);
    expect(await notes.upTo(3)).toEqual(['established', 'lost', 'established']);
  });

  test('says nothing of a loss where the stream never stood', async () => {
    const { path, next } = await listener();
    const { notes, stream } = follow(path);
    (await next()).destroy();
    await stream.firstTry;
    await next();
    expect(notes.heard).toEqual([]);
  });

  test('does not wait for a qubesd that is away, and finds it when it comes', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'events-'));
    const path = join(directory, 's');
    const { notes, stream } = follow(path);
    await stream.firstTry;
    expect(notes.heard).toEqual([]);
    const qubesd = await startQubesd({ path, fleet: FLEET_F0 });
    onTestFinished(async () => {
      await qubesd.stop();
      await rm(directory, { recursive: true, force: true });
    });
    expect(await notes.upTo(1)).toEqual(['established']);
  });

  test('waits twice as long after each failure, at most 5 s, and begins anew once the stream stood', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { path, next, server } = await listener();
    let connections = 0;
    server.on('connection', () => {
      connections += 1;
    });
    const { notes } = follow(path);
    const waitsFor = async (ms: number): Promise<Socket> => {
      while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
      const before = connections;
      vi.advanceTimersByTime(ms - 1);
      for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
      expect(connections).toBe(before);
      vi.advanceTimersByTime(1);
      return next();
    };
    let socket = await next();
    for (const ms of [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]) {
      socket.destroy();
      socket = await waitsFor(ms);
    }
    socket.write(ESTABLISHED);
    await notes.upTo(1);
    socket.destroy();
    await waitsFor(100);
  });

  test('arms no timer while the stream stands', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval'] });
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    const { notes } = follow(qubesd.path);
    await notes.upTo(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('stops for good, whether it is connected or waits', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { path, next } = await listener();
    const connected = follow(path);
    (await next()).write(ESTABLISHED);
    await connected.notes.upTo(1);
    connected.stream.stop();
    expect(await connected.notes.upTo(2)).toEqual(['established', 'lost']);
    expect(vi.getTimerCount()).toBe(0);

    const waiting = follow(join(tmpdir(), 'no', 'such'));
    await waiting.stream.firstTry;
    while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
    waiting.stream.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
