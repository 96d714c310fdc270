// The lasting admin.Events stream: connect, deliver, and connect again when it is lost.
import { createConnection, type Socket } from 'node:net';
import { type AdminEvent, encodeRequest, eventReader } from './wire.ts';

const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 5_000;

export interface EventSink {
  /** The stream stands: whatever happens from now on is delivered. */
  established(): void;
  event(event: AdminEvent): void;
  /** The stream broke: what happens until it is established again is not known. Called once per loss. */
  lost(): void;
}

export interface EventStream {
  /** Resolves when the first try to connect is over, whether it succeeded or not. */
  readonly firstTry: Promise<void>;
  stop(): void;
}

/** Follows all events of the machine, for as long as it is not stopped. While connected no timer is armed. */
export const followEvents = (path: string, sink: EventSink): EventStream => {
  let stopped = false;
  let socket: Socket | null = null;
  let retry: NodeJS.Timeout | null = null;
  let wait = FIRST_RETRY_MS;
  let tried = () => {};
  const firstTry = new Promise<void>((resolve) => {
    tried = resolve;
  });

  const connect = (): void => {
    const read = eventReader();
    let standing = false;
    const connection = createConnection({ path, allowHalfOpen: true });
    socket = connection;
    connection.on('connect', () => connection.end(encodeRequest({ method: 'admin.Events', dest: 'dom0' })));
    connection.on('data', (chunk) => {
      try {
        for (const event of read(chunk)) {
          if (!standing && event.subject === '' && event.event === 'connection-established') {
            standing = true;
            wait = FIRST_RETRY_MS;
            sink.established();
            tried();
          } else if (standing) sink.event(event);
        }
      } catch {
        connection.destroy();
      }
    });
    connection.on('end', () => connection.destroy());
    connection.on('error', () => {});
    connection.on('close', () => {
      tried();
      if (standing) sink.lost();
      if (stopped) return;
      retry = setTimeout(connect, wait);
      wait = Math.min(wait * 2, LAST_RETRY_MS);
    });
  };

  connect();
  return {
    firstTry,
    stop: () => {
      stopped = true;
      if (retry) clearTimeout(retry);
      socket?.destroy();
    },
  };
};
