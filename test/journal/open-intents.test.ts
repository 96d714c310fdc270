import { describe, expect, test } from 'vitest';
import { MAX_LINE_BYTES } from '../../daemon/journal/lines.ts';
import { MAX_CARRIED, MAX_KNOWN, MAX_STEPS, openIntents, type Seen } from '../../daemon/journal/open-intents.ts';

const INTENT = {
  type: 'intent',
  call: 3,
  source: 'mcp-control',
  principal: 'default',
  service: 'qmcp.SpawnAIManagedQube',
  action: 'spawn',
  qubes: [],
  args: { name: 'ai-new' },
  digest: '0'.repeat(64),
  nonce: null,
};
const CHILD = { role: 'created', name: 'ai-new', uuid: '00000000-0000-0000-0000-000000000001' };

const following = (...records: Record<string, unknown>[]) => {
  const open = openIntents();
  for (const [index, record] of records.entries()) open.see({ seq: index + 1, ts: 't', ...record } as unknown as Seen);
  return open;
};
const step = (name: string, qube: unknown = null, more = {}) => ({ type: 'step', call: 3, step: name, qube, ...more });

describe('an open intent', () => {
  test('keeps the steps that its effect took, in order', () => {
    const open = following(INTENT, step('create', null, { known: ['a'] }), step('stamp', CHILD));
    expect(open.list()).toMatchObject([
      {
        seq: 1,
        steps: [
          { step: 'create', qube: null, known: ['a'] },
          { step: 'stamp', qube: CHILD, known: null },
        ],
      },
    ]);
  });

  test('takes no steps of another call, of an earlier start, or of none', () => {
    const other = { ...step('create'), call: 4 };
    expect(following(step('create'), INTENT, other, { type: 'start' }, step('create')).list()).toMatchObject([
      { steps: [] },
    ]);
  });

  test('of the newest operation of a call gets the steps, once the one before has ended', () => {
    const open = following(INTENT, step('create'), { type: 'outcome', call: 3 }, INTENT, step('stamp', CHILD));
    expect(open.list()).toMatchObject([{ seq: 4, steps: [{ step: 'stamp' }] }]);
  });

  test(`keeps ${MAX_STEPS} steps and no more`, () => {
    const steps = Array.from({ length: MAX_STEPS + 1 }, (_, index) => step(`step ${index}`));
    const [intent] = following(INTENT, ...steps).list();
    expect(intent?.steps).toHaveLength(MAX_STEPS);
    expect(intent?.steps.at(-1)?.step).toBe(`step ${MAX_STEPS - 1}`);
  });

  test('is not hidden by a step of an odd shape', () => {
    const odd = { type: 'step', call: 3, step: 5, qube: 'x', known: [1] };
    expect(following(INTENT, odd).list()).toMatchObject([{ steps: [{ step: '?', qube: null, known: null }] }]);
  });

  test('goes into a new file with its steps', () => {
    const before = following(INTENT, step('create', null, { known: [] }), step('stamp', CHILD));
    const after = following({ type: 'segment', open: before.carry() }, step('pin', CHILD));
    expect(after.list()).toMatchObject([{ seq: 1, steps: [{ step: 'create' }, { step: 'stamp' }, { step: 'pin' }] }]);
  });
});

