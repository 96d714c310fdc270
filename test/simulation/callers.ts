// All who have a connection to the door: each sends as it behaves, and what comes back is held against what the broker
// answered, byte for byte and tick for tick.
import {
  type Call,
  type Door,
  MAX_CALLS,
  MAX_CALLS_PER_SOURCE,
  NOT_FOUND,
  REFUSAL_TICK_MS,
  type Reply,
  SEND_DEADLINE_MS,
} from '../../daemon/qrexec/door.ts';
import { type Behaviour, Line } from './caller.ts';
import type { Deed } from './deed.ts';

interface Connected {
  readonly deed: Deed;
  readonly behaviour: Behaviour;
  readonly json: unknown;
  readonly line: Line;
  /** Milliseconds, monotonic. */
  readonly arrival: number;
  state: 'sending' | 'worked on' | 'answered';
  answer: { readonly ok: boolean; readonly text: string } | null;
  /** Bytes sent so far. */
  sent: number;
  /** When its reply came, and whether there was no room for its call then. */
  heard: { readonly at: number; readonly isFull: boolean } | null;
}

interface CallersParts {
  readonly monotonicMs: () => number;
  /** What is sent later is sent when chance has it. */
  readonly wait: (what: string, work: () => void) => Promise<unknown>;
  readonly wrong: (sentence: string) => void;
  readonly tell: (line: string) => void;
  /** Whether the broker is about to end. */
  readonly isStopping: () => boolean;
}

/** A caller's own doing, and what becomes of its call. */
export interface Doing {
  readonly deed: Deed;
  readonly behaviour: Behaviour;
  /** The JSON of the body that is sent. */
  readonly sent: unknown;
  /** Whether the life that it called is still the one there is. */
  readonly isCurrent: () => boolean;
  readonly handle: (call: Call) => Reply | Promise<Reply>;
  readonly answered: (reply: Reply) => void;
}

export class Callers {
  readonly #parts: CallersParts;
  readonly #all = new Set<Connected>();

  constructor(parts: CallersParts) {
    this.#parts = parts;
  }

  /** Who has a connection, or work under way behind one that it left. */
  get held(): number {
    return this.#all.size;
  }

  /** The broker is gone, and every connection with it. */
  forget(): void {
    this.#all.clear();
  }

