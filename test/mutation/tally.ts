// What Stryker reports of one area, counted.
import { lineOf } from './survivors.ts';

export interface Mutant {
  readonly mutatorName: string;
  readonly replacement: string;
  readonly status: 'Killed' | 'Timeout' | 'Survived' | 'NoCoverage' | 'Ignored' | 'RuntimeError' | 'CompileError';
  /** What the test said that noticed it. */
  readonly statusReason?: string;
  readonly location: Record<'start' | 'end', { readonly line: number; readonly column: number }>;
}
export interface Report {
  readonly files: Readonly<Record<string, { readonly source: string; readonly mutants: readonly Mutant[] }>>;
}

export interface Tally {
  readonly area: string;
  readonly all: number;
  readonly noticed: number;
  /** Changes of nothing but the words of a sentence. */
  readonly words: number;
  readonly explained: number;
  /** The lines, as for SURVIVORS.md, of those that nobody noticed or explained. */
  readonly left: readonly string[];
  /** Explanations of mutants that did not survive this time. */
  readonly stale: readonly string[];
}

export function tallyOf(area: string, { files }: Report, explained: ReadonlySet<string>): Tally {
  const counts = { noticed: 0, words: 0, explained: 0 };
  const left: string[] = [];
  const met = new Set<string>();
  for (const [file, { source, mutants }] of Object.entries(files)) {
    for (const mutant of mutants) {
      const { status } = mutant;
      const hasSurvived = status === 'Survived' || status === 'NoCoverage';
      if (!hasSurvived && status !== 'Killed' && status !== 'Timeout') continue;
      const { before, after, cut } = change(source, mutant);
      const line = lineOf(file, before, after);
      if (explained.has(line) && (hasSurvived || isByTime(mutant))) {
        counts.explained += 1;
        met.add(line);
      } else if (!hasSurvived) counts.noticed += 1;
      else if (isSentence(mutant, cut)) counts.words += 1;
      else left.push(line);
    }
  }
  // An area may have a file from beside its directory.
  const places = [`${area}/`, ...Object.keys(files).map((file) => `${file.replace(/^daemon\//, '')}\``)];
  const ofArea = [...explained].filter((line) => places.some((place) => line.startsWith(`- \`${place}`)));
  const stale = ofArea.filter((line) => !met.has(line));
  return { area, all: counts.noticed + counts.words + counts.explained + left.length, ...counts, left, stale };
}

/** On a busy machine a test runs out of its time by itself: that is no news of a change which is explained. */
const isByTime = ({ status, statusReason }: Mutant): boolean =>
  status === 'Timeout' || statusReason?.startsWith('Test timed out') === true;

/** A text of three words or more is for people to read: what it says is looked at, not tested, word by word. */
const isSentence = ({ mutatorName }: Mutant, cut: string): boolean =>
  mutatorName === 'StringLiteral' && /[A-Za-z,.:;]+ [A-Za-z]+ [A-Za-z$]+/.test(cut);

/** The lines that a mutant changes, before and after, each as one line; and what it cuts out of them. */
function change(source: string, { location: { start, end }, replacement }: Mutant) {
  const lines = source.split('\n').slice(start.line - 1, end.line);
  const text = lines.join('\n');
  const head = text.slice(0, start.column - 1);
  const tail = (lines.at(-1) ?? '').slice(end.column - 1);
  const cut = text.slice(head.length, text.length - tail.length);
  return { before: oneLine(text), after: oneLine(`${head}${replacement}${tail}`), cut };
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();
