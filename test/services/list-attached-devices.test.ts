import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Reply } from '../../daemon/qrexec/door.ts';
import { MAX_LINES } from '../../daemon/services/list-attached-devices.ts';
import { temporaryBroker } from '../broker/in-process.ts';
import type { FleetSpec, Hooks } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';

const SERVICE = 'qmcp.ListAttachedDevicesAIManaged';
const NOT_FOUND = { ok: false, error: 'not found' };
const BAD_CLASS = { ok: false, error: "device_class must be one of: ['block', 'mic', 'usb']" };
const BAD_MODE = { ok: false, error: "mode must be 'attached' or 'available'" };
const OF_WORK = { name: 'ai-work', device_class: 'block' };

const linesOf = (reply: Reply): string[] => ('lines' in reply ? (reply.lines as string[]) : []);

const work = (devices: Record<string, readonly string[]>, hooks: Hooks = {}): FleetSpec => ({
  ...FLEET_F0,
  hooks,
  qubes: { ...FLEET_F0.qubes, 'ai-work': { ...FLEET_F0.qubes['ai-work'], devices } },
});

describe('a request of the wrong shape', () => {
  test.each<[string, unknown, object]>([
    ['not JSON', '{', NOT_FOUND],
    ['no object', [1], BAD_CLASS],
    ['null', null, BAD_CLASS],
    ['no class', { name: 'ai-work' }, BAD_CLASS],
    ['a null class', { ...OF_WORK, device_class: null }, BAD_CLASS],
    ['a list for a class', { ...OF_WORK, device_class: ['usb'] }, BAD_CLASS],
    ['a class that is not offered', { ...OF_WORK, device_class: 'pci' }, BAD_CLASS],
    ['a class that goes on', { ...OF_WORK, device_class: 'usb\u0000' }, BAD_CLASS],
    ['a mode that is none', { ...OF_WORK, mode: 'all' }, BAD_MODE],
    ['a null mode', { ...OF_WORK, mode: null }, BAD_MODE],
    ['an empty mode', { ...OF_WORK, mode: '' }, BAD_MODE],
    ['a list for a mode', { ...OF_WORK, mode: ['attached'] }, BAD_MODE],
    ['no name', { device_class: 'usb' }, NOT_FOUND],
    ['a null name', { ...OF_WORK, name: null }, NOT_FOUND],
    ['an empty name', { ...OF_WORK, name: '' }, NOT_FOUND],
    ['a number for a name', { ...OF_WORK, name: 5 }, NOT_FOUND],
    ['a class and a mode and a name that are none', { device_class: 'pci', mode: 'all', name: '' }, BAD_CLASS],
    ['a mode and a name that are none', { device_class: 'usb', mode: 'all', name: '' }, BAD_MODE],
  ])('with %s is refused, without a call', async (_, request, reply) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, request)).toEqual(reply);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test.each(['vault', 'ghost', 'dom0', 'ai-work\n', '\u0430i-work', 'ai-work\u0000', 'x'.repeat(60_000)])(
    'for a qube that is none of ours is not found, and its devices are not looked at (%#)',
    async (name) => {
      const broker = await temporaryBroker();
      expect(await broker.call(SERVICE, { ...OF_WORK, name })).toEqual(NOT_FOUND);
      expect(broker.qubesd.calls.filter(({ method }) => method.startsWith('admin.vm.device'))).toEqual([]);
    },
  );
});

describe('the lines', () => {
  test('are those of the listing asked for, attached unless told', async () => {
    const fleet = work({
      'usb.Attached': ['ai-idle:1-1'],
      'usb.Available': ['2-2'],
      'block.Attached': ['ai-idle:sda'],
    });
    const broker = await temporaryBroker({ fleet });
    const usb = { name: 'ai-work', device_class: 'usb' };
    expect(await broker.call(SERVICE, usb)).toEqual({ ok: true, lines: ['ai-idle:1-1'] });
    expect(await broker.call(SERVICE, { ...usb, mode: 'attached' })).toEqual({ ok: true, lines: ['ai-idle:1-1'] });
    expect(await broker.call(SERVICE, { ...usb, mode: 'available' })).toEqual({ ok: true, lines: ['2-2'] });
    expect(await broker.call(SERVICE, { ...usb, device_class: 'mic' })).toEqual({ ok: true, lines: [] });
  });

  test('cost one call where the view is fresh', async () => {
    const broker = await temporaryBroker();
    await broker.view.snapshot();
    broker.qubesd.reset();
    await broker.call(SERVICE, OF_WORK);
    expect(broker.qubesd.calls.map(({ method }) => method)).toEqual(['admin.vm.device.block.Attached']);
    expect(broker.qubesd.calls[0]?.rawDest).toMatch(/^uuid:/);
  });

  test('have single spaces, and blank ones are dropped', async () => {
    const line = "ai-idle+sda:x  product='Ultra   Fit'   serial='' ";
    const broker = await temporaryBroker({ fleet: work({ 'block.Attached': ['', '  ', line, 'ai-idle:sdb \t x'] }) });
    expect(await broker.call(SERVICE, OF_WORK)).toEqual({
      ok: true,
      lines: ["ai-idle+sda:x product='Ultra Fit' serial=''", 'ai-idle:sdb x'],
    });
    expect(broker.notices).toEqual([]);
  });

  test('that are in no layout are left out, and the operator is told how many', async () => {
    const lines = ["sys-usb product='x'", "ai-idle+sda:x product='x", 'ai-idle:sd\u00e9', 'ai-idle:sda'];
    const broker = await temporaryBroker({ fleet: work({ 'block.Attached': lines }) });
    expect(await broker.call(SERVICE, OF_WORK)).toEqual({ ok: true, lines: ['ai-idle:sda'] });
    expect(broker.notices).toHaveLength(1);
    expect(broker.notices[0]).toMatch(/^qubesd listed 3 block devices of ai-work in a way that is not understood\./);
    expect(broker.notices[0]).not.toContain('sys-usb');
  });

  test('are as many as the limit, and no more', async () => {
    const lines = Array.from({ length: MAX_LINES + 1 }, (_, index) => `ai-idle:sda${index}`);
    const broker = await temporaryBroker({ fleet: work({ 'block.Attached': lines, 'usb.Attached': lines.slice(1) }) });
    expect(linesOf(await broker.call(SERVICE, { ...OF_WORK, device_class: 'usb' }))).toHaveLength(MAX_LINES);
    expect(broker.notices).toEqual([]);
    expect(linesOf(await broker.call(SERVICE, OF_WORK))).toHaveLength(MAX_LINES);
    expect(broker.notices).toHaveLength(1);
  });

  test('lose a name as soon as its qube leaves the umbrella', async () => {
    const broker = await temporaryBroker({ fleet: work({ 'block.Attached': ['ai-idle:sda'] }) });
    expect(await broker.call(SERVICE, OF_WORK)).toEqual({ ok: true, lines: ['ai-idle:sda'] });
    const heard = new Promise<void>((resolve) => broker.view.watch((name) => name === 'ai-idle' && resolve()));
    broker.world.removeTag('ai-idle', 'ai-managed');
    await heard;
    expect(await broker.call(SERVICE, OF_WORK)).toEqual({ ok: true, lines: ['<out-of-scope>:sda'] });
  });
});

