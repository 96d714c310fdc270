// Which intents have no outcome yet (I4). Fed with every record in order; pure but for its own map.
import { z } from 'zod';
import type { ChainedRecord } from './chain.ts';
import type { Intent } from './record.ts';

/** An intent as read back from the journal, with the number and time of its record. */
export type UnfinishedIntent = Intent & { readonly seq: number; readonly ts: string };

// The chain vouches for the records; a field of an odd shape (another version wrote it) must not hide the intent itself.
const TEXT = z.string().catch('?');
const SCALAR = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const INTENT = z.object({
  type: z.literal('intent'),
  seq: z.number(),
  ts: z.string(),
  call: z.number().catch(0),
  source: TEXT,
  principal: TEXT,
  service: TEXT,
  action: TEXT,
  qubes: z.array(z.object({ role: z.string(), name: z.string(), uuid: z.string() })).catch([]),
  args: z.record(z.string(), SCALAR).catch({}),
  digest: TEXT,
  nonce: z.string().nullable().catch(null),
});

export interface OpenIntents {
  see(record: ChainedRecord): void;
  /** Those still open, oldest first. */
  list(): UnfinishedIntent[];
}

/**
 * The numbers of calls begin again at each start, so an intent is closed by an outcome of its call within the same start,
 * or later by the finding that names it. The steps of a plan share a call, but run one after another: an outcome closes
 * the newest open intent of its call.
 */
export function openIntents(): OpenIntents {
  const open = new Map<number, ChainedRecord>();
  let ofThisStart = new Map<unknown, number[]>();

  return {
    see(record) {
      switch (record.type) {
        case 'start':
          ofThisStart = new Map();
          break;
        case 'intent': {
          open.set(record.seq, record);
          const seqs = ofThisStart.get(record.call);
          if (seqs === undefined) ofThisStart.set(record.call, [record.seq]);
          else seqs.push(record.seq);
          break;
        }
        case 'outcome': {
          const seqs = ofThisStart.get(record.call);
          const seq = seqs?.pop();
          if (seq !== undefined) open.delete(seq);
          if (seqs?.length === 0) ofThisStart.delete(record.call);
          break;
        }
        case 'finding':
          open.delete(record.intent_seq as number);
          break;
      }
    },
    list: () => [...open.values()].map((record) => INTENT.parse(record)),
  };
}
