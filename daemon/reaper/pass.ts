// One pass of the reaper (contract section 4): tombstones whose time is over are destroyed, everything else is let be.
// The view only says where to look. What a qube is decided by is read live, while no call touches it.
import { createHash } from 'node:crypto';
import { isTombstoneMarker, type ReaperVerdict, reaperVerdict } from '../authority/tombstone.ts';
import { readQube } from '../fleet/live.ts';
import type { FleetView, Snapshot } from '../fleet/view.ts';
import { canonical } from '../journal/canonical.ts';
import type { Journal } from '../journal/journal.ts';
import type { NamedQube } from '../journal/record.ts';
import type { Digest, QubeName, Uuid } from '../names.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { SettingsReader } from '../settings/open.ts';

const SERVICE = 'qmcp.TombstoneReaper';
const ACTION = 'reap';
const DIGEST_CONTEXT = 'qmcp-operation-v1\0';
/** In the journal's `age_s`: there is no age. */
const NO_AGE = -1;

export interface PassParts {
  readonly admin: Admin;
  readonly fleet: FleetView;
  readonly settings: SettingsReader;
  readonly journal: Journal;
  /** Runs work under a call number of its own, while no call touches these qubes (`Broker.housekeeping`). */
  readonly alone: <T>(names: readonly QubeName[], work: (call: number) => Promise<T>) => Promise<T>;
  /** Wall clock, milliseconds since 1970. */
  readonly now: () => number;
  readonly monotonicMs: () => number;
  /** Once it is aborted no further qube is looked at. */
  readonly stopping: AbortSignal;
}

/** Verdicts the journal already has, by uuid; '' stands for the pass as a whole. */
export type KnownVerdicts = Map<Uuid | '', ReaperVerdict>;

/** The qubes that carry a tombstone's marker, in the order of their names. One whose tags are unknown is none. */
export const tombstonesIn = (snapshot: Snapshot): QubeName[] =>
  [...snapshot.values()]
    .filter(({ tags }) => [...(tags ?? [])].some(isTombstoneMarker))
    .map(({ name }) => name)
    .sort();

/**
 * Makes one pass. Every removal is journalled as intent and outcome; of the other verdicts only news are, so that a tombstone
 * within its window takes one record and not one an hour: `known` is what was told before, and is brought up to date.
 * Rejects with `AdminError` when qubesd cannot be asked and with `JournalUnavailable` when nothing can be journalled (I7).
 */
export const pass = async (parts: PassParts, known: KnownVerdicts): Promise<void> => {
  const { fleet, settings, stopping, alone } = parts;
  if (settings.current().tombstoneRetention === null) {
    const whole = { id: '', verdict: 'config-malformed', age: null, qubes: [] } as const;
    return alone([], async (call) => tell(parts, known, { call, ...whole }));
  }
  known.delete('');
  const snapshot = await fleet.snapshot();
  const present = new Set([...snapshot.values()].map(({ uuid }) => uuid));
  for (const id of known.keys()) if (id !== '' && !present.has(id)) known.delete(id);
  for (const name of tombstonesIn(snapshot)) {
    if (stopping.aborted) return;
    await alone([name], (call) => attend(name, call, parts, known));
  }
};

const attend = async (name: QubeName, call: number, parts: PassParts, known: KnownVerdicts): Promise<void> => {
  const { admin, settings, now } = parts;
  const qube = await readQube(admin, name);
  // Read again, too: the operator may have changed it during the pass.
  const retention = settings.current().tombstoneRetention;
  if (!qube || retention === null) return;
  const halted = await isHalted(qube, admin);
  const { verdict, age } = reaperVerdict({ tags: qube.tags ?? new Set(), halted, now: now() / 1000, retention });
  if (verdict === 'not-a-tombstone') return;
  const qubes = [{ role: 'target', name, uuid: qube.uuid }];
  tell(parts, known, { call, id: qube.uuid, verdict, age, qubes });
  if (verdict === 'due') await reap(qube, parts, ofCall({ call, verdict, age, qubes }));
};

/** Read from where a failure shows (C47): anything but the literal state counts as running. */
const isHalted = async ({ uuid }: Qube, admin: Admin): Promise<boolean> => {
  try {
    return (await admin.state({ uuid })) === 'Halted';
  } catch (error) {
    if (error instanceof AdminError && error.kind !== 'unreachable') return false;
    throw error;
  }
};

/** I4: the intent is on disk before, the outcome after. qubesd itself refuses to remove what runs or is in use. */
const reap = async (qube: Qube, { admin, fleet, journal, monotonicMs }: PassParts, of: OfCall): Promise<void> => {
  await journal.append({ ...of, type: 'intent', digest: digestOf(qube), nonce: null });
  const began = monotonicMs();
  let cause: string | null = null;
  try {
    await admin.lifecycle({ uuid: qube.uuid }, 'Remove');
  } catch (error) {
    cause = error instanceof AdminError ? (error.type ?? error.kind) : 'unplanned';
    if (!(error instanceof AdminError)) throw error;
  } finally {
    fleet.changed(qube.name);
    const duration_ms = Math.round(monotonicMs() - began);
    const error = cause === null ? null : 'remove failed';
    journal.note({ ...of, type: 'outcome', ok: cause === null, error, cause, duration_ms });
  }
};

interface Said {
  readonly call: number;
  readonly verdict: ReaperVerdict;
  /** Seconds. */
  readonly age: number | null;
  readonly qubes: readonly NamedQube[];
}

const tell = ({ journal }: PassParts, known: KnownVerdicts, said: Said & { readonly id: Uuid | '' }): void => {
  const { id, verdict } = said;
  if (known.get(id) === verdict) return;
  known.set(id, verdict);
  journal.note({ ...ofCall(said), type: 'decision', verdict: verdict === 'due' ? 'allow' : 'refuse', rule: verdict });
};

type OfCall = ReturnType<typeof ofCall>;

const ofCall = ({ call, verdict, age, qubes }: Said) => ({
  call,
  source: 'dom0',
  principal: 'broker',
  service: SERVICE,
  action: ACTION,
  qubes,
  args: {
    name: qubes[0]?.name ?? null,
    verdict,
    age_s: age === null ? NO_AGE : Math.floor(age),
    ...(verdict === 'config-malformed' ? { error: 'retention unreadable' } : {}),
  },
});

const digestOf = ({ name, uuid, tags }: Qube): Digest =>
  createHash('sha256')
    .update(DIGEST_CONTEXT)
    .update(canonical({ service: SERVICE, action: ACTION, name, uuid, tags: [...(tags ?? [])].sort() }))
    .digest('hex') as Digest;
