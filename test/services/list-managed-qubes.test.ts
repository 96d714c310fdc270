import { describe, expect, test } from 'vitest';
import type { InProcess } from '../broker/in-process.ts';
import { temporaryBroker } from '../broker/in-process.ts';
import type { Fault } from '../qubesd/faults.ts';
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';

const SERVICE = 'qmcp.ListAIManagedQubes';
const FAILED = { ok: false, error: 'list failed' };
const managed = (spec: QubeSpec = {}): QubeSpec => ({ tags: ['ai-managed'], ...spec });

const FLEET: FleetSpec = {
  qubes: {
    dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
    vault: { tags: [], state: 'Running' },
    'ai-z': managed({ state: 'Running', props: { label: 'red', template: 'ai-debian' } }),
    'ai-debian': managed({ klass: 'TemplateVM', props: { label: 'black' } }),
    'ai-Z': managed({ props: { template: 'vault' } }),
    'ai-dead': { tags: ['qmcp-tombstone_5'] },
  },
};
const ROWS = [
  { name: 'ai-Z', klass: 'AppVM', label: 'gray', template: '<out-of-scope>', power_state: 'Halted' },
  { name: 'ai-debian', klass: 'TemplateVM', label: 'black', template: null, power_state: 'Halted' },
  { name: 'ai-z', klass: 'AppVM', label: 'red', template: 'ai-debian', power_state: 'Running' },
];

const list = (broker: InProcess, body: unknown = '') => broker.call(SERVICE, body);
const rowOf = async (broker: InProcess, name: string) => {
  const { qubes } = (await list(broker)) as unknown as { qubes: { name: string }[] };
  return qubes.find((row) => row.name === name);
};

describe('the list', () => {
  test('holds every managed qube and no other, in the order of code points', async () => {
    const reply = await list(await temporaryBroker({ fleet: FLEET }));
    expect(reply).toEqual({ ok: true, qubes: ROWS });
    expect(Object.keys((reply as unknown as { qubes: object[] }).qubes[0] ?? {})).toEqual(Object.keys(ROWS[0] ?? {}));
  });

  test('may be empty', async () => {
    expect(await list(await temporaryBroker({ fleet: { qubes: { vault: {} } } }))).toEqual({ ok: true, qubes: [] });
  });

  test.each(['', '{}', 'not json at all', '[1]', '\u0000', '{"qubes":5}', 'x'.repeat(60_000)])(
    'does not look at the body %.20j',
    async (body) => {
      expect(await list(await temporaryBroker({ fleet: FLEET }), body)).toMatchObject({ ok: true });
    },
  );

  test('says null for a label or template that reads empty', async () => {
    const broker = await temporaryBroker({
      fleet: { qubes: { 'ai-a': managed({ props: { label: null, template: null } }) } },
    });
    expect(await rowOf(broker, 'ai-a')).toMatchObject({ label: null, template: null });
  });

  test.each(['Halted', 'Transient', 'Running', 'Paused', 'Suspended', 'Halting', 'Dying', 'Crashed', 'NA'])(
    'knows the state %s',
    async (state) => {
      const broker = await temporaryBroker({ fleet: { qubes: { 'ai-a': managed({ state }) } } });
      expect(await rowOf(broker, 'ai-a')).toMatchObject({ power_state: state });
    },
  );

  test('names the template of a qube until that leaves the umbrella', async () => {
    const broker = await temporaryBroker({ fleet: FLEET });
    expect(await rowOf(broker, 'ai-z')).toMatchObject({ template: 'ai-debian' });
    const heard = new Promise<void>((resolve) => {
      broker.view.follow((event) => event?.event.startsWith('domain-tag-delete') && resolve());
    });
    broker.world.removeTag('ai-debian', 'ai-managed');
    await heard;
    expect(await rowOf(broker, 'ai-z')).toMatchObject({ template: '<out-of-scope>' });
    expect(await rowOf(broker, 'ai-debian')).toBeUndefined();
  });
});

describe('from the view', () => {
  test('the list costs no call, and is put together once', async () => {
    const broker = await temporaryBroker({ fleet: FLEET });
    await list(broker);
    broker.qubesd.reset();
    const handle = () => broker.broker.handle({ service: SERVICE, argument: '', source: 'a' as never, body: null });
    const first = handle();
    expect(first).not.toBeInstanceOf(Promise);
    expect(handle()).toBe(first);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test('a change costs the calls of the changed qube', async () => {
    const broker = await temporaryBroker({ fleet: FLEET });
    await list(broker);
    broker.qubesd.reset();
    const heard = new Promise<void>((resolve) => {
      broker.view.follow((event) => event?.event === 'domain-start' && resolve());
    });
    void broker.world.start('ai-Z');
    await heard;
    expect(await rowOf(broker, 'ai-Z')).toMatchObject({ power_state: 'Running' });
    expect(new Set(broker.qubesd.calls.map(({ name }) => name))).toEqual(new Set(['ai-Z']));
    expect(broker.qubesd.calls).toHaveLength(4);
  });
});

describe('when qubesd fails', () => {
  test('altogether, so does the list', async () => {
    expect(await list(await temporaryBroker({ qubesd: false }))).toEqual(FAILED);
  });

  test.each<[string, Fault]>([
    ['admin.vm.List', 'empty'],
    ['admin.vm.List', { exception: ['QubesException', 'vault'] }],
    ['admin.vm.List', { cut: 40 }],
  ])('at %s with %j, so does the list, and the next one is tried again', async (method, fault) => {
    const broker = await temporaryBroker({ fleet: FLEET });
    broker.qubesd.faults.inject({ method, fault });
    expect(await list(broker)).toEqual(FAILED);
    expect(await list(broker)).toEqual({ ok: true, qubes: ROWS });
  });

  test.each(['ai-z', 'vault'])('to give the tags of %s, so does the list: it might be managed', async (dest) => {
    const broker = await temporaryBroker({ fleet: FLEET });
    broker.qubesd.faults.inject({ method: 'admin.vm.tag.List', dest, fault: { exception: ['QubesException', 'x'] } });
    expect(await list(broker)).toEqual(FAILED);
    expect(await list(broker)).toEqual({ ok: true, qubes: ROWS });
  });

  test('to give a state, the state is unknown', async () => {
    const broker = await temporaryBroker({ fleet: FLEET });
    const fault: Fault = { exception: ['QubesException', 'x'] };
    broker.qubesd.faults.inject({ method: 'admin.vm.CurrentState', dest: 'ai-z', fault });
    expect(await rowOf(broker, 'ai-z')).toMatchObject({ power_state: 'unknown' });
    expect(await rowOf(broker, 'ai-z')).toMatchObject({ power_state: 'Running' });
  });

  test('to give all properties at once, the two that count are asked for by themselves', async () => {
    const broker = await temporaryBroker({ fleet: FLEET });
    const fault: Fault = { exception: ['QubesException', 'x'] };
    broker.qubesd.faults.inject({ method: 'admin.vm.property.GetAll', fault, times: Number.POSITIVE_INFINITY });
    expect(await list(broker)).toEqual({ ok: true, qubes: ROWS });
    broker.qubesd.faults.inject({ method: 'admin.vm.property.Get+label', fault });
    expect(await list(broker)).toEqual(FAILED);
  });
});
