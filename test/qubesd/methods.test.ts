// What the recorded transcript does not show: the remaining methods, power states, births and the quirks of the fleet's hooks.
import { describe, expect, it } from 'vitest';
import { ask, EventReader } from './client.ts';
import type { FleetSpec, Hooks } from './fleet.ts';
import { FLEET_F0 } from './fleet-f0.ts';
import { isStateChanging } from './methods.ts';
import { temporaryQubesd } from './temporary.ts';

const GIB = 1024 ** 3;

const withF0 = async (hooks: Hooks = {}, more: FleetSpec['qubes'] = {}) => {
  const qubesd = await temporaryQubesd({ fleet: { ...FLEET_F0, hooks, qubes: { ...FLEET_F0.qubes, ...more } } });
  const call = (method: string, dest: string, payload = ''): Promise<string> => ask(qubesd.path, method, dest, payload);
  return { qubesd, world: qubesd.world, call };
};

const isRefusal = (type: string) => expect.stringMatching(new RegExp(`^2\\0${type}\\0\\0.*\\0$`));

describe('argument and payload', () => {
  it.each([
    ['admin.vm.tag.Get', '', 'expected an argument'],
    ['admin.vm.tag.List+x', '', 'unexpected argument'],
    ['admin.vm.volume.Resize+private', '', 'expected payload'],
    ['admin.vm.tag.Get+x', 'payload', 'unexpected payload'],
    ['admin.vm.Create.Nothing', 'name=x', "no such method: 'admin.vm.Create.Nothing'"],
    ['admin.vm.Create.*', 'name=x', "no such method: 'admin.vm.Create.*'"],
    ['toString', '', "no such method: 'toString'"],
  ])('of %s with payload %j are refused: %s', async (method, payload, message) => {
    const { call } = await withF0();
    expect(await call(method, 'ai-work', payload)).toBe(`2\0ProtocolError\0\0${message}\0`);
  });
});

describe('destinations', () => {
  it('can be uuids, and a uuid outlives neither its qube nor a namesake', async () => {
    const { world, call } = await withF0();
    const { uuid } = world.qube('ai-idle');
    expect(await call('admin.vm.List', `uuid:${uuid}`)).toContain('ai-idle class=AppVM');
    world.recreate('ai-idle', {});
    expect(world.qube('ai-idle').uuid).not.toBe(uuid);
    expect(await call('admin.vm.List', `uuid:${uuid}`)).toBe(
      `2\0QubesVMNotFoundError\0\0No such domain: 'uuid:${uuid}'\0`,
    );
    expect(await call('admin.vm.List', 'uuid:nonsense')).toBe(
      "2\0QubesVMInvalidUUIDError\0\0VM UUID is not valid: 'nonsense'\0",
    );
  });

  it('are names of at most 31 characters', async () => {
    const { call } = await withF0();
    expect(await call('admin.vm.List', 'a'.repeat(31))).toEqual(isRefusal('QubesVMNotFoundError'));
    expect(await call('admin.vm.List', 'a'.repeat(32))).toBe(
      '2\0QubesValueError\0\0VM name must be shorter than 32 characters\0',
    );
  });
});

