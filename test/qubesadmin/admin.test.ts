import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import { POWER_STATES } from '../../daemon/qube.ts';
import { type Admin, adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo } from '../../daemon/qubesadmin/client.ts';
import { AdminError, type AdminRequest, type Destination, type FailureKind } from '../../daemon/qubesadmin/wire.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';

const NAME = 'ai-work' as QubeName;
const UUID = 'd49d109d-f7e2-48c6-87d6-d9d126423911' as Uuid;
const BY_UUID: Destination = { uuid: UUID };

/** The methods over a qubesd that gives always the same answer, and the requests it got. */
const answered = (data: string | AdminError) => {
  const requests: AdminRequest[] = [];
  const admin = adminOver(async (request) => {
    requests.push(request);
    if (data instanceof AdminError) throw data;
    return Buffer.from(data);
  });
  return { admin, requests };
};

const kindOf = async (result: Promise<unknown>): Promise<FailureKind | 'no failure'> =>
  result.then(
    () => 'no failure' as const,
    (error: unknown) => {
      if (!(error instanceof AdminError)) throw error;
      return error.kind;
    },
  );

const MISSING = new AdminError('exception', 'QubesVMNotFoundError');
const REFUSED = new AdminError('exception', 'QubesException');

describe('a row of the list of qubes', () => {
  const row = `ai-work class=AppVM state=Running uuid=${UUID}`;

  test('is taken apart', async () => {
    const { admin, requests } = answered(`${row}\n`);
    expect(await admin.list()).toEqual([{ name: 'ai-work', uuid: UUID, klass: 'AppVM', state: 'Running' }]);
    expect(requests).toEqual([{ method: 'admin.vm.List', dest: 'dom0' }]);
  });

  test('may have fields in any order, and more of them', async () => {
    const { admin } = answered(`ai-work uuid=${UUID} new=x state=Halted class=AppVM\n`);
    expect(await admin.list()).toMatchObject([{ name: 'ai-work', state: 'Halted' }]);
  });

  test.each(POWER_STATES)('may say that the qube is %s', async (state) => {
    expect(await answered(`ai-work class=AppVM state=${state} uuid=${UUID}\n`).admin.row(NAME)).toMatchObject({
      state,
    });
  });

  test.each([
    ['a name no qube can have', row.replace('ai-work', '-x')],
    ['a name that is too long', row.replace('ai-work', `a${'x'.repeat(31)}`)],
    ['no name', row.replace('ai-work', '')],
    ['an unknown state', row.replace('Running', 'Dreaming')],
    ['a state in other letters', row.replace('Running', 'running')],
    ['no state', row.replace(' state=Running', '')],
    ['no klass', row.replace(' class=AppVM', '')],
    ['an odd klass', row.replace('AppVM', 'App_VM')],
    ['no uuid', row.replace(/ uuid=.*/, '')],
    ['half a uuid', row.slice(0, -1)],
  ])('with %s fails the whole list', async (_, line) => {
    expect(await kindOf(answered(`${row}\n${line}\n`).admin.list())).toBe('malformed');
  });

  test('of another qube than the one asked for is not believed', async () => {
    expect(await kindOf(answered(`${row}\n`).admin.row('ai-idle' as QubeName))).toBe('malformed');
    expect(await kindOf(answered(`${row}\n`).admin.rowOf('a08e4171-65b6-4d5d-a248-3bcc076df214' as Uuid))).toBe(
      'malformed',
    );
    expect(await kindOf(answered('').admin.row(NAME))).toBe('malformed');
    expect(await answered(`${row}\n`).admin.rowOf(UUID)).toMatchObject({ name: 'ai-work' });
  });

  test('that does not exist is an answer; any other failure is one', async () => {
    expect(await answered(MISSING).admin.row(NAME)).toBeNull();
    expect(await answered(MISSING).admin.rowOf(UUID)).toBeNull();
    for (const kind of ['empty', 'unreachable', 'deadline', 'malformed'] as const) {
      expect(await kindOf(answered(new AdminError(kind)).admin.row(NAME))).toBe(kind);
    }
    expect(await kindOf(answered(REFUSED).admin.row(NAME))).toBe('exception');
    expect(await kindOf(answered(MISSING).admin.list())).toBe('exception');
  });
});

