// How the daemon is, and what it is asking at this moment.
import { statSync } from 'node:fs';
import type * as z from 'zod/mini';
import { isTombstoneMarker } from '../authority/tombstone.ts';
import { isManaged } from '../qube.ts';
import { complaintText } from '../settings/settings.ts';
import type { hello as helloAnswer, noted as notedAnswer, Pending, Status } from './answers.ts';
import type { ControlParts } from './parts.ts';
import { done, type Said } from './socket.ts';
import { soon } from './soon.ts';

export const hello = (_: object, parts: ControlParts): Said =>
  done({ pid: parts.pid, uptime_s: uptime(parts) } satisfies z.infer<typeof helloAnswer>);

export const status = async (_: object, parts: ControlParts): Promise<Said> => {
  const { broker, calls, confirmSocket, fleet, journal, onScreen, quarantine, restraint, settings, undo } = parts;
  const { tierDefault, policyMode, enforceMode, confirmKey } = settings.current();
  // It is tried once more, so that who has just mended the disk is told so.
  const health = await soon(journal.recover(), journal.health());
  await soon(quarantine.review(parts.admin, parts.now()), undefined);
  const all = await soon(fleet.snapshot(), null);
  return done({
    pid: parts.pid,
    uptime_s: uptime(parts),
    qubesd: fleet.isStanding ? 'connected' : 'away',
    journal: { ok: health.ok, sentence: (health.ok ? health.warning : health.reason) ?? null },
    undo_complaint: undo.complaint,
    mode: { tier_default: tierDefault, policy: policyMode, enforce: enforceMode },
    dialog: { key: confirmKey !== null, listens: isSocket(confirmSocket) },
    complaints: complaintsOf(parts),
    calls: calls(),
    questions: { open: onScreen() === null ? 0 : 1, waiting: broker.askers.waiting.length },
    frozen: [...restraint.frozen],
    all_frozen: restraint.complaint,
    resting: restraint.resting.map(({ source, ms }) => ({ source, seconds: Math.ceil(ms / 1000) })),
    quarantine: quarantine.qubes.map(({ name, uuid, at }) => ({ name, uuid, since: new Date(at).toISOString() })),
    quarantine_complaint: quarantine.complaint ?? quarantine.unsaved,
    managed: all && [...all.values()].filter(isManaged).length,
    tombstones: all && [...all.values()].filter(({ tags }) => [...(tags ?? [])].some(isTombstoneMarker)).length,
  } satisfies Status);
};

/** The open question and those that wait, without their nonces. */
export const pending = (_: object, { broker, onScreen, monotonicMs }: ControlParts): Said => {
  const { current, waiting } = broker.askers;
  const shown = onScreen();
  const now = monotonicMs();
  return done({
    open: current && {
      ...current,
      names: [...current.names],
      lines: shown && [...shown.view.lines],
      asked_s: shown && inSeconds(now - shown.asked),
      expires_s: shown && inSeconds(shown.deadline - now),
    },
    waiting: waiting.map((each) => ({ ...each, names: [...each.names] })),
  } satisfies Pending);
};

/** The operator has written files: they are read again at once, and the journal learns who did it. */
export const noted = (
  { by, files }: { readonly by: string; readonly files: readonly string[] },
  parts: ControlParts,
): Said => {
  parts.journal.note({ type: 'operator', verb: by, args: { files: files.join(' ') } });
  parts.settings.current();
  return done({ complaints: complaintsOf(parts) } satisfies z.infer<typeof notedAnswer>);
};

const complaintsOf = ({ settings, registry, etc }: ControlParts): string[] =>
  [...settings.current().complaints, ...registry.complaints].map((each) => complaintText(etc, each));

const uptime = ({ monotonicMs, startedMs }: ControlParts): number => inSeconds(monotonicMs() - startedMs);

const inSeconds = (ms: number): number => Math.max(0, Math.round(ms / 1000));

/** Looked at and not connected to: a connection would start a dialog. */
const isSocket = (path: string): boolean => {
  try {
    return statSync(path).isSocket();
  } catch {
    return false;
  }
};
