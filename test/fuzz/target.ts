// What a fuzz target is: some bytes in, and nothing out unless a property is broken; then it throws.

export interface Target {
  readonly name: string;
  /** What it throws the bytes at, and what has to hold. */
  readonly what: string;
  /** Words beside those that stand in the source itself. */
  readonly words?: readonly string[];
  /** Where it starts when its corpus is empty. */
  readonly seeds: readonly (string | Buffer)[];
  open(): Opened | Promise<Opened>;
}

export interface Opened {
  check(input: Buffer): void | Promise<void>;
  close?(): Promise<void>;
}

/** One whose check needs nothing to be set up. */
export const plain = (target: Omit<Target, 'open'>, check: Opened['check']): Target => ({
  ...target,
  open: () => ({ check }),
});

/** The first line and the rest, for targets that take a choice before the bytes. */
export const headed = (input: Buffer): [head: string, rest: Buffer] => {
  const end = input.indexOf(0x0a);
  return end < 0
    ? [input.toString('latin1'), Buffer.alloc(0)]
    : [input.toString('latin1', 0, end), input.subarray(end + 1)];
};

/** Printable ASCII: what an operator's terminal, a question or a refusal may be made of. */
export const PRINTABLE = /^[\x20-\x7e]*$/;
