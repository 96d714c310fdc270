import { describe, expect, test } from 'vitest';
import type { Digest, Nonce, QubeName } from '../../daemon/names.ts';
import {
  MAX_ENDED_PER_SOURCE,
  MAX_OPEN_PER_SOURCE,
  MAX_PLANS,
  OPEN_MS,
  type Plan,
  type PlanState,
  PlanStore,
  RESULTS_MS,
} from '../../daemon/plans/plan-store.ts';

const MCP = 'mcp-control' as QubeName;
const OTHER = 'mcp-other' as QubeName;
const place = () => {
  const clock = { ms: 1_000 };
  const store = new PlanStore(() => clock.ms);
  let count = 0;
  const add = (state: PlanState = 'prepared', source = MCP, principal = 'default'): Plan => {
    count += 1;
    const plan: Plan = {
      nonce: count.toString(16).padStart(64, '0') as Nonce,
      call: count,
      caller: { source, principal },
      stages: [],
      digest: 'd'.repeat(64) as Digest,
      names: [`ai-${count}`],
      state,
      results: [],
      waitedMs: 0,
      cancelled: new AbortController(),
      until: clock.ms + OPEN_MS,
      ended: Promise.resolve(),
    };
    store.add(plan);
    return plan;
  };
  const has = (plan: Plan): boolean => store.find(plan.nonce, plan.caller) === plan;
  return { clock, store, add, has };
};
const OPEN: PlanState[] = ['prepared', 'asked', 'running'];
const OVER: PlanState[] = ['done', 'failed', 'refused'];

test('a plan exists for its own source and principal alone', () => {
  const { store, add, has } = place();
  const plan = add();
  expect(has(plan)).toBe(true);
  expect(store.find(plan.nonce, { source: OTHER, principal: 'default' })).toBeNull();
  expect(store.find(plan.nonce, { source: MCP, principal: 'web' })).toBeNull();
  expect(store.find('f'.repeat(64) as Nonce, plan.caller)).toBeNull();
  store.drop(plan);
  expect(has(plan)).toBe(false);
});

describe('room', () => {
  test.each(OPEN)('is for so many plans of a source that are %s, and no more', (state) => {
    const { store, add } = place();
    for (let index = 0; index < MAX_OPEN_PER_SOURCE; index++) {
      expect(store.hasRoom(MCP)).toBe(true);
      add(state);
    }
    expect(store.hasRoom(MCP)).toBe(false);
    expect(store.hasRoom(OTHER)).toBe(true);
  });

  test.each(OVER)('is not taken up by one that is %s', (state) => {
    const { store, add } = place();
    for (let index = 0; index < MAX_OPEN_PER_SOURCE; index++) add(state);
    expect(store.hasRoom(MCP)).toBe(true);
  });

  test('is for so many plans over all sources, ended ones included', () => {
    const { store, add } = place();
    for (let index = 0; index < MAX_PLANS - 1; index++) add('done', `s${index}` as QubeName);
    expect(store.hasRoom(MCP)).toBe(true);
    add('done', OTHER);
    expect([store.size, store.hasRoom(MCP)]).toEqual([MAX_PLANS, false]);
  });
});

describe('time', () => {
  test.each(['prepared', ...OVER] as PlanState[])('ends a plan that is %s, and not a moment before', (state) => {
    const { clock, store, add, has } = place();
    const plan = add(state);
    clock.ms += OPEN_MS - 1;
    expect(has(plan)).toBe(true);
    clock.ms += 1;
    expect(has(plan)).toBe(false);
    expect(store.size).toBe(0);
  });

  test.each(['asked', 'running'] as PlanState[])('does not end a plan that is %s', (state) => {
    const { clock, add, has } = place();
    const plan = add(state);
    clock.ms += 100 * OPEN_MS;
    expect(has(plan)).toBe(true);
  });

  test('gives the room back', () => {
    const { clock, store, add } = place();
    for (let index = 0; index < MAX_OPEN_PER_SOURCE; index++) add();
    clock.ms += OPEN_MS;
    expect(store.hasRoom(MCP)).toBe(true);
  });

  test('for the results is counted from the end of the plan', () => {
    const { clock, store, add, has } = place();
    const plan = add('running');
    clock.ms += 3 * OPEN_MS;
    plan.state = 'done';
    store.over(plan);
    clock.ms += RESULTS_MS - 1;
    expect(has(plan)).toBe(true);
    clock.ms += 1;
    expect(has(plan)).toBe(false);
  });
});

test('of ended plans a source has so many, the oldest make room, and what is open or of another source stays', () => {
  const { store, add, has } = place();
  const others = [add('prepared'), add('running'), add('done', OTHER)];
  const ended = Array.from({ length: MAX_ENDED_PER_SOURCE }, () => add('refused'));
  for (const plan of ended) store.over(plan);
  expect(ended.every(has)).toBe(true);
  const last = add('failed');
  store.over(last);
  expect([...ended, last].map(has)).toEqual([false, ...Array(MAX_ENDED_PER_SOURCE).fill(true)]);
  expect(others.every(has)).toBe(true);
});

describe('a prepared plan is void', () => {
  test('when one of its qubes changes, and no other plan is', () => {
    const { store, add, has } = place();
    const [one, two] = [add(), add()];
    store.voidOn('ai-1');
    expect([has(one), has(two)]).toEqual([false, true]);
  });

  test('when nothing is known of the fleet any more', () => {
    const { store, add, has } = place();
    const plans = [add(), add('prepared', OTHER)];
    store.voidOn(null);
    expect(plans.some(has)).toBe(false);
  });

  test('when its source is frozen, and that of another source is not', () => {
    const { store, add, has } = place();
    const [own, other] = [add(), add('prepared', OTHER)];
    store.voidOf(MCP);
    expect([has(own), has(other)]).toEqual([false, true]);
  });

  test.each(['asked', 'running', ...OVER] as PlanState[])('and one that is %s is not: it looks for itself', (state) => {
    const { store, add, has } = place();
    const plan = add(state);
    store.voidOn('ai-1');
    store.voidOn(null);
    store.voidOf(MCP);
    expect(has(plan)).toBe(true);
  });
});
