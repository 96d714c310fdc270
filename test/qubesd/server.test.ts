// What tests drive: the list of calls, faults, hooks, events that come late or never, and the world that changes in between.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ask, EventReader, exchange } from './client.ts';
import type { Fault } from './faults.ts';
import type { FleetSpec } from './fleet.ts';
import { FLEET_F0 } from './fleet-f0.ts';
import { startQubesd } from './server.ts';
import { temporaryQubesd } from './temporary.ts';

const withF0 = async (fail: FleetSpec['fail'] = {}) => {
  const qubesd = await temporaryQubesd({ fleet: { ...FLEET_F0, fail } });
  const call = (method: string, dest: string, payload = ''): Promise<string> => ask(qubesd.path, method, dest, payload);
  return { qubesd, world: qubesd.world, call };
};

describe('the list of calls', () => {
  it('keeps them in order, by name, with the destination as it was written', async () => {
    const { qubesd, world, call } = await withF0();
    const { uuid } = world.qube('ai-idle');
    await call('admin.vm.tag.Set+x', `uuid:${uuid}`);
    await call('admin.vm.property.Set+memory', 'ai-idle', '500');
    await call('admin.vm.tag.List', 'nosuch');
    expect(qubesd.calls.map(({ row }) => row)).toEqual([
      ['admin.vm.tag.Set+x', 'ai-idle'],
      ['admin.vm.property.Set+memory', 'ai-idle', '500'],
      ['admin.vm.tag.List', 'nosuch'],
    ]);
    expect(qubesd.calls[0]?.rawDest).toBe(`uuid:${uuid}`);
    expect(qubesd.changes()).toHaveLength(2);
    qubesd.reset();
    expect(qubesd.calls).toEqual([]);
  });

  it('counts a method that nobody knows as a change', async () => {
    const { qubesd, call } = await withF0();
    await call('admin.vm.Whatever', 'ai-idle');
    expect(qubesd.changes()).toEqual([['admin.vm.Whatever', 'ai-idle']]);
  });
});

