// control.sock: one connection, one line in, one line out. Whoever reaches it is in group qubes and so has the whole Admin
// API anyway; the limits here keep a tool gone wrong from taking the daemon with it.
import { createServer, type Server, type Socket } from 'node:net';
import { type Answer, MAX_REQUEST_BYTES, PROTOCOL, type Request, request } from './protocol.ts';

export const MAX_CONNECTIONS = 16;
/** How long a request may take to arrive, and an answer to be taken. */
export const SEND_DEADLINE_MS = 2_000;
/** Longer than the longest call to qubesd that a verb makes. */
export const WORK_DEADLINE_MS = 150_000;

/** Answers a request; a rejection is what nobody planned. */
export type Control = (request: Request) => Promise<Said>;
export type Said = { readonly ok: true; readonly result: object } | { readonly ok: false; readonly error: string };

export const done = (result: object): Said => ({ ok: true, result });
/** It cannot be done; `error` is a sentence that says what to do. */
export const declined = (error: string): Said => ({ ok: false, error });

export interface ControlOptions {
  readonly version: string;
  readonly unplanned: (error: unknown) => void;
  readonly sendDeadlineMs?: number;
  readonly workDeadlineMs?: number;
}

export interface ControlDoor {
  readonly server: Server;
  /** Takes no more connections and drops those there are. */
  close(): void;
}

export const openControl = (control: Control, options: ControlOptions): ControlDoor => {
  const { version, unplanned, sendDeadlineMs = SEND_DEADLINE_MS, workDeadlineMs = WORK_DEADLINE_MS } = options;
  const connections = new Set<Socket>();

  const answered = (said: Said): Answer => ({ v: PROTOCOL, version, ...said });
  const answerTo = async (line: string): Promise<Said> => {
    const parsed = request.safeParse(parseJson(line));
    if (!parsed.success) return declined('The daemon could not make sense of that request.');
    const { v } = parsed.data;
    if (v !== PROTOCOL) return declined(`The daemon speaks version ${PROTOCOL} of the control protocol, not ${v}.`);
    return await withinDeadline(control(parsed.data), workDeadlineMs);
  };

  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    const send = (said: Said): void => {
      socket.end(`${JSON.stringify(answered(said))}\n`, () => socket.destroy());
      const giveUp = setTimeout(() => socket.destroy(), sendDeadlineMs);
      socket.once('close', () => clearTimeout(giveUp));
    };
    if (connections.size >= MAX_CONNECTIONS) {
      socket.resume();
      send(declined(`${MAX_CONNECTIONS} requests are under way already. Try again in a moment.`));
      return;
    }
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
    readLine(socket, sendDeadlineMs).then(async (line) => {
      if (line === null) socket.destroy();
      else send(await answerTo(line).catch(broken));
    });
  });

  const broken = (error: unknown): Said => {
    unplanned(error);
    return declined('That ended in a fault of the daemon; its log says more: journalctl -u qmcp-brokerd');
  };

  return {
    server,
    close: () => {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
};

/** The one line, or null where none came in time, within the limit, or alone. */
const readLine = (socket: Socket, deadlineMs: number): Promise<string | null> =>
  new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const end = (line: string | null): void => {
      clearTimeout(deadline);
      socket.removeAllListeners('data');
      socket.resume();
      resolve(line);
    };
    const deadline = setTimeout(() => end(null), deadlineMs);
    socket.on('close', () => end(null));
    socket.on('end', () => end(null));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      const at = chunk.indexOf(0x0a);
      if (length > MAX_REQUEST_BYTES) end(null);
      else if (at >= 0) end(at === chunk.length - 1 ? Buffer.concat(chunks).toString('utf8', 0, length - 1) : null);
    });
  });

const withinDeadline = async (work: Promise<Said>, ms: number): Promise<Said> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Said>((resolve) => {
    timer = setTimeout(
      () => resolve(declined('It was not done in time, and may yet be done. See qmcpctl audit tail.')),
      ms,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
};

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};
