// What can be seen of the daemon from outside: its memory, its descriptors, and how often it wakes up while nothing happens.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const statusOf = (pid: number, field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

export interface Footprint {
  readonly residentMiB: number;
  readonly descriptors: number;
}

export const footprint = (pid: number): Footprint => ({
  residentMiB: statusOf(pid, 'VmRSS') / 1024,
  descriptors: readdirSync(`/proc/${pid}/fd`).length,
});

/** Wake-ups in a time of rest: a timer that was left armed shows in it. */
export const wakeUps = async (pid: number, ms: number): Promise<number> => {
  const before = statusOf(pid, 'voluntary_ctxt_switches');
  await sleep(ms);
  return statusOf(pid, 'voluntary_ctxt_switches') - before;
};

/** Looks now and then, until stopped; gives the largest of each. */
export const watchFootprint = (pid: number): (() => Footprint) => {
  let most: Footprint = footprint(pid);
  const look = (): void => {
    const { residentMiB, descriptors } = footprint(pid);
    most = {
      residentMiB: Math.max(most.residentMiB, residentMiB),
      descriptors: Math.max(most.descriptors, descriptors),
    };
  };
  const timer = setInterval(look, 20);
  return () => {
    clearInterval(timer);
    look();
    return most;
  };
};
