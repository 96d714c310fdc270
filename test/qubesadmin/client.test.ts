import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { QubeName } from '../../daemon/names.ts';
import { adminCallsTo, DEADLINES, MAX_ANSWER_BYTES } from '../../daemon/qubesadmin/client.ts';
import { AdminError, type AdminRequest, type FailureKind } from '../../daemon/qubesadmin/wire.ts';
import type { Fault } from '../qubesd/faults.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';

const LIST: AdminRequest = { method: 'admin.vm.List', dest: 'dom0' };
const REMOVE: AdminRequest = { method: 'admin.vm.Remove', dest: { name: 'ai-idle' as QubeName } };
const KILL: AdminRequest = { method: 'admin.vm.Kill', dest: { name: 'ai-work' as QubeName } };
/** So short that a test does not notice. */
const BRIEF = { usual: 30, slow: 30, late: 30 };

const failureOf = async (call: Promise<unknown>): Promise<AdminError> => {
  const error = await call.then(
    () => null,
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(AdminError);
  return error as AdminError;
};

/** A listener that does what it is told with each connection; its path. */
const listener = async (serve: (socket: Socket) => void): Promise<string> => {
  const directory = await mkdtemp(join(tmpdir(), 'client-'));
  const path = join(directory, 's');
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await rm(directory, { recursive: true, force: true });
  });
  return path;
};

/** Answers the request, once it is whole, with these chunks, and closes. */
const answering = (chunks: readonly Buffer[]): Promise<string> =>
  listener((socket) => {
    socket.resume().on('end', () => {
      for (const chunk of chunks) socket.write(chunk);
      socket.end();
    });
  });

describe('a call', () => {
  test('gives the data, in however many pieces it comes', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    const call = adminCallsTo(qubesd.path);
    const whole = await call(LIST);
    expect(whole.toString()).toContain('ai-work class=AppVM state=Running uuid=');
    qubesd.faults.inject({ fault: { pieces: 7, pauseMs: 0 } });
    expect(await call(LIST)).toEqual(whole);
  });

  test('half-closes, without which qubesd never answers, and leaves no connection behind', async () => {
    let closed = (): void => {};
    const gone = new Promise<void>((resolve) => {
      closed = resolve;
    });
    const path = await listener((socket) => {
      socket.resume().on('end', () => socket.end('0\0'));
      socket.on('close', closed);
    });
    expect(await adminCallsTo(path)(LIST)).toEqual(Buffer.alloc(0));
    await gone;
  });

  test.each<[Fault, FailureKind, string | null]>([
    ['empty', 'empty', null],
    ['lost', 'empty', null],
    [{ exception: ['QubesVMNotFoundError', 'x'] }, 'exception', 'QubesVMNotFoundError'],
    [{ cut: 0 }, 'empty', null],
    [{ cut: 1 }, 'malformed', null],
    ['hang', 'deadline', null],
    ['mute', 'deadline', null],
  ])('that meets %j fails as such', async (fault, kind, type) => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    qubesd.faults.inject({ fault });
    const deadlines = kind === 'deadline' ? BRIEF : DEADLINES;
    const failure = await failureOf(adminCallsTo(qubesd.path, deadlines)(LIST));
    expect(failure).toMatchObject({ kind, type, late: null });
  });

  test('fails as unreachable where nobody listens, and where nothing is', async () => {
    const qubesd = await temporaryQubesd();
    await qubesd.stop();
    expect(await failureOf(adminCallsTo(qubesd.path)(LIST))).toMatchObject({ kind: 'unreachable' });
    expect(await failureOf(adminCallsTo(join(tmpdir(), 'no', 'such'))(LIST))).toMatchObject({ kind: 'unreachable' });
  });

  test('fails as empty where the other side hangs up on it', async () => {
    const path = await listener((socket) => socket.destroy());
    expect(await failureOf(adminCallsTo(path)(LIST))).toMatchObject({ kind: 'empty' });
  });

  test('that cannot be framed fails without being made', async () => {
    const qubesd = await temporaryQubesd();
    const call = adminCallsTo(qubesd.path);
    expect(await failureOf(call({ ...LIST, arg: 'a b' }))).toMatchObject({ kind: 'malformed' });
    expect(qubesd.calls).toEqual([]);
  });

  test('believes an answer of the greatest length and not one byte more', async () => {
    const body = Buffer.alloc(MAX_ANSWER_BYTES - 2, 'x');
    const longest = await answering([Buffer.from('0\0'), body]);
    expect((await adminCallsTo(longest)(LIST)).length).toBe(body.length);
    const longer = await answering([Buffer.from('0\0'), body, Buffer.from('x')]);
    expect(await failureOf(adminCallsTo(longer)(LIST))).toMatchObject({ kind: 'malformed', detail: 'answer too long' });
  });

  test('is not held up by another that hangs', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    qubesd.faults.inject({ method: 'admin.vm.Kill', fault: 'hang' });
    const call = adminCallsTo(qubesd.path);
    const hanging = failureOf(call(KILL));
    await call(LIST);
    await qubesd.stop();
    expect(await hanging).toMatchObject({ kind: 'empty' });
  });

  test('has 5 s, or 2 minutes where qubesd copies volumes or starts domains', () => {
    expect(DEADLINES).toMatchObject({ usual: 5_000, slow: 120_000 });
  });
});

describe('a slow call whose deadline passed', () => {
  test.each(['admin.vm.Start', 'admin.vm.Create.AppVM+ai-debian-13', 'admin.vm.volume.CloneTo+private'])(
    'is not over when it is %s: the answer may still come',
    async (methodAndArg) => {
      const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
      qubesd.faults.inject({ fault: 'mute' });
      const [method = '', arg = ''] = methodAndArg.split('+');
      const call = adminCallsTo(qubesd.path, { ...BRIEF, late: 10_000 });
      const failure = await failureOf(call({ method, arg, dest: REMOVE.dest, payload: '' }));
      expect(failure.kind).toBe('deadline');
      expect(failure.late).toBeInstanceOf(Promise);
    },
  );

  test('gives its answer late, be it good or bad', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    const call = adminCallsTo(qubesd.path, { ...BRIEF, late: 10_000 });
    qubesd.faults.inject({ fault: 'mute', times: 2 });
    const good = await failureOf(call(REMOVE));
    const bad = await failureOf(call(REMOVE));
    while (qubesd.calls.length < 2) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    qubesd.release();
    expect(await good.late).toEqual(Buffer.alloc(0));
    await expect(bad.late).rejects.toMatchObject({ kind: 'exception', type: 'QubesVMNotFoundError' });
  });

  test('is given up in the end', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    qubesd.faults.inject({ fault: 'hang' });
    const failure = await failureOf(adminCallsTo(qubesd.path, BRIEF)(REMOVE));
    await expect(failure.late).rejects.toMatchObject({ kind: 'deadline' });
    expect(qubesd.world.qubes.has('ai-idle')).toBe(true);
  });

  test('disturbs nobody when nobody waits for its late answer', async () => {
    const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
    qubesd.faults.inject({ fault: 'hang' });
    await failureOf(adminCallsTo(qubesd.path, { ...BRIEF, late: 10_000 })(REMOVE));
    await qubesd.stop();
  });
});
