// A caller at the door, as the socket between them shows it: its bytes come whole, in pieces, too many, or cut off; it hangs up, or
// never ends its call, or leaves its reply unread.
import { Duplex } from 'node:stream';
import { MAX_BODY_BYTES } from '../../daemon/qrexec/door.ts';
import type { SimulatedCall } from './calls.ts';
import type { Chance } from './chance.ts';

const MANNERS = {
  whole: 80,
  'in pieces': 8,
  'cut off': 1,
  'hanging up': 3,
  'never ending': 1,
  'too long': 1,
  'not reading': 2,
  'no header': 1,
} as const;
export type Manner = keyof typeof MANNERS;

/** What a caller does: bytes to send, one piece after the other, and how it ends. */
export interface Behaviour {
  readonly manner: Manner;
  readonly pieces: readonly Buffer[];
  /** The body as the broker has it in the end: null where it cannot be used, undefined where no call comes about. */
  readonly body: Buffer | null | undefined;
}

/** As qrexec has it (facts); what is in no such form gets no byte in return. */
const CALLABLE = /^qmcp\.[A-Za-z0-9_.-]{1,58}$/;

export const behaviourOf = (call: SimulatedCall, chance: Chance): Behaviour => {
  const { source, service, argument, body } = call;
  const manner = chance.weighted(MANNERS);
  const target = manner === 'no header' ? chance.pick(['name vault', '', 'keyword', 'name dom0 x']) : 'keyword adminvm';
  const header = Buffer.from(`${service}+${argument} ${source} ${target}\0`);
  const isCallable = manner !== 'no header' && CALLABLE.test(service);
  const behaves = (pieces: readonly Buffer[], read: Buffer | null): Behaviour => ({
    ...{ manner, pieces },
    body: isCallable ? read : undefined,
  });
  switch (manner) {
    case 'in pieces': {
      const whole = Buffer.concat([header, body]);
      const cuts = Array.from({ length: 1 + chance.below(3) }, () => chance.below(whole.length)).sort((a, b) => a - b);
      return behaves(
        [0, ...cuts].map((cut, index) => whole.subarray(cut, cuts[index] ?? whole.length)),
        body,
      );
    }
    case 'cut off': {
      const read = body.subarray(0, chance.below(body.length + 1));
      return behaves([Buffer.concat([header, read])], read);
    }
    case 'never ending':
      return behaves([Buffer.concat([header, body])], null);
    case 'too long':
      return behaves([header, body, Buffer.alloc(MAX_BODY_BYTES + 1 - body.length, ' ')], null);
    default:
      return behaves([Buffer.concat([header, body])], body);
  }
};

/** The door's end of the connection. */
export class Line extends Duplex {
  readonly #reads: boolean;
  readonly #hears: () => void;
  /** The caller is not there any more: what is written to it fails, as it does on a socket. */
  isDeserted = false;
  heard = '';
  /** Whether the whole of a reply and its end came, before the close. */
  isEnded = false;

  /** `hears`: told of every byte as it comes, taken up or not. */
  constructor(reads: boolean, hears: () => void, closed: () => void) {
    super({ allowHalfOpen: true });
    this.#reads = reads;
    this.#hears = hears;
    this.once('close', closed);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error) => void): void {
    if (this.isDeserted) {
      done(new Error('EPIPE'));
      return;
    }
    this.heard += chunk.toString('utf8');
    this.#hears();
    // Unread, it stays where it is until somebody gives up.
    if (this.#reads) done();
  }

  override _final(done: () => void): void {
    this.isEnded = true;
    done();
  }
}
