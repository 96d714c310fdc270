// A rehearsal against the simulated qubesd itself: what the one foresees of calls, the other does.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { Rehearsal } from '../../daemon/plans/rehearsal.ts';
import { adminOver } from '../../daemon/qubesadmin/admin.ts';
import type { AdminCall } from '../../daemon/qubesadmin/client.ts';
import { AdminError, type AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { isStateChanging, perform } from '../qubesd/methods.ts';
import { Abort, Refusal } from '../qubesd/wire.ts';
import { World } from '../qubesd/world.ts';

const GIB = 2 ** 30;
const named = (name: string) => ({ name: name as QubeName });
const FLEET: FleetSpec = {
  default_netvm: 'ai-net',
  qubes: {
    'ai-net': {
      klass: 'AppVM',
      state: 'Running',
      tags: ['ai-managed'],
      props: { template: 'ai-template', netvm: null },
    },
    'ai-template': { klass: 'TemplateVM', tags: ['ai-managed', 'ai-full'] },
    'ai-run': {
      state: 'Running',
      tags: ['ai-managed'],
      props: { template: 'ai-template', label: 'yellow', kernelopts: 'a\\b\nc' },
      features: { 'ai-old': '1', 'ai-note': 'x' },
      volumes: { private: 3 * GIB },
      usage: { private: 5000 },
      devices: { 'usb.Attached': ['sys-usb:1-2'] },
      firewall: 'action=drop\n',
    },
    'ai-off': { props: { template: 'ai-template', netvm: null }, tags: ['ai-managed', 'z', 'a'] },
    'ai-dvmt': {
      tags: ['ai-managed', 'ai-exec'],
      props: { template: 'ai-template', label: 'red', template_for_dispvms: 'True' },
      usage: { private: 7000, root: 9000 },
    },
    disp7: { klass: 'DispVM', state: 'Running', props: { template: 'ai-dvmt', auto_cleanup: 'True' } },
    disp8: { klass: 'DispVM', state: 'Running', props: { template: 'ai-dvmt' } },
  },
};

/** The calls to a world, and which they were. */
const callsTo = (world: World) => {
  const asked: AdminRequest[] = [];
  const call: AdminCall = async (request) => {
    const { method, arg = '', dest, payload = '' } = request;
    asked.push(request);
    const target = dest === 'dom0' ? dest : 'uuid' in dest ? `uuid:${dest.uuid}` : dest.name;
    try {
      const qube = world.resolve(target);
      const bytes = Buffer.from(payload);
      return Buffer.from(await perform(world, qube, { method, arg, source: 'dom0', dest: target, payload: bytes }));
    } catch (error) {
      if (error instanceof Refusal) throw new AdminError('exception', error.type);
      if (error instanceof Abort) throw new AdminError('empty');
      throw error;
    }
  };
  return { asked, call };
};

const standIn = (name: string): Uuid =>
  `00000000-0000-8000-8000-${Buffer.from(name).toString('hex').padStart(12, '0').slice(-12)}` as Uuid;

const place = (fleet: FleetSpec = FLEET) => {
  const world = new World(fleet);
  const { asked, call } = callsTo(world);
  const rehearsal = new Rehearsal(call, standIn);
  return { world, asked, rehearsal, call: rehearsal.call, admin: adminOver(rehearsal.call) };
};

/** The answer as text, or the name of the exception instead of it. */
const answerOf = async (call: AdminCall, request: AdminRequest): Promise<string> => {
  try {
    return (await call(request)).toString('utf8');
  } catch (error) {
    if (error instanceof AdminError) return `! ${error.kind === 'exception' ? error.type : error.kind}`;
    throw error;
  }
};
const text = (call: AdminCall, method: string, name: string, arg = '') =>
  answerOf(call, { method: `admin.vm.${method}`, arg, dest: named(name) });
const change = (method: string, name: string, arg = '', payload = ''): AdminRequest => ({
  method: `admin.vm.${method}`,
  arg,
  dest: named(name),
  payload,
});
const creation = (klass: string, template: string, name: string, label: string): AdminRequest => ({
  method: `admin.vm.Create.${klass}`,
  arg: template,
  dest: 'dom0',
  payload: `name=${name} label=${label}`,
});

// ---- as qubesd

const NAMES = ['ai-run', 'ai-off', 'ai-template', 'ai-dvmt', 'disp7', 'disp8', 'ai-new', 'ai-newer'] as const;
const PROPERTIES = ['template', 'netvm', 'label', 'memory', 'kernelopts', 'default_user', 'auto_cleanup'];
const FEATURES = ['ai-old', 'ai-note', 'ai-new'];

/** Everything that can be read of these qubes and that steps change, but for uuids, which the stand-ins cannot share. */
const picture = async (call: AdminCall): Promise<string[]> => {
  const withoutUuids = (rows: string): string[] =>
    rows
      .replace(/ uuid=\S+/g, '')
      .split('\n')
      .sort();
  const lines = withoutUuids(await answerOf(call, { method: 'admin.vm.List', dest: 'dom0' }));
  const see = (what: string, answer: string): void => void lines.push(`${what}: ${answer}`);
  for (const name of NAMES) {
    see(name, withoutUuids(await text(call, 'List', name)).join());
    const state = await text(call, 'CurrentState', name);
    see(`${name} state`, /power_state=.*$|^!.*$/m.exec(state)?.[0] ?? '');
    for (const method of ['tag.List', 'feature.List', 'firewall.Get']) see(method, await text(call, method, name));
    for (const property of PROPERTIES) see(property, await text(call, 'property.Get', name, property));
    const all = await text(call, 'property.GetAll', name);
    see(
      'all',
      all
        .split('\n')
        .filter((line) => PROPERTIES.includes(line.split(' ')[0] ?? '') || /^!/.test(line))
        .sort()
        .join('\n'),
    );
    for (const feature of FEATURES) see(feature, await text(call, 'feature.Get', name, feature));
    const volume = await text(call, 'volume.Info', name, 'private');
    see('private', volume.replace(/^vid=.*$/m, ''));
  }
  return lines;
};

const oneOf = fc.constantFrom;
const names = oneOf(...NAMES);
/** What a step does; `size` is more than any before. Gives the answer, or the exception. */
type Deed = (call: AdminCall, size: number) => Promise<string>;
const deed =
  (method: string, name: string, arg = '', payload = ''): Deed =>
  (call) =>
    answerOf(call, change(method, name, arg, payload));
const copy =
  (from: string, to: string): Deed =>
  async (call) => {
    const token = await text(call, 'volume.CloneFrom', from, 'private');
    if (token.startsWith('!')) return token;
    return answerOf(call, change('volume.CloneTo', to, 'private', token));
  };
const deeds: fc.Arbitrary<Deed> = fc.oneof(
  fc.tuple(oneOf('Start', 'Shutdown', 'Kill', 'Pause', 'Unpause'), names).map(([verb, name]) => deed(verb, name)),
  // What others are made of is in use, which a rehearsal does not look at.
  oneOf('ai-run', 'ai-off', 'disp7', 'ai-new', 'ai-newer').map((name) => deed('Remove', name)),
  fc.tuple(oneOf('tag.Set', 'tag.Remove'), names, oneOf('ai-managed', 'b')).map((tag) => deed(...tag)),
  fc
    .tuple(
      names,
      oneOf(
        ['label', 'blue'],
        ['memory', '800'],
        ['netvm', ''],
        ['netvm', 'ai-net'],
        ['kernelopts', 'd\\e\nf'],
        ['default_user', 'x'],
      ),
    )
    .map(([name, [property, value]]) => deed('property.Set', name, property, value)),
  fc.tuple(names, oneOf(...FEATURES), oneOf('', '1')).map((feature) => deed('feature.Set', ...feature)),
  names.map((name) => deed('firewall.Set', name, '', 'action=accept proto=icmp\n')),
  names.map((name) => deed('firewall.Reload', name)),
  names.map(
    (name): Deed =>
      (call, size) =>
        answerOf(call, change('volume.Resize', name, 'private', String(size))),
  ),
  fc.tuple(names, names).map(([from, to]) => copy(from, to)),
  fc.tuple(oneOf('ai-template', 'ai-ghost'), oneOf('ai-new', 'ai-newer', 'ai-off'), oneOf('red', 'green')).map(
    ([template, name, label]) =>
      (call: AdminCall) =>
        answerOf(call, creation('AppVM', template, name, label)),
  ),
);

test('whatever steps do, a rehearsal foresees what qubesd answers, and tells qubesd of none of it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(deeds, { minLength: 1, maxLength: 16 }), async (steps) => {
      const { asked, call } = place();
      const real = callsTo(new World(FLEET)).call;
      for (const [index, step] of steps.entries()) {
        const size = (100 + index) * GIB;
        expect(await step(call, size)).toBe(await step(real, size));
      }
      expect(await picture(call)).toEqual(await picture(real));
      expect(asked.filter(({ method }) => isStateChanging(method))).toEqual([]);
    }),
    { numRuns: 150 },
  );
});