describe('a fault', () => {
  it('hits the call it was ordered for, after those it lets pass, as often as told', async () => {
    const { qubesd, call } = await withF0();
    qubesd.faults.inject({ method: 'admin.vm.tag.Get+x', dest: 'ai-idle', skip: 1, times: 2, fault: 'empty' });
    const answers: string[] = [];
    for (let round = 0; round < 4; round++) answers.push(await call('admin.vm.tag.Get+x', 'ai-idle'));
    expect(answers).toEqual(['0\x000', '', '', '0\x000']);
    qubesd.faults.inject({ method: 'admin.vm.tag.Get', dest: 'ai-idle', fault: 'empty' });
    expect(await call('admin.vm.tag.Get+x', 'ai-work')).toBe('0\x000');
    qubesd.faults.clear();
    expect(await call('admin.vm.tag.Get+x', 'ai-idle')).toBe('0\x000');
  });

  it('can hit the n-th call, whatever it is, and can be withdrawn', async () => {
    const { qubesd, call } = await withF0();
    qubesd.faults.inject({ skip: 2, fault: { exception: ['QubesException', 'third'] } });
    const withdraw = qubesd.faults.inject({ fault: 'empty', skip: 3 });
    withdraw();
    await call('admin.vm.List', 'dom0');
    await call('admin.vm.List', 'ai-idle');
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('2\0QubesException\0\0third\0');
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('0\0ai-managed\n');
  });

  it.each<[fault: Fault, answer: string, performed: boolean]>([
    [{ exception: ['QubesVMError', 'x'] }, '2\0QubesVMError\0\0x\0', false],
    ['empty', '', false],
    ['lost', '', true],
    [{ cut: 1 }, '0', true],
    [{ cut: 0 }, '', true],
    [{ pieces: 1 }, '0\0', true],
  ])('%j answers %j and performed: %s', async (fault, answer, performed) => {
    const { qubesd, world, call } = await withF0();
    qubesd.faults.inject({ method: 'admin.vm.tag.Set', fault });
    expect(await call('admin.vm.tag.Set+x', 'ai-idle')).toBe(answer);
    expect(world.qube('ai-idle').tags.has('x')).toBe(performed);
  });

  it.each<[fault: Fault, performed: boolean]>([
    ['hang', false],
    ['mute', true],
  ])('%s holds the answer until it is released', async (fault, performed) => {
    const { qubesd, world, call } = await withF0();
    qubesd.faults.inject({ method: 'admin.vm.tag.Set', fault });
    const arrived = qubesd.nextCall('admin.vm.tag.Set+x', 'ai-idle');
    const answer = call('admin.vm.tag.Set+x', 'ai-idle');
    await arrived;
    expect(await call('admin.vm.tag.List', 'ai-work')).toBe('0\0ai-managed\n');
    expect(world.qube('ai-idle').tags.has('x')).toBe(performed);
    qubesd.release();
    expect(await answer).toBe('0\0');
    expect(world.qube('ai-idle').tags.has('x')).toBe(true);
  });

  it('that hangs ends without effect when qubesd stops', async () => {
    const { qubesd, world, call } = await withF0();
    qubesd.faults.inject({ fault: 'hang' });
    const arrived = qubesd.nextCall('admin.vm.tag.Set');
    const answer = call('admin.vm.tag.Set+x', 'ai-idle');
    await arrived;
    await qubesd.stop();
    expect(await answer).toBe('');
    expect(world.qube('ai-idle').tags.has('x')).toBe(false);
  });

  it('of the fleet fails every way to read the same fact, each time or after some', async () => {
    const { call } = await withF0({
      'admin.vm.tag.Get+ai-managed@ai-idle': 'empty',
      'admin.vm.property.Get+netvm@ai-idle': ['QubesException', 'x'],
      'admin.vm.CurrentState@ai-idle': 'empty',
      'admin.vm.Create.AppVM@*': ['StoragePoolException', 'full'],
      // biome-ignore lint/suspicious/noThenProperty: the word of the fleet descriptions
      'admin.vm.feature.List@ai-idle': { skip: 1, then: 'empty' },
    });
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('');
    expect(await call('admin.vm.tag.List', 'ai-work')).toBe('0\0ai-managed\n');
    expect(await call('admin.vm.property.GetAll', 'ai-idle')).toBe('2\0QubesException\0\0x\0');
    expect(await call('admin.vm.property.Get+memory', 'ai-idle')).toMatch(/^0\0/);
    expect(await call('admin.vm.List', 'ai-idle')).toBe('');
    expect(await call('admin.vm.List', 'dom0')).toContain('ai-idle');
    const create = () => call('admin.vm.Create.AppVM+ai-debian-13', 'dom0', 'name=n label=red');
    expect([await create(), await create()]).toEqual(Array(2).fill('2\0StoragePoolException\0\0full\0'));
    const features = () => call('admin.vm.feature.List', 'ai-idle');
    expect([await features(), await features(), await features()]).toEqual(['0\0', '', '']);
  });
});

describe('the hooks of a test', () => {
  it('run before a call is performed and before its answer leaves', async () => {
    const { qubesd, world, call } = await withF0();
    const seen: string[] = [];
    qubesd.onCall = async ({ row }) => {
      await Promise.resolve();
      seen.push(`before ${row[0]} ${world.qube('ai-idle').tags.has('x')}`);
    };
    qubesd.onDone = ({ row }) => void seen.push(`after ${row[0]} ${world.qube('ai-idle').tags.has('x')}`);
    await call('admin.vm.tag.Set+x', 'ai-idle');
    expect(seen).toEqual(['before admin.vm.tag.Set+x false', 'after admin.vm.tag.Set+x true']);
  });

  it('can change the world under a call and order a fault for it', async () => {
    const { qubesd, world, call } = await withF0();
    qubesd.onCall = ({ method }) => {
      if (method === 'admin.vm.Remove') world.recreate('ai-idle', { tags: [] });
      else qubesd.faults.inject({ fault: 'empty' });
    };
    const uuid = world.qube('ai-idle').uuid;
    expect(await call('admin.vm.Remove', `uuid:${uuid}`)).toMatch(/^2\0QubesVMNotFoundError/);
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('');
  });

  it('that throw are reported as errors of the simulation', async () => {
    const { qubesd, call } = await withF0();
    qubesd.onCall = () => {
      throw new Error('oops');
    };
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('');
    expect(qubesd.errors.splice(0)).toEqual([new Error('oops')]);
  });
});

