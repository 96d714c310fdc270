// Rounds of calls at the socket of the built daemon: in each, one call for every reason, in random order, one after the other.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { Place } from '../bench/place.ts';
import { frame } from '../broker/caller.ts';
import type { Random } from '../fuzz/random.ts';
import { anyName, type Case, FLEET, FROZEN, OPERATOR_FILES, PRINCIPALS, REASONS, type Reason } from './cases.ts';

/** The daemon as the cases want it, and its qubesd, in processes of their own. */
export const startPlace = async (): Promise<Place> => {
  const place = new Place({ ...OPERATOR_FILES });
  const principals = join(place.root, 'etc', 'principals');
  mkdirSync(principals);
  for (const [name, limits] of Object.entries(PRINCIPALS))
    writeFileSync(join(principals, name), JSON.stringify(limits));
  writeFileSync(join(place.root, 'state', 'frozen'), FROZEN);
  await place.startQubesd(FLEET);
  await place.startDaemon(['--jitless']);
  return place;
};

/** Milliseconds from connecting to the full close, by reason; the same index is the same round. */
export type Times = Readonly<Record<Reason, number[]>>;

export interface Rounds {
  readonly path: string;
  readonly of: Case;
  readonly random: Random;
  /** Callers side by side, each making rounds of its own. */
  readonly callers: number;
  readonly goesOn: (rounds: number) => boolean;
}

/** Makes rounds until told to end. Rejects when a reply differs from that to a missing qube. */
export const rounds = async ({ path, of, random, callers, goesOn }: Rounds): Promise<Times> => {
  const times: Times = { missing: [], unmanaged: [], 'under-tier': [], guarded: [], 'out-of-quota': [], frozen: [] };
  let begun = 0;
  let expected: string | null = null;
  const caller = async (): Promise<void> => {
    while (goesOn(begun)) {
      begun += 1;
      const round = new Map<Reason, number>();
      for (const reason of shuffled(of.reasons, random)) {
        const { source } = REASONS[reason];
        const bytes = frame(of.service, of.request(anyName(reason, random.below)), { source });
        const [took, reply] = await timed(path, bytes);
        expected ??= reply;
        if (reply !== expected || !reply.startsWith('{"ok":false')) {
          throw new Error(`${of.service}, ${reason}: ${JSON.stringify(reply)} instead of ${JSON.stringify(expected)}`);
        }
        round.set(reason, took);
      }
      for (const [reason, took] of round) times[reason].push(took);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return times;
};

const shuffled = <T>(items: readonly T[], random: Random): T[] => {
  const order = [...items];
  for (let at = order.length - 1; at > 0; at--) {
    const other = random.below(at + 1);
    [order[at], order[other]] = [order[other] as T, order[at] as T];
  }
  return order;
};

const timed = (path: string, bytes: string): Promise<[took: number, reply: string]> =>
  new Promise((resolve, reject) => {
    let reply = '';
    const began = performance.now();
    const socket = createConnection({ path, allowHalfOpen: true }, () => socket.end(bytes));
    socket.on('data', (chunk) => {
      reply += chunk.toString('utf8');
    });
    socket.on('end', () => resolve([performance.now() - began, reply]));
    socket.on('error', reject);
  });
