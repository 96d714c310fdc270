// What the process inherits and GTK would act on. Runs before GTK is loaded.

// Each of these lets something outside this program put code, input or a debugger into the window.
const REMOVED = [
  'GTK_MODULES',
  'GTK3_MODULES',
  'GTK_DEBUG',
  'GDK_DEBUG',
  'GTK_PATH',
  'GDK_CORE_DEVICE_EVENTS',
] as const;

const FIXED = {
  // No accessibility bus: a client of it could press a button without any input event.
  NO_AT_BRIDGE: '1',
  // Names are ASCII: no input method process between the keyboard and the entry.
  GTK_IM_MODULE: 'gtk-im-context-simple',
  // GTK's Wayland backend tells nothing about the device an event came from.
  GDK_BACKEND: 'x11',
  // Nothing here is drawn by OpenGL, and to look for it costs 50 MB and 50 ms on a display without it.
  GDK_GL: 'disable',
} as const;

/** Changes `env` in place: what GTK must not see goes, what it must see is set. */
export const tameEnvironment = (env: NodeJS.ProcessEnv): void => {
  for (const name of REMOVED) delete env[name];
  Object.assign(env, FIXED);
};
