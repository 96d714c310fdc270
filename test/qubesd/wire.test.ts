import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exchange } from './client.ts';
import { FLEET_F0 } from './fleet-f0.ts';
import { temporaryQubesd } from './temporary.ts';
import { encodeEvent, encodeException, MAX_REQUEST_BYTES, parseRequest } from './wire.ts';

const parse = (text: string) => {
  const request = parseRequest(Buffer.from(text, 'latin1'));
  return request && { ...request, payload: request.payload.toString('latin1') };
};

describe('a request', () => {
  it('is cut apart at the spaces, the plus and the first NUL', () => {
    expect(parse('admin.vm.tag.Get+a+b dom0 name ai-work\0x\0y')).toEqual({
      method: 'admin.vm.tag.Get',
      arg: 'a+b',
      source: 'dom0',
      dest: 'ai-work',
      payload: 'x\0y',
    });
  });

  it('may leave out the plus, and may say keyword adminvm for dom0', () => {
    expect(parse('m dom0 keyword adminvm\0')).toMatchObject({ method: 'm', arg: '', dest: 'dom0' });
  });

  it.each([
    ['no NUL', 'm dom0 name x'],
    ['too few words', 'm dom0 x\0'],
    ['another kind of destination', 'm dom0 keyword dispvm\0'],
    ['a header that is not ASCII', 'm\xe9 dom0 name x\0'],
    ['nothing at all', ''],
  ])('with %s is no request', (_, text) => {
    expect(parse(text)).toBeNull();
  });

  it('of any bytes never throws, and what is cut apart can be put together again', () => {
    const word = fc.stringMatching(/^[!-*,-~]{1,12}$/);
    fc.assert(
      fc.property(word, word, word, fc.uint8Array({ maxLength: 40 }), (method, arg, dest, payload) => {
        const bytes = Buffer.concat([Buffer.from(`${method}+${arg} dom0 name ${dest}\0`), payload]);
        expect(parseRequest(bytes)).toEqual({ method, arg, source: 'dom0', dest, payload: Buffer.from(payload) });
      }),
    );
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void parseRequest(Buffer.from(bytes))));
  });

  it('gives the same answer however it is split', async () => {
    const { path } = await temporaryQubesd({ fleet: FLEET_F0 });
    const requests = [
      'admin.vm.tag.List+ dom0 name ai-exec1\0',
      'admin.vm.property.Get+netvm dom0 name ai-work\0',
      'admin.vm.List+ dom0 name ai-work\0unexpected payload',
      'admin.vm.List+ dom0 ai-work\0',
      'admin.vm.tag.Get+none dom0 name nosuch\0',
    ];
    const whole = new Map<string, string>();
    for (const request of requests) whole.set(request, (await exchange(path, request)).toString('hex'));
    const splits = fc.constantFrom(...requests).chain((request) =>
      fc.record({
        request: fc.constant(request),
        cuts: fc.uniqueArray(fc.integer({ min: 1, max: request.length - 1 }), { maxLength: 6 }),
      }),
    );
    await fc.assert(
      fc.asyncProperty(splits, async ({ request, cuts }) => {
        const bounds = [0, ...cuts.sort((a, b) => a - b), request.length];
        const chunks = bounds.slice(1).map((end, index) => request.slice(bounds[index], end));
        expect((await exchange(path, ...chunks)).toString('hex')).toBe(whole.get(request));
      }),
      { numRuns: 60 },
    );
  });

  it('is answered at 65,536 bytes and dropped with one more', async () => {
    const { path } = await temporaryQubesd({ fleet: FLEET_F0 });
    const head = 'admin.vm.List+ dom0 name ai-work\0';
    const exact = head.padEnd(MAX_REQUEST_BYTES, 'x');
    expect((await exchange(path, exact)).toString()).toBe('2\0ProtocolError\0\0unexpected payload\0');
    expect((await exchange(path, `${exact}x`)).toString()).toBe('');
  });
});

describe('an answer', () => {
  it('carries an exception with an empty traceback', () => {
    expect(encodeException('QubesException', 'no').toString()).toBe('2\0QubesException\0\0no\0');
  });

  it('carries an event with its details, None for what is not there', () => {
    expect(encodeEvent('', 'e', {}).toString()).toBe('1\0\0e\0\0');
    expect(encodeEvent('q', 'property-set:netvm', { name: 'netvm', newvalue: null }).toString()).toBe(
      '1\0q\0property-set:netvm\0name\0netvm\0newvalue\0None\0\0',
    );
  });
});
