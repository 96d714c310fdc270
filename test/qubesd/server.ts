// The simulated qubesd: serves a world on a Unix socket, keeps a list of the calls, and misbehaves when told to.
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventStreams } from './events.ts';
import { type Fault, Faults } from './faults.ts';
import type { FleetSpec, QubeSpec } from './fleet.ts';
import { isStateChanging, perform } from './methods.ts';
import {
  Abort,
  type EventDetails,
  encodeAnswer,
  encodeException,
  MAX_REQUEST_BYTES,
  parseRequest,
  Refusal,
  type Request,
} from './wire.ts';
import { World } from './world.ts';

/** A call as contract vectors write it: method[+arg], name of the destination, and the payload unless empty. */
export type CallRow = readonly [methodAndArg: string, dest: string, payload?: string];

export interface RecordedCall {
  readonly row: CallRow;
  readonly method: string;
  readonly arg: string;
  /** Name of the destination where there is such a qube. */
  readonly name: string;
  /** The destination as the caller wrote it: a name or uuid:<uuid>. */
  readonly rawDest: string;
  readonly source: string;
  readonly payload: string;
}

/** A step of an event script, as in the vectors' `event_stream`. */
export interface ScriptStep {
  readonly delay?: number;
  /** Changes without events of their own. */
  readonly mutate?: readonly (readonly [operation: string, name: string, detail?: string | QubeSpec])[];
  readonly event?: string;
  readonly subject?: string;
  readonly kwargs?: EventDetails;
  readonly close?: boolean;
}

export interface QubesdOptions {
  readonly path: string;
  readonly fleet?: FleetSpec;
  /** A world that goes on living, as over a restart of qubesd; its `fail` does not come along. */
  readonly world?: World;
}

const BACKLOG = 1024;
const SCRIPT_POLL_MS = 10;

/** Starts a simulated qubesd on a socket path; a socket that nobody listens on is replaced. It runs until `stop`. */
export const startQubesd = async (options: QubesdOptions): Promise<Qubesd> => {
  const qubesd = new Qubesd(options);
  await qubesd.listen();
  return qubesd;
};

export class Qubesd {
  readonly path: string;
  readonly world: World;
  readonly faults: Faults;
  readonly streams: EventStreams;
  /** Every call in order of arrival, including those that failed. */
  calls: RecordedCall[] = [];
  /** Whether `calls` grows; a simulation that runs for long and that nobody asks keeps nothing. */
  recording = true;
  /** Failures of the simulation itself; a test that ends with any of them has proved nothing. */
  readonly errors: unknown[] = [];
  /** Runs before each call is performed; a fault that it injects can hit the call. */
  onCall: ((call: RecordedCall) => void | Promise<void>) | undefined;
  /** Runs after each call was performed (or refused), before its answer leaves. */
  onDone: ((call: RecordedCall) => void | Promise<void>) | undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #stopped = new AbortController();
  #waiting: (() => void)[] = [];
  #awaited: { method: string; name: string | undefined; found: (call: RecordedCall) => void }[] = [];
  #lastActivity = 0;

  constructor({ path, fleet = { qubes: {} }, world }: QubesdOptions) {
    this.path = path;
    this.world = world ?? new World(fleet);
    this.faults = new Faults(fleet.fail);
    this.streams = new EventStreams(this.world);
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  async listen(): Promise<void> {
    // Only a dead socket is in nobody's use; a living one may be a real qubesd's.
    if (await isDeadSocket(this.path)) await rm(this.path);
    this.#server.listen({ path: this.path, backlog: BACKLOG });
    await once(this.#server, 'listening');
  }

  /** Closes every connection and the socket. Calls that hang are neither performed nor answered. */
  async stop(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    this.streams.stop();
    for (const socket of this.#sockets) socket.destroy();
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  // ---- what was asked

  /** The state-changing calls so far, as rows; a method that is not known counts as one. */
  changes(): CallRow[] {
    return this.calls.filter(({ method }) => isStateChanging(method)).map(({ row }) => row);
  }

  /** Forgets the calls so far. */
  reset(): void {
    this.calls = [];
  }

  /** Resolves with the next call of a method ("method" or "method+arg"), when it arrives. */
  nextCall(method: string, name?: string): Promise<RecordedCall> {
    return new Promise((found) => {
      this.#awaited.push({ method, name, found });
    });
  }

  // ---- driving

  /** Lets the calls go on that `hang` or are `mute` at this moment. */
  release(): void {
    for (const resume of this.#waiting.splice(0)) resume();
  }

  /** Plays a script once somebody watches and no call came for a while. Resolves after its last step. */
  async playWhenQuiet(script: readonly ScriptStep[], quietMs = 250): Promise<void> {
    const { signal } = this.#stopped;
    const began = performance.now();
    const isQuiet = (): boolean => performance.now() - Math.max(began, this.#lastActivity) > quietMs;
    while (!signal.aborted && (this.streams.count === 0 || !isQuiet())) await sleep(SCRIPT_POLL_MS);
    for (const step of script) {
      await sleep((step.delay ?? 0.02) * 1000);
      if (signal.aborted) return;
      this.world.silently(() => {
        for (const change of step.mutate ?? []) applyChange(this.world, change);
      });
      if (step.close) this.streams.closeAll();
      else if (step.event !== undefined) this.world.emit(step.subject ?? '', step.event, step.kwargs);
    }
  }

  // ---- one connection, one call

  #accept(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    const chunks: Buffer[] = [];
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > MAX_REQUEST_BYTES) socket.destroy();
      else chunks.push(chunk);
    });
    // Only the client's half-close ends a request: without it there is never an answer.
    socket.on('end', () => {
      const request = parseRequest(Buffer.concat(chunks));
      if (!request) return void socket.destroy();
      this.#serve(socket, request).catch((error: unknown) => {
        this.errors.push(error);
        socket.destroy();
      });
    });
  }

