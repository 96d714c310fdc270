// The first window of a process costs twice what the next would: classes of the bindings, the theme, the fonts. While the
// question is still on its way there is time to pay for that.
import type { QubeName } from '../names.ts';
import type { Toolkit } from './gtk.ts';
import { questionWindow } from './window.ts';

const NAME = 'qube' as QubeName;
/** Has something of each kind. */
const VIEW = {
  lines: [`Headline of ${NAME}`, 'Fact: value', 'A sentence.'],
  marks: [{ line: 0, start: 12, end: 16, label: 'red' as const }],
  type_to_confirm: NAME,
  risk: 'destroy' as const,
};
const NO_DEEDS = { allow: () => {}, deny: () => {}, freeze: () => {} };

/** Makes a window as for a question, measures it and throws it away. It is never shown. */
export const rehearse = (toolkit: Toolkit): void => {
  const window = questionWindow(toolkit, VIEW, NO_DEEDS, { acceptSynthetic: false, now: () => 0 });
  window.measure();
  window.close();
};
