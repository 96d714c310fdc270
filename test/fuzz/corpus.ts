// The corpus of a target: one input per line, as a JSON string whose characters are the bytes.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const corpusFile = (name: string): string => fileURLToPath(new URL(`corpus/${name}.jsonl`, import.meta.url));

export const asLine = (input: Buffer): string =>
  JSON.stringify(input.toString('latin1')).replace(
    /[\x7f-\xff]/g,
    (byte) => `\\u00${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
export const fromLine = (line: string): Buffer => Buffer.from(JSON.parse(line), 'latin1');

/** The inputs that the repository keeps; none where there is no file. */
export const corpusOf = (name: string): Buffer[] => {
  const path = corpusFile(name);
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').split('\n').filter(Boolean).map(fromLine);
};

export const keep = (name: string, inputs: readonly Buffer[]): void => {
  const sorted = inputs.toSorted((a, b) => a.length - b.length || Buffer.compare(a, b));
  writeFileSync(corpusFile(name), sorted.map((input) => `${asLine(input)}\n`).join(''));
};
