import { expect, test } from 'vitest';
import { tameEnvironment } from '../../daemon/dialog/environment.ts';

test('what would put code, a debugger or other input into the window goes, the rest stays', () => {
  const env = {
    GTK_MODULES: 'gail:atk-bridge',
    GTK_DEBUG: 'interactive',
    GTK_PATH: '/tmp',
    GDK_CORE_DEVICE_EVENTS: '1',
    GTK_IM_MODULE: 'ibus',
    GDK_BACKEND: 'broadway',
    NO_AT_BRIDGE: '0',
    GTK_THEME: 'Adwaita:dark',
    DISPLAY: ':0',
  };
  tameEnvironment(env);
  expect(env).toEqual({
    NO_AT_BRIDGE: '1',
    GTK_IM_MODULE: 'gtk-im-context-simple',
    GDK_BACKEND: 'x11',
    GDK_GL: 'disable',
    GTK_THEME: 'Adwaita:dark',
    DISPLAY: ':0',
  });
});