  async #serve(socket: Socket, request: Request): Promise<void> {
    const call = this.#record(request);
    if (this.onCall) await this.onCall(call);
    const fault = this.faults.next({ method: call.method, key: call.row[0], name: call.name });
    if (fault === 'empty') return void socket.destroy();
    if (fault === 'hang' && !(await this.#released())) return;
    const refusal = typeof fault === 'object' && 'exception' in fault ? fault.exception : null;
    const answer = refusal ? encodeException(...refusal) : await this.#answer(socket, request);
    if (this.onDone) await this.onDone(call);
    if (answer === 'stream') return;
    if (fault === 'mute' && !(await this.#released())) return;
    await send(socket, answer, fault);
  }

  /** The bytes of the answer, null for none, or 'stream' when the connection stays open for events. */
  async #answer(socket: Socket, request: Request): Promise<Buffer | null | 'stream'> {
    try {
      if (this.world.resolve(request.source).name !== 'dom0') return null;
      const qube = this.world.resolve(request.dest);
      const data = await perform(this.world, qube, request);
      if (request.method !== 'admin.Events') return encodeAnswer(data);
      this.streams.open(socket, qube.name);
      return 'stream';
    } catch (error) {
      if (error instanceof Refusal) return encodeException(error.type, error.message);
      if (!(error instanceof Abort)) this.errors.push(error);
      return null;
    }
  }

  #record({ method, arg, source, dest, payload }: Request): RecordedCall {
    this.#lastActivity = performance.now();
    const name = this.#nameOf(dest);
    const key = arg === '' ? method : `${method}+${arg}`;
    const text = payload.toString('latin1');
    const row: CallRow = text === '' ? [key, name] : [key, name, text];
    const call = { row, method, arg, name, rawDest: dest, source, payload: text };
    if (this.recording) this.calls.push(call);
    const isFor = (wanted: { method: string; name: string | undefined }): boolean =>
      (wanted.method === method || wanted.method === key) && (wanted.name ?? name) === name;
    const found = this.#awaited.filter(isFor);
    this.#awaited = this.#awaited.filter((wanted) => !isFor(wanted));
    for (const wanted of found) wanted.found(call);
    return call;
  }

  #nameOf(dest: string): string {
    try {
      return this.world.resolve(dest).name;
    } catch {
      return dest;
    }
  }

  /** Waits for `release`; false when the simulation stopped meanwhile. */
  async #released(): Promise<boolean> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#stopped.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    return !this.#stopped.signal.aborted;
  }
}

const isDeadSocket = async (path: string): Promise<boolean> => {
  const probe = connect(path);
  const failure = await once(probe, 'connect').then(
    () => null,
    (error: NodeJS.ErrnoException) => error.code,
  );
  probe.destroy();
  return failure === 'ECONNREFUSED';
};

const send = async (socket: Socket, answer: Buffer | null, fault: Fault | undefined): Promise<void> => {
  if (!answer || fault === 'lost') return void socket.destroy();
  if (typeof fault === 'object' && 'cut' in fault) {
    socket.write(answer.subarray(0, fault.cut), () => socket.destroy());
    return;
  }
  if (typeof fault === 'object' && 'pieces' in fault) {
    for (let at = 0; at < answer.length && !socket.destroyed; at += fault.pieces) {
      socket.write(answer.subarray(at, at + fault.pieces));
      await sleep(fault.pauseMs ?? 1);
    }
    return void socket.end();
  }
  socket.end(answer);
};

const applyChange = (world: World, [operation, name, detail]: NonNullable<ScriptStep['mutate']>[number]): void => {
  if (operation === 'addtag' && typeof detail === 'string') world.addTag(name, detail);
  else if (operation === 'deltag' && typeof detail === 'string') world.removeTag(name, detail);
  else if (operation === 'remove') world.remove(name);
  else if (operation === 'add' && typeof detail === 'object') world.add(name, detail);
  else throw new Error(`unknown script step ${operation}`);
};
