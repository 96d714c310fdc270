// Stands between the broker and the dialog, passes on every byte and keeps a copy, so that the demo can tell what the
// operator was asked and what the window signed. It can change nothing: the receipt is over what the window displayed.
import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import type { Question, Statement } from '../../daemon/confirm/question.ts';
import { shownHash } from '../../daemon/confirm/receipt.ts';

export interface Overheard {
  readonly question: Question;
  /** What the window signed; null when it ended without an answer. */
  readonly statement: Promise<Statement | null>;
}

/** Whether the window signed exactly the lines it was sent. */
export const isAsShown = ({ view }: Question, { shown }: Statement): boolean => shown === shownHash(view.lines);

export class Wiretap {
  /** Called with every question on its way to the dialog. */
  onQuestion: ((overheard: Overheard) => void) | null = null;
  readonly #dialog: string;
  readonly #server = createServer({ allowHalfOpen: true }, (broker) => this.#join(broker));

  private constructor(dialog: string) {
    this.#dialog = dialog;
  }

  /** Listens for the broker at `path` and passes on to the dialog at `dialog`. */
  static async listen(path: string, dialog: string): Promise<Wiretap> {
    const tap = new Wiretap(dialog);
    tap.#server.listen(path);
    await once(tap.#server, 'listening');
    return tap;
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }

  #join(broker: Socket): void {
    const dialog = createConnection({ path: this.#dialog, allowHalfOpen: true });
    const apart = (): void => {
      broker.destroy();
      dialog.destroy();
    };
    for (const side of [broker, dialog]) side.on('error', apart).on('close', apart);
    // The broker keeps its side open while it waits: its end is a withdrawal, and the window must notice.
    broker.on('end', apart);
    dialog.on('end', () => broker.end());
    const statement = firstLine(dialog).then((line) => (line === null ? null : JSON.parse(JSON.parse(line).statement)));
    void firstLine(broker).then((line) => {
      if (line === null) return;
      this.onQuestion?.({ question: JSON.parse(line), statement });
    });
    broker.pipe(dialog, { end: false });
    dialog.pipe(broker, { end: false });
  }
}

/** The first line that arrives, without its newline; null when the connection ends before. */
const firstLine = (socket: Socket): Promise<string | null> =>
  new Promise((resolve) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end >= 0) resolve(text.slice(0, end));
    });
    socket.on('close', () => resolve(null));
  });
