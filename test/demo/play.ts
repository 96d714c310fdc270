// The agent's side of the demo: calls through the broker's socket as qrexec would bring them, each with what it caused,
// printed and checked.
import { isDeepStrictEqual } from 'node:util';
import type { Statement } from '../../daemon/confirm/question.ts';
import { AGENT } from './fleet.ts';
import type { Operator, Part } from './operators.ts';
import type { Stage } from './stage.ts';
import { broken, columns, type Transcript } from './transcript.ts';
import { isAsShown, type Overheard } from './wiretap.ts';

export type Reply = Readonly<Record<string, unknown>>;
type Change = readonly string[];

export const REFUSED: Reply = { ok: false, error: 'not found' };
export const DONE: Reply = { ok: true };

export class Play {
  readonly out: Transcript;
  readonly #stage: Stage;
  readonly #operator: Operator;

  constructor(stage: Stage, operator: Operator, out: Transcript) {
    this.#stage = stage;
    this.#operator = operator;
    this.out = out;
  }

  /** A call that nobody is asked about. */
  async call(service: string, request: Reply | ''): Promise<Reply> {
    const reply = await this.#send(service, request);
    this.#answered(reply);
    return reply;
  }

  /** A call that a person must answer, the part that this person has in it, and the one change that a yes makes. */
  async ask(service: string, request: Reply, part: Part, change: Change): Promise<void> {
    const { reply, approved } = await this.#ask(service, request, part);
    this.#answered(reply);
    this.expectReply(reply, approved ? DONE : REFUSED);
    this.expectChanges(...(approved ? [change] : []));
  }

  /** The same, where the window is what matters: of the effect only whether there was one. */
  async show(service: string, request: Reply, part: Part): Promise<void> {
    const { reply, approved } = await this.#ask(service, request, part);
    const changes = this.#stage.takeChanges();
    // Whether an effect is possible at all may hang on what a person answered before.
    const isRight = this.#operator.isObedient ? reply.ok === approved : approved || reply.ok === false;
    this.out.check(isRight, `the reply was ${JSON.stringify(reply)}`);
    this.out.check(approved || changes.length === 0, `qubesd should not have got ${JSON.stringify(changes)}`);
  }

  async #ask(service: string, request: Reply, part: Part): Promise<{ reply: Reply; approved: boolean }> {
    const instruction = this.#operator.instruction(part);
    if (instruction !== null) this.out.says('you', instruction);
    const replying = this.#send(service, request);
    const statement = await this.#attend(part, replying);
    const reply = await replying;
    const meant = MEANT[part.deed];
    if (this.#operator.isObedient) {
      this.out.check(meant.includes(statement?.verdict), `the answer should have been ${meant[0]}`);
    }
    return { reply, approved: statement?.verdict === 'approved' };
  }

  expectReply(reply: Reply, expected: Reply): void {
    this.out.check(isDeepStrictEqual(reply, expected), `the reply should have been ${JSON.stringify(expected)}`);
  }

  /** What qubesd was asked to change since this was last looked at. */
  expectChanges(...expected: readonly Change[]): void {
    const changes = this.#stage.takeChanges();
    this.out.says('qubesd', ...(changes.length === 0 ? ['nothing was changed'] : changes.map((row) => row.join(' '))));
    this.out.check(isDeepStrictEqual(changes, expected), `qubesd should have got ${JSON.stringify(expected)}`);
  }

  /** `service` may end in `+` and the service's argument, as in a call over qrexec. */
  #send(service: string, request: Reply | ''): Promise<Reply> {
    const [name = '', argument = ''] = service.split('+');
    this.out.says('agent', ...wrapped(shortened(request === '' ? service : `${service} ${JSON.stringify(request)}`)));
    return this.#stage.daemon.call(name, request, { source: AGENT, argument });
  }

  #answered(reply: Reply): void {
    this.out.says('broker', ...replyLines(reply));
  }

  /** Plays the part when the question is on its way to the window; gives what the window signed. */
  async #attend(part: Part, replying: Promise<Reply>): Promise<Statement | null> {
    const { tap } = this.#stage;
    let heard = false;
    const playing = new Promise<Statement | null>((resolve, reject) => {
      tap.onQuestion = (overheard) => {
        heard = true;
        this.#answer(part, overheard).then(resolve, reject);
      };
      replying.then(() => heard || resolve(null), reject);
    });
    const statement = await playing;
    tap.onQuestion = null;
    // A person may have frozen the agent, or denied what this builds on.
    if (!heard) this.out.says('window', 'none: the broker refuses this without a question');
    this.out.check(heard || !this.#operator.isObedient, 'there should have been a question');
    return statement;
  }

  async #answer(part: Part, { question, statement }: Overheard): Promise<Statement | null> {
    const { out } = this;
    out.says('window', ...boxed(question.view.lines));
    const played = await this.#operator.play(part);
    if (played) out.says('operator', played.done, `picture: ${played.picture}`);
    const said = await statement;
    if (said === null || said.verdict === 'timeout') out.says('answer', 'none in time, which counts as no');
    else out.says('answer', `${said.verdict}, signed over exactly the lines above`);
    out.check(said === null || isAsShown(question, said), 'the window signed other lines than it was sent');
    return said;
  }
}

/** What each deed may end in. A window whose time is up may be closed before it has signed that. */
const MEANT: Readonly<Record<Part['deed'], readonly (Statement['verdict'] | undefined)[]>> = {
  allow: ['approved'],
  deny: ['denied'],
  leave: ['timeout', undefined],
};

/** The most characters of a line, and of one in a box. */
const LINE = 88;
const BOX = 84;

/** A reply as it came; a list of objects in it as a table of their values. */
const replyLines = (reply: Reply): string[] => {
  const text = JSON.stringify(reply, (_, value) => (Array.isArray(value) ? `${value.length} of them` : value));
  const list = Object.values(reply).find(Array.isArray);
  if (list === undefined) return [shortened(text)];
  const rows = list.map((one: object) => Object.values(one).map((cell) => (cell === null ? '-' : String(cell))));
  return [text.replace(/"(\d+ of them)"/, '[$1]'), ...columns(rows).map((line) => `  ${line}`)];
};

/** Nonces and digests are of no use to a reader. */
const shortened = (text: string): string => text.replaceAll(/[0-9a-f]{64}/g, (hex) => `${hex.slice(0, 8)}...`);

/** Compact JSON has no place to break; a space after its commas makes some. */
const wrapped = (text: string): string[] =>
  text.length <= LINE ? [text] : broken(text.replaceAll(/,(?=["{])/g, ', '), LINE);

/** Lines in a frame. As in the window, one that is too long goes on in the next. */
const boxed = (whole: readonly string[]): string[] => {
  const lines = whole.flatMap((line) => broken(line, BOX));
  const width = Math.max(...lines.map(({ length }) => length));
  const edge = '─'.repeat(width + 2);
  return [`┌${edge}┐`, ...lines.map((line) => `│ ${line.padEnd(width)} │`), `└${edge}┘`];
};