describe('power', () => {
  it('goes from Halted over Running and Paused back to Halted, with the events of each step', async () => {
    const { qubesd, world, call } = await withF0();
    const stream = new EventReader(qubesd.path);
    for (const verb of ['Start', 'Pause', 'Unpause', 'Shutdown', 'Start', 'Kill']) {
      expect(await call(`admin.vm.${verb}`, 'ai-idle')).toBe('0\0');
    }
    world.emit('ai-idle', 'the-end');
    const names: (string | null)[] = [];
    while (names.at(-1) !== 'ai-idle the-end') names.push(await stream.nextName());
    await stream.close();
    const started = ['domain-pre-start', 'domain-spawn', 'domain-start'];
    const stopped = ['domain-stopped', 'domain-shutdown'];
    const paused = ['domain-pre-paused', 'domain-paused', 'domain-pre-unpaused', 'domain-unpaused'];
    expect(names).toEqual([
      ' connection-established',
      ...[...started, ...paused, 'domain-pre-shutdown', ...stopped, ...started, ...stopped, 'the-end'].map(
        (event) => `ai-idle ${event}`,
      ),
    ]);
  });

  it('refuses what the state does not allow', async () => {
    const { call } = await withF0();
    expect(await call('admin.vm.Kill', 'ai-idle')).toBe(
      "2\0QubesVMNotStartedError\0\0Domain is powered off: 'ai-idle'\0",
    );
    expect(await call('admin.vm.Pause', 'ai-idle')).toEqual(isRefusal('QubesVMNotRunningError'));
    expect(await call('admin.vm.Unpause', 'ai-work')).toEqual(isRefusal('QubesVMNotPausedError'));
    expect(await call('admin.vm.Remove', 'ai-work')).toEqual(isRefusal('QubesVMNotHaltedError'));
    expect(await call('admin.vm.Remove', 'ai-debian-13')).toEqual(isRefusal('QubesVMInUseError'));
    expect(await call('admin.vm.Remove', 'dom0')).toEqual(isRefusal('QubesVMInUseError'));
    expect(await call('admin.vm.Kill', 'dom0')).toBe('');
  });

  it('stays Transient, with Start unanswered, until a held start is settled', async () => {
    const { qubesd, world, call } = await withF0();
    world.transitionsHeld = true;
    const performed = qubesd.nextCall('admin.vm.Start');
    const answer = call('admin.vm.Start', 'ai-idle');
    await performed;
    expect(await call('admin.vm.CurrentState', 'ai-idle')).toContain('power_state=Transient');
    world.settle('ai-idle');
    expect(await answer).toBe('0\0');
    expect(world.qube('ai-idle').state).toBe('Running');
  });

  it('tells whoever waits for a start that the qube was killed', async () => {
    const { qubesd, world, call } = await withF0();
    world.transitionsHeld = true;
    const performed = qubesd.nextCall('admin.vm.Start');
    const answer = call('admin.vm.Start', 'ai-idle');
    await performed;
    expect(await call('admin.vm.Kill', 'ai-idle')).toBe('0\0');
    expect(await answer).toEqual(isRefusal('QubesVMError'));
  });

  it('answers a held shutdown at once, and halts when it is settled', async () => {
    const { world, call } = await withF0();
    world.transitionsHeld = true;
    expect(await call('admin.vm.Shutdown+force+wait', 'ai-work')).toBe('0\0');
    expect(world.qube('ai-work').state).toBe('Halting');
    world.settle('ai-work');
    expect(world.qube('ai-work').state).toBe('Halted');
    expect(await call('admin.vm.Shutdown+quickly', 'ai-work')).toEqual(isRefusal('ProtocolError'));
  });
});

