// At most one question on a display (I9). The seat is an abstract socket: the kernel gives it to one process and takes
// it back when that process ends, however it ends.
import { createServer, type Server } from 'node:net';

/** Takes the seat of this user's display; null when another question has it. The seat lasts as long as the process. */
export const takeSeat = (display: string, uid: number): Promise<Server | null> =>
  new Promise((resolve) => {
    const seat = createServer((visitor) => visitor.destroy());
    seat.once('error', () => resolve(null));
    seat.listen({ path: `\0qmcp-confirm/${uid}/${wholeDisplay(display)}` }, () => resolve(seat));
  });

// `:0` and `:0.0` are the same keyboard and the same person.
const wholeDisplay = (display: string): string => display.replace(/\.\d+$/, '');
