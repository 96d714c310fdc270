import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_DEPTH, MAX_HEADER_BYTES, parseBody, parseHeader } from '../../daemon/qrexec/frame.ts';

const header = (text: string) => parseHeader(Buffer.from(text, 'latin1'));

describe('a header is accepted as qrexec writes it', () => {
  test.each([
    ['qmcp.X+ mcp-control keyword adminvm', { service: 'qmcp.X', argument: '', source: 'mcp-control' }],
    ['qmcp.X+my-arg.1 mcp-control keyword adminvm', { service: 'qmcp.X', argument: 'my-arg.1', source: 'mcp-control' }],
    ['qmcp.X+a a name dom0', { service: 'qmcp.X', argument: 'a', source: 'a' }],
    [
      'qmcp.X+a_b_c s name uuid:00000000-0000-0000-0000-000000000000',
      { service: 'qmcp.X', argument: 'a_b_c', source: 's' },
    ],
    ['qmcp.X+a s keyword default', { service: 'qmcp.X', argument: 'a', source: 's' }],
  ])('%s', (text, expected) => expect(header(text)).toEqual(expected));

  test('with the longest argument and the longest source', () => {
    expect(header(`qmcp.X+${'a'.repeat(128)} ${'s'.repeat(31)} keyword adminvm`)).not.toBeNull();
  });
});

describe('a header is refused when it has', () => {
  test.each([
    ['no plus', 'qmcp.X mcp-control keyword adminvm'],
    ['another service', 'admin.vm.List+ mcp-control keyword adminvm'],
    ['something before the service', 'xqmcp.X+ mcp-control keyword adminvm'],
    ['something after the argument', 'qmcp.X+a/b mcp-control keyword adminvm'],
    ['no service', '+ mcp-control keyword adminvm'],
    ['an empty source', 'qmcp.X+  keyword adminvm'],
    ['a source no qube can have', 'qmcp.X+ 1qube keyword adminvm'],
    ['a source that is too long', `qmcp.X+ ${'s'.repeat(32)} keyword adminvm`],
    ['a newline in the source', 'qmcp.X+ a\nb keyword adminvm'],
    ['a newline at the end', 'qmcp.X+ a keyword adminvm\n'],
    ['another qube as its target', 'qmcp.X+ a name vault'],
    ['another uuid as its target', 'qmcp.X+ a name uuid:00000000-0000-0000-0000-000000000001'],
    ['another keyword', 'qmcp.X+ a keyword dispvm'],
    ['no target', 'qmcp.X+ a'],
    ['two spaces', 'qmcp.X+ a  keyword adminvm'],
    ['more after it', 'qmcp.X+ a keyword adminvm more'],
    ['an argument that is too long', `qmcp.X+${'a'.repeat(129)} a keyword adminvm`],
    ['bytes beyond ASCII', 'qmcp.X+ \u00e9 keyword adminvm'],
    ['nothing in it', ''],
  ])('%s', (_, text) => expect(header(text)).toBeNull());

  test('too many bytes', () => {
    expect(parseHeader(Buffer.alloc(MAX_HEADER_BYTES + 1, 'a'))).toBeNull();
  });
});

test('no bytes make the header parser throw, and what it accepts is in the grammar', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const parsed = parseHeader(Buffer.from(bytes));
      expect(parsed === null || /^[a-zA-Z][a-zA-Z0-9_.-]{0,30}$/.test(parsed.source)).toBe(true);
    }),
  );
});

describe('a body', () => {
  test('that is empty means an empty object', () => expect(parseBody(Buffer.alloc(0))).toEqual({ json: {} }));
  test('of white space alone is not JSON', () => expect(parseBody(Buffer.from(' \n'))).toBeNull());
  test('with a duplicate key has the last value', () => {
    expect(parseBody(Buffer.from('{"a":1,"a":2}'))).toEqual({ json: { a: 2 } });
  });
  test('that is not UTF-8 is not JSON', () => expect(parseBody(Buffer.from([0x22, 0xff, 0x22]))).toBeNull());
  test('that begins with a byte order mark is not JSON', () => {
    expect(parseBody(Buffer.from('\ufeff{}'))).toBeNull();
  });
  test('of any JSON value comes out as that value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        expect(parseBody(Buffer.from(text))).toEqual({ json: JSON.parse(text) });
      }),
    );
  });
  test('of any bytes never makes the parser throw', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void parseBody(Buffer.from(bytes))));
  });
  test('nested as deep as the limit is parsed, and one deeper is not', () => {
    const nested = (depth: number): Buffer => Buffer.from('['.repeat(depth) + ']'.repeat(depth));
    expect(parseBody(nested(MAX_DEPTH))).not.toBeNull();
    expect(parseBody(nested(MAX_DEPTH + 1))).toBeNull();
    expect(parseBody(nested(32_768))).toBeNull();
  });
  test('may hold any number of brackets in its strings, behind escaped quotes too', () => {
    const value = { a: '['.repeat(100), b: `"${'{'.repeat(100)}`, c: '\\' };
    expect(parseBody(Buffer.from(JSON.stringify(value)))).toEqual({ json: value });
  });
});
