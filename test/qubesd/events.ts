// The open `admin.Events` streams of the simulated qubesd, which a test can hold back or end.
import type { Socket } from 'node:net';
import { encodeEvent } from './wire.ts';
import type { World } from './world.ts';

export class EventStreams {
  /** Each stream with the qube it is about; dom0 is told everything. */
  readonly #streams = new Map<Socket, string>();
  readonly #unsubscribe: () => void;
  /** What was sent while held, with those who were watching then. */
  #held: { to: Socket[]; bytes: Buffer }[] | null = null;
  #opened: (() => void)[] = [];

  constructor(world: World) {
    this.#unsubscribe = world.subscribe((subject, event, details) => {
      const to = [...this.#streams].filter(([, about]) => about === 'dom0' || about === subject);
      if (to.length === 0) return;
      const sent = { to: to.map(([socket]) => socket), bytes: encodeEvent(subject, event, details) };
      if (this.#held) this.#held.push(sent);
      else deliver(sent);
    });
  }

  get count(): number {
    return this.#streams.size;
  }

  /** Resolves when somebody watches. */
  async watched(): Promise<void> {
    while (this.count === 0) await new Promise<void>((resolve) => this.#opened.push(resolve));
  }

  open(socket: Socket, about: string): void {
    socket.write(encodeEvent('', 'connection-established', {}));
    socket.once('close', () => this.#streams.delete(socket));
    this.#streams.set(socket, about);
    for (const resolve of this.#opened.splice(0)) resolve();
  }

  /** From now on events wait; `release` lets the first `count` go, all unless told, and stops holding when none is left. */
  hold(): void {
    this.#held ??= [];
  }

  release(count = Number.POSITIVE_INFINITY): void {
    for (const sent of this.#held?.splice(0, count) ?? []) deliver(sent);
    if (this.#held?.length === 0) this.#held = null;
  }

  /** Ends every stream, as a restart of qubesd does. */
  closeAll(): void {
    for (const socket of this.#streams.keys()) socket.destroy();
    this.#streams.clear();
  }

  stop(): void {
    this.#unsubscribe();
    this.closeAll();
  }
}

const deliver = ({ to, bytes }: { to: readonly Socket[]; bytes: Buffer }): void => {
  for (const socket of to) socket.write(bytes);
};
