import { expect, test } from 'vitest';
import { shared } from '../../daemon/fleet/shared.ts';

/** A reading that ends when told, and a count of how often it began. */
const controlled = () => {
  const begun: { key: string; end: (value: string) => void; fail: (error: Error) => void }[] = [];
  const read = shared(
    (key: string) => new Promise<string>((resolve, reject) => begun.push({ key, end: resolve, fail: reject })),
  );
  return { begun, read };
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('whoever asks during a reading gets the next one, which all of them share', async () => {
  const { begun, read } = controlled();
  const first = read('a');
  const later = [read('a'), read('a'), read('a')];
  expect(begun).toHaveLength(1);
  begun[0]?.end('old');
  expect(await first).toBe('old');
  await turn();
  expect(begun).toHaveLength(2);
  begun[1]?.end('new');
  expect(await Promise.all(later)).toEqual(['new', 'new', 'new']);
});

test('no answer is older than its question', async () => {
  let fact = 0;
  const read = shared(async (_: string) => {
    const then = fact;
    await turn();
    return then;
  });
  const answers: Promise<void>[] = [];
  for (let asked = 0; asked < 50; asked++) {
    const at = ++fact;
    answers.push(read('a').then((answer) => expect(answer).toBeGreaterThanOrEqual(at)));
    if (asked % 3 === 0) await turn();
  }
  await Promise.all(answers);
});

test('readings of different keys run side by side, and a key that rests begins at once', async () => {
  const { begun, read } = controlled();
  const both = [read('a'), read('b')];
  expect(begun.map(({ key }) => key)).toEqual(['a', 'b']);
  for (const { end } of begun) end('x');
  await Promise.all(both);
  void read('a');
  expect(begun).toHaveLength(3);
});

test('a reading that fails fails for those who asked for it, and not for those who follow', async () => {
  const { begun, read } = controlled();
  const first = read('a');
  const second = read('a');
  begun[0]?.fail(new Error('broken'));
  await expect(first).rejects.toThrow('broken');
  await turn();
  begun[1]?.end('fine');
  expect(await second).toBe('fine');
});
