// Which intents have no outcome yet (I4). Fed with every record in order; pure but for its own map.
import * as z from 'zod/mini';
import type { CarriedIntent, Intent, StepTaken } from './record.ts';

/** An intent as read back from the journal, with the number and time of its record, and how far its effect got. */
export type UnfinishedIntent = Intent & {
  readonly seq: number;
  readonly ts: string;
  readonly steps: readonly StepTaken[];
  /** Whether it was under way when the journal ends, rather than left open by an earlier start or after its outcome. */
  readonly current: boolean;
};

/** What of a record is looked at here; any chained record has it. */
export type Seen = Readonly<Record<string, unknown>> & {
  readonly type: string;
  readonly seq: number;
  readonly ts: string;
};

// The chain vouches for the records; a field of an odd shape (another version wrote it) must not hide the intent itself.
const TEXT = z.catch(z.string(), '?');
const SCALAR = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const QUBE = z.object({ role: z.string(), name: z.string(), uuid: z.string() });
const STEP = z.object({
  step: TEXT,
  qube: z.catch(z.nullable(QUBE), null),
  known: z.catch(z.nullable(z.array(z.string())), null),
});
const QUBE_OF = z.object({ name: z.string(), uuid: z.string() });
const INTENT = z.object({
  type: z.catch(z.literal('intent'), 'intent'),
  call: z.catch(z.number(), 0),
  source: TEXT,
  principal: TEXT,
  service: TEXT,
  action: TEXT,
  qubes: z.catch(z.array(QUBE), []),
  args: z.catch(z.record(z.string(), SCALAR), {}),
  digest: TEXT,
  nonce: z.catch(z.nullable(z.string()), null),
});
const CARRIED = z.catch(
  z.array(
    z.object({
      seq: z.number(),
      ts: TEXT,
      current: z.catch(z.boolean(), false),
      intent: INTENT,
      steps: z.catch(z.array(STEP), []),
    }),
  ),
  [],
);

/** More than the broker can have in flight at any time; beyond it the oldest are no longer carried into a new file. */
export const MAX_CARRIED = 512;
/** So many uuids of known qubes fit into the line with them (MAX_LINE_BYTES); of the oldest it is not told any more which they are. */
export const MAX_CARRIED_KNOWN = 8_192;
/** No effect has as many steps; what comes after them is not held. */
export const MAX_STEPS = 64;

/** The operator's verb of the record that lets go of a qube, before that happens. */
export const RELEASE = 'release';

/** What became of the calls that a plan consists of, in the steps of the plan's own intent: read off theirs. */
export const PLAN_STEP = { begun: 'begun', done: 'done', failed: 'failed' } as const;

export interface OpenIntents {
  see(record: Seen): void;
  /** Those still open, oldest first. */
  list(): UnfinishedIntent[];
  /** The same for the first record of a new file. */
  carry(): CarriedIntent[];
}

/** The steps of a creation that are read here: it is whole; it left something; it left what no file says to be in quarantine. */
export const COMPLETE = 'complete';
export const LEFT = 'left behind';
export const UNSAVED = 'not in quarantine';
/** Taken from the operator's own record: agents may have that qube, whole or not. */
export const RELEASED = 'released';

type Open = Omit<UnfinishedIntent, 'current'>;

/** An effect that ended and left something, or may have, is looked into after that, by this start or the next one. */
const leaves = (intent: Open | undefined): boolean =>
  intent?.steps.some(({ step }) => step === UNSAVED || step === LEFT) ?? false;

/** With so many disposables known, it is not told any more which was made by which order. */
export const MAX_KNOWN = 512;

/**
 * The numbers of calls begin again at each start, so an intent is closed by an outcome of its call within the same start,
 * or later by the finding that names it. Where intents share a call, an outcome closes the newest that is open.
 */
