// Allow is dead for a while after the window gains the focus, and again after every refocus: a click or key that was
// already on its way to another window must not approve anything (QubesOS issue 1166).

export const DEAD_MS = 1500;

/** When Allow wakes, in milliseconds of the monotonic clock; null while the window has no focus. */
export type WakesAt = number | null;

export const ASLEEP: WakesAt = null;

export const onFocus = (now: number): WakesAt => now + DEAD_MS;

export const isAwake = (wakesAt: WakesAt, now: number): boolean => wakesAt !== null && now >= wakesAt;