test.each([
  ['Transient', 'Running'],
  ['Paused', 'Paused'],
  ['Crashed', 'Crashed'],
  ['Halting', 'Halting'],
])('a start of a qube that is %s leaves it %s', async (before, after) => {
  const { world, admin } = place();
  world.setState('ai-run', before);
  await admin.lifecycle(named('ai-run'), 'Start');
  expect(await admin.state(named('ai-run'))).toBe(after);
});

test('a qube that is paused and unpaused runs', async () => {
  const { admin } = place();
  await admin.lifecycle(named('ai-run'), 'Pause');
  expect(await admin.state(named('ai-run'))).toBe('Paused');
  await admin.lifecycle(named('ai-run'), 'Unpause');
  expect(await admin.state(named('ai-run'))).toBe('Running');
});

// ---- qubes that do not exist yet

describe('a qube that a step would create', () => {
  const born = async () => {
    const there = place();
    await there.call(creation('AppVM', 'ai-template', 'ai-new', 'green'));
    return { ...there, dest: { uuid: standIn('ai-new') } };
  };

  test('is there by its name, and by the uuid that stands in for its own', async () => {
    const { admin, dest, rehearsal } = await born();
    const row = { name: 'ai-new', uuid: dest.uuid, klass: 'AppVM', state: 'Halted' };
    expect(await admin.row('ai-new' as QubeName)).toEqual(row);
    expect(await admin.rowOf(dest.uuid)).toEqual(row);
    expect(await admin.list()).toContainEqual(row);
    expect(rehearsal.born).toEqual(new Map([['ai-new', dest.uuid]]));
  });

  test('says of itself what it is, and not what its template is', async () => {
    const { admin, dest } = await born();
    const all = await admin.properties(dest);
    const own = { name: 'ai-new', uuid: dest.uuid, klass: 'AppVM', template: 'ai-template', label: 'green' };
    for (const [property, text] of Object.entries(own)) {
      expect(await admin.property(dest, property)).toMatchObject({ isDefault: false, text });
      expect(all.get(property)).toMatchObject({ isDefault: false, text });
    }
    expect(all.get('template')?.type).toBe('vm');
    expect(await admin.property(dest, 'template')).toMatchObject({ type: 'vm' });
  });

  test('has by default what its template has set', async () => {
    const { world, admin, dest } = await born();
    world.setProperty('ai-template', 'vcpus', '7');
    const vcpus = { isDefault: true, type: 'int', text: '7' };
    expect(await admin.property(dest, 'vcpus')).toEqual(vcpus);
    expect((await admin.properties(dest)).get('vcpus')).toEqual(vcpus);
  });

  test('is offered to disposables when a step says so, which its template cannot be', async () => {
    const { admin, dest } = await born();
    await admin.setProperty(dest, 'template_for_dispvms', 'True');
    const set = { isDefault: false, type: 'bool', text: 'True' };
    expect(await admin.property(dest, 'template_for_dispvms')).toEqual(set);
    expect((await admin.properties(dest)).get('template_for_dispvms')).toEqual(set);
  });

  test('has nothing of its template but what is in its root: no devices, features or rules', async () => {
    const { world, admin, dest } = await born();
    world.setFeature('ai-template', 'ai-old', '1');
    world.setFirewall('ai-template', 'action=drop\n');
    world.qube('ai-template').devices.set('usb.Attached', ['sys-usb:1-2']);
    expect(await admin.featureNames(dest)).toEqual([]);
    expect(await admin.feature(dest, 'ai-old')).toBeNull();
    expect(await admin.firewall(dest)).toBe('action=accept\n');
    expect(await admin.devices(dest, 'usb', 'Attached')).toEqual([]);
  });

  test('has an empty private volume of two GiB, and a root as large as that of its template', async () => {
    const { world, admin, dest } = await born();
    const { volumes, usage } = world.qube('ai-template');
    for (const volume of ['private', 'root']) {
      volumes.set(volume, 30 * GIB);
      usage.set(volume, 5 * GIB);
    }
    expect(await admin.volume(dest, 'private')).toEqual({ sizeBytes: 2 * GIB, usageBytes: 0 });
    expect(await admin.volume(dest, 'root')).toMatchObject({ sizeBytes: 30 * GIB });
  });

  test('can be a template of another, which is made of the same', async () => {
    const { call, admin } = await born();
    await call(creation('AppVM', 'ai-new', 'ai-newer', 'red'));
    expect(await admin.property(named('ai-newer'), 'template')).toMatchObject({ text: 'ai-new' });
    expect(await admin.property(named('ai-newer'), 'memory')).toMatchObject({ isDefault: true, text: '400' });
  });

  test('stands in no longer for a name that is removed and created once more', async () => {
    const { call, admin, rehearsal } = await born();
    await call(change('Remove', 'ai-new'));
    expect(await admin.row('ai-new' as QubeName)).toBeNull();
    await call(creation('AppVM', 'ai-template', 'ai-new', 'blue'));
    expect(await admin.property(named('ai-new'), 'label')).toMatchObject({ text: 'blue' });
    expect([...rehearsal.born.keys()]).toEqual(['ai-new']);
  });

  test('takes the name of one that an earlier step removes, which stays gone', async () => {
    const { world, call, admin } = place();
    const { uuid } = world.qube('ai-off');
    await call(change('Remove', 'ai-off'));
    await call(creation('AppVM', 'ai-template', 'ai-off', 'blue'));
    expect((await admin.row('ai-off' as QubeName))?.uuid).toBe(standIn('ai-off'));
    expect(await admin.rowOf(uuid as Uuid)).toBeNull();
    expect((await admin.list()).filter(({ name }) => name === 'ai-off')).toHaveLength(1);
  });

  test.each([
    ['no name', 'label=red'],
    ['no label', 'name=ai-new'],
    ['a name that none can have', 'name=1st label=red'],
    ['more than that', 'name=ai-new label=red pool=other'],
    ['something before it', 'pool=other name=ai-new label=red'],
  ])('is refused with %s', async (_, payload) => {
    const { call, rehearsal } = place();
    const request = { ...creation('AppVM', 'ai-template', '', ''), payload };
    expect(await answerOf(call, request)).toBe('! QubesValueError');
    expect(rehearsal.born.size).toBe(0);
  });

  test('is refused of a template that none can be, and in a qube', async () => {
    const { call, rehearsal } = place();
    expect(await answerOf(call, creation('AppVM', '1st', 'ai-new', 'red'))).toBe('! QubesValueError');
    const inside = { ...creation('AppVM', 'ai-template', 'ai-new', 'red'), dest: named('ai-run') };
    expect(await answerOf(call, inside)).toBe('! QubesValueError');
    expect(rehearsal.born.size).toBe(0);
  });

  test('is refused of a template that an earlier step removes', async () => {
    const { call } = place();
    await call(change('Remove', 'ai-off'));
    expect(await answerOf(call, creation('AppVM', 'ai-off', 'ai-new', 'red'))).toBe('! QubesVMNotFoundError');
  });

  test('is not taken for new while qubesd cannot say whether the name is free', async () => {
    const { call } = callsTo(new World(FLEET));
    const away: AdminCall = async (request) => {
      if (typeof request.dest === 'object' && 'name' in request.dest && request.dest.name === 'ai-new') {
        throw new AdminError('deadline');
      }
      return call(request);
    };
    const rehearsal = new Rehearsal(away, standIn);
    const create = rehearsal.call(creation('AppVM', 'ai-template', 'ai-new', 'red'));
    await expect(create).rejects.toMatchObject({ kind: 'deadline' });
  });
});

