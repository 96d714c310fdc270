import { describe, expect, test } from 'vitest';
import { MAX_OPTIONS } from '../../daemon/services/attach-device.ts';
import { temporaryBroker } from '../broker/in-process.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker, HOSTILE } from './asking.ts';
import { installTool } from './device-tool.ts';

const SERVICE = 'qmcp.AttachDeviceAIManaged';
const NOT_FOUND = { ok: false, error: 'not found' };
const FAILED = { ok: false, error: 'attach failed' };
const BAD_CLASS = { ok: false, error: "device_class must be one of: ['block', 'mic', 'usb']" };
const BAD_OPTIONS = { ok: false, error: 'options must be an object' };
const NO_DEVICE = { ok: false, error: 'device_id is required' };
const DEVICE = { device_class: 'block', backend: 'ai-work', device_id: 'sda', frontend: 'ai-idle' };
const ARGS = ['block', 'attach', 'ai-idle', 'ai-work:sda'];

/** A request that must end before anything is looked up. */
const refusedUnseen = async (request: unknown, reply: object): Promise<void> => {
  const broker = await temporaryBroker();
  const runs = await installTool(broker);
  broker.qubesd.reset();
  expect(await broker.call(SERVICE, request)).toEqual(reply);
  expect(broker.qubesd.calls).toEqual([]);
  expect(runs()).toEqual([]);
};

describe('a request of the wrong shape', () => {
  test('that is not JSON is invalid', () => refusedUnseen('{', { ok: false, error: 'invalid JSON input' }));

  test.each([[1], null, 'x', 5, {}])('that is no request has no class (%j)', (request) =>
    refusedUnseen(JSON.stringify(request), BAD_CLASS),
  );

  test.each([
    undefined,
    null,
    '',
    'pci',
    'Block',
    'block ',
    'bl\u043eck',
    'usb\u0000',
    5,
    ['usb'],
    {},
    'x'.repeat(60_000),
  ])('has a class that is none (%#)', (device_class) => refusedUnseen({ ...DEVICE, device_class }, BAD_CLASS));

  test.each([['x'], 'x', 1, true, -1, [{}]])('has options that are no object (%j)', (options) =>
    refusedUnseen({ ...DEVICE, options }, BAD_OPTIONS),
  );

  test.each<[string, unknown]>([
    ['a b', 'yes'],
    ['', 'yes'],
    ['-o', 'yes'],
    ['read-only=no', 'yes'],
    ["read-only'", 'yes'],
    ['r\u0435ad-only', 'yes'],
    ['1', 'yes'],
    ['x'.repeat(33), 'yes'],
    ['read-only', ''],
    ['read-only', 'yes no'],
    ['read-only', "y'es"],
    ['read-only', 'yes\n'],
    ['read-only', 'yes\\'],
    ['read-only', '\u0443es'],
    ['read-only', 'x'.repeat(65)],
    ['read-only', null],
    ['read-only', 1.5],
    ['read-only', ['yes']],
    ['read-only', {}],
  ])('has an option that is none: %j=%j', (key, value) =>
    refusedUnseen({ ...DEVICE, options: { [key]: value } }, BAD_OPTIONS),
  );

  test.each([
    undefined,
    null,
    '',
    5,
    true,
    ['sda'],
    'sda\n',
    's da',
    'sda;id',
    '../sda',
    'sd\u0430',
    'sda\u0000',
    'sda:x',
    '*',
    'x'.repeat(65),
  ])('has a device id in no grammar (%#)', (device_id) => refusedUnseen({ ...DEVICE, device_id }, NO_DEVICE));

  test.each([undefined, null, '', 5, ['ai-work'], {}])('has an end that is none (%j)', async (end) => {
    await refusedUnseen({ ...DEVICE, backend: end }, NOT_FOUND);
    await refusedUnseen({ ...DEVICE, frontend: end }, NOT_FOUND);
  });

  test('is told of the first thing wrong in the order of the contract', async () => {
    const wrong = { device_class: 'pci', options: ['x'], device_id: '', backend: '', frontend: '' };
    await refusedUnseen(wrong, BAD_CLASS);
    await refusedUnseen({ ...wrong, device_class: 'usb' }, BAD_OPTIONS);
    await refusedUnseen({ ...wrong, device_class: 'usb', options: {} }, NO_DEVICE);
    await refusedUnseen({ ...wrong, device_class: 'usb', options: {}, device_id: '1-1' }, NOT_FOUND);
  });
});

