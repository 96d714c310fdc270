// Which properties callers may set (contract 1.3), and which values of each a question can show: a value is the caller's text
// until it is of the property's own kind (I5).
import { isQubeName } from '../names.ts';
import { LABELS } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { type Line, shown } from './words.ts';

interface Settable {
  /** The headline of the question, before the qube's name. */
  readonly headline: string;
  readonly meaning: string;
  /** What the value is. Only a value of its kind is ever shown, or asked about (I5). */
  readonly kind: 'label' | 'count' | 'qube' | 'never';
  readonly unit: string;
}

export const SETTABLE = {
  default_dispvm: {
    headline: 'Change the default disposable template of ',
    meaning: 'What it opens in a new disposable is opened in one of this template. It can be set back.',
    kind: 'qube',
    unit: '',
  },
  label: {
    headline: 'Change the label colour of ',
    meaning: 'The frames of its windows get this colour. It can be set back.',
    kind: 'label',
    unit: '',
  },
  maxmem: {
    headline: 'Change the largest memory of ',
    meaning: 'It may grow up to this much memory while it runs. It can be set back.',
    kind: 'count',
    unit: ' MiB',
  },
  memory: {
    headline: 'Change the initial memory of ',
    meaning: 'It starts with this much memory. It can be set back.',
    kind: 'count',
    unit: ' MiB',
  },
  // On the contract's list, but qubesd lets nobody change it.
  name: { headline: 'Rename ', meaning: 'It cannot be renamed.', kind: 'never', unit: '' },
  netvm: {
    headline: 'Take the network from ',
    meaning: 'It is disconnected at once. Only you can connect it again.',
    kind: 'qube',
    unit: '',
  },
  template: {
    headline: 'Change the template of ',
    meaning:
      'From its next start on it runs the system and the programs of that template, with all the data it has. It can be set back, but not what they did meanwhile.',
    kind: 'qube',
    unit: '',
  },
  vcpus: {
    headline: 'Change the number of processors of ',
    meaning: 'It runs on this many processors from its next start on. It can be set back.',
    kind: 'count',
    unit: '',
  },
} as const satisfies Record<string, Settable>;
export type Property = keyof typeof SETTABLE;

export const isSettable = (property: string): property is Property => Object.hasOwn(SETTABLE, property);

/** Whether its value is the name of a qube, or nothing. */
export const isReference = (property: string): boolean => isSettable(property) && SETTABLE[property].kind === 'qube';

const COUNT = /^[0-9]{1,9}$/;

/** Whether qubesd could take this text for the property, as far as the text alone can tell. */
export const isPossible = (property: Property, text: string): boolean => {
  switch (SETTABLE[property].kind) {
    case 'label':
      return LABELS.some((label) => label === text);
    case 'count':
      return COUNT.test(text);
    case 'qube':
      return text === '' || isQubeName(text);
    case 'never':
      return false;
  }
};

/** A possible value in words; of any other nothing is told but that it is one. */
export const valueWords = async (property: Property, text: string, admin: Admin): Promise<Line> => {
  if (!isPossible(property, text)) return ['something else'];
  const { kind, unit } = SETTABLE[property];
  if (kind === 'qube') return isQubeName(text) ? [await shown(admin, text)] : ['none'];
  return [kind === 'count' ? `${Number(text)}${unit}` : text];
};
