// Building the view: every line is put together here from fixed wording, names that passed the platform's grammar,
// and values we computed. A qube's name always comes with its label colour in words; the mark lets it be drawn so too.
import type { Mark, View } from '../confirm/question.ts';
import type { QubeName } from '../names.ts';
import { LABELS, type Label, type PowerState } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Caller } from './service.ts';

/** A qube as the person knows it: `ai-work (yellow)`. */
export interface Shown {
  readonly name: QubeName;
  readonly label: Label | null;
}

export type Line = readonly (string | Shown)[];

export const viewOf = (risk: View['risk'], typeToConfirm: QubeName | null, lines: readonly Line[]): View => {
  const marks: Mark[] = [];
  const texts = lines.map((line, index) => {
    let text = '';
    for (const part of line) {
      if (typeof part === 'string') text += part;
      else {
        if (part.label)
          marks.push({ line: index, start: text.length, end: text.length + part.name.length, label: part.label });
        text += `${part.name} (${part.label ?? 'label unknown'})`;
      }
    }
    return text;
  });
  return { lines: texts, marks, type_to_confirm: typeToConfirm, risk };
};

/** The qube with the label it has now; a label that qubesd will not tell is said to be unknown. */
export const shown = async (admin: Admin, name: QubeName): Promise<Shown> => {
  try {
    const { text } = await admin.property({ name }, 'label');
    return { name, label: LABELS.find((label) => label === text) ?? null };
  } catch (error) {
    if (error instanceof AdminError && error.kind === 'exception') return { name, label: null };
    throw error;
  }
};

export const askedBy = async (admin: Admin, caller: Caller): Promise<Line> => [
  'Asked by: ',
  await shown(admin, caller.source),
  `, ${caller.principal} agent`,
];

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** `2147483648` -> `2.0 GiB`. */
export const bytes = (count: number): string => {
  let value = count;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value} bytes` : `${value.toFixed(1)} ${UNITS[unit]}`;
};

/** `86400` -> `24 hours`; whole units, the largest that reads well. */
export const duration = (seconds: number): string => {
  const [count, unit] =
    seconds >= 2 * 86_400
      ? [Math.floor(seconds / 86_400), 'day']
      : seconds >= 3_600
        ? [Math.floor(seconds / 3_600), 'hour']
        : seconds >= 60
          ? [Math.floor(seconds / 60), 'minute']
          : [seconds, 'second'];
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
};

export const STATE_WORDS: Readonly<Record<PowerState, string>> = {
  Halted: 'not running',
  Transient: 'starting',
  Running: 'running',
  Paused: 'paused',
  Suspended: 'suspended',
  Halting: 'shutting down',
  Dying: 'shutting down',
  Crashed: 'crashed',
  NA: 'state unknown',
};