describe('a disposable that a step would create', () => {
  test('is halted and made of its template, with its tags and those of its birth, and cleans up after itself', async () => {
    const { call, admin } = place();
    const name = (await call(change('CreateDisposable', 'ai-dvmt'))).toString();
    const row = await admin.row(name as QubeName);
    expect(row).toEqual({ name, uuid: standIn(name), klass: 'DispVM', state: 'Halted' });
    const tags = ['ai-exec', 'ai-managed', 'created-by-dom0', 'disp-created-by-dom0'];
    expect([...(await admin.tags(named(name)))]).toEqual(tags);
    expect(await admin.property(named(name), 'template')).toEqual({ isDefault: false, type: 'vm', text: 'ai-dvmt' });
    const cleanup = { isDefault: false, type: 'bool', text: 'True' };
    expect(await admin.property(named(name), 'auto_cleanup')).toEqual(cleanup);
  });

  test('has the tags of its template also when it is created by name, which another qube has not', async () => {
    const { call, admin } = place();
    await call(creation('DispVM', 'ai-dvmt', 'ai-new', 'red'));
    await call(creation('AppVM', 'ai-template', 'ai-newer', 'red'));
    expect([...(await admin.tags(named('ai-new')))]).toEqual(['ai-exec', 'ai-managed', 'created-by-dom0']);
    expect([...(await admin.tags(named('ai-newer')))]).toEqual(['created-by-dom0']);
  });

  test('has a name that no qube has, and each its own', async () => {
    const qubes = { ...FLEET.qubes, 'disp-planned-2': { tags: ['ai-managed'] } };
    const { call, rehearsal } = place({ ...FLEET, qubes });
    const create = async () => (await call(change('CreateDisposable', 'ai-dvmt'))).toString();
    expect([await create(), await create()]).toEqual(['disp-planned-1', 'disp-planned-3']);
    expect(rehearsal.born.size).toBe(2);
  });
});

