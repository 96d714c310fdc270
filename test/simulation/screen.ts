// What the person sees: one question at a time, and nothing in it that a caller wrote (I5, I9).
import type { Question } from '../../daemon/confirm/question.ts';
import type { Seen } from './watch.ts';

export class Screen {
  readonly #wrong: Seen['wrong'];
  #shown = 0;

  constructor({ wrong }: Seen) {
    this.#wrong = wrong;
  }

  shows(question: Question, waiting: readonly string[]): void {
    this.#shown += 1;
    if (this.#shown > 1) this.#wrong(`I9: ${this.#shown} questions on the screen`);
    if (waiting.length > 16) this.#wrong(`I9: ${waiting.length} questions wait`);
    for (const source of new Set(waiting)) {
      const count = waiting.filter((each) => each === source).length;
      if (count > 4) this.#wrong(`I9: ${count} questions of ${source} wait`);
    }
    for (const line of question.view.lines) {
      if (!/^[\x20-\x7e]*$/.test(line) || line.includes('CANARY'))
        this.#wrong(`I5: a line of the question is ${JSON.stringify(line)}`);
    }
  }

  hides(): void {
    this.#shown -= 1;
  }

  /** With the broker goes the connection, and the window. */
  isGone(): void {
    this.#shown = 0;
  }
}
