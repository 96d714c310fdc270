import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { reasonNotToShow } from '../../../daemon/dialog/displayable.ts';
import type { Asked } from '../../../daemon/dialog/incoming.ts';
import type { QubeName } from '../../../daemon/names.ts';
import {
  CHIPS,
  LEAST_COLUMNS,
  plain,
  type Room,
  type Sheet,
  sheetOf,
  wordToAllow,
  wordToFreeze,
} from '../../../daemon/operator/approve/sheet.ts';
import { LABELS } from '../../../daemon/qube.ts';
import { REMOVE, START } from '../../dialog/asking.ts';
import { EXTREMES } from '../../gallery/extremes.ts';

type View = Asked['view'];
const ROOM: Room = { columns: 80, rows: 24, colour: false, unicode: true };
const asView = (view: object): View => view as View;
const removal = asView({ ...REMOVE, freeze: 'mcp-control' });

const shown = (view: View, room: Partial<Room> = {}): Sheet => {
  const sheet = sheetOf(view, { ...ROOM, ...room });
  if (typeof sheet === 'string') throw new Error(sheet);
  return sheet;
};

const line = fc.oneof(
  fc.stringMatching(/^[!-~]([!-~]| [!-~]){0,100}$/),
  fc.stringMatching(/^[A-Z][a-z ]{0,8}[a-z]: [!-~]([!-~]| [!-~]){0,100}$/),
  fc.stringMatching(/^[a-z]{1,20}( [a-z\u2192\u2013\u00d7]{1,20}){0,9}$/),
);

test('whatever may be shown reads back from its rows as it is, and no row reaches the last column', () => {
  let [whole, refused] = [0, 0];
  fc.assert(
    fc.property(
      fc.array(line, { minLength: 1, maxLength: 12 }),
      fc.integer({ min: LEAST_COLUMNS, max: 200 }),
      fc.integer({ min: 8, max: 40 }),
      fc.boolean(),
      (lines, columns, rows, colour) => {
        const sheet = sheetOf(asView({ ...START, lines }), { columns, rows, colour, unicode: true });
        if (typeof sheet === 'string') {
          refused += 1;
          return;
        }
        whole += 1;
        expect(sheet.rows.length + 2).toBeLessThanOrEqual(rows);
        // Two blanks become one, which then is not the line that was asked, and is not signed.
        expect(sheet.lines).toEqual(lines.map((text) => text.replace(/ +/g, ' ')));
        if (reasonNotToShow(lines) === null) expect(sheet.lines).toEqual(lines);
        for (const row of sheet.rows) {
          expect(plain(row).length).toBeLessThan(columns);
          expect(plain(row)).toMatch(/^[ -~\u2192\u2013\u00d7]*$/);
        }
      },
    ),
  );
  expect(Math.min(whole, refused)).toBeGreaterThan(5);
});

test('colours change no letter, and lie on the names of qubes alone', () => {
  for (const view of [removal, ...EXTREMES.map(({ view }) => asView(view))]) {
    const [dull, bright] = [false, true].map((colour) => shown(view, { colour, rows: 100 })) as [Sheet, Sheet];
    expect(bright.rows.map(plain)).toEqual(dull.rows);
    expect(bright.lines).toEqual(dull.lines);
    const chips = Object.values(CHIPS).map((chip) => `${chip.replaceAll('[', '\\[')}([^\\x1b]*)`);
    const names = [...bright.rows.join('\n').matchAll(new RegExp(chips.join('|'), 'g'))].map((match) =>
      match.slice(1).find((name) => name !== undefined),
    );
    const marked = view.marks.map(({ line, start, end }) => view.lines[line]?.slice(start, end));
    expect(names.sort()).toEqual(marked.sort());
  }
});

test('there is a colour for every label, and no two are alike', () => {
  expect(Object.keys(CHIPS).sort()).toEqual([...LABELS].sort());
  expect(new Set(Object.values(CHIPS)).size).toBe(LABELS.length);
});

describe('a question is refused whole', () => {
  const needed = shown(removal).rows.length + 2;
  test.each<[string, View, Partial<Room>, RegExp | null]>([
    ['that needs one row more than there is', removal, { rows: needed - 1 }, /needs \d+ rows, and the terminal has/],
    ['but not one that just fits', removal, { rows: needed }, null],
    ['on a terminal one column too narrow', removal, { columns: LEAST_COLUMNS - 1, rows: 99 }, /columns/],
    ['but not on one just wide enough', removal, { columns: LEAST_COLUMNS, rows: 99 }, null],
    [
      'with a word that is wider than the terminal',
      asView({ ...START, lines: ['x'.repeat(80)] }),
      {},
      /longer than 79/,
    ],
    ['but not with one that just fits', asView({ ...START, lines: ['x'.repeat(79)] }), {}, null],
    [
      'with characters that the terminal lacks',
      asView({ ...START, lines: ['a \u2192 b'] }),
      { unicode: false },
      /LANG/,
    ],
    ['but not with those that it has', asView({ ...START, lines: ['a \u2192 b'] }), {}, null],
    ['with an escape sequence', asView({ ...START, lines: ['a \x1b[2J b'] }), {}, /plain printable/],
    // Taken for a colour of ours and stripped, it is missing from what is read back, so that nothing gets signed.
  ])('%s', (_, view, room, reason) => {
    const sheet = sheetOf(view, { ...ROOM, ...room });
    if (reason === null) expect(sheet).toMatchObject({ lines: view.lines });
    else expect(sheet).toMatch(reason);
  });

  test('with a colour that is not ours: it is not among the lines that would be signed', () => {
    const view = asView({ ...START, lines: ['a \x1b[8mhidden\x1b[0m b'] });
    const sheet = sheetOf(view, ROOM);
    expect(typeof sheet === 'string' || sheet.lines[0] !== view.lines[0]).toBe(true);
  });
});

test('the word for a yes is the name where there is one, and no name is the words for freezing', () => {
  expect(wordToAllow(removal)).toBe('ai-work');
  expect(wordToAllow(asView(START))).toBe('allow');
  expect(wordToFreeze(asView(START))).toBeNull();
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-zA-Z][\w.-]{0,30}$/),
      fc.stringMatching(/^[a-zA-Z][\w.-]{0,30}$/),
      (name, freeze) => {
        const view = asView({ ...REMOVE, type_to_confirm: name as QubeName, freeze });
        expect(wordToFreeze(view)).not.toBe(wordToAllow(view));
      },
    ),
  );
});
