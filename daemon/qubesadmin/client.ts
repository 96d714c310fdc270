// One call to qubesd: connect, send, half-close, read to the end.
import { createConnection } from 'node:net';
import { AdminError, type AdminRequest, decodeAnswer, encodeRequest } from './wire.ts';

/** How long qubesd may take to answer, in milliseconds. */
export interface Deadlines {
  /** Everything that is not slow. */
  readonly usual: number;
  /** Methods that copy volumes or start domains (`isSlow`). */
  readonly slow: number;
  /** How long after its deadline the answer to a slow call is still waited for, so that what it did can be undone. */
  readonly late: number;
}

export const DEADLINES: Deadlines = { usual: 5_000, slow: 120_000, late: 900_000 };

/** The longest answer believed: a listing of 10,000 qubes is about 1 MB. */
export const MAX_ANSWER_BYTES = 8 * 2 ** 20;

const SLOW: ReadonlySet<string> = new Set([
  'admin.vm.Start',
  'admin.vm.CreateDisposable',
  'admin.vm.Remove',
  'admin.vm.volume.CloneTo',
  'admin.vm.volume.Resize',
]);

const isSlow = (method: string): boolean => SLOW.has(method) || method.startsWith('admin.vm.Create.');

/** Makes one Admin API call and gives the data of its answer. Rejects with `AdminError`, and with nothing else. */
export type AdminCall = (request: AdminRequest) => Promise<Buffer>;

/** Calls over the Unix socket at `path`; each must be answered within its deadline, counted by the monotonic clock. */
export const adminCallsTo =
  (path: string, deadlines: Deadlines = DEADLINES): AdminCall =>
  (request) =>
    new Promise((resolve, reject) => {
      const bytes = encodeRequest(request);
      const slow = isSlow(request.method);
      const chunks: Buffer[] = [];
      let length = 0;
      let connected = false;
      let end = { resolve, reject };
      const settled = (): void => {
        clearTimeout(timer);
        socket.destroy();
      };
      const fail = (error: AdminError): void => {
        settled();
        end.reject(error);
      };
      const overdue = (): void => {
        if (!slow) {
          fail(new AdminError('deadline'));
          return;
        }
        const late = new Promise<Buffer>((resolve, reject) => {
          end = { resolve, reject };
        });
        late.catch(() => {});
        timer = setTimeout(() => fail(new AdminError('deadline')), deadlines.late).unref();
        reject(new AdminError('deadline', null, '', late));
      };
      const socket = createConnection({ path, allowHalfOpen: true });
      let timer = setTimeout(overdue, slow ? deadlines.slow : deadlines.usual);
      socket.on('connect', () => {
        connected = true;
        socket.end(bytes);
      });
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        length += chunk.length;
        if (length > MAX_ANSWER_BYTES) fail(new AdminError('malformed', null, 'answer too long'));
      });
      socket.on('end', () => {
        settled();
        try {
          end.resolve(decodeAnswer(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
        } catch (error) {
          end.reject(error);
        }
      });
      socket.on('error', (error) => fail(new AdminError(connected ? 'empty' : 'unreachable', null, error.message)));
    });
