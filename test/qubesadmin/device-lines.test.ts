import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type FieldsLine,
  formatDeviceLine,
  MAX_DEVICE_LINE,
  parseDeviceLine,
} from '../../daemon/qubesadmin/device-lines.ts';

const fields = (line: string, listing: 'attached' | 'available' = 'attached') =>
  parseDeviceLine(line, listing) as FieldsLine | null;

describe('a line of fields', () => {
  test('of an attached listing names its backend', () => {
    expect(fields("sys-usb+2-1:0781:5567:S:u080650 port_id='2-1' backend_domain='sys-usb' _read-only='yes'")).toEqual({
      layout: 'fields',
      backend: 'sys-usb',
      port: '2-1',
      identity: '0781:5567:S:u080650',
      fields: [
        ['port_id', '2-1'],
        ['backend_domain', 'sys-usb'],
        ['_read-only', 'yes'],
      ],
    });
  });

  test('of an available listing does not, and one that does is not understood', () => {
    expect(fields("sda:1-1:0781::b****** port_id='sda'", 'available')).toMatchObject({ backend: null, port: 'sda' });
    expect(fields("sys-usb+sda:1-1 port_id='sda'", 'available')).toBeNull();
  });

  test('without a backend is not understood where there has to be one', () => {
    expect(fields("sda port_id='sda'")).toBeNull();
    expect(fields("2-1:0781 port_id='2-1'")).toBeNull();
  });

  test('may leave out what the device calls itself', () => {
    expect(fields("sys-usb+2-1 port_id='2-1'")).toMatchObject({ backend: 'sys-usb', port: '2-1', identity: null });
  });

  test('has quotes inside a value behind a backslash, and other backslashes as they are', () => {
    const line = String.raw`b+p:i product='it\'s a \\ \x stick' serial=''`;
    expect(fields(line)?.fields).toEqual([
      ['product', String.raw`it's a \\ \x stick`],
      ['serial', ''],
    ]);
  });

  test('whose quotes do not pair is not understood', () => {
    for (const rest of ["a='", "a='x", "a='x''", "a='x'b='y'", "a='x' b", "a='x' y'", "a='x\\'", "=' x'", "a b='x'"]) {
      expect(fields(`b+p:i ${rest}`), rest).toBeNull();
    }
  });

  test('keeps a name where it stands, whatever the texts around it hold', () => {
    const text = fc.string({
      unit: fc.constantFrom("'", '\\', '=', ' ', 'a', 'backend_domain', '+', ':'),
      maxLength: 12,
    });
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 5 }), (texts) => {
        const written = [
          ...texts.map((value, index) => [`k${index}`, value] as const),
          ['backend_domain', 'sys-usb'] as const,
        ];
        const line = formatDeviceLine({ backend: 'sys-usb', port: 'p', identity: 'i', fields: written });
        const read = fields(line);
        // A text that ends in a backslash cannot be told from one that goes on; then the whole line is left out.
        if (texts.some((value) => value.endsWith('\\'))) return read === null || read.fields.at(-1)?.[1] === 'sys-usb';
        expect(read?.fields).toEqual(written);
        return true;
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a line of words', () => {
  test('is split at blanks', () => {
    expect(parseDeviceLine('ai-idle:sda1 \t  attached ', 'attached')).toEqual({
      layout: 'words',
      words: ['ai-idle:sda1', 'attached'],
    });
  });

  test('holds no quoted field: what does is one of fields or nothing', () => {
    expect(parseDeviceLine("Camera in='vault", 'available')).toBeNull();
  });
});

describe('any line', () => {
  test('is read or left out, and never more than that', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.constantFrom('attached', 'available'), (line, listing) => {
        const read = parseDeviceLine(line, listing);
        if (/[^\x20-\x7e\t]/.test(line)) expect(read).toBeNull();
        if (read?.layout === 'words') expect(line).not.toContain("='");
      }),
    );
  });

  test('that is read as fields is written back as it was, but for spaces between fields', () => {
    const part = fc.constantFrom('a', "a='", "'", ' ', '\\', ':', '+', 'sys-usb', '=', 'x');
    fc.assert(
      fc.property(fc.array(part, { maxLength: 20 }), (parts) => {
        const line = `b+p ${parts.join('')}`;
        const read = fields(line);
        if (read?.layout !== 'fields') return;
        const written = formatDeviceLine(read);
        expect(fields(written)).toEqual(read);
        expect(written.replace(/ +/g, ' ')).toBe(line.trim().replace(/ +/g, ' '));
      }),
      { numRuns: 5_000 },
    );
  });

  test('up to the limit is read', () => {
    const line = (length: number): string => `b:p ${'x'.repeat(length - 4)}`;
    expect(parseDeviceLine(line(MAX_DEVICE_LINE), 'attached')).not.toBeNull();
    expect(parseDeviceLine(line(MAX_DEVICE_LINE + 1), 'attached')).toBeNull();
  });
});
