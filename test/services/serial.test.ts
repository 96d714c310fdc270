import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Serial } from '../../daemon/services/serial.ts';

test('work that shares a key runs one after the other, in order; work that shares none runs side by side', async () => {
  const serial = new Serial();
  const seen: string[] = [];
  let open = (): void => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const first = serial.run(['a', 'b'], async () => {
    seen.push('first begins');
    await gate;
    seen.push('first ends');
  });
  const second = serial.run(['b', 'c'], async () => void seen.push('second'));
  const third = serial.run(['c'], async () => void seen.push('third'));
  await serial.run(['d'], async () => void seen.push('other'));
  expect(seen).toEqual(['first begins', 'other']);
  open();
  await Promise.all([first, second, third]);
  expect(seen).toEqual(['first begins', 'other', 'first ends', 'second', 'third']);
});

test('work that fails lets the next one go on, and its failure is its own', async () => {
  const serial = new Serial();
  const failing = serial.run(['a'], () => Promise.reject(new Error('broken')));
  const next = serial.run(['a'], async () => 'done');
  await expect(failing).rejects.toThrow('broken');
  expect(await next).toBe('done');
});

test('no set of keys ever deadlocks, and no two pieces of work with a common key overlap', async () => {
  const keys = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 0 });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(keys, { maxLength: 12 }), async (scheduler, jobs) => {
      const serial = new Serial();
      const held = new Set<string>();
      const runs = jobs.map((job) =>
        serial.run(job, async () => {
          for (const key of job) {
            expect(held.has(key)).toBe(false);
            held.add(key);
          }
          await scheduler.schedule(Promise.resolve());
          for (const key of job) held.delete(key);
        }),
      );
      await scheduler.waitFor(Promise.all(runs));
    }),
  );
});
