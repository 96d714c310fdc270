// One call to qubesd: connect, send, half-close, read to the end.
import { createConnection } from 'node:net';
import { AdminError, type AdminRequest, decodeAnswer, encodeRequest } from './wire.ts';

export const CALL_DEADLINE_MS = 5_000;
/** The longest answer believed: a listing of 10,000 qubes is about 1 MB. */
export const MAX_ANSWER_BYTES = 8 * 2 ** 20;

/** Makes one Admin API call and gives the data of its answer. Rejects with `AdminError`, and with nothing else. */
export type AdminCall = (request: AdminRequest) => Promise<Buffer>;

/** Calls over the Unix socket at `path`; each must be answered within `deadlineMs`, counted by the monotonic clock. */
export const adminCallsTo =
  (path: string, deadlineMs = CALL_DEADLINE_MS): AdminCall =>
  (request) =>
    new Promise((resolve, reject) => {
      const bytes = encodeRequest(request);
      const chunks: Buffer[] = [];
      let length = 0;
      let connected = false;
      const socket = createConnection({ path, allowHalfOpen: true });
      const timer = setTimeout(() => fail(new AdminError('deadline')), deadlineMs);
      const fail = (error: AdminError) => {
        clearTimeout(timer);
        socket.destroy();
        reject(error);
      };
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
        clearTimeout(timer);
        socket.destroy();
        try {
          resolve(decodeAnswer(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
        } catch (error) {
          reject(error);
        }
      });
      socket.on('error', (error) => fail(new AdminError(connected ? 'empty' : 'unreachable', null, error.message)));
    });
