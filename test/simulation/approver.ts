// Somebody before the screen, and the dialog between: answers right, wrong, twice, late or never, as chance has it. Signs
// with node:crypto, so that the broker's tweetnacl is held against another implementation.
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import type { Approver, Heard } from '../../daemon/confirm/approver.ts';
import type { Question } from '../../daemon/confirm/question.ts';
import type { Chance } from './chance.ts';

const CONTEXT = 'qmcp-confirm-v1\0';
/** What comes before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** One pair of keys of a seed. Few of them: what is signed differs, and that is what is checked. */
export const keyOf = (seed: string): { readonly secret: KeyObject; readonly text: string } => {
  const raw = createHash('sha256').update(seed).digest();
  const secret = createPrivateKey({ key: Buffer.concat([PKCS8, raw]), format: 'der', type: 'pkcs8' });
  const spki = createPublicKey(secret).export({ format: 'der', type: 'spki' });
  return { secret, text: spki.subarray(-32).toString('base64') };
};

export const OPERATOR = keyOf('the operator');
const FORGER = keyOf('somebody else');

const REACTIONS = {
  yes: 60,
  no: 8,
  'no, and freeze': 1,
  timeout: 2,
  silence: 4,
  crash: 4,
  'no dialog': 3,
  garbage: 2,
  'another nonce': 2,
  'another digest': 2,
  'something else shown': 2,
  'a forged signature': 3,
  'an earlier yes': 4,
  'too long': 1,
} as const;
type Reaction = keyof typeof REACTIONS;

export interface ApproverParts {
  readonly chance: Chance;
  readonly now: () => number;
  readonly after: (ms: number, run: () => void) => () => void;
  readonly wait: <T>(what: string, work: () => T) => Promise<T>;
  readonly shown: (question: Question) => void;
  readonly hidden: () => void;
  /** A yes, valid in all respects, is on its way. */
  readonly approves: (question: Question) => void;
  /** A no that freezes the source, likewise. */
  readonly freezes: (question: Question) => void;
}

export class SimulatedApprover {
  readonly #parts: ApproverParts;
  /** The last line that was a valid yes. */
  #earlier: string | null = null;
  questions = 0;

  constructor(parts: ApproverParts) {
    this.#parts = parts;
  }

  reach = async (): Promise<Approver | null> => {
    const reaction = this.#parts.chance.weighted(REACTIONS);
    const isThere = await this.#parts.wait('reach the dialog', () => reaction !== 'no dialog');
    return isThere
      ? {
          ask: (question, timeoutMs, signal) => this.#ask(reaction, question, timeoutMs, signal),
          isThere: () => true,
          leave: () => {},
        }
      : null;
  };

  #ask(reaction: Reaction, question: Question, timeoutMs: number, signal: AbortSignal): Promise<Heard> {
    return new Promise((resolve) => {
      const { chance, after, wait, shown, hidden } = this.#parts;
      this.questions += 1;
      shown(question);
      let isOver = false;
      const end = (heard: Heard): void => {
        if (isOver) return;
        isOver = true;
        callOff();
        signal.removeEventListener('abort', withdraw);
        hidden();
        resolve(heard);
      };
      const withdraw = (): void => end({ silence: 'withdrawn' });
      const callOff = after(timeoutMs, () => end({ silence: 'timeout' }));
      if (signal.aborted) {
        withdraw();
        return;
      }
      signal.addEventListener('abort', withdraw);
      if (reaction === 'silence') return;
      // Thinks for a while, and sometimes for longer than there is time.
      const thinks = chance.is(0.03) ? timeoutMs + 1 : chance.below(Math.min(8_000, timeoutMs));
      after(thinks, () => {
        void wait(`answer: ${reaction}`, () => {
          // Nobody hears what comes after the end; it counts as no answer of any kind.
          if (!isOver) end(this.#answer(question, reaction));
        });
      });
    });
  }

  #answer(question: Question, reaction: Reaction): Heard {
    const { approves, freezes } = this.#parts;
    switch (reaction) {
      case 'yes': {
        const line = this.#signed(question, 'approved');
        this.#earlier = line;
        approves(question);
        return { line };
      }
      case 'no':
        return { line: this.#signed(question, 'denied') };
      case 'no, and freeze':
        freezes(question);
        return { line: this.#signed(question, 'denied', { freeze: true }) };
      case 'timeout':
        return { line: this.#signed(question, 'timeout') };
      case 'garbage':
        return {
          line: this.#parts.chance.pick(['', '{}', 'null', '[1', '{"statement":"{}","signature":"x"}', '\u0000']),
        };
      case 'another nonce':
        return { line: this.#signed(question, 'approved', { nonce: '0'.repeat(64) }) };
      case 'another digest':
        return { line: this.#signed(question, 'approved', { digest: 'f'.repeat(64) }) };
      case 'something else shown':
        return { line: this.#signed(question, 'approved', { shown: shownOf(['Nothing of importance']) }) };
      case 'a forged signature':
        return { line: this.#signed(question, 'approved', {}, FORGER.secret) };
      case 'an earlier yes':
        return this.#earlier === null ? { silence: 'no answer' } : { line: this.#earlier };
      case 'too long':
        return { silence: 'too long' };
      default:
        return { silence: 'no answer' };
    }
  }

  #signed(question: Question, verdict: string, changes: object = {}, key = OPERATOR.secret): string {
    const { nonce, digest, view } = question;
    const decided_at = new Date(this.#parts.now()).toISOString();
    const statement = JSON.stringify({
      v: 1,
      nonce,
      digest,
      shown: shownOf(view.lines),
      verdict,
      decided_at,
      ...changes,
    });
    const signature = sign(null, Buffer.from(CONTEXT + statement), key).toString('base64');
    return JSON.stringify({ statement, signature });
  }
}

const shownOf = (lines: readonly string[]): string => createHash('sha512').update(lines.join('\n')).digest('base64url');
