import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redactedDevice } from '../../daemon/fleet/device-redaction.ts';
import type { Snapshot, ViewedQube } from '../../daemon/fleet/view.ts';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { parseDeviceLine } from '../../daemon/qubesadmin/device-lines.ts';

const viewed = (name: string, tags: readonly string[] | null): [QubeName, ViewedQube] => [
  name as QubeName,
  {
    name: name as QubeName,
    uuid: '00000000-0000-0000-0000-000000000001' as Uuid,
    klass: 'AppVM',
    state: 'Running',
    tags: tags && new Set(tags),
    properties: null,
    asOf: 0,
  },
];
const snapshot: Snapshot = new Map([
  viewed('ai-work', ['ai-managed']),
  viewed('ai-idle', ['ai-managed', 'ai-full']),
  viewed('dom0', []),
  viewed('vault', []),
  viewed('sys-usb', []),
  viewed('ai-unread', null),
]);

const redact = (line: string, listing: 'attached' | 'available' = 'attached'): string | null => {
  const parsed = parseDeviceLine(line, listing);
  return parsed && redactedDevice(parsed, snapshot);
};

describe('a line of fields', () => {
  test('loses the names of qubes out of scope, and keeps the device usable (W13, W14)', () => {
    expect(
      redact(
        "sys-usb+2-1:0781:5567::u080650 device_id='0781:5567::u080650' port_id='2-1' devclass='usb' backend_domain='sys-usb' mode='manual' frontend_domain='ai-work'",
      ),
    ).toBe(
      "<out-of-scope>+2-1:0781:5567::u080650 device_id='0781:5567::u080650' port_id='2-1' devclass='usb' backend_domain='<out-of-scope>' mode='manual' frontend_domain='ai-work'",
    );
    const block =
      "ai-idle+sda:2-1:0781:5567::b****** device_id='x' port_id='sda' devclass='block' backend_domain='ai-idle' mode='manual' product='Ultra Fit' _read-only='no' _frontend-dev='xvdi' frontend_domain='ai-work'";
    expect(redact(block)).toBe(block);
  });

  test('loses who uses an available device', () => {
    expect(redact("sda:x port_id='sda' backend_domain='ai-work' attachment='vault'", 'available')).toBe(
      "sda:x port_id='sda' backend_domain='ai-work' attachment='<out-of-scope>'",
    );
  });

  test.each([
    ["manufacturer='hosted by sys-usb'", "manufacturer='hosted by <out-of-scope>'"],
    ["manufacturer='hosted by ai-idle'", "manufacturer='hosted by ai-idle'"],
    ["name='sub-device of sys-usb:2-1'", "name='sub-device of <out-of-scope>:2-1'"],
    ["name='hosted by nobody'", "name='hosted by <out-of-scope>'"],
    ["backend_domain='sys usb'", "backend_domain='<out-of-scope>'"],
    ["backend_domain='ai-unread'", "backend_domain='<out-of-scope>'"],
    ["backend_domain=''", "backend_domain=''"],
    ["someday_domain='vault'", "someday_domain='<out-of-scope>'"],
    ["someday_domain='nobody'", "someday_domain='<out-of-scope>'"],
    ["someday_size='100'", "someday_size='100'"],
  ])('has %s as %s', (field, wanted) => {
    expect(redact(`ai-idle+p:i ${field}`)).toBe(`ai-idle+p:i ${wanted}`);
  });

  test('has the same text of a device whether or not a qube has that name', () => {
    for (const word of ['vault', 'nobody']) {
      const line = `ai-idle+${word}:${word} product='${word}' serial='in ${word}'`;
      expect(redact(line)).toBe(line);
    }
  });
});

describe('a line of words', () => {
  test.each([
    ['ai-idle:sda1   attached', 'ai-idle:sda1 attached'],
    ['sys-usb:2-1 attached', '<out-of-scope>:2-1 attached'],
    ['sys-gone:2-1', '<out-of-scope>:2-1'],
    ['sys-usb+2-1 read-only=yes', '<out-of-scope>+2-1 read-only=yes'],
    ['1-1 Camera in vault used by dom0', '1-1 Camera in <out-of-scope> used by <out-of-scope>'],
    ['1-1 Camera (vault), vault.', '1-1 Camera (<out-of-scope>), <out-of-scope>.'],
    ['1-1 frontend_domain=nobody description=C++', '1-1 frontend_domain=<out-of-scope> description=C++'],
    ['1-1 frontend_domain=ai-work', '1-1 frontend_domain=ai-work'],
    ['1-1 at sys-usb:vault', '1-1 at <out-of-scope>:<out-of-scope>'],
    ['1-1 in ai-unread', '1-1 in <out-of-scope>'],
  ])('has %s as %s', (line, wanted) => {
    expect(redact(line)).toBe(wanted);
  });
});

test('no name out of scope is left in any line, wherever the platform puts names', () => {
  const inScope = fc.constantFrom('ai-work', 'ai-idle');
  const outOfScope = fc.constantFrom('vault', 'sys-usb', 'ai-unread', 'dom0', 'gone-long-ago');
  const name = fc.oneof(inScope, outOfScope);
  const text = fc.string({ unit: fc.constantFrom(...'XYZ0123456789 .,:=+()\\\'"<>-'), maxLength: 20 });
  const quoted = (value: string): string => `'${value.replaceAll("'", "\\'")}'`;
  const field = fc.oneof(
    fc.tuple(fc.constantFrom('backend_domain', 'frontend_domain', 'attachment', 'later_domain'), name),
    fc.tuple(
      fc.constantFrom('manufacturer', 'name'),
      fc.tuple(fc.constantFrom('hosted by ', 'sub-device of '), name).map((all) => all.join('')),
    ),
    fc.tuple(fc.constantFrom('vendor', 'product', 'serial', 'device_id', '_size'), text),
  );
  const fieldsLine = fc
    .tuple(name, fc.constantFrom('+', ':'), fc.array(field, { minLength: 1, maxLength: 8 }))
    .map(([backend, separator, fields]) =>
      [`${backend}${separator}2-1:0781:5567`, ...fields.map(([key, value]) => `${key}=${quoted(value)}`)].join(' '),
    );
  const known = fc.constantFrom('vault', 'sys-usb', 'ai-unread', 'dom0', 'ai-work');
  const wordsLine = fc
    .tuple(
      name,
      fc.constantFrom(':', '+'),
      fc.array(fc.oneof(known, fc.constantFrom('X', 'Y-1', 'in', '(x)')), { maxLength: 6 }),
    )
    .map(([backend, separator, words]) => [`${backend}${separator}2-1`, ...words].join(' '));
  let understood = 0;
  fc.assert(
    fc.property(fc.oneof(fieldsLine, wordsLine), (line) => {
      const shown = redact(line);
      if (shown === null) return;
      understood += 1;
      for (const hidden of ['vault', 'sys-usb', 'ai-unread', 'dom0', 'gone-long-ago'])
        expect(shown).not.toContain(hidden);
    }),
    { numRuns: 3_000 },
  );
  expect(understood).toBeGreaterThan(1_500);
});
