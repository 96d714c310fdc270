import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import {
  AdminError,
  type AdminEvent,
  type Destination,
  decodeAnswer,
  encodeRequest,
  eventReader,
  type FailureKind,
  MAX_REQUEST_BYTES,
} from '../../daemon/qubesadmin/wire.ts';
import { encodeAnswer, encodeEvent, encodeException, parseRequest } from '../qubesd/wire.ts';

const WORK: Destination = { name: 'ai-work' as QubeName };
const UUID = 'd49d109d-f7e2-48c6-87d6-d9d126423911' as Uuid;

/** The failure that `work` ends in; an error of any other class is passed on. */
const failure = (work: () => unknown): { kind: FailureKind; type: string | null } => {
  try {
    work();
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    return { kind: error.kind, type: error.type };
  }
  throw new Error('it did not fail');
};
const malformed = { kind: 'malformed', type: null };

describe('a request', () => {
  test.each<[string, Destination, string]>([
    ['the machine itself', 'dom0', 'admin.vm.tag.Set+x dom0 name dom0\0p'],
    ['a qube by name', WORK, 'admin.vm.tag.Set+x dom0 name ai-work\0p'],
    ['a qube by uuid', { uuid: UUID }, `admin.vm.tag.Set+x dom0 name uuid:${UUID}\0p`],
  ])('is addressed to %s', (_, dest, bytes) => {
    expect(encodeRequest({ method: 'admin.vm.tag.Set', arg: 'x', dest, payload: 'p' }).toString()).toBe(bytes);
  });

  test('always has its plus, and an empty payload where there is none', () => {
    expect(encodeRequest({ method: 'admin.vm.List', dest: 'dom0' }).toString()).toBe('admin.vm.List+ dom0 name dom0\0');
  });

  test('comes apart again at qubesd as it was put together, whatever the argument and the payload', () => {
    const argument = fc.stringMatching(/^[\x21-\x7e]{0,255}$/);
    fc.assert(
      fc.property(argument, fc.string({ unit: 'binary' }), (arg, payload) => {
        const parsed = parseRequest(encodeRequest({ method: 'admin.vm.feature.Set', arg, dest: WORK, payload }));
        expect(parsed).toMatchObject({ method: 'admin.vm.feature.Set', arg, source: 'dom0', dest: 'ai-work' });
        expect(parsed?.payload).toEqual(Buffer.from(payload, 'utf8'));
      }),
    );
  });

  test('is not put together from an argument or a method that could end its header', () => {
    for (const odd of ['a b', 'a\0b', 'a\n', '\t', 'ä', '\u{1f600}', 'a'.repeat(256)]) {
      expect(failure(() => encodeRequest({ method: 'admin.vm.tag.Get', arg: odd, dest: WORK }))).toEqual(malformed);
      expect(failure(() => encodeRequest({ method: odd, dest: WORK }))).toEqual(malformed);
    }
    expect(failure(() => encodeRequest({ method: '', dest: WORK }))).toEqual(malformed);
    expect(failure(() => encodeRequest({ method: 'm+a', dest: WORK }))).toEqual(malformed);
    expect(() => encodeRequest({ method: 'm', arg: 'a'.repeat(255), dest: WORK })).not.toThrow();
  });

  test('has at most the length that qubesd takes, counted in bytes', () => {
    const room = MAX_REQUEST_BYTES - encodeRequest({ method: 'm', dest: 'dom0' }).length;
    const withPayload = (payload: string): Buffer => encodeRequest({ method: 'm', dest: 'dom0', payload });
    expect(withPayload('x'.repeat(room)).length).toBe(MAX_REQUEST_BYTES);
    expect(failure(() => withPayload('x'.repeat(room + 1)))).toEqual(malformed);
    expect(failure(() => withPayload(`ä${'x'.repeat(room - 1)}`))).toEqual(malformed);
  });
});

describe('an answer', () => {
  test('is its data, which may be empty, binary, and look like anything', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (data) => {
        expect([...decodeAnswer(Buffer.concat([Buffer.from('0\0'), data]))]).toEqual([...data]);
      }),
    );
    expect(decodeAnswer(encodeAnswer(''))).toEqual(Buffer.alloc(0));
  });

  test('that is an exception fails with its type, and keeps its text to itself', () => {
    const bytes = encodeException('QubesVMNotFoundError', "No such domain: 'vault'");
    expect(failure(() => decodeAnswer(bytes))).toEqual({ kind: 'exception', type: 'QubesVMNotFoundError' });
    try {
      decodeAnswer(bytes);
    } catch (error) {
      expect((error as AdminError).message).toBe('qubesd answered QubesVMNotFoundError');
      expect((error as AdminError).detail).toBe("No such domain: 'vault'");
    }
  });

  test('that is no byte at all has a kind of its own', () => {
    expect(failure(() => decodeAnswer(Buffer.alloc(0)))).toEqual({ kind: 'empty', type: null });
  });

  test('cut short inside an exception is never taken for that exception', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[A-Z][A-Za-z]{0,30}$/), fc.stringMatching(/^[^\0]*$/), (type, message) => {
        const bytes = encodeException(type, message);
        for (let length = 1; length < bytes.length; length++) {
          expect(failure(() => decodeAnswer(bytes.subarray(0, length)))).toEqual(malformed);
        }
      }),
    );
  });

  test.each([
    '0',
    '0x',
    '1\0ai-work\0domain-start\0\0',
    '2',
    '2\0',
    '2\0\0\0\0',
    '2\0Bad Type\0\0x\0',
    '3\0',
    '\0',
    'x',
  ])('of the bytes %j is malformed', (text) => {
    expect(failure(() => decodeAnswer(Buffer.from(text)))).toEqual(malformed);
  });

  test('of any bytes is data or an AdminError', () => {
    const bytes = fc.tuple(fc.constantFrom('', '0', '2', '2\0', '2\0A'), fc.uint8Array());
    fc.assert(
      fc.property(bytes, ([head, tail]) => {
        const answer = Buffer.concat([Buffer.from(head), tail]);
        if (answer[0] === 0x30 && answer[1] === 0) expect(decodeAnswer(answer)).toEqual(answer.subarray(2));
        else failure(() => decodeAnswer(answer));
      }),
    );
  });
});