describe('when qubesd', () => {
  test.each(['empty', { exception: ['QubesException', 'vault'] as const }] as const)(
    'does not list what is attached, the listing of older releases is read (%j)',
    async (fault) => {
      const broker = await temporaryBroker({ fleet: work({}, { legacy_list: ['sys-usb:2-1 disk'] }) });
      broker.qubesd.faults.inject({ method: 'admin.vm.device.block.Attached', fault });
      expect(await broker.call(SERVICE, OF_WORK)).toEqual({ ok: true, lines: ['<out-of-scope>:2-1 disk'] });
    },
  );

  test('lists neither, nothing is found', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ method: 'admin.vm.device.block.Attached', fault: 'empty' });
    expect(await broker.call(SERVICE, OF_WORK)).toEqual(NOT_FOUND);
  });

  test('does not list what is available, nothing else is tried', async () => {
    const broker = await temporaryBroker({ fleet: work({}, { legacy_list: ['ai-idle:sda'] }) });
    broker.qubesd.faults.inject({ method: 'admin.vm.device.block.Available', fault: 'empty' });
    expect(await broker.call(SERVICE, { ...OF_WORK, mode: 'available' })).toEqual(NOT_FOUND);
  });

  test('cuts its answer short, no part of it is shown', async () => {
    const broker = await temporaryBroker({ fleet: work({ 'block.Attached': ['ai-idle:sda', 'ai-idle:sdb'] }) });
    broker.qubesd.faults.inject({ method: 'admin.vm.device.block.Attached', fault: { cut: 20 } });
    expect(await broker.call(SERVICE, OF_WORK)).toEqual(NOT_FOUND);
  });

  test('is not there, nothing is found', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    expect(await broker.call(SERVICE, OF_WORK)).toEqual(NOT_FOUND);
  });
});

test('no reply holds the name of a qube out of scope, whatever is attached to what', async () => {
  const managed = ['ai-work', 'ai-idle', 'ai-full1'];
  const hidden = ['vault', 'sys-firewall', 'sys-whonix', 'fedora-43', 'ai-secret', 'mcp-control', 'dom0', 'sys-gone'];
  const name = fc.constantFrom(...managed, ...hidden);
  const field = fc.oneof(
    fc.tuple(fc.constantFrom('backend_domain', 'frontend_domain', 'attachment'), name),
    fc.tuple(
      fc.constant('manufacturer'),
      name.map((each) => `hosted by ${each}`),
    ),
    fc.tuple(fc.constantFrom('product', 'serial'), fc.string({ unit: fc.constantFrom(...'XYZ 019-_'), maxLength: 9 })),
  );
  const current = fc
    .tuple(name, fc.array(field, { minLength: 1, maxLength: 6 }))
    .map(([backend, fields]) =>
      [`${backend}+2-1:0781:5567`, ...fields.map(([key, value]) => `${key}='${value}'`)].join(' '),
    );
  const earlier = fc
    .tuple(name, fc.constantFrom('', ' attached', ' in vault', ' used by dom0'))
    .map((all) => all.join(':2-1'));
  const available = current.map((line) => line.replace(/^[^+]*\+/, ''));
  const broker = await temporaryBroker();
  const { devices } = broker.world.qube('ai-work');
  let shown = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(current, earlier), { maxLength: 5 }),
      fc.array(available, { maxLength: 5 }),
      async (used, offered) => {
        devices.set('usb.Attached', used);
        devices.set('usb.Available', offered);
        for (const mode of ['attached', 'available']) {
          const reply = await broker.call(SERVICE, { name: 'ai-work', device_class: 'usb', mode });
          shown += linesOf(reply).length;
          for (const each of hidden) expect(JSON.stringify(reply)).not.toContain(each);
        }
      },
    ),
    { numRuns: 150 },
  );
  expect(shown).toBeGreaterThan(300);
});
