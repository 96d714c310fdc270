import { expect, test } from 'vitest';
import { CHIPS, letterAttributes } from '../../daemon/dialog/colours.ts';
import { LABELS } from '../../daemon/qube.ts';

// WCAG 2.2, "relative luminance" and "contrast ratio".
const luminance = (colour: string): number => {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
};
const contrast = (one: string, other: string): number => {
  const [dark = 0, light = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
};

test.each(LABELS)('a name on the colour %s can be read', (label) => {
  expect(contrast(CHIPS[label].background, CHIPS[label].foreground)).toBeGreaterThanOrEqual(4.5);
});

test('no two labels look the same', () => {
  expect(new Set(LABELS.map((label) => CHIPS[label].background)).size).toBe(LABELS.length);
});

test('attributes are given in bytes, for the name and the spaces beside it', () => {
  const text = '\u2192 ai-work (red)';
  expect(letterAttributes({ text, spans: [{ start: 2, end: 9, label: 'red' }] }).split('\n')).toEqual([
    '4 11 foreground #ffffff',
    '4 11 weight bold',
    '4 11 allow-breaks false',
    '3 4 letter-spacing 4096',
    '11 12 letter-spacing 4096',
  ]);
});

test('a name alone has no spaces to widen, a text without names no attributes', () => {
  const alone = letterAttributes({ text: 'ai-work', spans: [{ start: 0, end: 7, label: 'yellow' }] });
  expect(alone).toBe('0 7 foreground #000000\n0 7 weight bold\n0 7 allow-breaks false');
  expect(letterAttributes({ text: 'ai-work', spans: [] })).toBe('');
});
