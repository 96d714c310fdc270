// What the operator's verbs work with: the same things that calls do.
import type { Broker } from '../broker.ts';
import type { Acquaintance } from '../confirm/acquaintance.ts';
import type { Shown } from '../confirm/confirmer.ts';
import type { Restraint } from '../confirm/restraint.ts';
import type { FleetView } from '../fleet/view.ts';
import type { Journal } from '../journal/journal.ts';
import type { UndoStore } from '../journal/undo-store.ts';
import type { Principals } from '../principals/principals.ts';
import type { Registry } from '../principals/registry.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import type { Tools } from '../qubesadmin/tool.ts';
import type { Quarantine } from '../services/quarantine.ts';
import type { SettingsReader } from '../settings/open.ts';

export interface ControlParts {
  readonly broker: Pick<Broker, 'askers' | 'housekeeping'>;
  /** The question on the screen. */
  readonly onScreen: () => Shown | null;
  /** Calls that are held open. */
  readonly calls: () => number;
  readonly restraint: Restraint;
  readonly acquaintance?: Acquaintance;
  readonly journal: Journal;
  readonly undo: UndoStore;
  readonly fleet: FleetView;
  readonly quarantine: Quarantine;
  /** The qubes as they are, for the operator. */
  readonly admin: Admin;
  /** The same without what is in quarantine, as the broker has it for callers. */
  readonly callers: Admin;
  readonly tools: Tools;
  readonly settings: SettingsReader;
  readonly registry: Registry;
  readonly principals: Principals;
  /** `<etc>`, for what is said about its files. */
  readonly etc: string;
  /** Where questions go. */
  readonly confirmSocket: string;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly monotonicMs: () => number;
  /** By the monotonic clock. */
  readonly startedMs: number;
  readonly pid: number;
}
