// Is the screen locked? A question is never shown over a locked screen: it waits, and expires into a no.
import type { Toolkit } from './gtk.ts';
import { watchXfceScreensaver } from './xfce-screensaver.ts';
import { watchXScreenSaver } from './xscreensaver.ts';

/** What one locker says. Until it has said something it counts as locked. */
export type Tell = (locked: boolean) => void;

/** Stops watching. */
export type Stop = () => void;

/**
 * Calls `tell` when it is known whether any locker of this session has locked or blanked the screen, and whenever that
 * changes. The lockers are those of a Xfce desktop: xscreensaver and xfce4-screensaver, each by its own interface.
 */
export const watchScreenLock = (toolkit: Toolkit, env: NodeJS.ProcessEnv, tell: Tell): Stop => {
  const said: (boolean | null)[] = LOCKERS.map(() => null);
  let last: boolean | null = null;
  const stops = LOCKERS.map((watch, index) =>
    watch(toolkit, env, (locked) => {
      said[index] = locked;
      if (said.includes(null) && !locked) return;
      const now = said.some((one) => one !== false);
      if (now !== last) tell(now);
      last = now;
    }),
  );
  return () => {
    for (const stop of stops) stop();
  };
};

const LOCKERS: readonly ((toolkit: Toolkit, env: NodeJS.ProcessEnv, tell: Tell) => Stop)[] = [
  watchXScreenSaver,
  watchXfceScreensaver,
];
