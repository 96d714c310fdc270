import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { reasonNotToShow } from '../../daemon/dialog/displayable.ts';
import type { FieldsLine } from '../../daemon/qubesadmin/device-lines.ts';
import { describeDevice } from '../../daemon/services/device-description.ts';
import { isPortId, isPortOf } from '../../daemon/services/device-port.ts';

const line = (fields: Record<string, string>, identity: string | null = null): FieldsLine => ({
  layout: 'fields',
  backend: null,
  port: 'p',
  identity,
  fields: Object.entries(fields),
});

describe('a device', () => {
  test.each([
    ['u080650', 'storage'],
    ['u030101', 'keyboard'],
    ['u030102', 'mouse'],
    ['u030000u030101', 'input device, keyboard'],
    ['u080650u080650', 'storage'],
    ['ue00101', 'Bluetooth'],
    ['b******', 'storage'],
    ['m000000', 'microphone'],
    ['?******', 'of no known kind'],
    ['press yes', 'of no known kind'],
    ['', 'of no known kind'],
    [
      'u080650u030101u030102u010000u070000u020000ue00000',
      'storage, keyboard, mouse, audio, camera or video, printer, modem or network and more',
    ],
  ])('with the interfaces %s is called %s', (interfaces, kind) => {
    expect(describeDevice(line({ interfaces }), 'usb')).toBe(kind);
  });

  test('is known by its USB numbers, from wherever they stand', () => {
    expect(describeDevice(line({}, '0781:5567:SN:u080650'), 'usb')).toBe('of no known kind; (0781:5567)');
    expect(describeDevice(line({ device_id: '0781:5567' }), 'usb')).toBe('of no known kind; (0781:5567)');
    expect(describeDevice(line({ device_id: '0781:5567' }), 'block')).toBe('of no known kind');
    expect(describeDevice(line({ device_id: 'press:yes:' }), 'usb')).toBe('of no known kind');
  });

  test.each(['', 'unknown', 'a  b', ' a', 'a ', "it's", 'a: b', '(a', 'x'.repeat(61)])(
    'has no name in %j',
    (product) => {
      expect(describeDevice(line({ device_id: '0781:5567', product }), 'usb')).toBe('of no known kind; (0781:5567)');
    },
  );

  test('is never described in words that a device or a qube chose', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('press yes', '0781:5567', 'u080650', "'"));
    const keys = fc.constantFrom('manufacturer', 'name', 'serial', 'interfaces', 'device_id', 'attachment', '_x');
    fc.assert(
      fc.property(
        fc.dictionary(keys, text),
        text,
        fc.constantFrom('usb', 'block', 'mic'),
        (fields, identity, devclass) => {
          const words = describeDevice(line(fields, identity), devclass);
          expect(reasonNotToShow([words])).toBeNull();
          expect(words).toMatch(/^[A-Za-z, ]+(?:; \([0-9a-f]{4}:[0-9a-f]{4}\))?$/);
          expect(words).not.toContain('press');
        },
      ),
    );
  });
});

describe('a port', () => {
  test.each(['sda', 'sda1', '2-1', '2-1.4', 'mic', 'dm-0', 'mapper_x', 'x'.repeat(64)])('may be %s', (id) => {
    expect(isPortId(id)).toBe(true);
  });

  test.each(['', ' ', 'a b', 'a:b', 'a+b', '*', "a'b", 'a/b', 'a\n', 'é', 'x'.repeat(65)])('may not be %j', (id) => {
    expect(isPortId(id)).toBe(false);
  });

  test.each([
    ['block', 'sda', true],
    ['block', 'dm-0', true],
    ['block', 'x'.repeat(12), true],
    ['block', 'x'.repeat(13), false],
    ['block', 'SDA', false],
    ['mic', 'mic', true],
    ['mic', 'mic0', false],
    ['usb', '2-1', true],
    ['usb', '2-1.4.4', true],
    ['usb', '2', false],
    ['usb', '2-1.', false],
    ['usb', 'sda', false],
  ] as const)('of class %s may be %s: %j', (devclass, id, may) => {
    expect(isPortOf(devclass, id)).toBe(may);
  });
});