describe('births', () => {
  it('of an AppVM leave it with the one tag, the default netvm and the sizes of its template', async () => {
    const { world, call } = await withF0({}, { tmpl: { klass: 'TemplateVM', volumes: { root: 5 * GIB } } });
    expect(await call('admin.vm.Create.AppVM+tmpl', 'dom0', 'name=ai-new label=red')).toBe('0\0');
    const born = world.qube('ai-new');
    expect([...born.tags]).toEqual(['created-by-dom0']);
    expect(Object.fromEntries(born.volumes)).toEqual({ private: 2 * GIB, root: 5 * GIB, volatile: 10 * GIB });
    expect(await call('admin.vm.property.Get+netvm', 'ai-new')).toBe('0\0default=True type=vm sys-firewall');
    expect(await call('admin.vm.property.Get+label', 'ai-new')).toBe('0\0default=False type=label red');
  });

  it('of a DispVM inherit tags, netvm and features without any event, preload features excepted', async () => {
    const { qubesd, world, call } = await withF0();
    world.setFeature('ai-dvmt', 'preload-dispvm-max', '1');
    world.setFeature('ai-dvmt', 'kept', '1');
    const stream = new EventReader(qubesd.path);
    expect(await stream.nextName()).toBe(' connection-established');
    expect(await call('admin.vm.Create.DispVM+ai-dvmt', 'dom0', 'name=ai-d label=red')).toBe('0\0');
    expect([...world.qube('ai-d').tags].sort()).toEqual(['ai-managed', 'created-by-dom0']);
    expect([...world.qube('ai-d').features.keys()]).toEqual(['kept']);
    expect(world.qube('ai-d').props.get('netvm')).toBe('ai-net-router');
    expect(world.qube('ai-d').props.has('template_for_dispvms')).toBe(false);
    expect(await stream.nextName()).toBe(' domain-add');
    expect(await stream.nextName()).toBe('ai-d domain-tag-add:created-by-dom0');
    expect(await stream.nextName()).toBe('ai-d domain-create-on-disk');
    await stream.close();
  });

  it.each([
    ['admin.vm.Create.DispVM+ai-idle', 'name=x label=red', 'QubesValueError'],
    ['admin.vm.Create.TemplateVM+ai-debian-13', 'name=x label=red', 'QubesValueError'],
    ['admin.vm.Create.AppVM+ai-debian-13', 'name=bad!name label=red', 'QubesValueError'],
    ['admin.vm.Create.AppVM+ai-debian-13', 'label=red', 'ProtocolError'],
  ])('are refused for %s with %j', async (method, payload, type) => {
    const { world, call } = await withF0();
    expect(await call(method, 'dom0', payload)).toEqual(isRefusal(type));
    expect(await call(method, 'dom0', 'no pairs')).toMatch(/^$|^2\0QubesValueError/);
    expect(world.qubes.size).toBe(Object.keys(FLEET_F0.qubes).length);
  });

  it('of a disposable answer its name or its uuid, count on, and end with its shutdown', async () => {
    const { world, call } = await withF0(
      {},
      { 'ai-dvmt': { ...FLEET_F0.qubes['ai-dvmt'], volumes: { private: GIB } } },
    );
    expect(await call('admin.vm.CreateDisposable', 'ai-dvmt')).toBe('0\0disp1234');
    expect(await call('admin.vm.CreateDisposable', 'ai-dvmt', 'uuid')).toBe(`0\0uuid:${world.qube('disp1235').uuid}`);
    const disposable = world.qube('disp1234');
    expect([...disposable.tags].sort()).toEqual(['ai-managed', 'created-by-dom0', 'disp-created-by-dom0']);
    expect(disposable.volumes.get('private')).toBe(GIB);
    expect(disposable.state).toBe('Halted');
    expect(await call('admin.vm.Start', 'disp1234')).toBe('0\0');
    expect(await call('admin.vm.Shutdown', 'disp1234')).toBe('0\0');
    expect(world.qubes.has('disp1234')).toBe(false);
    expect(await call('admin.vm.CreateDisposable', 'ai-idle')).toEqual(isRefusal('QubesException'));
    expect(await call('admin.vm.CreateDisposable', 'ai-dvmt', 'else')).toEqual(isRefusal('ProtocolError'));
  });
});

