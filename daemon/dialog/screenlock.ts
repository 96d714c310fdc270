// Is the screen locked? A question is never shown over a locked screen: it waits, and expires into a no.
import type { Toolkit } from './gtk.ts';
import { type Kept, watchXfceScreensaver } from './xfce-screensaver.ts';
import { watchXScreenSaver } from './xscreensaver.ts';

/** What one locker says. Until it has said something it counts as locked. */
export type Tell = (locked: boolean) => void;

/** Stops watching. */
export type Stop = () => void;

export interface ScreenLock {
  /**
   * Calls `tell` as soon as it is known whether any locker has locked or blanked the screen, and whenever that changes.
   * To be called once.
   */
  readonly watch: (toolkit: Toolkit, tell: Tell) => void;
  readonly stop: Stop;
}

/**
 * Begins to ask the lockers of a Xfce desktop, xscreensaver and xfce4-screensaver, each by its own interface. Made before
 * the toolkit is loaded, so that the answer is there when the window is.
 */
export const screenLock = (env: NodeJS.ProcessEnv): ScreenLock => {
  const said: [xscreensaver: boolean | null, xfce: boolean | null] = [null, null];
  let last: boolean | null = null;
  let listener: Tell | null = null;
  const kept: Kept[] = [];

  const hear = (index: 0 | 1, locked: boolean): void => {
    said[index] = locked;
    const [one, other] = said;
    const now = one === true || other === true ? true : one === null || other === null ? null : false;
    if (now === null || now === last || listener === null) return;
    last = now;
    listener(now);
  };

  const stop = watchXScreenSaver(env, (locked) => hear(0, locked));
  return {
    watch: (toolkit, tell) => {
      listener = tell;
      kept.push(watchXfceScreensaver(toolkit, env, (locked) => hear(1, locked)));
    },
    stop,
  };
};
