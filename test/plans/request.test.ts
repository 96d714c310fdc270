import { describe, expect, test } from 'vitest';
import { MAX_STEPS, parseCommit, parsePlan, SHAPE } from '../../daemon/plans/request.ts';
import { isRefusal } from '../../daemon/services/service.ts';

const START = { service: 'qmcp.LifecycleAIManaged', request: { name: 'ai-work', action: 'start' } };
const NOT_FOUND = { ok: false, error: 'not found' };

describe('a plan', () => {
  test('is its steps: each a service and its request, and no request is an empty one', () => {
    const steps = parsePlan({ calls: [START, { service: 'qmcp.ListAIManagedQubes' }] });
    if (isRefusal(steps)) throw new Error(steps.error);
    expect(steps.map(({ service, json }) => [service.name, json])).toEqual([
      ['qmcp.LifecycleAIManaged', START.request],
      ['qmcp.ListAIManagedQubes', {}],
    ]);
  });

  test(`has 1 to ${MAX_STEPS} steps`, () => {
    expect(parsePlan({ calls: Array(MAX_STEPS).fill(START) })).toHaveLength(MAX_STEPS);
    expect(parsePlan({ calls: Array(MAX_STEPS + 1).fill(START) })).toBe(SHAPE);
    expect(parsePlan({ calls: [] })).toBe(SHAPE);
  });

  test.each([
    [undefined],
    [null],
    [[START]],
    [{}],
    [{ calls: START }],
    [{ calls: [null] }],
    [{ calls: [{ request: {} }] }],
    [{ calls: [{ service: 7 }] }],
    [{ calls: [{ ...START, request: 'start' }] }],
    [{ calls: [{ ...START, request: null }] }],
    [{ calls: [{ ...START, service: 'q'.repeat(65) }] }],
  ])('of another shape is told what shape it takes: %j', (json) => {
    expect(parsePlan(json)).toBe(SHAPE);
  });

  test.each(['qmcp.Nope', 'q'.repeat(64), 'qmcp.Prepare', 'qmcp.Commit', 'qmcp.AIManagedEvents', '', 'constructor'])(
    'with a step of %j is not found',
    (service) => {
      expect(parsePlan({ calls: [START, { service }] })).toEqual(NOT_FOUND);
    },
  );
});

test('a commit waits unless told', () => {
  for (const json of [{}, { wait: true }, { other: 1 }]) expect(parseCommit(json)).toBe(true);
  expect(parseCommit({ wait: false })).toBe(false);
  for (const json of [null, undefined, 7, { wait: 'no' }, { wait: null }]) expect(parseCommit(json)).toBeNull();
});
