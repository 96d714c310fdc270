// What came from the keyboard, as one of few things. A person presses one key at a time; what comes at once was pasted, or
// is an arrow, and counts as nothing: a name that can be pasted need not be read. Pure.

export type Key =
  | { readonly kind: 'leave' | 'escape' | 'enter' | 'rub' | 'together' | 'nothing' }
  | { readonly kind: 'letter'; readonly letter: string };

/** Longer than anything that can be right. */
export const MAX_TYPED = 48;

const [INTERRUPT, END_OF_FILE, SUSPEND, QUIT] = [0x03, 0x04, 0x1a, 0x1c];
const LEAVING: ReadonlySet<number> = new Set([INTERRUPT, END_OF_FILE, SUSPEND, QUIT]);
const ESCAPE = 0x1b;
const ENTER: ReadonlySet<number> = new Set([0x0a, 0x0d]);
const RUB: ReadonlySet<number> = new Set([0x08, 0x7f]);

/** One read of a terminal in raw mode. */
export const keyOf = (chunk: Uint8Array): Key => {
  if (chunk.some((byte) => LEAVING.has(byte))) return { kind: 'leave' };
  const [byte, ...more] = chunk;
  if (byte === undefined) return { kind: 'nothing' };
  if (more.length > 0) return { kind: 'together' };
  if (byte === ESCAPE) return { kind: 'escape' };
  if (ENTER.has(byte)) return { kind: 'enter' };
  if (RUB.has(byte)) return { kind: 'rub' };
  return byte >= 0x20 && byte <= 0x7e ? { kind: 'letter', letter: String.fromCharCode(byte) } : { kind: 'nothing' };
};

/** What is typed after this key; letters beyond MAX_TYPED are dropped, when nothing can become right any more. */
export const typedWith = (typed: string, key: Key): string => {
  if (key.kind === 'letter') return typed.length < MAX_TYPED ? typed + key.letter : typed;
  if (key.kind === 'rub') return typed.slice(0, -1);
  return key.kind === 'together' ? '' : typed;
};