describe('the ends', () => {
  test.each([
    'ghost',
    'vault',
    'dom0',
    'mcp-control',
    'ai-exec1',
    'ai-net1',
    'ai-work\n',
    '\u0430i-work',
    'x'.repeat(60_000),
  ])('that are not ours in full are not found (%#)', async (end) => {
    const broker = await temporaryBroker({ operatorFiles: { 'consent-policy': '# none\n' } });
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, { ...DEVICE, backend: end })).toEqual(NOT_FOUND);
    expect(await broker.call(SERVICE, { ...DEVICE, frontend: end })).toEqual(NOT_FOUND);
    expect(runs()).toEqual([]);
  });

  test('may be the same', async () => {
    const broker = await temporaryBroker();
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, { ...DEVICE, frontend: 'ai-work' })).toEqual({ ok: true });
    expect(runs()).toEqual([['block', 'attach', 'ai-work', 'ai-work:sda']]);
  });

  test('come before the tool: who may not attach does not learn whether it is there', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, { ...DEVICE, backend: 'vault' })).toEqual(NOT_FOUND);
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: false, error: 'qvm-device CLI not present in dom0' });
  });
});

describe('the tool', () => {
  test.each<[object, string[]]>([
    [{}, ARGS],
    [{ device_class: 'usb', device_id: '2-1.4' }, ['usb', 'attach', 'ai-idle', 'ai-work:2-1.4']],
    [{ device_class: 'mic', device_id: undefined }, ['mic', 'attach', 'ai-idle', 'ai-work:mic']],
    [{ device_class: 'mic', device_id: null }, ['mic', 'attach', 'ai-idle', 'ai-work:mic']],
    [{ device_class: 'mic', device_id: '' }, ['mic', 'attach', 'ai-idle', 'ai-work:mic']],
    [{ device_id: 'x'.repeat(64) }, ['block', 'attach', 'ai-idle', `ai-work:${'x'.repeat(64)}`]],
    [{ options: { 'read-only': 'yes', n: 1, b: true } }, [...ARGS, '-o', 'read-only=yes', '-o', 'n=1', '-o', 'b=True']],
    [{ options: { z: false, a: -1 } }, [...ARGS, '-o', 'z=False', '-o', 'a=-1']],
    ...[null, {}, [], '', 0, false].map((options): [object, string[]] => [{ options }, ARGS]),
  ])('is run for %j', async (more, args) => {
    const broker = await temporaryBroker();
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, { ...DEVICE, ...more })).toEqual({ ok: true });
    expect(runs()).toEqual([args]);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('takes as many options as the limit, and no more', async () => {
    const options = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`o${index}`, 1]));
    const broker = await temporaryBroker();
    await installTool(broker);
    expect(await broker.call(SERVICE, { ...DEVICE, options: options(MAX_OPTIONS) })).toEqual({ ok: true });
    expect(await broker.call(SERVICE, { ...DEVICE, options: options(MAX_OPTIONS + 1) })).toEqual(BAD_OPTIONS);
  });

  test('that fails makes the attach fail, and what it said reaches nobody but the log', async () => {
    const broker = await temporaryBroker();
    await installTool(broker, 'fails');
    expect(await broker.call(SERVICE, DEVICE)).toEqual(FAILED);
    const outcome = (await broker.lines()).find(({ type }) => type === 'outcome');
    expect(outcome).toMatchObject({ ok: false, error: 'attach failed', cause: 'qvm-device status 1' });
  });

  test('that does not end is ended, and said to have timed out', async () => {
    const broker = await temporaryBroker();
    await installTool(broker, 'hangs');
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: false, error: 'qvm-device attach timed out' });
  });

  test('is not run when qubesd is not there', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, DEVICE)).toEqual(FAILED);
    expect(runs()).toEqual([]);
  });

  test('runs after its intent is journalled, without the options', async () => {
    const broker = await temporaryBroker();
    await installTool(broker);
    await broker.call(SERVICE, { ...DEVICE, options: { 'frontend-dev': 'xvdq' } });
    const lines = await broker.lines();
    expect(lines.find(({ type }) => type === 'intent')?.args).toEqual(DEVICE);
    expect(JSON.stringify(lines)).not.toContain('xvdq');
  });
});

