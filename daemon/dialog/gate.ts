// What input may reach the widgets that matter.
import { isGenuine, type Origin } from './genuine.ts';
import type { Toolkit } from './gtk.ts';

export interface Gate {
  /** Whether the event being handled came from a person's device. `sent` is its send_event member. */
  readonly mayPass: (sent: number) => boolean;
  /** Whether an event of one of these types is being handled. */
  readonly isHandling: (...types: number[]) => boolean;
}

/** `onRefused` is called for every event that may not pass. */
export const inputGate = ({ Gtk, Gdk }: Toolkit, acceptSynthetic: boolean, onRefused: () => void): Gate => {
  // send_event is known only to the typed event that a signal hands over, the device only to the current event.
  const originOf = (sent: number): Origin => {
    const device = Gtk.getCurrentEvent()?.getSourceDevice() ?? null;
    if (device === null) return { sent: sent !== 0, source: null };
    const physical = device.getDeviceType() === Gdk.DeviceType.SLAVE;
    return { sent: sent !== 0, source: { name: device.getName(), physical } };
  };

  return {
    mayPass: (sent) => {
      if (acceptSynthetic || isGenuine(originOf(sent))) return true;
      onRefused();
      return false;
    },
    isHandling: (...types) => {
      const event = Gtk.getCurrentEvent();
      return event !== null && types.includes(event.getEventType());
    },
  };
};
