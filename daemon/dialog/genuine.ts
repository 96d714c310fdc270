// Did a person at the machine cause this event? (facts of X11: XSendEvent sets a flag in the event; XTEST has source
// devices of its own; a click through the accessibility interface has no event at all.)

export interface Origin {
  /** The event's send_event flag: another client made it with XSendEvent. */
  readonly sent: boolean;
  /** The device it came from, null when the toolkit names none. */
  readonly source: { readonly name: string; readonly physical: boolean } | null;
}

const XTEST_DEVICE = 'Virtual core XTEST';

/** Whether the event came from an input device and from nothing else. An unknown device is not one. */
export const isGenuine = ({ sent, source }: Origin): boolean =>
  !sent && source?.physical === true && !source.name.startsWith(XTEST_DEVICE);
