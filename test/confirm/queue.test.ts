import { expect, test } from 'vitest';
import { type Asker, MAX_WAITING, MAX_WAITING_PER_SOURCE, QuestionQueue } from '../../daemon/confirm/queue.ts';

const of = (source: string): Asker => ({ source, principal: 'default', service: 's', action: 'a', names: [source] });

/** Work that ends when told. */
const gate = () => {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, opened };
};

test('questions run one at a time, in the order of asking, and know whether they waited', async () => {
  const queue = new QuestionQueue();
  const seen: string[] = [];
  const { open, opened } = gate();
  const first = queue.turn(of('a'), async (waited) => {
    seen.push(`first ${waited}`);
    await opened;
  });
  const second = queue.turn(of('b'), async (waited) => void seen.push(`second ${waited}`));
  const third = queue.turn(of('a'), async (waited) => void seen.push(`third ${waited}`));
  await Promise.resolve();
  expect(seen).toEqual(['first false']);
  open();
  await Promise.all([first, second, third]);
  expect(seen).toEqual(['first false', 'second true', 'third true']);
});

test('a source may have so many waiting and no more, while another still may', async () => {
  const queue = new QuestionQueue();
  const { open, opened } = gate();
  const showing = queue.turn(of('a'), () => opened);
  const waiting = Array.from({ length: MAX_WAITING_PER_SOURCE }, () => queue.turn(of('a'), async () => 'asked'));
  expect(await queue.turn(of('a'), async () => 'asked')).toBeNull();
  const other = queue.turn(of('b'), async () => 'asked');
  open();
  await showing;
  expect(await Promise.all([...waiting, other])).toEqual(Array(MAX_WAITING_PER_SOURCE + 1).fill('asked'));
});

test('a source that has just had its turn lets another go first, however much it still has to ask', async () => {
  const queue = new QuestionQueue();
  const seen: string[] = [];
  const ask = (source: string, name: string) => queue.turn(of(source), async () => void seen.push(name));
  const { open, opened } = gate();
  const showing = queue.turn(of('a'), () => opened);
  const waiting = [ask('a', 'a1'), ask('a', 'a2'), ask('b', 'b1'), ask('b', 'b2')];
  open();
  await Promise.all([showing, ...waiting]);
  expect(seen).toEqual(['b1', 'a1', 'b2', 'a2']);
});

test('so many may wait in all and no more', async () => {
  const queue = new QuestionQueue();
  const { open, opened } = gate();
  const showing = queue.turn(of('a'), () => opened);
  const waiting = Array.from({ length: MAX_WAITING }, (_, i) => queue.turn(of(`s${i}`), async () => 'asked'));
  expect(await queue.turn(of('one-more'), async () => 'asked')).toBeNull();
  open();
  await showing;
  expect(await Promise.all(waiting)).toEqual(Array(MAX_WAITING).fill('asked'));
  expect(queue.waiting).toBe(0);
});

test('work that fails passes the turn on', async () => {
  const queue = new QuestionQueue();
  await expect(queue.turn(of('a'), () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');
  expect(await queue.turn(of('a'), async () => 'asked')).toBe('asked');
});

test('closing turns away who waits and who comes', async () => {
  const queue = new QuestionQueue();
  const { open, opened } = gate();
  const showing = queue.turn(of('a'), () => opened);
  const waiting = queue.turn(of('b'), async () => 'asked');
  queue.close();
  expect(await waiting).toBeNull();
  expect(await queue.turn(of('c'), async () => 'asked')).toBeNull();
  open();
  await showing;
});

test('who has the turn and who waits can be told at any time', async () => {
  const queue = new QuestionQueue();
  const { open, opened } = gate();
  expect(queue.askers).toEqual({ current: null, waiting: [] });
  const showing = queue.turn(of('a'), () => opened);
  const waiting = queue.turn(of('b'), async () => queue.askers);
  expect(queue.askers).toEqual({ current: of('a'), waiting: [of('b')] });
  open();
  await showing;
  expect(await waiting).toEqual({ current: of('b'), waiting: [] });
  expect(queue.askers).toEqual({ current: null, waiting: [] });
});