describe('properties', () => {
  it('depend on the class', async () => {
    const { call } = await withF0();
    const names = async (qube: string) => (await call('admin.vm.property.List', qube)).slice(2).split('\n');
    expect(await names('ai-work')).toEqual(expect.arrayContaining(['template', 'template_for_dispvms', 'netvm']));
    expect(await names('ai-debian-13')).not.toContain('template');
    expect(await names('dom0')).not.toContain('netvm');
    expect(await call('admin.vm.property.Get+netvm', 'dom0')).toEqual(isRefusal('QubesNoSuchPropertyError'));
    expect(await call('admin.vm.property.Get+constructor', 'ai-work')).toEqual(isRefusal('QubesNoSuchPropertyError'));
  });

  it('are set, read back and reset', async () => {
    const { call } = await withF0();
    const steps: [method: string, payload: string, answer: string][] = [
      ['Set+netvm', '', '0\0'],
      ['Get+netvm', '', '0\0default=False type=vm '],
      ['Reset+netvm', '', '0\0'],
      ['Get+netvm', '', '0\0default=True type=vm sys-firewall'],
      ['Set+autostart', 'yes', '0\0'],
      ['Get+autostart', '', '0\0default=False type=bool True'],
      ['Set+vcpus', '007', '0\0'],
      ['Get+vcpus', '', '0\0default=False type=int 7'],
      ['Set+name', 'other', ''],
      ['Set+default_user', 'ü', ''],
    ];
    for (const [method, payload, answer] of steps) {
      expect(await call(`admin.vm.property.${method}`, 'ai-idle', payload)).toBe(answer);
    }
    expect(await call('admin.vm.property.Set+autostart', 'ai-idle', 'maybe')).toEqual(
      isRefusal('QubesPropertyValueError'),
    );
    expect(await call('admin.property.Get+default_netvm', 'dom0')).toBe('0\0default=False type=vm sys-firewall');
  });

  it('escape line ends in a listing', async () => {
    const { call } = await withF0({}, { odd: { props: { default_user: 'a\nb\\' } } });
    expect(await call('admin.vm.property.GetAll', 'odd')).toContain('default_user default=False type=str a\\nb\\\\\n');
  });
});

describe('volumes, devices and the firewall', () => {
  it('let a volume grow, never shrink', async () => {
    const { world, call } = await withF0();
    expect(await call('admin.vm.volume.Resize+private', 'ai-idle', String(2 * GIB - 1))).toEqual(
      isRefusal('StoragePoolException'),
    );
    expect(await call('admin.vm.volume.Resize+private', 'ai-idle', String(2 * GIB + 1))).toBe('0\0');
    expect(world.qube('ai-idle').volumes.get('private')).toBe(2 * GIB + 1);
    expect(await call('admin.vm.volume.Info+private', 'ai-idle')).toContain(`\nsize=${2 * GIB + 1}\n`);
    expect(await call('admin.vm.volume.Info+other', 'ai-idle')).toEqual(isRefusal('ProtocolError'));
    expect(await call('admin.vm.volume.List', 'ai-idle')).toBe('0\0private\nroot\nvolatile\n');
  });

  it('tell what is used of a volume, which is nothing unless the fleet says more', async () => {
    const { call } = await withF0({}, { full: { usage: { private: GIB } } });
    expect(await call('admin.vm.volume.Info+private', 'full')).toContain(`\nusage=${GIB}\n`);
    expect(await call('admin.vm.volume.Info+root', 'full')).toContain('\nusage=0\n');
  });

  it('hand a volume over with a token that is good once', async () => {
    const { world, call } = await withF0({}, { big: { volumes: { private: 9 * GIB } } });
    const token = (await call('admin.vm.volume.CloneFrom+private', 'big')).slice(2);
    expect(await call('admin.vm.volume.CloneTo+private', 'ai-idle', token)).toBe('0\0');
    expect(world.qube('ai-idle').volumes.get('private')).toBe(9 * GIB);
    expect(await call('admin.vm.volume.CloneTo+private', 'ai-idle', token)).toEqual(isRefusal('ProtocolError'));
  });

  it('keep attached and assigned devices as lines', async () => {
    const { call } = await withF0({}, { usb: { devices: { 'usb.Available': ["2-1 vendor='x'"] } } });
    expect(await call('admin.vm.device.usb.Available', 'usb')).toBe("0\x002-1 vendor='x'\n");
    expect(await call('admin.vm.device.usb.Attach+usb+2-1', 'ai-work', 'mode=manual')).toBe('0\0');
    expect(await call('admin.vm.device.usb.Attach+usb+2-1', 'ai-work')).toEqual(isRefusal('DeviceAlreadyAttached'));
    expect(await call('admin.vm.device.usb.Attached', 'ai-work')).toBe('0\0usb+2-1 mode=manual\n');
    expect(await call('admin.vm.device.usb.Detach+usb+2-1', 'ai-work')).toBe('0\0');
    expect(await call('admin.vm.device.usb.Detach+usb+2-1', 'ai-work')).toEqual(isRefusal('DeviceNotAssigned'));
    expect(await call('admin.vm.device.usb.Attached', 'ai-work')).toBe('0\0');
    expect(await call('admin.vm.device.usb.List', 'ai-work')).toBe('');
  });

  it('refuse bad rules and bad features without a byte', async () => {
    const { world, call } = await withF0();
    expect(await call('admin.vm.firewall.Set', 'ai-work', 'action=drop\nnonsense\n')).toBe('');
    expect(world.qube('ai-work').firewall).toBe('action=accept\n');
    expect(await call('admin.vm.feature.Set+a b', 'ai-work', 'x')).toBe('');
    expect(await call('admin.vm.feature.Set+a', 'ai-work', 'line\nend')).toBe('');
    expect(await call('admin.vm.tag.Set+a.b', 'ai-work')).toBe('');
  });
});

