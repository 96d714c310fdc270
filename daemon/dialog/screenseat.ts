// At most one question on a display (I9). The seat is an abstract socket: the kernel gives it to one process and takes
// it back when that process ends, however it ends.
import { createServer, type Server } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** A question that was answered or withdrawn this moment may still be on its way out. */
const PATIENCE_MS = 500;
const AGAIN_MS = 25;

export interface Seat {
  /** Gives it back at once. */
  readonly leave: () => void;
}

/** The seat of this user's display, or null when another question keeps it. */
export const takeSeat = async (display: string, uid: number): Promise<Seat | null> => {
  const path = `\0qmcp-confirm/${uid}/${wholeDisplay(display)}`;
  for (let waited = 0; ; waited += AGAIN_MS) {
    const server = await listening(path);
    if (server !== null) return { leave: () => void server.close() };
    if (waited >= PATIENCE_MS) return null;
    await pause(AGAIN_MS);
  }
};

const listening = (path: string): Promise<Server | null> =>
  new Promise((resolve) => {
    const server = createServer((visitor) => visitor.destroy());
    server.once('error', () => resolve(null));
    server.listen({ path }, () => resolve(server));
  });

// `:0` and `:0.0` are the same keyboard and the same person.
const wholeDisplay = (display: string): string => display.replace(/\.\d+$/, '');
