// One source asks without an end, another asks now and then: whose turn it is.
import { frame } from '../broker/caller.ts';
import { FLOODER, nameOf, WORKER } from './floods.ts';
import type { LoadPlace } from './place.ts';
import { called, crowd, newTally } from './worker.ts';

const FLOODERS = 40;
const asking = (source: string, index: number): string =>
  frame(
    'qmcp.SetPropertyAIManaged',
    { name: nameOf(index), property: 'label', value: index % 2 ? 'red' : 'blue' },
    { source },
  );

export interface Turns {
  /** Calls of the other source that were done. */
  readonly done: number;
  readonly refused: number;
  /** The most questions of the flooding source that were asked while one of the other waited. */
  readonly passed: number;
  readonly floodAsked: number;
}

/** The other source makes so many calls, one after the other, each of which is asked. */
export const turns = async ({ place, asked }: LoadPlace, calls: number): Promise<Turns> => {
  let flooding = true;
  let turn = 0;
  const flood = crowd(
    place.door,
    FLOODERS,
    () => flooding,
    () => ({ bytes: asking(FLOODER, turn++) }),
  );
  const tally = newTally();
  let passed = 0;
  while (asked.length < 3) await new Promise((next) => setImmediate(next));
  for (let call = 0; call < calls; call++) {
    const before = asked.length;
    await called(place.door, asking(WORKER, call), tally);
    const between = asked.slice(before);
    const own = between.findIndex((line) => line.includes(WORKER));
    passed = Math.max(passed, own < 0 ? between.length : own);
  }
  flooding = false;
  await flood;
  const done = tally.replies.get('ok') ?? 0;
  return { done, refused: calls - done, passed, floodAsked: asked.filter((line) => line.includes(FLOODER)).length };
};
