// The Admin API's bytes, both ways, as qubesd 4.4 speaks them on its socket. Pure.
import type { QubeName, Uuid } from '../names.ts';

/** Where a call goes: dom0 itself, a qube by name, or (for everything that changes one) a qube by uuid. */
export type Destination = 'dom0' | { readonly name: QubeName } | { readonly uuid: Uuid };

export interface AdminRequest {
  readonly method: string;
  readonly arg?: string;
  readonly dest: Destination;
  readonly payload?: string;
}

export interface AdminEvent {
  /** The qube's name, or empty for events of the whole machine. */
  readonly subject: string;
  readonly event: string;
  readonly details: Readonly<Record<string, string>>;
}

/** Why a call gave no data. `type` is qubesd's exception class for 'exception', and null otherwise. */
export type FailureKind = 'exception' | 'empty' | 'unreachable' | 'deadline' | 'malformed';

/** A call that failed. Its message is ours; qubesd's own text never travels further than the `detail` for the log. */
export class AdminError extends Error {
  readonly kind: FailureKind;
  readonly type: string | null;
  readonly detail: string;
  /** With 'deadline': the answer that qubesd may still give, where somebody has to know what became of the call. */
  readonly late: Promise<Buffer> | null;

  /** Whether nobody could be asked, rather than that the answer was no, or none. */
  get isAway(): boolean {
    return this.kind === 'unreachable' || this.kind === 'deadline';
  }

  constructor(kind: FailureKind, type: string | null = null, detail = '', late: Promise<Buffer> | null = null) {
    super(type ? `qubesd answered ${type}` : `qubesd: ${kind}`);
    this.name = 'AdminError';
    this.kind = kind;
    this.type = type;
    this.detail = detail;
    this.late = late;
  }
}

/** qubesd drops a request longer than this without an answer. */
export const MAX_REQUEST_BYTES = 65_536;

// R20: what is spliced into the header must not be able to end it.
const METHOD = /^[a-zA-Z][a-zA-Z0-9.]{0,127}$/;
const ARGUMENT = /^[\x21-\x7e]{0,255}$/;

/** The bytes of one request; the caller half-closes after them. Throws `AdminError` 'malformed' on what cannot be framed. */
export const encodeRequest = ({ method, arg = '', dest, payload = '' }: AdminRequest): Buffer => {
  if (!METHOD.test(method) || !ARGUMENT.test(arg)) throw new AdminError('malformed', null, 'unframable header');
  const target = dest === 'dom0' ? 'dom0' : 'uuid' in dest ? `uuid:${dest.uuid}` : dest.name;
  const request = Buffer.from(`${method}+${arg} dom0 name ${target}\0${payload}`, 'utf8');
  if (request.length > MAX_REQUEST_BYTES) throw new AdminError('malformed', null, 'request too long');
  return request;
};

/** The data of a complete answer (everything up to qubesd's close). Throws `AdminError` for any other answer. */
export const decodeAnswer = (bytes: Buffer): Buffer => {
  if (bytes.length === 0) throw new AdminError('empty');
  if (bytes[0] === OK && bytes[1] === 0) return bytes.subarray(2);
  if (bytes[0] === EXCEPTION && bytes[1] === 0) {
    // Type, traceback and message, each ended by NUL: a type that was cut short must not pass for another one.
    const [type, , message, ...end] = bytes.toString('utf8', 2).split('\0');
    if (type && EXCEPTION_TYPE.test(type) && end.at(-1) === '') throw new AdminError('exception', type, message);
  }
  throw new AdminError('malformed');
};

const OK = 0x30;
const EVENT = 0x31;
const EXCEPTION = 0x32;
const EXCEPTION_TYPE = /^[A-Za-z][A-Za-z0-9_]{0,127}$/;
/** An event tells the old value and the new one, each of which can fill a request: no caller may break the stream with them. */
export const MAX_EVENT_BYTES = 4 * MAX_REQUEST_BYTES;

/**
 * An incremental reader of an event stream: feed it chunks, it gives the events that are complete.
 * Throws `AdminError` 'malformed' when the stream is not one of events, or one event exceeds 256 KiB.
 */
export const eventReader = (): ((chunk: Buffer) => AdminEvent[]) => {
  let pending: Buffer = Buffer.alloc(0);
  return (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk]);
    const events: AdminEvent[] = [];
    for (;;) {
      const read = readEvent(pending);
      if (read === null) break;
      events.push(read.event);
      pending = pending.subarray(read.length);
    }
    if (pending.length > MAX_EVENT_BYTES) throw new AdminError('malformed', null, 'event too long');
    return events;
  };
};

/** `1 NUL SUBJECT NUL EVENT NUL (KEY NUL VALUE NUL)* NUL`: an empty key ends the event. */
const readEvent = (bytes: Buffer): { event: AdminEvent; length: number } | null => {
  if (bytes.length > 0 && (bytes[0] !== EVENT || (bytes.length > 1 && bytes[1] !== 0))) {
    throw new AdminError('malformed', null, 'not an event');
  }
  let at = 2;
  const field = (): string | null => {
    const end = bytes.indexOf(0, at);
    if (end < 0) return null;
    const text = bytes.toString('utf8', at, end);
    at = end + 1;
    return text;
  };
  if (bytes.length < 2) return null;
  const subject = field();
  const event = field();
  if (subject === null || event === null) return null;
  const details: Record<string, string> = Object.create(null);
  for (;;) {
    const key = field();
    if (key === null) return null;
    if (key === '') return { event: { subject, event, details }, length: at };
    const value = field();
    if (value === null) return null;
    details[key] = value;
  }
};