describe('a listing', () => {
  const listings: [string, (admin: Admin) => Promise<unknown>, string][] = [
    [
      'of qubes',
      (admin) => admin.list(),
      `ai-work class=AppVM state=Running uuid=${UUID}\nb class=AppVM state=Halted uuid=${UUID}\n`,
    ],
    ['of tags', (admin) => admin.tags(BY_UUID), 'ai-managed\nai-full\n'],
    ['of properties', (admin) => admin.properties(BY_UUID), 'a default=True type=int 4\nb default=True type=str \n'],
    ['of features', (admin) => admin.featureNames(BY_UUID), 'ai-x\nmenu-items\n'],
    ['of devices', (admin) => admin.devices(BY_UUID, 'block', 'Attached'), "x+sda:* a='b'\n"],
  ];

  test.each(listings)('%s cut inside a line is noticed', async (_, read, whole) => {
    expect(await kindOf(read(answered(whole).admin))).toBe('no failure');
    for (let length = 1; length < whole.length; length++) {
      const cut = whole.slice(0, length);
      if (!cut.endsWith('\n')) expect(await kindOf(read(answered(cut).admin)), cut).toBe('malformed');
    }
  });

  test('may be empty', async () => {
    expect(await answered('').admin.tags(BY_UUID)).toEqual(new Set());
    expect(await answered('').admin.featureNames(BY_UUID)).toEqual([]);
  });
});

describe('a property', () => {
  test('is its declared type, whether it is default, and a text that may be empty or hold anything', async () => {
    const value = fc.record({
      isDefault: fc.boolean(),
      type: fc.constantFrom('str', 'int', 'bool', 'vm', 'label'),
      text: fc.string({ unit: 'binary' }).map((text) => Buffer.from(text).toString()),
    });
    await fc.assert(
      fc.asyncProperty(value, async (value) => {
        const said = `default=${value.isDefault ? 'True' : 'False'} type=${value.type} ${value.text}`;
        expect(await answered(said).admin.property(BY_UUID, 'x')).toEqual(value);
        expect(await answered(said).admin.globalProperty('x')).toEqual(value);
        const escaped = said.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
        expect(await answered(`x ${escaped}\n`).admin.properties(BY_UUID)).toEqual(new Map([['x', value]]));
      }),
    );
  });

  test.each([
    '',
    'x',
    'default=true type=str x',
    'default=True',
    'default=True type= x',
    ' default=True type=str x',
    'type=str x',
  ])('of the text %j is malformed', async (text) => {
    expect(await kindOf(answered(text).admin.property(BY_UUID, 'x'))).toBe('malformed');
    if (text) expect(await kindOf(answered(`x ${text}\n`).admin.properties(BY_UUID))).toBe('malformed');
  });
});

describe('the power state', () => {
  const said = (state: string): string => `mem=0 mem_static_max=0 cputime=0 power_state=${state}`;

  test('is one of the known ones', async () => {
    for (const state of POWER_STATES) expect(await answered(said(state)).admin.state(BY_UUID)).toBe(state);
    for (const odd of ['', 'halted', 'Halted\n', 'Halte', 'Haltedx']) {
      expect(await kindOf(answered(said(odd)).admin.state(BY_UUID)), odd).toBe('malformed');
    }
    expect(await kindOf(answered('mem=0').admin.state(BY_UUID))).toBe('malformed');
  });

  test('is NA for an empty answer, and unknown for every other failure', async () => {
    expect(await answered(new AdminError('empty')).admin.state(BY_UUID)).toBe('NA');
    expect(await kindOf(answered(REFUSED).admin.state(BY_UUID))).toBe('exception');
    expect(await kindOf(answered(new AdminError('deadline')).admin.state(BY_UUID))).toBe('deadline');
  });
});

describe('a volume', () => {
  const info = (size: string, usage: string): string => `pool=p\nsize=${size}\nusage=${usage}\nrw=True\n`;

  test('has a size in bytes, and a usage where one is told', async () => {
    expect(await answered(info('2147483648', '5')).admin.volume(BY_UUID, 'private')).toEqual({
      sizeBytes: 2_147_483_648,
      usageBytes: 5,
    });
    expect(await answered(info('0', '')).admin.volume(BY_UUID, 'private')).toEqual({ sizeBytes: 0, usageBytes: null });
    expect(await answered('size=1\n').admin.volume(BY_UUID, 'private')).toEqual({ sizeBytes: 1, usageBytes: null });
  });

  test('of a size that is not a number we can count with is malformed', async () => {
    expect(await kindOf(answered(info('9'.repeat(15), '0')).admin.volume(BY_UUID, 'private'))).toBe('no failure');
    for (const size of ['', '-1', '1.5', '0x10', ' 1', '9'.repeat(16)]) {
      expect(await kindOf(answered(info(size, '0')).admin.volume(BY_UUID, 'private')), size).toBe('malformed');
    }
  });
});

describe('a feature', () => {
  test('that the qube does not have is null, not empty; any other failure is one', async () => {
    expect(await answered('').admin.feature(BY_UUID, 'x')).toBe('');
    expect(
      await answered(new AdminError('exception', 'QubesFeatureNotFoundError')).admin.feature(BY_UUID, 'x'),
    ).toBeNull();
    expect(await kindOf(answered(MISSING).admin.feature(BY_UUID, 'x'))).toBe('exception');
  });
});