export function openIntents(): OpenIntents {
  const open = new Map<number, Open>();
  let ofThisStart = new Map<unknown, number[]>();
  /** Calls whose intent stayed open after its outcome: what is done about a late answer are steps of theirs. */
  let left = new Map<unknown, number>();
  const anotherStart = (): void => {
    ofThisStart = new Map();
    left = new Map();
  };

  const add = (intent: Open, current: boolean) => {
    open.set(intent.seq, intent);
    if (!current) return;
    const seqs = ofThisStart.get(intent.call);
    if (seqs === undefined) ofThisStart.set(intent.call, [intent.seq]);
    else seqs.push(intent.seq);
  };

  const addStep = (intent: Open | undefined, step: StepTaken): void => {
    if (!intent || intent.steps.length >= MAX_STEPS) return;
    open.set(intent.seq, { ...intent, steps: [...intent.steps, step] });
  };

  /** A qube that became whole is none that another order made, and its name was free until then. */
  const isNotAnother = (uuid: string): void => {
    for (const [seq, intent] of open) {
      if (!intent.steps.some(({ known }) => known)) continue;
      const steps = intent.steps.map((each) =>
        each.known ? { ...each, known: each.known.length < MAX_KNOWN ? [...each.known, uuid] : null } : each,
      );
      open.set(seq, { ...intent, steps });
    }
  };

  const isReleased = (qube: z.infer<typeof QUBE_OF> | undefined): void => {
    if (!qube) return;
    const { name, uuid } = qube;
    isNotAnother(uuid);
    for (const intent of [...open.values()]) {
      if (intent.steps.some(({ qube }) => qube?.uuid === uuid)) {
        addStep(intent, { step: RELEASED, qube: { role: 'created', name, uuid } });
      }
    }
  };

  /** A plan's own intent has its nonce; those of its steps only name it. */
  const ofPlan = ({ plan, nonce }: Seen): Open | undefined =>
    typeof plan === 'string' && nonce !== plan ? [...open.values()].find((intent) => intent.nonce === plan) : undefined;

  const list = (): UnfinishedIntent[] => {
    const current = new Set([...ofThisStart.values()].flat());
    return [...open.values()].map((intent) => ({ ...intent, current: current.has(intent.seq) }));
  };

  return {
    see(record) {
      const { seq, ts } = record;
      switch (record.type) {
        case 'start':
          anotherStart();
          break;
        case 'segment':
        case 'break':
          open.clear();
          anotherStart();
          for (const { current, intent, ...rest } of CARRIED.parse(record.open)) add({ ...intent, ...rest }, current);
          break;
        case 'intent':
          addStep(ofPlan(record), { step: PLAN_STEP.begun, qube: null });
          add({ ...INTENT.parse(record), seq, ts, steps: [] }, true);
          break;
        case 'step': {
          const newest = ofThisStart.get(record.call)?.at(-1) ?? left.get(record.call);
          const step = STEP.parse(record);
          addStep(newest === undefined ? undefined : open.get(newest), step);
          if (step.step === COMPLETE && step.qube) isNotAnother(step.qube.uuid);
          break;
        }
        case 'outcome': {
          const seqs = ofThisStart.get(record.call);
          const closed = seqs?.pop();
          if (closed !== undefined) {
            if (leaves(open.get(closed))) left.set(record.call, closed);
            else open.delete(closed);
          }
          if (seqs?.length === 0) ofThisStart.delete(record.call);
          addStep(ofPlan(record), { step: record.ok === true ? PLAN_STEP.done : PLAN_STEP.failed, qube: null });
          break;
        }
        case 'operator':
          if (record.verb === RELEASE) isReleased(QUBE_OF.safeParse(record.args).data);
          break;
        case 'finding':
          open.delete(record.intent_seq as number);
          break;
      }
    },
    list,
    carry: () => {
      let room = MAX_CARRIED_KNOWN;
      const bounded = (step: StepTaken): StepTaken => {
        room -= step.known?.length ?? 0;
        return room < 0 && step.known ? { ...step, known: null } : step;
      };
      return list()
        .slice(-MAX_CARRIED)
        .toReversed()
        .map(({ seq, ts, steps, current, ...intent }) => ({ seq, ts, current, intent, steps: steps.map(bounded) }))
        .toReversed();
    },
  };
}
