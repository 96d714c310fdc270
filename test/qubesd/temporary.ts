// A simulated qubesd for one test, on a socket below the temporary directory, gone when the test ends.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { type Qubesd, type QubesdOptions, startQubesd } from './server.ts';

/** Starts it; when the test ends it stops, and the test fails if the simulation itself made an error. */
export const temporaryQubesd = async (options: Omit<QubesdOptions, 'path'> = {}): Promise<Qubesd> => {
  const directory = await mkdtemp(join(tmpdir(), 'qubesd-'));
  const qubesd = await startQubesd({ path: join(directory, 's'), ...options });
  onTestFinished(async () => {
    await qubesd.stop();
    await rm(directory, { recursive: true, force: true });
    expect(qubesd.errors).toEqual([]);
  });
  return qubesd;
};
