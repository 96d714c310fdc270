import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Envelope, envelopeIn, isEnvelope, isSignedBy, signedBytes } from '../../daemon/principals/envelope.ts';
import { keyObject } from '../../daemon/principals/file.ts';
import { KEY, OTHER_KEY, publicKey, type Signed, seal } from './signing.ts';

const SIGNED: Signed = {
  source: 'mcp-control',
  service: 'qmcp.LifecycleAIManaged',
  argument: '',
  principal: 'web',
  time: 1_700_000_000_000,
  number: '0123456789abcdef0123456789abcdef',
  call: '{"name":"ai-work","action":"start"}',
};
const key = keyObject(publicKey(KEY));
if (key === null) throw new Error('no key');
const opened = (body: unknown): Envelope => {
  const found = envelopeIn(body);
  if (found === null) throw new Error('no envelope');
  return found;
};

test('an object with the field qmcp is meant as an envelope, and nothing else is', () => {
  for (const body of [{ qmcp: 1 }, { qmcp: null, name: 'x' }]) expect(isEnvelope(body)).toBe(true);
  for (const body of [null, undefined, 'qmcp', ['qmcp'], {}, { name: 'qmcp' }, Object.create({ qmcp: 1 })]) {
    expect(isEnvelope(body)).toBe(false);
  }
});

test('an envelope is opened as it was sealed', () => {
  const { principal, time, number, call } = SIGNED;
  expect(opened(seal(SIGNED))).toMatchObject({ principal, time, number, call });
  expect(opened(seal(SIGNED)).signature).toHaveLength(64);
  expect(opened(seal({ ...SIGNED, time: 0, call: '' }))).toMatchObject({ time: 0, call: '' });
  expect(opened(seal({ ...SIGNED, call: '{"a":"\u{1f600}\u0000"}' })).call).toContain('\u{1f600}');
});

describe('a body is no envelope with', () => {
  const body = seal(SIGNED);
  const signature = String(body.signature);
  test.each([
    ['another version', { qmcp: 2 }],
    ['a version as text', { qmcp: '1' }],
    ['another field', { more: 1 }],
    ['a field missing', { call: undefined }],
    ['a principal that cannot be one', { principal: 'We b' }],
    ['a time as text', { time: '1700000000000' }],
    ['a time before time', { time: -1 }],
    ['a part of a millisecond', { time: 0.5 }],
    ['a time that is not exact', { time: 2 ** 53 }],
    ['a number as a number', { number: 7 }],
    ['a short number', { number: '0'.repeat(31) }],
    ['a long number', { number: '0'.repeat(33) }],
    ['a number in capitals', { number: 'A'.repeat(32) }],
    ['a number and a line end', { number: `${'0'.repeat(32)}\n` }],
    ['a call as an object', { call: { name: 'ai-work' } }],
    ['half a character in the call', { call: '{"name":"\ud800"}' }],
    ['a short signature', { signature: signature.slice(4) }],
    ['a long signature', { signature: `AAAA${signature}` }],
    ['a signature in base64url', { signature: `${signature.slice(0, 84)}-_==` }],
    ['a signature without its end', { signature: signature.slice(0, 86) }],
    ['a signature with spare bits', { signature: `${signature.slice(0, 85)}h==` }],
  ])('%s', (_, change) => {
    expect(envelopeIn({ ...body, ...change })).toBeNull();
  });
  test.each([null, undefined, 7, 'x', [], [body]])('%j', (other) => {
    expect(envelopeIn(other)).toBeNull();
  });
});

describe('the signature', () => {
  test('is the one over exactly this call', () => {
    expect(isSignedBy(key, SIGNED, opened(seal(SIGNED)))).toBe(true);
    expect(isSignedBy(key, SIGNED, opened(seal(SIGNED, OTHER_KEY)))).toBe(false);
  });

  test.each([
    ['source', 'mcp-other'],
    ['service', 'qmcp.SetPropertyAIManaged'],
    ['argument', 'x'],
    ['principal', 'web2'],
    ['time', 1_700_000_000_001],
    ['number', '1123456789abcdef0123456789abcdef'],
    ['call', '{"name":"ai-work","action":"kill"}'],
    ['call', '{"name":"ai-work", "action":"start"}'],
  ])('binds the %s (%s)', (field, value) => {
    const changed = { ...SIGNED, [field]: value };
    const { signature } = opened(seal(SIGNED));
    expect(isSignedBy(key, changed, { ...opened(seal(changed)), signature })).toBe(false);
  });

  test('is over bytes that no other call has', () => {
    const word = fc.stringMatching(/^[A-Za-z0-9_.+-]{0,6}$/);
    const call = fc.record({
      service: word,
      argument: word,
      source: word,
      principal: word,
      time: fc.nat(),
      number: word,
      call: fc.string({ maxLength: 8 }),
    });
    fc.assert(
      fc.property(call, call, (a, b) => {
        const same = JSON.stringify(a) === JSON.stringify(b);
        expect(signedBytes(a, a).equals(signedBytes(b, b))).toBe(same);
      }),
    );
  });
});
