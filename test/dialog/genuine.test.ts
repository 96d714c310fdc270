import { expect, test } from 'vitest';
import { isGenuine } from '../../daemon/dialog/genuine.ts';

const from = (name: string, physical = true) => ({ sent: false, source: { name, physical } });

test.each(['AT Translated Set 2 keyboard', 'Xephyr virtual mouse', 'Logitech USB Mouse'])('%s is a device', (name) => {
  expect(isGenuine(from(name))).toBe(true);
});

test.each([
  ['XTEST keyboard', from('Virtual core XTEST keyboard')],
  ['XTEST pointer', from('Virtual core XTEST pointer')],
  ['the master device, which says nothing of where the event came from', from('Virtual core keyboard', false)],
  ['an event without a device', { sent: false, source: null }],
  ['XSendEvent', { ...from('AT Translated Set 2 keyboard'), sent: true }],
])('%s is not', (_, origin) => {
  expect(isGenuine(origin)).toBe(false);
});
