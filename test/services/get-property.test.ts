import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PLATFORM_PROPERTIES, VOLATILE_PROPERTIES } from '../../daemon/fleet/properties.ts';
import type { InProcess } from '../broker/in-process.ts';
import { temporaryBroker } from '../broker/in-process.ts';
import type { Fault } from '../qubesd/faults.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';

const SERVICE = 'qmcp.GetPropertyAIManaged';
const NOT_FOUND = { ok: false, error: 'not found' };
const READ_FAILED = { ok: false, error: 'read failed' };
const missing = (property: string) => ({ ok: false, error: `property '${property}' does not exist` });
const value = (value: unknown) => ({ ok: true, value });

const get = (broker: InProcess, name: unknown, property: unknown) => broker.call(SERVICE, { name, property });

/** A broker whose view is fresh, and no call counted yet. */
const fresh = async (options: Parameters<typeof temporaryBroker>[0] = {}): Promise<InProcess> => {
  const broker = await temporaryBroker(options);
  await broker.view.snapshot();
  broker.qubesd.reset();
  return broker;
};

describe('a request', () => {
  test.each<[string, unknown]>([
    ['is no JSON', '{oops'],
    ['is empty', ''],
    ['is a list', [1]],
    ['is null', null],
    ['is a text', '"ai-work"'],
    ['has no name', { property: 'klass' }],
    ['has no property', { name: 'ai-work' }],
    ['has an empty name', { name: '', property: 'klass' }],
    ['has an empty property', { name: 'ai-work', property: '' }],
    ['has a null name', { name: null, property: 'klass' }],
    ['has a null property', { name: 'ai-work', property: null }],
    ['has 0 for a property', { name: 'ai-work', property: 0 }],
    ['has false for a property', { name: 'ai-work', property: false }],
    ['has a list for a property', { name: 'ai-work', property: ['klass'] }],
    ['has an empty list for a property', { name: 'ai-work', property: [] }],
    ['has an object for a property', { name: 'ai-work', property: { klass: 1 } }],
    ['has a list for a name', { name: ['ai-work'], property: 'klass' }],
    ['has a number for a name', { name: 5, property: 'klass' }],
    ['names nobody', { name: 'ghost', property: 'klass' }],
    ['names a qube out of scope', { name: 'vault', property: 'klass' }],
    ['names dom0', { name: 'dom0', property: 'klass' }],
    ['names a tombstone', { name: 'ai-dead', property: 'klass' }],
    ['asks a qube out of scope for a property that is none', { name: 'vault', property: 'bogus' }],
    ['has a name with a newline', { name: 'ai-work\n', property: 'klass' }],
    ['has a name with a NUL', { name: 'ai-work\0', property: 'klass' }],
    ['has a name in look-alike letters', { name: 'аi-work', property: 'klass' }],
    ['has a name that is too long', { name: `ai-${'x'.repeat(64)}`, property: 'klass' }],
    ['has a name in other letters', { name: 'AI-WORK', property: 'klass' }],
  ])('that %s is not found, and costs no call', async (_, request) => {
    const qubes = { ...FLEET_F0.qubes, 'ai-dead': { tags: ['qmcp-tombstone_1700000000'] } };
    const broker = await fresh({ fleet: { ...FLEET_F0, qubes } });
    expect(await broker.call(SERVICE, request)).toEqual(NOT_FOUND);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test('may have more keys, and of a key that comes twice the last counts', async () => {
    const broker = await fresh();
    expect(await broker.call(SERVICE, { name: 'ai-work', property: 'klass', extra: [1, 2] })).toEqual(value('AppVM'));
    expect(await broker.call(SERVICE, '{"name":"vault","name":"ai-work","property":"klass"}')).toEqual(value('AppVM'));
    expect(await broker.call(SERVICE, '{"name":"ai-work","name":"vault","property":"klass"}')).toEqual(NOT_FOUND);
  });
});

describe('a property that is none', () => {
  test.each([
    'bogus',
    'start',
    'log',
    'derived_vms',
    'volumes',
    'devices',
    '__class__',
    'Label',
    'label.',
    'x'.repeat(300),
  ])('like %.20s is named back, without a call', async (property) => {
    const broker = await fresh();
    expect(await get(broker, 'ai-work', property)).toEqual(missing(property));
    expect(broker.qubesd.calls).toEqual([]);
  });

  test.each(['naïve', 'label\0', 'label\n', 'la bel', '\u202elabel', 'ⅼabel', 5, true, 1.5])(
    'like %j, which could not even be asked for, is not',
    async (property) => {
      const broker = await fresh();
      expect(await get(broker, 'ai-work', property)).toEqual(READ_FAILED);
      expect(broker.qubesd.calls).toEqual([]);
    },
  );

  test('is one that this class of qube does not have', async () => {
    const broker = await fresh();
    expect(await get(broker, 'ai-debian-13', 'template')).toEqual(missing('template'));
    expect(await get(broker, 'ai-work', 'auto_cleanup')).toEqual(missing('auto_cleanup'));
  });
});

describe('a value', () => {
  test.each([
    ['ai-work', 'klass', 'AppVM'],
    ['ai-work', 'name', 'ai-work'],
    ['ai-work', 'label', 'yellow'],
    ['ai-work', 'power_state', 'Running'],
    ['ai-idle', 'power_state', 'Halted'],
    ['ai-net-router', 'provides_network', true],
    ['ai-work', 'provides_network', false],
    ['ai-work', 'memory', 400],
    ['ai-work', 'default_user', 'user'],
    ['ai-work', 'kernelopts', ''],
    ['ai-work', 'template', 'ai-debian-13'],
    ['ai-work', 'netvm', 'ai-net-router'],
    ['ai-debian-13', 'netvm', null],
    ['ai-work', 'default_dispvm', null],
  ])('(%s %s) has its declared type', async (name, property, want) => {
    expect(await get(await fresh(), name, property)).toEqual(value(want));
  });

  test('that is empty where its type has no empty value reads as a property that is none', async () => {
    const props = { label: null, maxmem: null, debug: null, netvm: null, kernelopts: null };
    const broker = await fresh({ fleet: { qubes: { 'ai-work': { tags: ['ai-managed'], props } } } });
    for (const property of ['label', 'maxmem', 'debug'])
      expect(await get(broker, 'ai-work', property)).toEqual(missing(property));
    expect(await get(broker, 'ai-work', 'netvm')).toEqual(value(null));
    expect(await get(broker, 'ai-work', 'kernelopts')).toEqual(value(''));
  });

  test('that does not fit its type is not passed on', async () => {
    const props = { memory: '1e3', debug: 'maybe' };
    const broker = await fresh({ fleet: { qubes: { 'ai-work': { tags: ['ai-managed'], props } } } });
    expect(await get(broker, 'ai-work', 'memory')).toEqual(missing('memory'));
    expect(await get(broker, 'ai-work', 'debug')).toEqual(missing('debug'));
  });

  test('of tags is the umbrella and nothing else', async () => {
    const tags = ['ai-managed', 'ai-full', 'qmcp-owner_x', 'anon-vm', 'created-by-dom0', 'my-label'];
    const broker = await fresh({ fleet: { qubes: { 'ai-work': { tags } } } });
    expect(await get(broker, 'ai-work', 'tags')).toEqual(value(['ai-managed']));
  });

  test.each(['netvm', 'template', 'default_dispvm', 'guivm', 'audiovm', 'management_dispvm'])(
    'of %s names a managed qube, and no other',
    async (property) => {
      const broker = await fresh({
        fleet: {
          qubes: {
            'ai-a': { tags: ['ai-managed'], props: { [property]: 'ai-b' } },
            'ai-b': { tags: ['ai-managed'], props: { [property]: 'vault' } },
            'ai-c': { tags: ['ai-managed'], props: { [property]: 'dom0' } },
            'ai-d': { tags: ['ai-managed'], props: { [property]: 'gone' } },
            vault: { tags: ['ai-full'] },
          },
        },
      });
      expect(await get(broker, 'ai-a', property)).toEqual(value('ai-b'));
      for (const name of ['ai-b', 'ai-c', 'ai-d'])
        expect(await get(broker, name, property)).toEqual(value('<out-of-scope>'));
    },
  );
});

describe('from the view', () => {
  test('every property of the platform that does not change by itself is read without a call', async () => {
    const broker = await fresh();
    const known = [...PLATFORM_PROPERTIES].filter((property) => !VOLATILE_PROPERTIES.has(property));
    const held = (await broker.view.snapshot()).get('ai-work' as never)?.properties;
    for (const property of ['klass', 'tags', 'power_state', ...known.filter((property) => held?.has(property))]) {
      await get(broker, 'ai-work', property);
    }
    expect(broker.qubesd.calls).toEqual([]);
  });

  test.each([...VOLATILE_PROPERTIES])('%s is not, as no event tells of its changes', async (property) => {
    const broker = await fresh();
    await get(broker, 'ai-work', property);
    expect(broker.qubesd.calls.map(({ row }) => row)).toEqual([[`admin.vm.property.Get+${property}`, 'ai-work']]);
  });

  test('a default is not believed once anything has happened that it could depend on', async () => {
    const broker = await fresh({
      fleet: {
        default_netvm: 'vault',
        qubes: { 'ai-work': { tags: ['ai-managed'] }, 'ai-b': { tags: ['ai-managed'] }, vault: {} },
      },
    });
    expect(await get(broker, 'ai-work', 'netvm')).toEqual(value('<out-of-scope>'));
    expect(broker.qubesd.calls).toEqual([]);
    broker.world.defaultNetvm = 'ai-b';
    broker.view.event({ subject: '', event: 'property-set:default_netvm', details: {} });
    expect(await get(broker, 'ai-work', 'netvm')).toEqual(value('ai-b'));
    expect(broker.qubesd.calls.map(({ row }) => row)).toEqual([['admin.vm.property.Get+netvm', 'ai-work']]);
  });

  test('what changed is read again, and the name of one that left the umbrella is told no more', async () => {
    const broker = await fresh();
    const heard = new Promise<void>((resolve) => {
      broker.view.follow((event) => event?.event === 'domain-tag-delete:ai-managed' && resolve());
    });
    broker.world.setProperty('ai-idle', 'label', 'red');
    broker.world.removeTag('ai-net-router', 'ai-managed');
    await heard;
    expect(await get(broker, 'ai-idle', 'label')).toEqual(value('red'));
    expect(await get(broker, 'ai-idle', 'netvm')).toEqual(value('<out-of-scope>'));
    expect(await get(broker, 'ai-net-router', 'klass')).toEqual(NOT_FOUND);
  });
});

describe('when qubesd fails', () => {
  test('altogether, the read failed, whatever the name', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    for (const name of ['ai-work', 'vault', 'ghost']) expect(await get(broker, name, 'klass')).toEqual(READ_FAILED);
    expect(await get(broker, '', 'klass')).toEqual(NOT_FOUND);
  });

  test.each<[string, Fault, unknown]>([
    ['is silent', 'empty', missing('xid')],
    ['does not know the property', { exception: ['QubesNoSuchPropertyError', 'x'] }, missing('xid')],
    ['refuses', { exception: ['QubesException', 'vault is secret'] }, READ_FAILED],
    ['answers half', { cut: 5 }, READ_FAILED],
    ['has lost the qube', { exception: ['QubesVMNotFoundError', 'x'] }, NOT_FOUND],
  ])('when it %s about one property, its words go no further', async (_, fault, want) => {
    const broker = await fresh();
    broker.qubesd.faults.inject({ method: 'admin.vm.property.Get', fault });
    expect(await get(broker, 'ai-work', 'xid')).toEqual(want);
  });

  test('to give the state, the state could not be read', async () => {
    const broker = await temporaryBroker();
    const refused: Fault = { exception: ['QubesException', 'x'] };
    broker.qubesd.faults.inject({
      method: 'admin.vm.CurrentState',
      dest: 'ai-work',
      fault: refused,
      times: Number.POSITIVE_INFINITY,
    });
    expect(await get(broker, 'ai-work', 'power_state')).toEqual(READ_FAILED);
    expect(await get(broker, 'ai-work', 'label')).toEqual(value('yellow'));
    broker.qubesd.faults.clear();
    expect(await get(broker, 'ai-work', 'power_state')).toEqual(value('Running'));
  });

  test('to give the tags, the qube is not known to be managed', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ method: 'admin.vm.tag.List', dest: 'ai-work', fault: 'empty' });
    expect(await get(broker, 'ai-work', 'klass')).toEqual(NOT_FOUND);
    expect(await get(broker, 'ai-work', 'klass')).toEqual(value('AppVM'));
  });

  test('to give all properties at once, one is asked for by itself', async () => {
    const broker = await temporaryBroker();
    const fault: Fault = { exception: ['QubesException', 'x'] };
    broker.qubesd.faults.inject({
      method: 'admin.vm.property.GetAll',
      dest: 'ai-work',
      fault,
      times: Number.POSITIVE_INFINITY,
    });
    expect(await get(broker, 'ai-work', 'label')).toEqual(value('yellow'));
  });
});

test('any JSON at all gets one of the answers that the contract has, and changes nothing', async () => {
  const broker = await fresh();
  const names = fc.oneof(fc.constantFrom(...Object.keys(FLEET_F0.qubes)), fc.jsonValue());
  const properties = fc.oneof(fc.constantFrom(...PLATFORM_PROPERTIES, 'klass', 'tags'), fc.jsonValue());
  const requests = fc.oneof(fc.record({ name: names, property: properties }), fc.jsonValue(), fc.string());
  await fc.assert(
    fc.asyncProperty(requests, async (request) => {
      const reply = await broker.call(SERVICE, request);
      if (reply.ok) expect(Object.keys(reply)).toEqual(['ok', 'value']);
      else expect(reply.error).toMatch(/^(not found|read failed|property '[\x21-\x7e]+' does not exist)$/);
    }),
    { numRuns: 500 },
  );
  expect(broker.qubesd.changes()).toEqual([]);
});
