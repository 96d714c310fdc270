import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DENIAL_WINDOW_MS, DENIALS, FIRST_REST_MS, LAST_REST_MS, Restraint } from '../../daemon/confirm/restraint.ts';
import type { QubeName } from '../../daemon/names.ts';

const AGENT = 'mcp-control' as QubeName;
const OTHER = 'mcp-other' as QubeName;

const stateDirectory = (): string => {
  const state = mkdtempSync(join(tmpdir(), 'restraint-'));
  onTestFinished(() => rmSync(state, { recursive: true, force: true }));
  return state;
};

const restraint = (state = stateDirectory()) => {
  const clock = { ms: 1_000_000 };
  return { state, clock, restraint: new Restraint(state, () => clock.ms) };
};

const deny = (of: Restraint, times: number): (number | null)[] => Array.from({ length: times }, () => of.denied(AGENT));

test('a frozen source stays frozen over a restart, and a thawed one stays thawed', () => {
  const { state, restraint: first } = restraint();
  first.freeze(AGENT);
  first.freeze(OTHER);
  expect(first.thaw(OTHER)).toBe(true);
  expect(first.thaw(OTHER)).toBe(false);
  const { restraint: second } = restraint(state);
  expect([second.isFrozen(AGENT), second.isFrozen(OTHER), second.frozen]).toEqual([true, false, [AGENT]]);
  expect(readFileSync(join(state, 'frozen'), 'utf8')).toBe('mcp-control\n');
});

test.each([
  ['a line that is no name', (state: string) => writeFileSync(join(state, 'frozen'), 'a b\n')],
  ['a directory in its place', (state: string) => mkdirSync(join(state, 'frozen'))],
])('with %s every source counts as frozen, and the complaint says what to do', (_, spoil) => {
  const state = stateDirectory();
  spoil(state);
  const { restraint: spoiled } = restraint(state);
  expect(spoiled.isFrozen(AGENT)).toBe(true);
  expect(spoiled.complaint).toMatch(/frozen cannot be used .* Mend or remove it, then restart\.$/);
});

test('a freeze that cannot be saved holds for now and says so; a thaw that cannot be saved does not happen', () => {
  const { state, restraint: held } = restraint();
  held.freeze(OTHER);
  mkdirSync(join(state, 'frozen.new'));
  expect(() => held.freeze(AGENT)).toThrow();
  expect(held.isFrozen(AGENT)).toBe(true);
  expect(() => held.thaw(OTHER)).toThrow();
  expect(held.isFrozen(OTHER)).toBe(true);
  chmodSync(state, 0o700);
});

test('questions rest after the third denial in the window, for that source alone', () => {
  const { restraint: mood } = restraint();
  expect(deny(mood, DENIALS)).toEqual([null, null, FIRST_REST_MS]);
  expect(mood.mayAsk(AGENT)).toBe(false);
  expect(mood.mayAsk(OTHER)).toBe(true);
});

test('denials that lie further apart than the window do not add up', () => {
  const { restraint: mood, clock } = restraint();
  deny(mood, DENIALS - 1);
  clock.ms += DENIAL_WINDOW_MS;
  expect(mood.denied(AGENT)).toBeNull();
  expect(mood.mayAsk(AGENT)).toBe(true);
});

test('the rest ends by itself, and doubles each time up to its limit', () => {
  const { restraint: mood, clock } = restraint();
  const rests: (number | null)[] = [];
  for (let i = 0; i < 8; i++) {
    rests.push(deny(mood, DENIALS)[DENIALS - 1] ?? null);
    clock.ms += (rests[i] ?? 0) - 1;
    expect(mood.mayAsk(AGENT)).toBe(false);
    clock.ms += 1;
    expect(mood.mayAsk(AGENT)).toBe(true);
  }
  const minutes = rests.map((rest) => (rest ?? 0) / 60_000);
  expect(minutes).toEqual([5, 10, 20, 40, 80, 160, LAST_REST_MS / 60_000, LAST_REST_MS / 60_000]);
});

test('an approval begins anew', () => {
  const { restraint: mood } = restraint();
  deny(mood, DENIALS);
  mood.approved(AGENT);
  expect(mood.mayAsk(AGENT)).toBe(true);
  expect(deny(mood, DENIALS)).toEqual([null, null, FIRST_REST_MS]);
});

test('what was turned away is counted until it is told', () => {
  const { restraint: mood } = restraint();
  deny(mood, DENIALS);
  mood.mayAsk(AGENT);
  mood.mayAsk(AGENT);
  expect(mood.takeUnasked(AGENT)).toBe(2);
  expect(mood.takeUnasked(AGENT)).toBe(0);
});
