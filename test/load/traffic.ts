// What agents do in a day, and as many calls of that kind as wanted: reads mostly, some refusals, some changes.
import { frame } from '../broker/caller.ts';
import type { Random } from '../fuzz/random.ts';
import { FLOODER, nameOf, QUBES, WORKER } from './floods.ts';

export interface Kind {
  readonly what: string;
  /** How often in a day of 24 hours. */
  readonly perDay: number;
  readonly expected: 'ok' | 'refused';
  readonly bytes: (random: Random) => string;
}

const call = (service: string, request: unknown, random: Random): string =>
  frame(service, request, { source: random.chance(0.5) ? WORKER : FLOODER });
const anyName = (random: Random): string => nameOf(random.below(QUBES));

/** Two busy agents: a look every two seconds, a refusal every half minute, a change every minute. */
export const DAY: readonly Kind[] = [
  {
    ...{ what: 'property', perDay: 35_000, expected: 'ok' },
    bytes: (random) => call('qmcp.GetPropertyAIManaged', { name: anyName(random), property: 'label' }, random),
  },
  {
    ...{ what: 'list', perDay: 8_000, expected: 'ok' },
    bytes: (random) => call('qmcp.ListAIManagedQubes', '', random),
  },
  {
    ...{ what: 'missing', perDay: 2_000, expected: 'refused' },
    bytes: (random) => call('qmcp.GetPropertyAIManaged', { name: 'no-such', property: 'label' }, random),
  },
  {
    ...{ what: 'unmanaged', perDay: 500, expected: 'refused' },
    bytes: (random) => call('qmcp.LifecycleAIManaged', { name: 'debian-13', action: 'start' }, random),
  },
  {
    ...{ what: 'malformed', perDay: 300, expected: 'refused' },
    bytes: (random) => call('qmcp.SetPropertyAIManaged', '{"name":', random),
  },
  {
    ...{ what: 'label', perDay: 1_200, expected: 'ok' },
    bytes: (random) =>
      call(
        'qmcp.SetPropertyAIManaged',
        { name: anyName(random), property: 'label', value: random.of(['red', 'blue', 'gray']) },
        random,
      ),
  },
  {
    ...{ what: 'devices', perDay: 1_000, expected: 'ok' },
    bytes: (random) =>
      call('qmcp.ListAttachedDevicesAIManaged', { name: anyName(random), device_class: 'usb' }, random),
  },
  {
    ...{ what: 'feature', perDay: 240, expected: 'ok' },
    bytes: (random) =>
      call('qmcp.SetFeatureAIManaged', { name: anyName(random), feature: 'menu-items', value: 'a.desktop' }, random),
  },
];
const SUM = DAY.reduce((sum, { perDay }) => sum + perDay, 0);
export const CALLS_PER_DAY = SUM;

export const anyKind = (random: Random): Kind => {
  let left = random.below(SUM);
  for (const kind of DAY) {
    left -= kind.perDay;
    if (left < 0) return kind;
  }
  throw new RangeError('no kind of call is left');
};
