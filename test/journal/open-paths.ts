// What this process holds open, by the names that it has now.
import { readdirSync, readlinkSync } from 'node:fs';

export const openPaths = (): string[] =>
  readdirSync('/proc/self/fd').map((number) => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`);
    } catch {
      // That of the listing itself.
      return '';
    }
  });