describe('event streams', () => {
  it('about one qube hear of that one only', async () => {
    const { qubesd, world } = await withF0();
    const stream = new EventReader(qubesd.path, 'ai-idle');
    expect(await stream.nextName()).toBe(' connection-established');
    world.addTag('ai-work', 'x');
    world.remove('ai-secret');
    world.addTag('ai-idle', 'x');
    expect(await stream.nextName()).toBe('ai-idle domain-tag-add:x');
    await stream.close();
  });

  it('do not hear of silent changes nor of what changes nothing', async () => {
    const { qubesd, world } = await withF0();
    const stream = new EventReader(qubesd.path);
    await stream.next();
    world.silently(() => world.removeTag('ai-idle', 'ai-managed'));
    world.addTag('ai-work', 'ai-managed');
    world.removeTag('ai-work', 'never-there');
    world.setFeature('ai-work', 'f', '1');
    expect(await stream.nextName()).toBe('ai-work domain-feature-pre-set:f');
    await stream.close();
  });

  it('get held events late, one by one or all', async () => {
    const { qubesd, world } = await withF0();
    const stream = new EventReader(qubesd.path);
    await stream.next();
    qubesd.streams.hold();
    for (const tag of ['a', 'b', 'c']) world.addTag('ai-idle', tag);
    expect(world.qube('ai-idle').tags.has('c')).toBe(true);
    const late = new EventReader(qubesd.path);
    expect(await late.nextName()).toBe(' connection-established');
    qubesd.streams.release(1);
    expect(await stream.nextName()).toBe('ai-idle domain-tag-add:a');
    qubesd.streams.release();
    expect([await stream.nextName(), await stream.nextName()]).toEqual([
      'ai-idle domain-tag-add:b',
      'ai-idle domain-tag-add:c',
    ]);
    world.addTag('ai-idle', 'd');
    expect(await stream.nextName()).toBe('ai-idle domain-tag-add:d');
    // Whoever came during the hold was not there when those events happened.
    expect(await late.nextName()).toBe('ai-idle domain-tag-add:d');
    await Promise.all([stream.close(), late.close()]);
  });

  it('end when told, and can be opened again', async () => {
    const { qubesd } = await withF0();
    const stream = new EventReader(qubesd.path);
    await stream.next();
    qubesd.streams.closeAll();
    expect(await stream.next()).toBeNull();
    const again = new EventReader(qubesd.path);
    await qubesd.streams.watched();
    expect(await again.nextName()).toBe(' connection-established');
    await again.close();
  });

  it('can be failed like any call', async () => {
    const { qubesd } = await withF0();
    qubesd.faults.inject({ method: 'admin.Events', fault: 'empty' });
    expect(await new EventReader(qubesd.path).next()).toBeNull();
    expect((await exchange(qubesd.path, 'admin.Events+x dom0 name dom0\0')).toString()).toMatch(/^2\0ProtocolError/);
  });

  it('hear a script once somebody watches and no call comes any more', async () => {
    const { qubesd, world } = await withF0();
    const played = qubesd.playWhenQuiet(
      [
        { mutate: [['deltag', 'ai-idle', 'ai-managed']], subject: 'ai-idle', event: 'domain-tag-delete:ai-managed' },
        {
          mutate: [
            ['remove', 'ai-work'],
            ['add', 'ai-work', { tags: ['x'] }],
            ['addtag', 'ai-idle', 'y'],
          ],
        },
        { event: 'domain-delete', kwargs: { vm: 'ai-gone' } },
        { close: true },
      ],
      20,
    );
    const stream = new EventReader(qubesd.path);
    const got: (string | null)[] = [];
    while (got.at(-1) !== null) got.push(await stream.next());
    await played;
    expect(got).toEqual([
      '1\0\0connection-established\0\0',
      '1\0ai-idle\0domain-tag-delete:ai-managed\0\0',
      '1\0\0domain-delete\0vm\0ai-gone\0\0',
      null,
    ]);
    expect([...world.qube('ai-work').tags]).toEqual(['x']);
    expect([...world.qube('ai-idle').tags]).toEqual(['y']);
  });
});

