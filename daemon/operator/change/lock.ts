// One qmcpctl at a time changes operator files. The lock is a file with the number of the process that holds it, which comes
// into being whole; one that a killed process left is taken over.
import { Refusal } from '../command.ts';
import type { Disk } from './disk.ts';
import { failure } from './failure.ts';

export interface LockParts {
  readonly disk: Disk;
  readonly pid: number;
  /** Whether there is a qmcpctl of that number. */
  readonly isAlive: (pid: number) => boolean;
}

const TRIES = 3;

export async function withLock<T>(path: string, parts: LockParts, work: () => Promise<T>): Promise<T> {
  await take(path, parts);
  try {
    return await work();
  } finally {
    await parts.disk.remove(path).catch(() => {});
  }
}

async function take(path: string, { disk, pid, isAlive }: LockParts): Promise<void> {
  const own = `${path}.${pid}`;
  const owner = { mode: 0o644, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  try {
    await disk.remove(own);
    await disk.create(own, `${pid}\n`, owner);
    for (let tries = 0; tries < TRIES; tries++) {
      if (await linked(disk, own, path)) return;
      const holder = (await disk.read(path))?.text.trim();
      if (holder === undefined) continue;
      if (Number(holder) !== pid && isAlive(Number(holder))) {
        throw new Refusal(
          `Another qmcpctl (process ${holder}) is changing settings just now. Try again when it is done.`,
        );
      }
      await breakLock(disk, path, holder, own);
    }
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(failure(error));
  } finally {
    await disk.remove(own).catch(() => {});
  }
  throw new Refusal('Other qmcpctl are changing settings just now. Try again when they are done.');
}

const linked = async (disk: Disk, own: string, path: string): Promise<boolean> => {
  try {
    await disk.link(own, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
};

/** Takes a dead process's lock away. Whoever else found it dead may have been faster: then it is a living one's, and goes back. */
async function breakLock(disk: Disk, path: string, dead: string, own: string): Promise<void> {
  const aside = `${own}.stale`;
  try {
    await disk.rename(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  const holder = (await disk.read(aside))?.text.trim();
  if (holder !== dead) await linked(disk, aside, path);
  await disk.remove(aside);
}