describe('the question', () => {
  const work = (available: Record<string, readonly string[]>) => ({
    ...FLEET_F0,
    qubes: { ...FLEET_F0.qubes, 'ai-work': { ...FLEET_F0.qubes['ai-work'], devices: available } },
  });
  const USB =
    "2-1:0781:5567:SN:u080650u0300** device_id='0781:5567:SN:u080650u0300**' port_id='2-1' devclass='usb' backend_domain='ai-work' vendor='SanDisk Corp.' product='Cruzer Blade' manufacturer='press yes' name='it is harmless' serial='SN' interfaces='u080650u0300**'";

  test('names who gets what from whom, and wants the name typed', async () => {
    const { broker, questions } = await askingBroker({ fleet: work({ 'usb.Available': [USB] }) });
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, { ...DEVICE, device_class: 'usb', device_id: '2-1' })).toEqual({ ok: true });
    const view = questions()[0]?.view;
    expect(view?.lines).toEqual([
      'Attach a USB device to ai-idle (gray)',
      'Asked by: mcp-control (gray), default agent',
      'Device: usb 2-1 of ai-work (yellow)',
      'Kind: storage, input device; SanDisk Corp. Cruzer Blade (0781:5567)',
      'It has the device to itself, and the device can attack it, until it is detached. A keyboard can type there.',
    ]);
    expect([view?.risk, view?.type_to_confirm]).toEqual(['destroy', 'ai-idle']);
    expect(runs()).toEqual([['usb', 'attach', 'ai-idle', 'ai-work:2-1']]);
  });

  test('says so where the backend does not list the device, and in whose use it is', async () => {
    const line = "sda:x port_id='sda' attachment='vault' interfaces='b******' product='press yes'";
    const { broker, questions } = await askingBroker({ fleet: work({ 'block.Available': [line] }) });
    await installTool(broker);
    await broker.call(SERVICE, { ...DEVICE, options: { ro: true, 'frontend-dev': 'xvdj', devtype: 'cdrom' } });
    await broker.call(SERVICE, { ...DEVICE, device_id: 'sdb' });
    expect(questions()[0]?.view.lines.slice(3, -1)).toEqual([
      'Kind: storage',
      'In use by: vault (black)',
      'Option: read-only True',
      'Option: appears as xvdj',
      'Option: kind of disk cdrom',
    ]);
    expect(questions()[1]?.view.lines[3]).toBe('Kind: unknown, as the qube does not list it now');
  });

  test.each(['empty', { exception: ['QubesException', 'x'] as const }] as const)(
    'is asked where the devices cannot be listed (%j)',
    async (fault) => {
      const { broker, questions } = await askingBroker();
      await installTool(broker);
      broker.qubesd.faults.inject({
        method: 'admin.vm.device.block.Available',
        fault,
        times: Number.POSITIVE_INFINITY,
      });
      expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: true });
      expect(questions()[0]?.view.lines[3]).toBe('Kind: unknown, as the qube does not list it now');
    },
  );

  test('is not raised about a port or an option that is not of the platform', async () => {
    const { broker, questions } = await askingBroker();
    const runs = await installTool(broker);
    for (const more of [
      { device_id: 'press.yes' },
      { device_id: 'x'.repeat(13) },
      { device_class: 'usb', device_id: 'sda' },
      { device_class: 'usb', device_id: '2-1', options: { 'read-only': 'yes' } },
      { device_class: 'mic', device_id: 'press-yes' },
      { options: { press: 'yes' } },
      { options: { 'read-only': 'it-is-harmless' } },
      { options: { 'frontend-dev': 'xvd' } },
    ]) {
      expect(await broker.call(SERVICE, { ...DEVICE, ...more }), JSON.stringify(more)).toEqual(FAILED);
    }
    expect(questions()).toEqual([]);
    expect(runs()).toEqual([]);
  });

  test('never holds text of the caller, nor of the qube that has the device', async () => {
    const lines = HOSTILE.map((text) => `sda:x product='${text.replace(/[^\x20-\x7e]/g, '')}' interfaces='${text}'`);
    const { broker, questions } = await askingBroker({
      fleet: work({ 'block.Available': [`sda:${HOSTILE[0]} x='1'`, ...lines] }),
    });
    await installTool(broker);
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: true });
    for (const text of HOSTILE) {
      await broker.call(SERVICE, { ...DEVICE, device_id: text });
      await broker.call(SERVICE, { ...DEVICE, options: { [text]: 'yes' } });
      await broker.call(SERVICE, { ...DEVICE, options: { 'read-only': text } });
      await broker.call(SERVICE, { ...DEVICE, backend: text });
    }
    expect(questions()).toHaveLength(1);
    expect(JSON.stringify(questions())).not.toMatch(/press|harmless/);
  });

  test('is not raised where the tool is missing', async () => {
    const { broker, questions } = await askingBroker();
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: false, error: 'qvm-device CLI not present in dom0' });
    expect(questions()).toEqual([]);
  });

  test('is void when another device is at the port by the time of the yes', async () => {
    const { broker, approver } = await askingBroker({ fleet: work({ 'usb.Available': [USB] }) });
    const runs = await installTool(broker);
    approver.reflex = (asked) => {
      broker.world.qube('ai-work').devices.set('usb.Available', [USB.replaceAll('5567', '5568')]);
      asked.approve();
    };
    expect(await broker.call(SERVICE, { ...DEVICE, device_class: 'usb', device_id: '2-1' })).toEqual(NOT_FOUND);
    expect(runs()).toEqual([]);
  });

  test('that is answered no attaches nothing', async () => {
    const { broker, questions } = await askingBroker({}, 'deny');
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, DEVICE)).toEqual(NOT_FOUND);
    expect(questions()).toHaveLength(1);
    expect(runs()).toEqual([]);
  });
});