// ---- copies

test('a volume that is copied is as large as its source is by then, whether that one was touched or not', async () => {
  const { call, admin } = place();
  await call(creation('AppVM', 'ai-template', 'ai-new', 'red'));
  await admin.copyVolume(named('ai-run'), named('ai-new'), 'private');
  expect(await admin.volume(named('ai-new'), 'private')).toMatchObject({ sizeBytes: 3 * GIB });
  await admin.resizeVolume(named('ai-run'), 'private', 9 * GIB);
  await admin.copyVolume(named('ai-run'), named('ai-off'), 'private');
  expect(await admin.volume(named('ai-off'), 'private')).toMatchObject({ sizeBytes: 9 * GIB });
});

test('what was used of a volume stays used when it grows', async () => {
  const { admin } = place();
  await admin.resizeVolume(named('ai-run'), 'private', 9 * GIB);
  expect(await admin.volume(named('ai-run'), 'private')).toEqual({ sizeBytes: 9 * GIB, usageBytes: 5000 });
});

test('a copy wants the token of an offer', async () => {
  const { call } = place();
  const clone = (payload: string) => answerOf(call, change('volume.CloneTo', 'ai-off', 'private', payload));
  for (const token of ['', 'x', 'ai-run.private']) {
    expect(await clone(token)).toBe('! QubesVolumeCopyTokenNotFoundError');
  }
});