describe('an intent as read back', () => {
  const ODD = { qubes: 'x', args: [1], digest: 5, nonce: 5, source: 5, principal: 5, service: 5, action: 5 };
  const ANY = { qubes: [], args: {}, digest: '?', nonce: null, source: '?', principal: '?', service: '?', action: '?' };

  test('has its number and time, and what it says', () => {
    const args = { name: 'ai-new', count: 5, force: true, none: null };
    const said = { ...INTENT, qubes: [CHILD], args, nonce: 'n' };
    expect(following({ ...said, more: 'of a later version' }).list()).toEqual([
      { ...said, seq: 1, ts: 't', steps: [], current: true },
    ]);
  });

  test('is there however odd its shape is, with what can be read of it', () => {
    expect(following({ ...INTENT, ...ODD, call: 'x' }).list()).toEqual([
      { ...INTENT, ...ANY, call: 0, seq: 1, ts: 't', steps: [], current: true },
    ]);
    expect(following({ ...INTENT, qubes: [CHILD, { name: 'x' }], args: { a: {} } }).list()).toMatchObject([
      { qubes: [], args: {} },
    ]);
  });

  test('is there also from the first record of a file, however odd', () => {
    const intent = { ...INTENT, ...ODD, type: 'x' };
    const odd = { seq: 9, ts: 5, current: 'x', intent, steps: 'x' };
    for (const type of ['x', '', 5]) {
      expect(following({ type: 'segment', open: [{ ...odd, intent: { ...intent, type } }] }).list()).toEqual([
        { ...INTENT, ...ANY, seq: 9, ts: '?', steps: [], current: false },
      ]);
    }
    expect(following({ type: 'break', open: [{ ...odd, steps: [{}] }] }).list()).toMatchObject([
      { seq: 9, steps: [{ step: '?', qube: null, known: null }] },
    ]);
    expect(following({ type: 'segment', open: [{ ts: 't' }] }).list()).toEqual([]);
    expect(following(INTENT, { type: 'segment' }).list()).toEqual([]);
  });

  test('is current while it is under way, and neither after its outcome nor after the next start', () => {
    const current = (...records: Record<string, unknown>[]) => following(...records).list()[0]?.current;
    expect(current(INTENT, step('create'))).toBe(true);
    expect(current(INTENT, step('left behind'), { type: 'outcome', call: 3 })).toBe(false);
    expect(current(INTENT, { type: 'start' })).toBe(false);
  });

  test('of an earlier start takes no outcome of this one, and of this start its own', () => {
    const carried = following({ ...INTENT, call: 1 }, { type: 'start' }, { ...INTENT, call: 2 }).carry();
    expect(carried.map(({ seq, ts, current }) => ({ seq, ts, current }))).toEqual([
      { seq: 1, ts: 't', current: false },
      { seq: 3, ts: 't', current: true },
    ]);
    const left = (...records: Record<string, unknown>[]) =>
      following({ type: 'segment', open: carried }, ...records)
        .list()
        .map(({ seq }) => seq);
    expect(left({ type: 'outcome', call: 1 })).toEqual([1, 3]);
    expect(left({ type: 'outcome', call: 2 })).toEqual([1]);
    expect(left({ type: 'start' }, { type: 'outcome', call: 2 })).toEqual([1, 3]);
  });

  test('replaces, as the first of a file, what the file before had open', () => {
    const carried = following(INTENT).carry();
    const open = following({ ...INTENT, call: 7 }, { type: 'break', open: carried }, { type: 'outcome', call: 7 });
    expect(open.list().map(({ call }) => call)).toEqual([3]);
  });

  test(`is carried on with ${MAX_CARRIED} at most, the newest of them`, () => {
    const many = Array.from({ length: MAX_CARRIED + 1 }, (_, call) => ({ ...INTENT, call }));
    const carried = following(...many).carry();
    expect(carried).toHaveLength(MAX_CARRIED);
    expect(carried[0]).toMatchObject({ seq: 2, intent: { call: 1 } });
    expect(following(...many).list()).toHaveLength(MAX_CARRIED + 1);
  });

  test('shares its call with others, of which an outcome closes the newest', () => {
    const end = { type: 'outcome', call: 3 };
    const seqs = (...records: Record<string, unknown>[]) =>
      following(...records)
        .list()
        .map(({ seq }) => seq);
    expect(seqs(INTENT, INTENT, end)).toEqual([1]);
    expect(seqs(INTENT, INTENT, end, end)).toEqual([]);
    expect(seqs(INTENT, INTENT, end, end, end, INTENT)).toEqual([6]);
    expect(seqs(end)).toEqual([]);
  });

  test('is left alone by records about other things, and by a finding about another', () => {
    const others = ['decision', 'question', 'answer', 'stop', 'gap', 'checkpoint'].map((type) => ({ ...INTENT, type }));
    expect(following(INTENT, ...others, { type: 'finding', intent_seq: 9 }).list()).toHaveLength(1);
  });
});

describe('a plan', () => {
  const NONCE = 'f'.repeat(64);
  const PLAN = { ...INTENT, call: 0, service: 'qmcp.Commit', plan: NONCE, nonce: NONCE };
  const stepOf = (call: number) => ({ ...INTENT, call, plan: NONCE });
  const outcome = (call: number, ok: boolean) => ({ type: 'outcome', call, ok, plan: NONCE });

  test('knows which of its steps began, and how they ended', () => {
    const open = following(PLAN, stepOf(4), outcome(4, true), stepOf(5), outcome(5, false), stepOf(6));
    expect(open.list()).toMatchObject([
      { seq: 1, steps: ['begun', 'done', 'begun', 'failed', 'begun'].map((step) => ({ step, qube: null })) },
      { seq: 6, steps: [] },
    ]);
  });

  test('keeps that over a new file and a new start', () => {
    const carried = following(PLAN, stepOf(4)).carry();
    const open = following({ type: 'segment', open: carried }, outcome(4, true), { type: 'start' });
    expect(open.list()).toMatchObject([{ seq: 1, steps: [{ step: 'begun' }, { step: 'done' }] }]);
  });

  test('is over with its own outcome, and takes nothing from the calls of another', () => {
    const other = { ...stepOf(4), plan: 'e'.repeat(64) };
    expect(following(PLAN, other).list()).toMatchObject([{ steps: [] }, {}]);
    expect(following(PLAN, stepOf(4), outcome(4, true), outcome(0, true)).list()).toEqual([]);
  });

  test('takes nothing from calls of no plan, and is no step of itself', () => {
    const alone = { ...INTENT, call: 4, nonce: 'e'.repeat(64) };
    expect(following(PLAN, alone, { type: 'outcome', call: 9, ok: true }).list()).toMatchObject([{ steps: [] }, {}]);
    expect(following({ ...PLAN, nonce: null }, { ...alone, plan: null }).list()).toMatchObject([{ steps: [] }, {}]);
    expect(following(PLAN, { ...PLAN, call: 1 }).list()).toMatchObject([{ steps: [] }, { steps: [] }]);
  });
});

