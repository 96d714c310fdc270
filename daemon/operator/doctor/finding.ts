// What doctor finds, and what it looks at. A check never throws for what it finds: it says so, with the command that mends it.
import type { Status } from '../../control/answers.ts';
import type { Settings } from '../../settings/settings.ts';
import type { FleetQube } from '../fleet.ts';
import type { Programs } from '../programs.ts';

/** An error stops something from working or protects less than it says; a warning may; a note is good to know. */
export type Level = 'error' | 'warning' | 'note';

export interface Finding {
  readonly level: Level;
  /** A sentence, or two. */
  readonly what: string;
  /** The command that mends it; null where there is none. */
  readonly mend: string | null;
}

export interface Machine {
  readonly etc: string;
  readonly run: string;
  readonly state: string;
  readonly log: string;
  readonly policy: string;
  /** A file of the system, wherever the machine is looked at: `/etc/passwd`. */
  readonly system: (path: string) => string;
  readonly programs: Programs;
  readonly settings: Settings;
  /** Records that tell of a break in the journal which the operator knows of. */
  readonly knownBreaks: ReadonlySet<number>;
  /** Every qube with its tags, managed ones with their properties. Rejects with Refusal where qubesd cannot be asked. */
  readonly fleet: () => Promise<readonly FleetQube[]>;
  /** The bytes that these qubes are charged with. Rejects with Refusal. */
  readonly bytesOf: (qubes: readonly FleetQube[]) => Promise<number>;
  /** What the daemon says of itself; rejects with Refusal where there is none to ask. */
  readonly status: () => Promise<Status>;
  /** Its version; rejects likewise. */
  readonly version: () => Promise<string>;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  /** How far a long check is, for a person who watches. */
  readonly progress: (text: string) => void;
}

export type Check = (machine: Machine) => Promise<readonly Finding[]>;

export const error = (what: string, mend: string | null): Finding => ({ level: 'error', what, mend });
export const warning = (what: string, mend: string | null): Finding => ({ level: 'warning', what, mend });
export const note = (what: string, mend: string | null = null): Finding => ({ level: 'note', what, mend });

/** What only another user may look at. */
export const CLOSED = note('Not everything could be looked at by this user.', 'sudo qmcpctl doctor');