describe('the server', () => {
  it('lets a world live on over a restart', async () => {
    const { qubesd, world, call } = await withF0();
    await call('admin.vm.tag.Set+x', 'ai-idle');
    await qubesd.stop();
    const again = await startQubesd({ path: qubesd.path, world });
    onTestFinished(() => again.stop());
    expect(await call('admin.vm.tag.Get+x', 'ai-idle')).toBe('0\x001');
    expect(again.calls).toHaveLength(1);
  });

  it('never takes the place of one that is alive', async () => {
    const { qubesd, call } = await withF0();
    await expect(startQubesd({ path: qubesd.path })).rejects.toThrow('EADDRINUSE');
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('0\0ai-managed\n');
  });

  it('survives clients that leave before, in and after their request', async () => {
    const { qubesd, call } = await withF0();
    for (const text of ['', 'admin.vm.List+ do', 'admin.vm.List+ dom0 name dom0\0']) {
      const socket = connect(qubesd.path);
      await once(socket, 'connect');
      await new Promise<void>((resolve) => socket.write(text || 'a', () => resolve()));
      socket.destroy();
    }
    expect(await call('admin.vm.tag.List', 'ai-idle')).toBe('0\0ai-managed\n');
  });

  it('takes two hundred calls at once', async () => {
    const { qubesd, call } = await withF0();
    await Promise.all(Array.from({ length: 200 }, (_, index) => call(`admin.vm.tag.Set+t${index}`, 'ai-idle')));
    expect(qubesd.calls).toHaveLength(200);
    expect((await call('admin.vm.tag.List', 'ai-idle')).split('\n')).toHaveLength(202);
  });

  it('lists a fleet of a thousand qubes and reads all their tags', async () => {
    const qubes = Object.fromEntries(
      Array.from({ length: 1000 }, (_, index) => [`q${index}`, { tags: ['ai-managed'] }]),
    );
    const { path } = await temporaryQubesd({ fleet: { qubes } });
    const rows = (await ask(path, 'admin.vm.List', 'dom0')).slice(2).trimEnd().split('\n');
    expect(rows).toHaveLength(1001);
    expect(rows[0]).toMatch(/^dom0 class=AdminVM state=Running uuid=0{8}-/);
    for (const row of rows.slice(1)) {
      expect(await ask(path, 'admin.vm.tag.List', row.split(' ', 1)[0] ?? '')).toBe('0\0ai-managed\n');
    }
  });
});

describe('the program', () => {
  const program = new URL('main.ts', import.meta.url).pathname;

  it('serves the fleet of a file, says when it is ready and ends with SIGTERM', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'qubesd-'));
    onTestFinished(() => rm(directory, { recursive: true }));
    await writeFile(join(directory, 'fleet'), JSON.stringify({ qubes: { 'ai-one': { tags: ['ai-managed'] } } }));
    const path = join(directory, 's');
    const child = execFile(process.execPath, [program, '--socket', path, '--fleet', join(directory, 'fleet')]);
    const exited = once(child, 'exit');
    const [line] = await once(child.stdout ?? child, 'data');
    expect(line).toBe(`simulated qubesd ready: 2 qubes on ${path}\n`);
    expect(await ask(path, 'admin.vm.tag.List', 'ai-one')).toBe('0\0ai-managed\n');
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });

  it('says what is missing', async () => {
    const child = execFile(process.execPath, [program]);
    const exited = once(child, 'exit');
    const [text] = await once(child.stderr ?? child, 'data');
    expect(text).toContain('--socket PATH');
    expect(await exited).toEqual([2, null]);
  });
});