// ---- what is not rehearsed

test.each([
  ['a device that is attached', change('device.usb.Attach', 'ai-run', 'sys-usb+1-2')],
  ['a method that nobody knows', change('Nope', 'ai-run')],
  ['what only ends like a read', { method: 'x.admin.vm.List', dest: named('ai-run') }],
  ['what only begins like a read', { method: 'admin.vm.List.x', dest: named('ai-run') }],
  ['a list of devices of no class', change('device.7.Attached', 'ai-run')],
  ['a change of the machine', { method: 'admin.pool.Add', arg: 'x', dest: 'dom0' } as const],
])('%s is refused, and qubesd hears nothing of it', async (_, request) => {
  const { asked, call } = place();
  await expect(call(request)).rejects.toMatchObject({ kind: 'malformed', detail: 'not rehearsed' });
  expect(asked.map(({ method }) => method)).not.toContain(request.method);
});

test('what no step touched is asked of qubesd as it is', async () => {
  const { asked, call } = place();
  const requests: AdminRequest[] = [
    change('device.usb.Attached', 'ai-run'),
    change('volume.Info', 'ai-run', 'root'),
    { method: 'admin.property.Get', arg: 'default_netvm', dest: 'dom0' },
  ];
  for (const request of requests) await call(request);
  expect(asked).toEqual(requests);
});

test('a qube that a step touched keeps the devices and the rules it has', async () => {
  const { call, admin } = place();
  await call(change('feature.Set', 'ai-run', 'ai-new', '1'));
  expect(await admin.devices(named('ai-run'), 'usb', 'Attached')).toEqual(['sys-usb:1-2']);
  expect(await admin.firewall(named('ai-run'))).toBe('action=drop\n');
});

test('what is asked of the machine is not changed by what steps touched', async () => {
  const { call, admin } = place();
  await call(change('feature.Set', 'ai-run', 'ai-new', '1'));
  expect(await admin.globalProperty('default_netvm')).toMatchObject({ text: 'ai-net' });
});

test('a qube that is not there is not touched', async () => {
  const { call } = place();
  for (const dest of [named('ai-ghost'), { uuid: standIn('ai-ghost') }]) {
    const answer = await answerOf(call, { method: 'admin.vm.tag.Set', arg: 'b', dest });
    expect(answer).toBe('! QubesVMNotFoundError');
  }
});

test('a feature that is set without a text is empty', async () => {
  const { call, admin } = place();
  await call({ method: 'admin.vm.feature.Set', arg: 'ai-new', dest: named('ai-run') });
  expect(await admin.feature(named('ai-run'), 'ai-new')).toBe('');
});

test('a property that is set and that qubesd does not list is a text', async () => {
  const { admin } = place();
  await admin.setProperty(named('ai-run'), 'odd', 'x');
  const odd = { isDefault: false, type: 'str', text: 'x' };
  expect((await admin.properties(named('ai-run'))).get('odd')).toEqual(odd);
});