describe('the hooks of a fleet', () => {
  it('drop and keep tags, ignore a netvm, let a halted qube be killed', async () => {
    const { world, call } = await withF0({ drop_tag: ['a'], sticky_tag: ['ai-managed'], netvm_ignored: 1, kill_ok: 1 });
    const calls: [method: string, payload: string][] = [
      ['tag.Set+a', ''],
      ['tag.Set+b', ''],
      ['tag.Remove+ai-managed', ''],
      ['property.Set+netvm', ''],
      ['Kill', ''],
    ];
    for (const [method, payload] of calls) expect(await call(`admin.vm.${method}`, 'ai-idle', payload)).toBe('0\0');
    expect([...world.qube('ai-idle').tags]).toEqual(['ai-managed', 'b']);
    expect(world.qube('ai-idle').props.get('netvm')).toBe('ai-net-router');
  });

  it('shape new qubes and the old device listing', async () => {
    const { world, call } = await withF0({
      extra_birth_tags: ['more'],
      disp_name: 'disp-x',
      disp_state: 'Running',
      disp_netvm: null,
      legacy_list: ['a:b'],
    });
    expect(await call('admin.vm.CreateDisposable', 'ai-dvmt')).toBe('0\0disp-x');
    expect(world.qube('disp-x').state).toBe('Running');
    expect(world.qube('disp-x').props.get('netvm')).toBeNull();
    expect(world.qube('disp-x').tags.has('more')).toBe(true);
    expect(await call('admin.vm.device.block.List', 'ai-work')).toBe('0\0a:b\n');
  });
});

describe('state-changing calls', () => {
  it('are all but the known reads', () => {
    const changing = ['admin.vm.Remove', 'admin.vm.tag.Set+x', 'admin.vm.Create.AppVM+t', 'admin.vm.volume.CloneTo+x'];
    for (const method of [...changing, 'admin.vm.device.usb.Attach+a', 'admin.no.such', '', 'valueOf']) {
      expect(isStateChanging(method), method).toBe(true);
    }
    const reading = ['admin.vm.List', 'admin.vm.property.Get+x', 'admin.Events', 'admin.vm.device.usb.Attached+x'];
    for (const method of [...reading, 'admin.vm.volume.CloneFrom+private', 'admin.vm.tag.Get+Set']) {
      expect(isStateChanging(method), method).toBe(false);
    }
  });
});
