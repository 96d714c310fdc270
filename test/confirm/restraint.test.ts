import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DENIALS, FIRST_REST_MS, LAST_REST_MS, Restraint } from '../../daemon/confirm/restraint.ts';
import type { QubeName } from '../../daemon/names.ts';
import { stateFilesIn } from '../../daemon/state-files.ts';

const AGENT = 'mcp-control' as QubeName;
const OTHER = 'mcp-other' as QubeName;
/** As the operator is told. */
const TEN_MINUTES = 600_000;

const stateDirectory = (): string => {
  const state = mkdtempSync(join(tmpdir(), 'restraint-'));
  onTestFinished(() => rmSync(state, { recursive: true, force: true }));
  return state;
};

const restraint = (state = stateDirectory()) => {
  const clock = { ms: 1_000_000 };
  return { state, clock, restraint: new Restraint(stateFilesIn(state), () => clock.ms) };
};

const deny = (of: Restraint, times: number): (number | null)[] => Array.from({ length: times }, () => of.denied(AGENT));

test('a frozen source stays frozen over a restart, and a thawed one stays thawed', async () => {
  const { state, restraint: first } = restraint();
  await first.freeze(AGENT);
  await first.freeze(OTHER);
  await first.thawing(OTHER)?.();
  expect(first.thawing(OTHER)).toBeNull();
  const { restraint: second } = restraint(state);
  expect([second.isFrozen(AGENT), second.isFrozen(OTHER), second.frozen]).toEqual([true, false, [AGENT]]);
  expect(readFileSync(join(state, 'frozen'), 'utf8')).toBe('mcp-control\n');
});

test('without a file nobody is frozen, and there is nothing to complain about', () => {
  const { restraint: fresh } = restraint();
  expect([fresh.isFrozen(AGENT), fresh.complaint, fresh.frozen]).toEqual([false, null, []]);
});

test('a source that is frozen while it is being thawed stays frozen, over a restart too', async () => {
  const { state, restraint: held } = restraint();
  await held.freeze(AGENT);
  await held.freeze(OTHER);
  const thawed = [held.thawing(AGENT)?.(), held.thawing(OTHER)?.()];
  const frozen = held.freeze(AGENT);
  expect(held.frozen).toEqual([AGENT, OTHER]);
  await held.settled();
  expect(held.frozen).toEqual([AGENT]);
  await Promise.all([...thawed, frozen]);
  expect(restraint(state).restraint.frozen).toEqual([AGENT]);
});

test('a thaw ends the freeze that there was when it was wanted, and no later one', async () => {
  const { restraint: held } = restraint();
  await held.freeze(AGENT);
  const thaw = held.thawing(AGENT);
  await held.freeze(AGENT);
  await thaw?.();
  expect(held.frozen).toEqual([AGENT]);
});

test('a thaw that fails when it is in the file already is taken out of it again', async () => {
  const state = stateDirectory();
  const files = stateFilesIn(state);
  let isFailing = false;
  const write = async (name: string, text: string): Promise<void> => {
    await files.write(name, text);
    if (isFailing) throw new Error('the directory cannot be synced');
  };
  const held = new Restraint({ ...files, write }, () => 0);
  await held.freeze(AGENT);
  isFailing = true;
  await expect(held.thawing(AGENT)?.()).rejects.toThrow();
  expect(restraint(state).restraint.frozen).toEqual([AGENT]);
});

test('a file that cannot be used is not written over: it may name others', async () => {
  const state = stateDirectory();
  writeFileSync(join(state, 'frozen'), 'mcp-other\n#\n');
  await expect(restraint(state).restraint.freeze(AGENT)).rejects.toThrow('Mend or remove it');
  expect(readFileSync(join(state, 'frozen'), 'utf8')).toBe('mcp-other\n#\n');
});

test('denials within ten minutes add up, up to the last moment', () => {
  const { restraint: mood, clock } = restraint();
  mood.denied(AGENT);
  clock.ms += TEN_MINUTES - 1;
  expect([mood.denied(AGENT), mood.denied(AGENT)]).toEqual([null, FIRST_REST_MS]);
});

