// xfce4-screensaver, by its D-Bus interface on the session bus: GetActive says what is, ActiveChanged what changes.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Toolkit } from './gtk.ts';
import type { Tell } from './screenlock.ts';

const NAME = 'org.xfce.ScreenSaver';
const PATH = '/org/xfce/ScreenSaver';
const ANSWER_MS = 500;

/** To be kept: what nobody keeps is collected, and then hears no signal. */
export type Kept = object | null;

/** An active saver counts as locked, whether it asks for a password or not: nobody reads a question behind it. */
export const watchXfceScreensaver = ({ Gio }: Toolkit, env: NodeJS.ProcessEnv, tell: Tell): Kept => {
  if (!hasSessionBus(env)) {
    tell(false);
    return null;
  }
  const flags = Gio.DBusProxyFlags.DO_NOT_AUTO_START | Gio.DBusProxyFlags.DO_NOT_LOAD_PROPERTIES;
  const proxy = attempt(() => Gio.DBusProxy.newForBusSync(Gio.BusType.SESSION, flags, null, NAME, PATH, NAME, null));
  // No bus, and so nobody on it.
  if (proxy === null) {
    tell(false);
    return null;
  }

  const isActive = (): boolean => {
    if (proxy.getNameOwner() === null) return false;
    const answer = attempt(() => proxy.callSync('GetActive', null, Gio.DBusCallFlags.NO_AUTO_START, ANSWER_MS, null));
    // A saver that does not answer may well be active.
    return answer?.getTypeString() === '(b)' ? answer.getChildValue(0).getBoolean() : true;
  };

  proxy.on('g-signal', (_, signal, values) => {
    if (signal === 'ActiveChanged' && values.getTypeString() === '(b)') tell(values.getChildValue(0).getBoolean());
  });
  proxy.on('notify::g-name-owner', () => tell(isActive()));
  tell(isActive());
  return proxy;
};

/** GLib starts a bus of its own where there is none: only one that is there is asked. */
const hasSessionBus = (env: NodeJS.ProcessEnv): boolean =>
  env.DBUS_SESSION_BUS_ADDRESS !== undefined ||
  (env.XDG_RUNTIME_DIR !== undefined && existsSync(join(env.XDG_RUNTIME_DIR, 'bus')));

const attempt = <T>(deed: () => T): T | null => {
  try {
    return deed();
  } catch {
    return null;
  }
};
