// Who is asking (product, "Who is asking"): the qube that qrexec names, the principal within it, and how far the operator
// lets that principal go. Small shared types; limits only ever take something away.
import type { Risk } from '../authority/tables.ts';
import type { QubeName } from '../names.ts';
import type { Tier } from '../settings/settings.ts';
import type { Week } from './hours.ts';
import type { NamePatterns } from './patterns.ts';

export interface Caller {
  readonly source: QubeName;
  readonly principal: string;
  /** Whether the call was signed with the principal's key. An unsigned one is anybody's in that qube. */
  readonly signed?: boolean;
  /** Absent where the operator enrolled nobody. */
  readonly limits?: Limits;
}

export interface Limits {
  /** The highest tier that counts, over whatever a qube's tags grant. */
  readonly ceiling: Tier;
  /** The names that the principal may name; null for any. */
  readonly names: NamePatterns | null;
  /** Whether it changes only qubes that it had created. */
  readonly ownedOnly: boolean;
  readonly risks: ReadonlySet<Risk>;
  /** Per hour, null for any number. */
  readonly calls: number | null;
  readonly questions: number | null;
  /** What it may hold at any time of what it had created, null for any amount. */
  readonly qubes: number | null;
  readonly bytes: number | null;
  /** When it may change something; null for always. */
  readonly week: Week | null;
}

/** The one principal of unsigned calls where nobody is enrolled. */
export const DEFAULT_PRINCIPAL = 'default';

/**
 * The name under which created qubes are tagged. Unsigned calls are the source's, as they always were; a principal's begins
 * with a character that no qube's name can begin with, so that neither can be taken for the other.
 */
export const ownerOf = ({ source, principal, signed }: Caller): string => (signed === true ? `_${principal}` : source);

/** What tells the use of one caller from another's: a principal's own, or that of all unsigned calls of a source. */
export const accountOf = ({ source, principal, signed }: Caller): string =>
  signed === true ? principal : `${principal}@${source}`;