test.each([
  ['one line of two that is no name', (state: string) => writeFileSync(join(state, 'frozen'), 'mcp-other\na b\n')],
  ['a line that is no name', (state: string) => writeFileSync(join(state, 'frozen'), 'a b\n')],
  ['a last line that was cut short', (state: string) => writeFileSync(join(state, 'frozen'), 'mcp-other\nmcp-con')],
  ['a directory in its place', (state: string) => mkdirSync(join(state, 'frozen'))],
])('with %s every source counts as frozen, and the complaint says what to do', (_, spoil) => {
  const state = stateDirectory();
  spoil(state);
  const { restraint: spoiled } = restraint(state);
  expect(spoiled.isFrozen(AGENT)).toBe(true);
  expect(spoiled.complaint).toMatch(/frozen cannot be used .* Mend or remove it, then restart\.$/);
});

test('a freeze that cannot be saved holds for now and says so; a thaw that cannot be saved does not happen', async () => {
  const { state, restraint: held } = restraint();
  await held.freeze(OTHER);
  mkdirSync(join(state, '.frozen.new'));
  await expect(held.freeze(AGENT)).rejects.toThrow();
  expect(held.isFrozen(AGENT)).toBe(true);
  await expect(held.thawing(OTHER)?.()).rejects.toThrow();
  expect(held.isFrozen(OTHER)).toBe(true);
  chmodSync(state, 0o700);
});

test('questions rest after the third denial in the window, for that source alone', () => {
  const { restraint: mood } = restraint();
  expect(deny(mood, DENIALS)).toEqual([null, null, FIRST_REST_MS]);
  expect(mood.mayAsk(AGENT)).toBe(false);
  expect(mood.mayAsk(OTHER)).toBe(true);
});

test('denials that lie ten minutes apart do not add up', () => {
  const { restraint: mood, clock } = restraint();
  deny(mood, DENIALS - 1);
  clock.ms += TEN_MINUTES;
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

test('a calm day begins anew, and not a moment less', () => {
  const day = 24 * 3_600_000;
  for (const [calm, rest] of [
    [day, FIRST_REST_MS],
    [day - 1, 2 * FIRST_REST_MS],
  ] as const) {
    const { restraint: mood, clock } = restraint();
    deny(mood, DENIALS);
    clock.ms += calm;
    expect(deny(mood, DENIALS)).toEqual([null, null, rest]);
  }
});

test('what is known of sources is bounded: one more, and the oldest is forgotten', () => {
  const { restraint: mood } = restraint();
  const source = (index: number): QubeName => `s${index}` as QubeName;
  for (let index = 0; index < 1_024; index++) mood.denied(source(index));
  for (const index of [0, 1])
    expect([mood.denied(source(index)), mood.denied(source(index))]).toEqual([null, FIRST_REST_MS]);
  mood.denied(source(1_024));
  expect([mood.mayAsk(source(0)), mood.mayAsk(source(1))]).toEqual([true, false]);
});

test('which sources rest, and for how long yet, can be told by name', () => {
  const { restraint: mood, clock } = restraint();
  const third = 'mcp-first' as QubeName;
  for (const each of [AGENT, OTHER, third]) for (let i = 0; i < DENIALS; i++) mood.denied(each);
  mood.denied('calm' as QubeName);
  clock.ms += FIRST_REST_MS - 1;
  expect(mood.resting).toEqual([
    { source: AGENT, ms: 1 },
    { source: third, ms: 1 },
    { source: OTHER, ms: 1 },
  ]);
  clock.ms += 1;
  expect(mood.resting).toEqual([]);
});

test('whoever wants to hear of a freeze hears of each, until they do not want to any more', async () => {
  const { restraint: held } = restraint();
  const heard: QubeName[] = [];
  const stop = held.onFreeze((source) => heard.push(source));
  await held.freeze(AGENT);
  await held.thawing(AGENT)?.();
  await held.freeze(OTHER);
  stop();
  await held.freeze(AGENT);
  expect(heard).toEqual([AGENT, OTHER]);
});

test('frozen sources are written by name, for the broker alone', async () => {
  const { state, restraint: held } = restraint();
  await held.freeze(OTHER);
  await held.freeze(AGENT);
  expect(readFileSync(join(state, 'frozen'), 'utf8')).toBe('mcp-control\nmcp-other\n');
  expect(statSync(join(state, 'frozen')).mode & 0o777).toBe(0o600);
  expect(held.frozen).toEqual([AGENT, OTHER]);
});

test('a freeze and a thaw leave no file open', async () => {
  const { state, restraint: held } = restraint();
  await held.freeze(AGENT);
  await held.thawing(AGENT)?.();
  const open = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  });
  expect(open.filter((path) => path.startsWith(state))).toEqual([]);
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
  expect(mood.takeUnasked(OTHER)).toBe(0);
});
