// Station approval: one question, one person, one signed answer, all journalled. Whatever goes wrong is a no (I7).
import type { FleetView } from '../fleet/view.ts';
import type { Journal } from '../journal/journal.ts';
import type { Answer } from '../journal/record.ts';
import type { Digest, Nonce, QubeName } from '../names.ts';
import type { Acquaintance } from './acquaintance.ts';
import { type Approver, reachApprover } from './approver.ts';
import type { Nonces } from './nonces.ts';
import { asMet, kindOf } from './normal.ts';
import type { Question, View } from './question.ts';
import { checkReceipt } from './receipt.ts';
import type { Restraint } from './restraint.ts';

/** A question that would leave the person less time than this is not raised. */
export const MIN_QUESTION_MS = 2_000;

/** What every record about the call carries. */
type OfCall = Omit<Answer, 'type' | 'nonce' | 'answer' | 'reason' | 'receipt' | 'duration_ms'>;

export interface Matter {
  readonly source: QubeName;
  readonly ofCall: OfCall;
  readonly digest: Digest;
  /** What the window will say; asked for only where there is a dialog to show it. May reject with `AdminError`. */
  readonly words: () => Promise<View>;
  /** By the monotonic clock, in milliseconds. */
  readonly deadline: number;
  /** Aborted when the one who asks takes the question back. */
  readonly withdrawn?: AbortSignal;
}

export type Approval =
  | { readonly kind: 'approved'; readonly nonce: Nonce; readonly untouched: () => boolean }
  | { readonly kind: 'no' };

/** The question that is on the screen. */
export interface Shown {
  readonly ofCall: OfCall;
  readonly view: View;
  /** By the monotonic clock, in milliseconds. */
  readonly asked: number;
  readonly deadline: number;
}

export interface ConfirmerParts {
  readonly socket: string;
  /** The operator's public key as the settings have it now. */
  readonly key: () => Uint8Array | null;
  readonly nonces: Nonces;
  readonly restraint: Restraint;
  /** Told, for the operator's log, what was done about a source. */
  readonly restrained: (sentence: string, source: QubeName) => void;
  readonly fleet: FleetView;
  readonly journal: Journal;
  readonly monotonicMs: () => number;
  readonly stopping: AbortSignal;
  /** Reaches the dialog; over the socket unless told. */
  readonly reach?: typeof reachApprover;
  /** Whom the person knows by which questions; without it nobody is said to ask for the first time. */
  readonly acquaintance?: Acquaintance;
  /** Told of the question on the screen, and null when it is gone. */
  readonly onScreen?: (shown: Shown | null) => void;
}

const NO: Approval = { kind: 'no' };

/**
 * Asks. Approved means: a valid receipt came in time, for this digest, for exactly the lines sent, and nothing was heard
 * to happen to the qubes since their words were begun; `untouched` says whether that still holds. Never rejects for a
 * reason outside the broker, but with the `AdminError` of the words.
 */
export const confirm = async (parts: ConfirmerParts, matter: Matter): Promise<Approval> => {
  const { source, ofCall, digest, words, deadline, withdrawn } = matter;
  const key = parts.key();
  const revision = parts.fleet.revision(namesOf(ofCall));
  const mayAsk = (): boolean =>
    deadline - parts.monotonicMs() >= MIN_QUESTION_MS &&
    !parts.stopping.aborted &&
    !withdrawn?.aborted &&
    !parts.restraint.isFrozen(source);
  // Without a key, without the event stream or without time there is no question to ask, nor for who is frozen.
  if (!key || revision === null || !mayAsk()) return NO;
  const reach = () => (parts.reach ?? reachApprover)(parts.socket);
  let approver = await reach();
  if (!approver) {
    const nonce = parts.nonces.issue(digest, 0);
    parts.journal.note({ ...ofCall, type: 'answer', nonce, ...NOBODY_THERE });
    parts.nonces.void(nonce);
    return NO;
  }
  const withdrawal = withdrawalOf(parts, matter);
  try {
    const view = await words();
    // A dialog waits for its question for some seconds only, and words that look at every qube of a large machine take longer.
    if (!approver.isThere()) approver = (await reach()) ?? approver;
    // I5: of words that a change came between, some may be of before it. What changes from here on voids the question.
    if (parts.fleet.revision(namesOf(ofCall)) !== revision || !mayAsk()) return NO;
    return await put(parts, matter, { approver, view, key, revision, withdrawn: withdrawal.signal });
  } finally {
    withdrawal.over();
    approver.leave();
    // Else whoever asks could keep dialogs starting, or the screen flickering, without end: by its own Cancel or change.
    if (withdrawal.isTakenBack()) restrain(parts, source, false);
  }
};

const NOBODY_THERE = { answer: 'unavailable', reason: 'no dialog', receipt: null, duration_ms: 0 } as const;

const namesOf = ({ qubes }: OfCall): string[] => qubes.map(({ name }) => name);

interface Put {
  readonly approver: Approver;
  readonly view: View;
  readonly key: Uint8Array;
  /** Of the qubes, before the words were made. */
  readonly revision: string;
  readonly withdrawn: AbortSignal;
}

