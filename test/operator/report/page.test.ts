import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Row } from '../../../daemon/journal/rows.ts';
import type { Report } from '../../../daemon/journal/verify.ts';
import { counting } from '../../../daemon/operator/report/figures.ts';
import { html } from '../../../daemon/operator/report/markup.ts';
import { pageOf } from '../../../daemon/operator/report/page.ts';

const VERIFIED: Report = {
  ok: true,
  format: 'journal',
  records: 1,
  fault: null,
  breaks: [],
  remarks: [],
  signedUpTo: 1,
  last: 1,
};
const page = (rows: readonly Row[], more = {}) => {
  const count = counting();
  for (const row of rows) count.see(row);
  return pageOf({
    ...{ figures: count.figures(), verified: VERIFIED, place: '/log', made: '2026-01-02T03:04:05.678Z', narrowed: '' },
    ...more,
  });
};
const hostile = (text: string): Row => ({
  ...{ seq: 1, ts: text, call: 1, args: text, nonce: text, durationMs: 5, line: text },
  ...{ source: text, principal: text, service: text, action: text, detail: text, result: text },
  qubes: [{ role: text, name: text, uuid: text }],
  type: 'answer',
});
const types = ['answer', 'outcome', 'decision', 'operator', 'call', 'unreadable'];

describe('the page of a report', () => {
  it('needs nothing but itself: no script, no link, no other file', () => {
    const text = page([hostile('x')]);
    expect(text).toMatch(/^<!DOCTYPE html>\n<html lang="en">/);
    expect(text).toContain("default-src 'none'");
    expect(text).not.toMatch(/<script|<link|<img|<iframe|@import|url\(|https?:/i);
  });

  it('says whether the journal is intact, in the first lines', () => {
    expect(page([])).toContain('The journal is intact: 1 records checked, signed up to record 1.');
    const fault = { what: 'hash', file: 'f', line: 1, seq: 1, sentence: 'line 1 was changed & more.' } as const;
    const text = page([], { verified: { ...VERIFIED, ok: false, fault } });
    expect(text).toContain('NOT intact');
    expect(text).toContain('line 1 was changed &amp; more.');
  });

  it('has no tags of anybody else, whatever stands in the journal', () => {
    const clean = new Set(page(types.map((type) => ({ ...hostile('word'), type }))).match(/<[^>]*>/g));
    const tagsOf = (text: string) => text.match(/<\/?[a-z]+/gi) ?? [];
    const known = new Set(tagsOf([...clean].join('')));
    const piece = fc.constantFrom(
      '<script>',
      '</td>',
      '"',
      "'",
      '&',
      '<',
      '>',
      '-->',
      '\u202e',
      '\u0000',
      'a',
      '${',
      'style=',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const row = hostile(pieces.join(''));
        const text = page(types.map((type) => ({ ...row, type })));
        for (const tag of tagsOf(text)) expect(known).toContain(tag);
        for (const character of ['\u202e', '\u0000']) expect(text).not.toContain(character);
      }),
    );
  });

  it('shows characters that turn writing around, or that nobody sees, as replacement characters', () => {
    expect(html`${'a\u202eb\u200bc\ud800d\n'}`.text).toBe('a\ufffdb\ufffdc\ufffdd\ufffd');
    expect(html`${'é<>&"\''}`.text).toBe('é&lt;&gt;&amp;&quot;&#39;');
  });
});
