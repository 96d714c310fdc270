import { describe, expect, test } from 'vitest';
import { MAX_STEPS, openIntents, type Seen } from '../../daemon/journal/open-intents.ts';

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
});

describe('an outcome', () => {
  test('closes an intent that left nothing, or left what it names', () => {
    expect(following(INTENT, step('create'), { type: 'outcome', call: 3 }).list()).toEqual([]);
    expect(following(INTENT, step('left behind', CHILD), { type: 'outcome', call: 3 }).list()).toEqual([]);
  });

  test('leaves an intent open that may have left what nobody can name, until a finding closes it', () => {
    const records = [INTENT, step('left behind'), { type: 'outcome', call: 3 }];
    expect(following(...records).list()).toMatchObject([{ seq: 1 }]);
    expect(following(...records, { type: 'finding', intent_seq: 1 }).list()).toEqual([]);
  });
});

describe('a creation whose outcome is written stays open', () => {
  const outcome = { type: 'outcome', call: 3, ok: false };
  test.each([
    ['a qube that nobody could name', step('left behind'), 1],
    ['a qube that could not be put into quarantine', step('not in quarantine', CHILD), 1],
    ['a name that could not be put into quarantine', step('not in quarantine'), 1],
    ['a qube that is in quarantine', step('left behind', CHILD), 0],
  ])('for %s, or not', (_, left, count) => {
    expect(following(INTENT, step('create'), left, outcome).list()).toHaveLength(count);
  });

  test('and knows every disposable that became whole since as none of its own', () => {
    const whole = { ...CHILD, uuid: 'b' };
    const later = [
      { ...INTENT, call: 4 },
      { type: 'step', call: 4, step: 'complete', qube: whole },
    ];
    const open = following(INTENT, step('create', null, { known: ['a'] }), step('left behind'), outcome, ...later);
    expect(open.list()[0]?.steps[0]?.known).toEqual(['a', 'b']);
    const many = Array.from({ length: 520 }, (_, index) => ({ ...later[1], qube: { ...CHILD, uuid: `u${index}` } }));
    const endless = following(
      INTENT,
      step('create', null, { known: ['a'] }),
      step('left behind'),
      outcome,
      ...later,
      ...many,
    );
    expect(endless.list()[0]?.steps[0]?.known).toBeNull();
  });
});