/** Aborted by what ends a question that nobody has answered, from when its dialog starts up. */
const withdrawalOf = ({ fleet, stopping, restraint }: ConfirmerParts, { source, ofCall, withdrawn }: Matter) => {
  const names = namesOf(ofCall);
  const withdrawal = new AbortController();
  const withdraw = (): void => withdrawal.abort();
  let isTakenBack = false;
  const takeBack = (): void => {
    isTakenBack ||= !withdrawal.signal.aborted;
    withdraw();
  };
  const unwatch = fleet.watch((name) => {
    if (name === null) withdraw();
    else if (names.includes(name)) takeBack();
  });
  stopping.addEventListener('abort', withdraw);
  withdrawn?.addEventListener('abort', takeBack);
  // A yes to what is refused by now would be a lie in the window.
  const unfreeze = restraint.onFreeze((frozen) => {
    if (frozen === source) withdraw();
  });
  return {
    signal: withdrawal.signal,
    /** Whether the one who asks did it. */
    isTakenBack: () => isTakenBack,
    over: (): void => {
      unwatch();
      unfreeze();
      stopping.removeEventListener('abort', withdraw);
      withdrawn?.removeEventListener('abort', takeBack);
    },
  };
};

/** Puts the question to the one who is there, and takes the answer for what it is worth. */
const put = async (
  parts: ConfirmerParts,
  { source, ofCall, digest, deadline }: Matter,
  { approver, view, key, revision, withdrawn }: Put,
): Promise<Approval> => {
  const { fleet, journal, nonces } = parts;
  const names = namesOf(ofCall);
  const asked = parts.monotonicMs();
  const nonce = nonces.issue(digest, deadline - asked);
  const kind = kindOf(ofCall);
  const shown = withFreeze(asMet(view, ofCall, parts.acquaintance), source, parts.restraint.takeUnasked(source));

  const close = (answer: Answer['answer'], reason: string | null, receipt: Answer['receipt'] = null): void => {
    if (answer !== 'approved') nonces.void(nonce);
    const duration_ms = Math.round(parts.monotonicMs() - asked);
    journal.note({ ...ofCall, type: 'answer', nonce, answer, reason, receipt, duration_ms });
  };
  try {
    await journal.append({ ...ofCall, type: 'question', nonce, digest });
    // A disk may take its time, and a yes after the deadline would count for nothing.
    const timeLeft = deadline - parts.monotonicMs();
    const question: Question = { v: 1, nonce, digest, expires_in: Math.round(timeLeft / 100) / 10, view: shown };
    parts.onScreen?.({ ofCall, view: shown, asked, deadline });
    const heard = await approver.ask(question, timeLeft, withdrawn);
    if ('silence' in heard) {
      const { silence } = heard;
      close(silence === 'timeout' ? 'timeout' : silence === 'withdrawn' ? 'void' : 'unavailable', silence);
      return NO;
    }
    const checked = checkReceipt(heard.line, question, key);
    if (checked.answer === 'approved' || checked.answer === 'denied') parts.acquaintance?.met(kind);
    if (checked.answer === 'denied') restrain(parts, source, checked.freeze);
    if (checked.answer !== 'approved') {
      close(checked.answer, 'reason' in checked ? checked.reason : null, 'receipt' in checked ? checked.receipt : null);
      return NO;
    }
    const untouched = (): boolean => fleet.revision(names) === revision;
    if (!untouched()) {
      close('void', 'a qube changed', checked.receipt);
      return NO;
    }
    close('approved', null, checked.receipt);
    parts.restraint.approved(source);
    return { kind: 'approved', nonce, untouched };
  } catch {
    // The journal did not take the question, so it was never asked.
    nonces.void(nonce);
    return NO;
  } finally {
    parts.onScreen?.(null);
  }
};

/** The window offers to freeze the source, and says what it was spared. */
const withFreeze = (view: View, source: QubeName, unasked: number): View => {
  const spared = `Not shown to you meanwhile: ${unasked} other question${unasked === 1 ? '' : 's'} of this agent's qube.`;
  return { ...view, lines: unasked === 0 ? view.lines : [...view.lines, spared], freeze: source };
};

const restrain = ({ restraint, journal, restrained }: ConfirmerParts, source: QubeName, freeze: boolean): void => {
  const rest = restraint.denied(source);
  if (freeze) {
    journal.note({ type: 'operator', verb: 'freeze', args: { source, by: 'dialog' } });
    restraint.freeze(source).then(
      () => restrained(`Every call of ${source} is refused until: qmcpctl thaw ${source}`, source),
      () =>
        restrained(
          `${source} is frozen until the next restart only: its freeze could not be saved. Check the disk.`,
          source,
        ),
    );
  } else if (rest !== null) {
    const minutes = Math.round(rest / 60_000);
    restrained(
      `Three questions of ${source} were denied or taken back in ten minutes: none is shown for ${minutes} minutes.`,
      source,
    );
  }
};
