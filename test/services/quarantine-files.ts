// The one file of a quarantine, in memory: it outlives a quarantine, and fails on order.
import type { StateFiles } from '../../daemon/state-files.ts';

export interface QuarantineFiles extends StateFiles {
  /** null where there is no file. */
  text: string | null;
  /** What every write says. */
  fault: Error | null;
}

export const quarantineFiles = (text: string | null = null): QuarantineFiles => ({
  text,
  fault: null,
  pathOf: (name) => `/state/${name}`,
  read() {
    return this.text;
  },
  async write(_, written) {
    if (this.fault) throw this.fault;
    this.text = written;
  },
});
