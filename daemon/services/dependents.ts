// Who would feel it: the qubes that rest on another one, for the question about that one.
import { isQubeName } from '../names.ts';
import { LABELS, type Label, type Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Line, Shown } from './words.ts';

/** So many are named; of the others only how many there are. */
export const MAX_NAMED = 4;

/** Property -> what the qube that it names is to the one that has it. */
const WHILE_RUNNING = { netvm: 'Network of', audiovm: 'Sound of', guivm: 'Display of' } as const;
const ALWAYS = {
  template: 'Template of',
  default_dispvm: 'Disposables of',
  ...WHILE_RUNNING,
  management_dispvm: 'Managed through it',
} as const;

/**
 * A line for each way in which other qubes rest on the target: `Network of: ai-work (yellow)`. Of a stop only running ones feel
 * anything; a removal concerns all. Rejects with `AdminError` when qubesd cannot be asked.
 */
export const dependentLines = async (target: Qube, whose: 'running' | 'all', admin: Admin): Promise<Line[]> => {
  const words: Readonly<Record<string, string>> = whose === 'running' ? WHILE_RUNNING : ALWAYS;
  const found = new Map<string, Shown[]>(Object.values(words).map((word) => [word, []]));
  let unread = 0;
  for (const { name, uuid, klass, state } of await admin.list()) {
    if (uuid === target.uuid || klass === 'AdminVM' || (whose === 'running' && state === 'Halted')) continue;
    try {
      const properties = await admin.properties({ uuid });
      const label = labelOf(properties.get('label')?.text);
      for (const [property, word] of Object.entries(words)) {
        if (properties.get(property)?.text === target.name && isQubeName(name)) found.get(word)?.push({ name, label });
      }
    } catch (error) {
      if (!(error instanceof AdminError) || error.kind === 'unreachable') throw error;
      // It may have been removed this moment, and then rests on nothing.
      if (error.type !== 'QubesVMNotFoundError') unread += 1;
    }
  }
  return [
    ...[...found].flatMap(([word, qubes]): Line[] => (qubes.length === 0 ? [] : [[`${word}: `, ...listed(qubes)]])),
    ...(unread === 0 ? [] : [[`Not known: what ${unread} other qube${unread === 1 ? ' rests' : 's rest'} on`]]),
  ];
};

const listed = (qubes: readonly Shown[]): Line => {
  const sorted = [...qubes].sort((a, b) => (a.name < b.name ? -1 : 1));
  const named = sorted.slice(0, MAX_NAMED).flatMap((qube, index) => (index === 0 ? [qube] : [', ', qube]));
  const more = sorted.length - MAX_NAMED;
  return more > 0 ? [...named, ` and ${more} more`] : named;
};

const labelOf = (text: string | undefined): Label | null => LABELS.find((label) => label === text) ?? null;

/** For how many seconds it has run; null where that is not told. `now` in milliseconds since 1970. */
export const runningSeconds = async (target: Qube, now: number, admin: Admin): Promise<number | null> => {
  try {
    const { text } = await admin.property({ uuid: target.uuid }, 'start_time');
    const started = START_TIME.test(text) ? Number(text) : 0;
    const seconds = Math.floor(now / 1000 - started);
    return started > 0 && seconds >= 0 ? seconds : null;
  } catch (error) {
    if (error instanceof AdminError && error.kind !== 'unreachable') return null;
    throw error;
  }
};

/** Seconds since 1970, as qubesd writes a float. */
const START_TIME = /^\d{9,11}(\.\d{1,9})?$/;
