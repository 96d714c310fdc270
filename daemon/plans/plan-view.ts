// The one question of a plan: every step, the destructive ones first and counted. A step says all that its own question
// would say; what does not fit is not asked, and so refused.
import type { Mark, View } from '../confirm/question.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import type { Caller } from '../services/service.ts';
import { askedBy, viewOf } from '../services/words.ts';

/** What the window takes at most; it refuses by itself what does not fit the screen. */
export const MAX_LINE_LENGTH = 240;
export const MAX_LINES = 60;

export interface StepView {
  /** Counted from 1, in the order of the plan, reading steps included. */
  readonly step: number;
  readonly view: View;
}

interface Piece {
  readonly text: string;
  readonly marks: readonly Mark[];
}

/** The plan's view, or null where it does not fit. `steps` is the count of all, `views` those that change something. */
export const planView = async (
  steps: number,
  views: readonly StepView[],
  caller: Caller,
  admin: Admin,
): Promise<View | null> => {
  const destructive = views.filter(({ view }) => view.risk === 'destroy');
  const others = views.filter(({ view }) => view.risk !== 'destroy');
  const reads = steps - views.length;
  const opening = viewOf('change', null, [[headline(steps, destructive.length)], await askedBy(admin, caller)]);
  const pieces: Piece[] = [
    ...opening.lines.map((text, line) => ({ text, marks: opening.marks.filter((mark) => mark.line === line) })),
    ...[...destructive, ...others].flatMap(stepPieces),
    ...(reads > 0 ? [{ text: `Steps that only read, and were answered already: ${reads}`, marks: [] }] : []),
    { text: 'The steps run in the order of their numbers and stop at the first that fails.', marks: [] },
  ];
  if (pieces.length > MAX_LINES || pieces.some(({ text }) => text.length > MAX_LINE_LENGTH)) return null;
  return {
    lines: pieces.map(({ text }) => text),
    marks: pieces.flatMap(({ marks }, line) => marks.map((mark) => ({ ...mark, line }))),
    type_to_confirm: destructive.find(({ view }) => view.type_to_confirm)?.view.type_to_confirm ?? null,
    risk: destructive.length > 0 ? 'destroy' : 'change',
  };
};

const headline = (steps: number, destructive: number): string =>
  `Run a plan of ${steps} step${steps === 1 ? '' : 's'}, ${destructive === 0 ? 'none' : destructive} of them destructive`;

/** A step's lines but for who asks, which the plan says once: as many to a line as fit. */
const stepPieces = ({ step, view }: StepView): Piece[] => {
  const facts = view.lines
    .map((text, line) => ({ text, marks: view.marks.filter((mark) => mark.line === line) }))
    .filter(({ text }) => !text.startsWith('Asked by: '));
  const pieces: Piece[] = [];
  let piece: Piece = { text: `Step ${step}: `, marks: [] };
  for (const [index, fact] of facts.entries()) {
    const joint = index === 0 ? '' : /[.:]$/.test(piece.text) ? ' ' : '; ';
    if (piece.text.length + joint.length + fact.text.length > MAX_LINE_LENGTH) {
      pieces.push(piece);
      piece = joined({ text: `Step ${step}, more: `, marks: [] }, '', fact);
    } else piece = joined(piece, joint, fact);
  }
  return [...pieces, piece];
};

const joined = (head: Piece, joint: string, tail: Piece): Piece => {
  const offset = head.text.length + joint.length;
  const moved = tail.marks.map((mark) => ({ ...mark, start: mark.start + offset, end: mark.end + offset }));
  return { text: `${head.text}${joint}${tail.text}`, marks: [...head.marks, ...moved] };
};
