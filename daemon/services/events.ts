// qmcp.AIManagedEvents (contract 1.13): what happens to managed qubes during some seconds, told at their end. It listens to
// the one lasting stream of the view, so that a call that waits holds a timer and nothing of qubesd.
import * as z from 'zod/mini';
import type { Snapshot } from '../fleet/view.ts';
import { isQubeName, type QubeName } from '../names.ts';
import { NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import { isManaged, UMBRELLA } from '../qube.ts';
import { AdminError, type AdminEvent } from '../qubesadmin/wire.ts';
import { isRefusal, type Reading, type ReadService } from './service.ts';

const UNAVAILABLE = refuse('event stream unavailable');
const ENDED_EARLY = 'event stream ended early';

const LEAST_SECONDS = 1;
const MOST_SECONDS = 120;
/** A call that has seen this many events ends with the warning: its caller has lost nothing yet and asks again. */
export const MAX_EVENTS = 1_000;
/** Events whose subject is still being looked up at the end are waited for this long; then they are left out, with the warning. */
export const SETTLE_MS = 1_000;
/** What qubesd calls its events: key and property names ride in the name. Any other is not passed on. */
const EVENT_NAME = /^[\x21-\x7e]{1,256}$/;

const hasDuration = z.object({ duration: z.custom<number>((value) => typeof value === 'number') });
const hasQube = z.object({ qube: z.nullish(z.string()) });
const hasEvents = z.object({ events: z.nullish(z.array(z.string().check(z.minLength(1)))) });

interface Wanted {
  readonly durationMs: number;
  readonly qube: string | null;
  readonly events: ReadonlySet<string> | null;
}

export const aiManagedEvents: ReadService = {
  kind: 'read',
  name: 'qmcp.AIManagedEvents',
  malformed: refuse('invalid JSON input'),
  answer(json, reading) {
    const wanted = parse(json);
    return isRefusal(wanted) ? wanted : open(wanted, reading);
  },
};

const parse = (json: unknown): Wanted | Refusal => {
  const duration = hasDuration.safeParse(json);
  if (!duration.success) return refuse(`duration must be a number in [${LEAST_SECONDS}, ${MOST_SECONDS}]`);
  const qube = hasQube.safeParse(json);
  if (!qube.success) return refuse('qube must be a string or null');
  const events = hasEvents.safeParse(json);
  if (!events.success) return refuse('events must be a list of non-empty strings or null');
  return {
    durationMs: Math.min(Math.max(duration.data.duration, LEAST_SECONDS), MOST_SECONDS) * 1000,
    qube: qube.data.qube ?? null,
    events: events.data.events ? new Set(events.data.events) : null,
  };
};

/** What was managed when the call began decides about qubes that are gone by the time something is heard of them. */
const open = async (wanted: Wanted, reading: Reading): Promise<Reply> => {
  const { fleet } = reading;
  if (!fleet.isStanding) return UNAVAILABLE;
  try {
    const opening = await fleet.snapshot();
    if (!fleet.isStanding) return UNAVAILABLE;
    if (wanted.qube !== null && !wasManaged(opening, wanted.qube)) return NOT_FOUND;
    return await collect(wanted, opening, reading);
  } catch (error) {
    if (error instanceof AdminError) return UNAVAILABLE;
    throw error;
  }
};

const wasManaged = (opening: Snapshot, name: string): boolean => {
  const qube = isQubeName(name) ? opening.get(name) : undefined;
  return qube !== undefined && isManaged(qube);
};

/** An event on its way to the caller, in the order of receipt. `klass` is undefined until its subject was looked up. */
interface Sighting {
  readonly event: string;
  readonly subject: QubeName;
  readonly tag: string | null;
  /** Seconds since 1970. */
  readonly ts: number;
  klass: string | null | undefined;
}

const collect = async (wanted: Wanted, opening: Snapshot, { fleet, now, stopping }: Reading): Promise<Reply> => {
  const sightings = new Set<Sighting>();
  const lookups = new Set<Promise<void>>();

  const lookUp = async (sighting: Sighting): Promise<void> => {
    const scope = await scopeOf(sighting, opening, fleet);
    if (scope) sighting.klass = scope.klass;
    else sightings.delete(sighting);
  };

  const early = await new Promise<boolean>((resolve, reject) => {
    const close = (): void => {
      clearTimeout(timer);
      unfollow();
      stopping.removeEventListener('abort', endEarly);
    };
    const end = (early: boolean): void => {
      close();
      resolve(early);
    };
    const endEarly = (): void => end(true);
    const timer = setTimeout(() => end(false), wanted.durationMs);
    stopping.addEventListener('abort', endEarly);
    const unfollow = fleet.follow((event) => {
      const sighting = event && sight(event, wanted, now() / 1000);
      if (sighting) {
        sightings.add(sighting);
        const lookup = lookUp(sighting).finally(() => lookups.delete(lookup));
        lookups.add(lookup);
        lookup.catch((error) => {
          close();
          reject(error);
        });
      }
      if (event === null || sightings.size >= MAX_EVENTS) endEarly();
    });
    if (stopping.aborted) endEarly();
  });

  const settled = stopping.aborted ? lookups.size === 0 : await within(SETTLE_MS, Promise.all(lookups));
  const events = [...sightings].filter(({ klass }) => klass !== undefined).map(told);
  return { ok: true, events, ...(early || !settled ? { warning: ENDED_EARLY } : {}) };
};

/** The event as far as this caller asked for it, its subject not yet looked at; null for anything else. */
const sight = ({ subject, event, details }: AdminEvent, { qube, events }: Wanted, ts: number): Sighting | null => {
  if (!isQubeName(subject) || !EVENT_NAME.test(event)) return null;
  if (qube !== null && subject !== qube) return null;
  if (events && !beginnings(event).some((name) => events.has(name))) return null;
  if (!event.startsWith('domain-tag-')) return { event, subject, tag: null, ts, klass: undefined };
  // Tags other than the umbrella are dom0's own business: events about them are dropped whole.
  const [base = '', tag = details.tag] = event.split(/:(.*)/, 2);
  return TAG_EVENTS.has(base) && tag === UMBRELLA ? { event: base, subject, tag, ts, klass: undefined } : null;
};

const TAG_ADDED = 'domain-tag-add';
const TAG_DELETED = 'domain-tag-delete';
const TAG_EVENTS: ReadonlySet<string> = new Set([TAG_ADDED, TAG_DELETED]);

/** `a:b:c` -> `a`, `a:b`, `a:b:c`: what a filter may say to mean this event. */
const beginnings = (event: string): string[] => {
  const parts = event.split(':');
  return parts.map((_, index) => parts.slice(0, index + 1).join(':'));
};

/** Whether the caller may hear of the subject, by what qubesd says now; its klass is null once it is gone. */
const scopeOf = async (
  { event, subject }: Sighting,
  opening: Snapshot,
  fleet: Reading['fleet'],
): Promise<{ readonly klass: string | null } | null> => {
  const before = wasManaged(opening, subject) ? opening.get(subject) : undefined;
  if (event === TAG_DELETED && !before) return null;
  const now = await fleet.live(subject).catch((error: unknown) => {
    if (error instanceof AdminError) return 'unreadable' as const;
    throw error;
  });
  // The end of the umbrella is told of the qube that had it. Another one that took the name since is none of this caller's.
  if (event === TAG_DELETED)
    return { klass: now !== null && now !== 'unreadable' && now.uuid === before?.uuid ? now.klass : null };
  if (now === 'unreadable') return null;
  if (now === null) return before ? { klass: null } : null;
  return isManaged(now) ? { klass: now.klass } : null;
};

const told = ({ event, subject, klass, ts, tag }: Sighting) => ({
  event,
  subject,
  subject_klass: klass,
  ts,
  ...(tag === null ? {} : { tag }),
});

/** Whether the work ended within this time. */
const within = async (ms: number, work: Promise<unknown>): Promise<boolean> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
};
