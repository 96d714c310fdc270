// The door: one connection is one call. It reads a frame within limits, hands the call on, and writes one line back.
//
// Limits (I9): 128 calls in all, 32 per source and 32 that wait for their place, 256 connections, 64 KiB of body, 5 s to send it.
// Every refusal leaves on a tick counted from the arrival of its connection: the timer is armed before anything about
// the call is known, so that when a refusal leaves says nothing about why (I6).
import { createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import type { QubeName } from '../names.ts';
import { type Body, type Header, MAX_HEADER_BYTES, parseBody, parseHeader } from './frame.ts';

/** More than qrexec carries at a time, so that whoever only connects or waits takes no call's place. */
export const MAX_CONNECTIONS = 256;
export const MAX_CALLS = 128;
export const MAX_CALLS_PER_SOURCE = 32;
/** A call over that waits for a place until its tick; with so many waiting already it is refused at once. */
export const MAX_WAITING_PER_SOURCE = 32;
export const MAX_BODY_BYTES = 65_536;
export const SEND_DEADLINE_MS = 5_000;
/** Longer than every decision made without a person takes; a decision that takes longer leaves on the next tick. */
export const REFUSAL_TICK_MS = 20;
/** At the end: what a caller has sent by then is read and answered, so that a restart loses no call. */
export const LAST_FRAMES_MS = 250;
/** Over the limit in all, connections are answered without being read; beyond this many they are dropped unanswered. */
const MAX_SURPLUS = 64;

export type Reply = { readonly ok: true; readonly [key: string]: unknown } | Refusal;
export interface Refusal {
  readonly ok: false;
  readonly error: string;
}

export const refuse = (error: string): Refusal => ({ ok: false, error });
/** The opaque refusal (contract 1.0.4). */
export const NOT_FOUND = refuse('not found');

export interface Call extends Header {
  readonly body: Body;
}

/** Answers a call. It must not reject; a synchronous answer is written at once. */
export type Handler = (call: Call) => Reply | Promise<Reply>;

export interface Door {
  readonly server: Server;
  /** Takes up a connection, as the server does with each of its own; who answers its call is `handle` unless told. */
  take(connection: Duplex, handle?: Handler): void;
  /** Calls that are being read, worked on or answered. */
  readonly calls: () => number;
  /** Takes no more connections and drops those whose frame stays incomplete; resolves when every call is answered. */
  close(): Promise<void>;
}

/** `monotonicMs`: the clock of the ticks, in milliseconds; timers are those of the process. */
export const openDoor = (handle: Handler, monotonicMs: () => number = () => performance.now()): Door => {
  const connections = new Set<Connection>();
  const sources = new Map<QubeName, Source>();
  const inAll = { held: 0 };
  let surplus = 0;

  let emptied = (): void => {};
  const take = (socket: Duplex, answers = handle): void => {
    if (connections.size < MAX_CONNECTIONS) {
      const gone = (): void => {
        connections.delete(connection);
        if (connections.size === 0) emptied();
      };
      const connection = new Connection({ socket, sources, inAll, handle: answers, monotonicMs, gone });
      connections.add(connection);
    } else if (surplus < MAX_SURPLUS) {
      surplus += 1;
      socket.on('error', () => {});
      socket.on('close', () => {
        surplus -= 1;
      });
      socket.resume();
      write(socket, NOT_FOUND);
    } else socket.destroy();
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => take(socket));

  return {
    server,
    take,
    calls: () => connections.size,
    close: async () => {
      const isShut = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const connection of connections) connection.hurry();
      await isShut;
      // What a caller that hung up has under way is still work.
      if (connections.size > 0)
        await new Promise<void>((resolve) => {
          emptied = resolve;
        });
    },
  };
};

/** How many calls of one source are held, and who waits for a place. */
interface Source {
  held: number;
  readonly waiting: Set<Connection>;
}

interface ConnectionParts {
  readonly socket: Duplex;
  readonly sources: Map<QubeName, Source>;
  readonly inAll: { held: number };
  readonly handle: Handler;
  readonly monotonicMs: () => number;
  readonly gone: () => void;
}

class Connection {
  readonly #socket: Duplex;
  readonly #sources: Map<QubeName, Source>;
  readonly #inAll: { held: number };
  readonly #handle: Handler;
  readonly #monotonicMs: () => number;
  readonly #gone: () => void;
  #deadline: NodeJS.Timeout | undefined;
  readonly #arrival: number;
  readonly #tick: NodeJS.Timeout;
  #late = false;
  #chunks: Buffer[] = [];
  #length = 0;
  #header: Header | null = null;
  #body: { readonly of: Body } | null = null;
  #place: 'waiting' | 'held' | null = null;
  #dispatched = false;
  #refusal: Refusal | null = null;
  #answered = false;