describe('firewall rules', () => {
  test('are whole lines of printable ASCII', async () => {
    const rules = 'action=accept dsthost=example.com\naction=drop\n';
    expect(await answered(rules).admin.firewall(BY_UUID)).toBe(rules);
    expect(await answered('').admin.firewall(BY_UUID)).toBe('');
    for (const odd of ['action=drop', 'action=\x01\n', 'action=ä\n']) {
      expect(await kindOf(answered(odd).admin.firewall(BY_UUID)), odd).toBe('malformed');
    }
  });
});

describe('a call that changes something', () => {
  const changes: [AdminRequest, (admin: Admin) => Promise<unknown>][] = [
    [{ method: 'admin.vm.tag.Set', arg: 'x', dest: BY_UUID }, (admin) => admin.setTag(BY_UUID, 'x')],
    [{ method: 'admin.vm.tag.Remove', arg: 'x', dest: BY_UUID }, (admin) => admin.removeTag(BY_UUID, 'x')],
    [{ method: 'admin.vm.Kill', dest: BY_UUID }, (admin) => admin.lifecycle(BY_UUID, 'Kill')],
    [
      { method: 'admin.vm.property.Set', arg: 'memory', dest: BY_UUID, payload: '500' },
      (admin) => admin.setProperty(BY_UUID, 'memory', '500'),
    ],
    [
      { method: 'admin.vm.feature.Set', arg: 'ai-x', dest: BY_UUID, payload: '1' },
      (admin) => admin.setFeature(BY_UUID, 'ai-x', '1'),
    ],
    [
      { method: 'admin.vm.Create.AppVM', arg: 'ai-debian-13', dest: 'dom0', payload: 'name=ai-new label=gray' },
      (admin) => admin.create('AppVM', 'ai-debian-13' as QubeName, 'ai-new', 'gray'),
    ],
    [
      { method: 'admin.vm.volume.Resize', arg: 'private', dest: BY_UUID, payload: '4096' },
      (admin) => admin.resizeVolume(BY_UUID, 'private', 4096),
    ],
  ];

  test.each(changes)('says %j', async (request, change) => {
    const { admin, requests } = answered('');
    await change(admin);
    expect(requests).toEqual([request]);
  });

  test('never creates a qube whose name could say more than a name', async () => {
    const { admin, requests } = answered('');
    for (const odd of ['', 'a b', 'a=b', 'a\n', 'a\0', 'ä', 'x'.repeat(32)]) {
      expect(await kindOf(admin.create('AppVM', NAME, odd, 'gray')), odd).toBe('malformed');
    }
    expect(requests).toEqual([]);
  });

  test('copies a volume with the token that it was given, and with nothing that is none', async () => {
    const { admin, requests } = answered('token-1');
    await admin.copyVolume({ name: NAME }, BY_UUID, 'private');
    expect(requests).toEqual([
      { method: 'admin.vm.volume.CloneFrom', arg: 'private', dest: { name: NAME } },
      { method: 'admin.vm.volume.CloneTo', arg: 'private', dest: BY_UUID, payload: 'token-1' },
    ]);
    for (const odd of ['', 'a b', 'a\n', 'x'.repeat(129)]) {
      expect(await kindOf(answered(odd).admin.copyVolume({ name: NAME }, BY_UUID, 'private')), odd).toBe('malformed');
    }
  });
});

test('every reading agrees with the simulated qubesd about what it holds', async () => {
  const qubesd = await temporaryQubesd({ fleet: FLEET_F0 });
  const admin = adminOver(adminCallsTo(qubesd.path));
  const work = qubesd.world.qube('ai-work');
  const dest = { uuid: work.uuid as Uuid };
  expect((await admin.list()).map(({ name }) => name)).toEqual(qubesd.world.sorted().map(({ name }) => name));
  expect(await admin.row(NAME)).toEqual({ name: NAME, uuid: work.uuid, klass: 'AppVM', state: 'Running' });
  expect(await admin.row('ai-ghost' as QubeName)).toBeNull();
  expect(await admin.tags(dest)).toEqual(work.tags);
  expect(await admin.property(dest, 'netvm')).toEqual({ isDefault: false, type: 'vm', text: 'ai-net-router' });
  expect((await admin.properties(dest)).get('netvm')).toEqual(await admin.property(dest, 'netvm'));
  expect(await admin.state(dest)).toBe('Running');
  expect(await admin.volume(dest, 'private')).toEqual({ sizeBytes: 2 * 1024 ** 3, usageBytes: 0 });
  expect(await admin.firewall(dest)).toBe('action=accept\n');
  await admin.setFeature(dest, 'ai-x', '1');
  expect(await admin.featureNames(dest)).toEqual(['ai-x']);
  expect(await admin.feature(dest, 'ai-x')).toBe('1');
  expect(await admin.globalProperty('default_netvm')).toEqual({ isDefault: false, type: 'vm', text: 'sys-firewall' });
});