  call(door: Door, { deed, behaviour, sent, isCurrent, handle, answered }: Doing): void {
    const { monotonicMs } = this.#parts;
    const hears = (): void => {
      caller.heard = { at: monotonicMs(), isFull: this.#isFull(caller) };
    };
    const line = new Line(behaviour.manner !== 'not reading', hears, () => {
      if (isCurrent()) this.#isClosed(caller);
    });
    // A reply that nobody takes up ends in an error of the socket's, as it does on a real one.
    line.on('error', () => {});
    const caller: Connected = {
      ...{ deed, behaviour, json: sent, line, state: 'sending', answer: null, sent: 0, heard: null },
      arrival: monotonicMs(),
    };
    this.#all.add(caller);
    const done = (reply: Reply): Reply => {
      if (!isCurrent()) return reply;
      caller.state = 'answered';
      caller.answer = { ok: reply.ok, text: JSON.stringify(reply) };
      answered(reply);
      if (line.destroyed) this.#all.delete(caller);
      return reply;
    };
    door.take(line, (call) => {
      this.#isTakenUp(caller, call);
      const reply = handle(call);
      return reply instanceof Promise ? reply.then(done) : done(reply);
    });
    this.#send(caller, isCurrent);
  }

  #send(caller: Connected, isCurrent: () => boolean): void {
    const { line, behaviour } = caller;
    const { manner, pieces } = behaviour;
    const end = (): void => {
      if (manner === 'never ending') return;
      line.isDeserted = manner === 'cut off' || manner === 'hanging up';
      line.push(null);
    };
    const send = (piece: Buffer): void => {
      caller.sent += piece.length;
      line.push(piece);
    };
    const [first = Buffer.alloc(0), ...later] = pieces;
    send(first);
    if (later.length === 0) {
      end();
      return;
    }
    void later
      .reduce<Promise<unknown>>(
        (before, piece) =>
          before.then(() =>
            this.#parts.wait('more bytes', () => {
              if (isCurrent() && !line.destroyed) send(piece);
            }),
          ),
        Promise.resolve(),
      )
      .then(() => {
        if (isCurrent() && !line.destroyed) end();
      });
  }

  /** I9: no more calls are worked on than may be. */
  #isTakenUp(caller: Connected, call: Call): void {
    const { deed, behaviour } = caller;
    if (caller.state !== 'sending') this.#parts.wrong(`call ${deed.number} is made twice`);
    caller.state = 'worked on';
    if (behaviour.body === undefined || call.source !== deed.source || call.service !== deed.service) {
      this.#parts.wrong(`call ${deed.number} comes out of the door as ${call.source} ${call.service}`);
    }
    // What came too late counts as none at all, and is not to be compared.
    if (call.body === null && this.#parts.monotonicMs() - caller.arrival >= SEND_DEADLINE_MS) {
      deed.isLate = true;
      deed.isTroubled = true;
    } else if (JSON.stringify(call.body?.json) !== JSON.stringify(caller.json))
      this.#parts.wrong(`call ${deed.number} comes out of the door as ${JSON.stringify(call.body)}`);
    const working = [...this.#all].filter(({ state }) => state === 'worked on');
    const ofSource = working.filter((each) => each.deed.source === deed.source).length;
    if (ofSource > MAX_CALLS_PER_SOURCE) this.#parts.wrong(`I9: ${ofSource} calls of ${deed.source} are worked on`);
    if (working.length > MAX_CALLS) this.#parts.wrong(`I9: ${working.length} calls are worked on`);
  }

  #isClosed(caller: Connected): void {
    const { deed, line, behaviour, answer, state } = caller;
    // Work goes on behind a connection that its caller left.
    if (state !== 'worked on') this.#all.delete(caller);
    this.#parts.tell(`closed ${deed.number} ${behaviour.manner} ${line.heard}`);
    if (line.isDeserted) return;
    const { wrong } = this.#parts;
    const about = `call ${deed.number} (${deed.service}, ${behaviour.manner})`;
    if (behaviour.body === undefined) {
      if (line.heard !== '' || state !== 'sending') wrong(`${about}: a frame that is none got ${line.heard}`);
      return;
    }
    if (state === 'worked on') {
      wrong(`${about}: closed while it is worked on`);
      return;
    }
    // A frame that is not complete is not waited for at the end, and nothing is said to who sent no header in time.
    if (state === 'sending' && line.heard === '' && (this.#parts.isStopping() || this.#isTooSlow(caller))) return;
    const { ok, text } = answer ?? { ok: false, text: JSON.stringify(NOT_FOUND) };
    if (line.heard !== `${text}\n`) wrong(`${about}: heard ${JSON.stringify(line.heard)}`);
    if (behaviour.manner !== 'not reading' && !line.isEnded) wrong(`${about}: closed without an end`);
    if (answer === null && !caller.heard?.isFull) wrong(`I9: ${about}: turned away where there was room`);
    if (answer !== null && !ok) this.#isOnTick(about, caller);
  }

  #isTooSlow({ arrival, sent, behaviour }: Connected): boolean {
    const header = Buffer.concat(behaviour.pieces).indexOf(0) + 1;
    return sent < header && this.#parts.monotonicMs() - arrival >= SEND_DEADLINE_MS;
  }

  /** Of who was turned away: whether its source, or all together, had as many connections as may be calls. */
  #isFull({ deed }: Connected): boolean {
    const ofSource = [...this.#all].filter((each) => each.deed.source === deed.source).length;
    return ofSource >= MAX_CALLS_PER_SOURCE || this.#all.size >= MAX_CALLS;
  }

  /** I6: a refusal leaves a whole number of ticks after the call came, whyever. */
  #isOnTick(about: string, { arrival, heard }: Connected): void {
    const ticks = ((heard?.at ?? arrival) - arrival) / REFUSAL_TICK_MS;
    if (ticks < 1 - 1e-6 || Math.abs(ticks - Math.round(ticks)) > 1e-6)
      this.#parts.wrong(`I6: ${about}: the refusal left ${ticks.toFixed(3)} ticks after the call came`);
  }
}
