import { describe, expect, test } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec, QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';

const SERVICE = 'qmcp.GetPoolStats';
const GIB = 2 ** 30;
const UNAVAILABLE = { ok: false, error: 'pool stats unavailable' };
const UNKNOWN_CAP = { ok: false, error: 'pool cap not configured' };

const withQubes = (qubes: Record<string, QubeSpec>, fail: FleetSpec['fail'] = {}): FleetSpec => ({
  ...FLEET_F0,
  qubes: { ...FLEET_F0.qubes, ...qubes },
  fail,
});
const stats = async (options: InProcessOptions = {}, body: unknown = '') =>
  (await temporaryBroker(options)).call(SERVICE, body);
const used = (bytes: number, cap = 2 ** 40): object => ({
  ok: true,
  ai_managed_bytes_used: bytes,
  ai_managed_bytes_cap: cap,
  ai_managed_bytes_headroom: Math.max(0, cap - bytes),
});

test.each(['', '{', 'null', '[1]', '{"bogus":1}'])('the body %j is not looked at', async (body) => {
  expect(await stats({}, body)).toEqual(used(38 * GIB));
});

describe('what counts', () => {
  test.each<[string, QubeSpec, number]>([
    ['a managed qube by its private volume', { tags: ['ai-managed'] }, 2],
    ['a template by its root, too', { klass: 'TemplateVM', tags: ['ai-managed'] }, 22],
    ['a standalone qube by its root, too', { klass: 'StandaloneVM', tags: ['ai-managed'] }, 22],
    ['a disposable', { klass: 'DispVM', tags: ['ai-managed'] }, 2],
    ['a tombstone', { tags: ['qmcp-tombstone_1700000000'] }, 2],
    ['a tombstone that nobody can date', { tags: ['qmcp-tombstone_'] }, 2],
    ['one that is both, once', { tags: ['ai-managed', 'qmcp-tombstone_1'] }, 2],
    ['no qube outside the umbrella', { tags: ['ai-full', 'qmcp-owner_x', 'ai-dump'] }, 0],
  ])('is %s', async (_, spec, more) => {
    expect(await stats({ fleet: withQubes({ 'ai-x': spec }) })).toEqual(used((38 + more) * GIB));
  });

  test('is no qube whose tags cannot be read', async () => {
    const fleet = withQubes({}, { 'admin.vm.tag.List@ai-work': ['QubesException', 'x'] });
    expect(await stats({ fleet })).toEqual(used(36 * GIB));
  });
});

describe('there are no numbers', () => {
  test.each<[string, InProcessOptions, object]>([
    ['without a cap', { operatorFiles: {} }, UNKNOWN_CAP],
    ['without a cap and without qubesd', { operatorFiles: {}, qubesd: false }, UNKNOWN_CAP],
    ['with a cap that is none', { operatorFiles: { 'pool-cap': '1e9\n' } }, UNKNOWN_CAP],
    ['without qubesd', { qubesd: false }, UNAVAILABLE],
    ['without the list of qubes', { fleet: withQubes({}, { 'admin.vm.List@dom0': 'empty' }) }, UNAVAILABLE],
    [
      'without every private volume',
      { fleet: withQubes({}, { 'admin.vm.volume.Info+private@ai-work': 'empty' }) },
      UNAVAILABLE,
    ],
    [
      'without every root volume',
      { fleet: withQubes({}, { 'admin.vm.volume.Info+root@ai-debian-13': ['StoragePoolException', 'secret'] }) },
      UNAVAILABLE,
    ],
  ])('%s', async (_, options, reply) => {
    expect(await stats(options)).toEqual(reply);
  });
});

test('over the cap there is no headroom, and none below nothing', async () => {
  expect(await stats({ operatorFiles: { ...QUIET, 'pool-cap': '5\n' } })).toEqual(used(38 * GIB, 5));
  expect(await stats({ operatorFiles: { ...QUIET, 'pool-cap': '0\n' } })).toEqual(used(38 * GIB, 0));
});

test('a volume that grew is seen at once, and only volumes are read while the view is fresh', async () => {
  const broker = await temporaryBroker();
  await broker.call(SERVICE, '');
  broker.qubesd.reset();
  broker.world.qube('ai-work').volumes.set('private', 3 * GIB);
  expect(await broker.call(SERVICE, '')).toEqual(used(39 * GIB));
  expect(new Set(broker.qubesd.calls.map(({ method }) => method))).toEqual(new Set(['admin.vm.volume.Info']));
});

test('a qube that goes away meanwhile is not counted', async () => {
  const broker = await temporaryBroker();
  await broker.call(SERVICE, '');
  broker.world.silently(() => broker.world.remove('ai-idle'));
  expect(await broker.call(SERVICE, '')).toEqual(used(36 * GIB));
});
