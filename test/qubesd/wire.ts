// qubesd's side of its socket: the framing of one request, one answer, one event (QubesDaemonProtocol of qubes-core-admin 4.4).

/** Bytes of header and payload together; one more and qubesd drops the connection. */
export const MAX_REQUEST_BYTES = 65_536;

/** The cut-up bytes of a request. Nothing is known about the destination yet. */
export interface Request {
  readonly method: string;
  readonly arg: string;
  readonly source: string;
  readonly dest: string;
  readonly payload: Buffer;
}

/** A typed exception, delivered to the caller. */
export class Refusal extends Error {
  readonly type: string;

  constructor(type: string, message: string) {
    super(message);
    this.type = type;
  }
}

/** An exception that qubesd does not handle: it closes the connection without a byte. */
export class Abort extends Error {}

/**
 * Cuts `METHOD[+ARG] SP SOURCE SP name SP DEST NUL PAYLOAD` apart; `keyword adminvm` stands for `name dom0`.
 * Null for anything else, and for a header that is not ASCII: qubesd answers neither.
 */
export const parseRequest = (bytes: Buffer): Request | null => {
  const end = bytes.indexOf(0);
  if (end < 0) return null;
  const header = bytes.toString('latin1', 0, end);
  if (!isAscii(header)) return null;
  const [methodAndArg, source, kind, ...rest] = header.split(' ');
  if (methodAndArg === undefined || source === undefined || rest.length === 0) return null;
  const named = rest.join(' ');
  const dest = kind === 'keyword' && named === 'adminvm' ? 'dom0' : kind === 'name' ? named : null;
  if (dest === null) return null;
  const plus = methodAndArg.indexOf('+');
  return {
    method: plus < 0 ? methodAndArg : methodAndArg.slice(0, plus),
    arg: plus < 0 ? '' : methodAndArg.slice(plus + 1),
    source,
    dest,
    payload: bytes.subarray(end + 1),
  };
};

/** `0 NUL data` */
export const encodeAnswer = (data: string): Buffer => Buffer.from(`0\0${data}`);

/** `2 NUL TYPE NUL TRACEBACK NUL MESSAGE NUL`; the traceback is empty, as without qubesd's debug mode. */
export const encodeException = (type: string, message: string): Buffer => Buffer.from(`2\0${type}\0\0${message}\0`);

/** What an event tells beside its name. qubesd writes Python's `str()` of the values, so null becomes `None`. */
export type EventDetails = Readonly<Record<string, string | null>>;

/** `1 NUL SUBJECT NUL EVENT NUL (key NUL value NUL)* NUL` */
export const encodeEvent = (subject: string, event: string, details: EventDetails): Buffer => {
  const pairs = Object.entries(details).flatMap(([key, value]) => [key, value ?? 'None']);
  return Buffer.from(`1\0${[subject, event, ...pairs].map((field) => `${field}\0`).join('')}\0`);
};

/** The text of a payload; one that is not ASCII is an unhandled error in qubesd. */
export const asciiText = (payload: Buffer): string => {
  const text = payload.toString('latin1');
  if (!isAscii(text)) throw new Abort('the payload is not ASCII');
  return text;
};

const isAscii = (latin1: string): boolean => !/[\x80-\xff]/.test(latin1);