describe('an outcome', () => {
  test('closes an intent that left nothing', () => {
    expect(following(INTENT, step('create'), { type: 'outcome', call: 3 }).list()).toEqual([]);
  });

  test('closes nothing more where a finding closed its intent before', () => {
    const open = following(INTENT, { type: 'finding', intent_seq: 1 }, { type: 'outcome', call: 3 });
    expect(open.list()).toEqual([]);
  });

  test('leaves an intent open that left something, or may have, until a finding closes it', () => {
    const records = [INTENT, step('left behind'), { type: 'outcome', call: 3 }];
    expect(following(...records).list()).toMatchObject([{ seq: 1 }]);
    expect(following(...records, { type: 'finding', intent_seq: 1 }).list()).toEqual([]);
    expect(following(INTENT, step('left behind', CHILD), { type: 'outcome', call: 3 }).list()).toHaveLength(1);
  });
});

describe('a creation whose outcome is written stays open', () => {
  const outcome = { type: 'outcome', call: 3, ok: false };
  test.each([
    ['a qube that nobody could name', step('left behind'), 1],
    ['a qube that could not be put into quarantine', step('not in quarantine', CHILD), 1],
    ['a name that could not be put into quarantine', step('not in quarantine'), 1],
    ['a qube that is in quarantine', step('left behind', CHILD), 1],
    ['nothing', step('rollback', CHILD), 0],
  ])('for %s, or not', (_, left, count) => {
    expect(following(INTENT, step('create'), left, outcome).list()).toHaveLength(count);
  });

  test.each([[undefined], ['ai-new'], [null], [{ name: 'ai-new' }]])(
    'also where a release has an odd shape (%j)',
    (args) => {
      const release = { type: 'operator', verb: 'release', args };
      expect(following(INTENT, step('left behind', CHILD), outcome, release).list()[0]?.steps).toHaveLength(1);
    },
  );

  test('and is carried with as many known qubes as a line has room for', () => {
    const known = Array.from({ length: MAX_KNOWN }, (_, index) => `${index}`.padStart(36, '0'));
    const many = Array.from({ length: MAX_CARRIED }, (_, call) => [
      { ...INTENT, call },
      { ...step('create', null, { known }), call },
      { ...step('left behind'), call },
      { ...outcome, call },
    ]).flat();
    const carried = following(...many).carry();
    expect(carried).toHaveLength(MAX_CARRIED);
    expect(carried[0]?.steps[0]?.known).toBeNull();
    expect(carried.at(-1)?.steps[0]?.known).toHaveLength(MAX_KNOWN);
    expect(Buffer.byteLength(JSON.stringify(carried))).toBeLessThan(MAX_LINE_BYTES * 0.9);
  });

  test('and knows every disposable that became whole since as none of its own', () => {
    const whole = { ...CHILD, uuid: 'b' };
    const later = [
      { ...INTENT, call: 4 },
      { type: 'step', call: 4, step: 'complete', qube: whole },
    ];
    const open = following(INTENT, step('create', null, { known: ['a'] }), step('left behind'), outcome, ...later);
    expect(open.list()[0]?.steps[0]?.known).toEqual(['a', 'b']);
    // Up to so many: with one more it is not told any more.
    for (const uuid of Array.from({ length: MAX_KNOWN - 2 }, (_, index) => `u${index}`)) {
      open.see({ seq: 9, ts: 't', ...later[1], qube: { ...CHILD, uuid } } as Seen);
    }
    expect(open.list()[0]?.steps[0]?.known).toHaveLength(MAX_KNOWN);
    open.see({ seq: 9, ts: 't', ...later[1] } as Seen);
    expect(open.list()[0]?.steps[0]?.known).toBeNull();
  });
});
