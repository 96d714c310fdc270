// Name patterns: whole names, and beginnings with a * after them. Pure.
import { isQubeName } from '../names.ts';

export interface NamePatterns {
  readonly whole: ReadonlySet<string>;
  readonly beginnings: readonly string[];
}

/** Whether a text is a pattern: a name that a qube can have, or the beginning of one followed by *. */
export const isPattern = (text: string): boolean => isQubeName(text.endsWith('*') ? text.slice(0, -1) : text);

export const patternsOf = (texts: readonly string[]): NamePatterns => ({
  whole: new Set(texts.filter((text) => !text.endsWith('*'))),
  beginnings: texts.filter((text) => text.endsWith('*')).map((text) => text.slice(0, -1)),
});

export const matches = ({ whole, beginnings }: NamePatterns, name: string): boolean =>
  whole.has(name) || beginnings.some((beginning) => name.startsWith(beginning));