describe('an event reader', () => {
  const field = fc.stringMatching(/^[^\0\ud800-\udfff]{1,20}$/u);
  const event = fc.record({
    subject: fc.oneof(fc.constant(''), field),
    event: fc.oneof(fc.constant(''), field),
    details: fc.dictionary(field, fc.oneof(fc.constant(''), field), { maxKeys: 4 }),
  });

  /** The bytes in pieces, cut at places given as parts of the whole. */
  const pieces = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
    const places = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) => a - b);
    return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
  };
  const plain = ({ subject, event, details }: AdminEvent) => ({ subject, event, details: { ...details } });

  test('gives every event once, in order, however the stream is cut into pieces', () => {
    const cut = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(fc.array(event, { maxLength: 6 }), fc.array(cut, { maxLength: 40 }), (events, cuts) => {
        const bytes = Buffer.concat(events.map(({ subject, event, details }) => encodeEvent(subject, event, details)));
        const read = eventReader();
        const got = pieces(bytes, cuts).flatMap((chunk) => read(chunk));
        expect(got.map(plain)).toEqual(events.map((each) => ({ ...each, details: { ...each.details } })));
      }),
    );
  });

  test('gives an event with its last byte, and not before', () => {
    const bytes = encodeEvent('ai-work', 'domain-start', { start_guid: 'True' });
    const read = eventReader();
    for (const byte of bytes.subarray(0, -1)) expect(read(Buffer.from([byte]))).toEqual([]);
    expect(read(bytes.subarray(-1)).map(plain)).toEqual([
      { subject: 'ai-work', event: 'domain-start', details: { start_guid: 'True' } },
    ]);
  });

  test('takes details for nothing but data', () => {
    const [event] = eventReader()(encodeEvent('a', 'e', { constructor: 'x', toString: 'y' }));
    expect(Object.getPrototypeOf(event?.details)).toBeNull();
    expect({ ...event?.details }).toEqual({ constructor: 'x', toString: 'y' });
    const [bare] = eventReader()(encodeEvent('a', 'e', {}));
    expect(bare?.details.constructor).toBeUndefined();
  });

  test.each(['0\0', '2\0Error\0\0x\0', '1x', 'x', '\0'])('refuses a stream that begins with %j', (text) => {
    expect(failure(() => eventReader()(Buffer.from(text)))).toEqual(malformed);
  });

  test('refuses what follows an event and is none', () => {
    const bytes = Buffer.concat([encodeEvent('a', 'e', {}), Buffer.from('0\0')]);
    expect(failure(() => eventReader()(bytes))).toEqual(malformed);
  });

  test('takes an event with two values of which each fills a request', () => {
    const details = { feature: 'x', value: 'v'.repeat(MAX_REQUEST_BYTES), oldvalue: 'o'.repeat(MAX_REQUEST_BYTES) };
    const bytes = encodeEvent('ai-work', 'domain-feature-set:x', details);
    const read = eventReader();
    expect(read(bytes.subarray(0, bytes.length - 1))).toEqual([]);
    expect(read(bytes.subarray(bytes.length - 1))).toHaveLength(1);
  });

  test('waits for an event of 256 KiB and no longer', () => {
    const head = Buffer.from('1\0ai-work\0domain-feature-set:x\0value\0');
    const upTo = (length: number): Buffer => Buffer.concat([head, Buffer.alloc(length - head.length, 'x')]);
    expect(eventReader()(upTo(262_144))).toEqual([]);
    expect(failure(() => eventReader()(upTo(262_145)))).toEqual(malformed);
  });

  test('gives events or an AdminError for any bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 30 })), fc.boolean(), (chunks, likely) => {
        const read = eventReader();
        try {
          if (likely) read(Buffer.from('1\0'));
          for (const chunk of chunks) read(Buffer.from(chunk));
        } catch (error) {
          expect(error).toBeInstanceOf(AdminError);
        }
      }),
    );
  });
});