  constructor({ socket, sources, inAll, handle, monotonicMs, gone }: ConnectionParts) {
    this.#tick = setTimeout(() => this.#onTick(), REFUSAL_TICK_MS);
    this.#arrival = monotonicMs();
    this.#monotonicMs = monotonicMs;
    this.#socket = socket;
    this.#sources = sources;
    this.#inAll = inAll;
    this.#handle = handle;
    this.#gone = gone;
    socket.on('data', (chunk) => this.#read(chunk));
    socket.on('end', () => this.#bodyEnds(true));
    socket.on('error', () => {});
    socket.on('close', () => this.#onClose());
  }

  /** At the end: a frame that is not complete soon will not be waited for. */
  hurry(): void {
    const giveUp = setTimeout(() => {
      if (!this.#dispatched) this.#socket.destroy();
    }, LAST_FRAMES_MS);
    this.#socket.once('close', () => clearTimeout(giveUp));
  }

  #read(chunk: Buffer): void {
    if (this.#header) this.#collect(chunk);
    else this.#readHeader(chunk);
  }

  #readHeader(chunk: Buffer): void {
    const bytes = Buffer.concat([...this.#chunks, chunk]);
    const end = bytes.indexOf(0);
    if (end < 0 && bytes.length <= MAX_HEADER_BYTES) {
      this.#chunks = [bytes];
      return;
    }
    this.#header = end < 0 ? null : parseHeader(bytes.subarray(0, end));
    if (!this.#header) {
      this.#socket.destroy();
      return;
    }
    this.#chunks = [];
    this.#takePlace(this.#header.source);
    this.#collect(bytes.subarray(end + 1));
  }

  #collect(chunk: Buffer): void {
    this.#length += chunk.length;
    // What is too long is read to its end but not kept: closing on unread bytes could cost the caller the reply.
    if (this.#length > MAX_BODY_BYTES) this.#chunks = [];
    else this.#chunks.push(chunk);
  }

  /** `isWhole`: by its caller, and not because the time is over. */
  #bodyEnds(isWhole: boolean): void {
    if (this.#body) return;
    if (!this.#header) {
      this.#socket.destroy();
      return;
    }
    const usable = isWhole && this.#length <= MAX_BODY_BYTES;
    this.#body = { of: usable ? parseBody(Buffer.concat(this.#chunks)) : null };
    this.#chunks = [];
    this.#dispatch();
  }

  #takePlace(name: QubeName): void {
    let source = this.#sources.get(name);
    if (!source) {
      source = { held: 0, waiting: new Set() };
      this.#sources.set(name, source);
    }
    if (source.held < MAX_CALLS_PER_SOURCE && this.#inAll.held < MAX_CALLS) {
      source.held += 1;
      this.#inAll.held += 1;
      this.#place = 'held';
    } else {
      const isFull = source.waiting.size >= MAX_WAITING_PER_SOURCE;
      source.waiting.add(this);
      this.#place = 'waiting';
      if (this.#late || isFull) this.#refuseSurplus();
    }
  }

  /** Called when another call of this source ended and left its place to this one. */
  #placeGiven(): void {
    this.#place = 'held';
    this.#dispatch();
  }

  #leavePlace(): void {
    if (!this.#header) return;
    const source = this.#sources.get(this.#header.source);
    if (!source) return;
    const held = this.#place === 'held';
    this.#place = null;
    source.waiting.delete(this);
    const [next] = source.waiting;
    if (held && next) {
      source.waiting.delete(next);
      next.#placeGiven();
      return;
    }
    if (held) {
      source.held -= 1;
      this.#inAll.held -= 1;
    }
    if (source.held === 0 && !next) this.#sources.delete(this.#header.source);
  }

  /** Called when the body has come and when a place was given, of which the later makes the call. */
  #dispatch(): void {
    if (!this.#body || !this.#header || this.#place !== 'held') return;
    this.#dispatched = true;
    const reply = this.#handle({ ...this.#header, body: this.#body.of });
    if (reply instanceof Promise) reply.then((answer) => this.#answer(answer));
    else this.#answer(reply);
  }

  #answer(reply: Reply): void {
    if (reply.ok) this.#finish(reply);
    else if (!this.#late) this.#refusal = reply;
    // A decision that took longer, as one does that a person made, leaves on a later tick of the same clock.
    else
      setTimeout(
        () => this.#finish(reply),
        REFUSAL_TICK_MS - ((this.#monotonicMs() - this.#arrival) % REFUSAL_TICK_MS),
      );
  }

  #onTick(): void {
    this.#late = true;
    // Armed only now, since nearly every frame is complete by then.
    if (!this.#body) this.#deadline = setTimeout(() => this.#bodyEnds(false), SEND_DEADLINE_MS - REFUSAL_TICK_MS);
    if (this.#place === 'waiting') this.#refuseSurplus();
    else if (this.#refusal) this.#finish(this.#refusal);
  }

  /** I9: what is over the limit waits for a place until its tick at most. */
  #refuseSurplus(): void {
    this.#leavePlace();
    this.#finish(NOT_FOUND);
  }

  /** I9: a reply that its caller does not take up holds its place as well; else one source could hold them all. */
  #finish(reply: Reply): void {
    this.#answered = true;
    if (this.#socket.destroyed) this.#leave();
    else write(this.#socket, reply);
  }

  #leave(): void {
    this.#leavePlace();
    this.#gone();
  }

  #onClose(): void {
    clearTimeout(this.#deadline);
    // Work that goes on keeps its place and is still counted: hanging up must not make room for more of it.
    if (this.#dispatched && !this.#answered) return;
    clearTimeout(this.#tick);
    this.#leave();
  }
}

/** One line, then a full close: a mere half-close would leave the call open until the caller ends it. */
const write = (socket: Duplex, reply: Reply): void => {
  socket.end(lineOf(reply), () => socket.destroy());
  if (socket.writableLength === 0) return;
  const giveUp = setTimeout(() => socket.destroy(), SEND_DEADLINE_MS);
  socket.once('close', () => clearTimeout(giveUp));
};

/** A long reply that is given again, as the list of all qubes is while nothing changes, is not put into text again. */
const lineOf = (reply: Reply): string | Buffer => {
  const known = longLines.get(reply);
  if (known) return known;
  const line = `${JSON.stringify(reply)}\n`;
  if (line.length > LONG_LINE) longLines.set(reply, Buffer.from(line));
  return line;
};

const LONG_LINE = 4_096;
const longLines = new WeakMap<Reply, Buffer>();
