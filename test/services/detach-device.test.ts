import { describe, expect, test } from 'vitest';
import { temporaryBroker } from '../broker/in-process.ts';
import { askingBroker } from './asking.ts';
import { installTool } from './device-tool.ts';

const SERVICE = 'qmcp.DetachDeviceAIManaged';
const NOT_FOUND = { ok: false, error: 'not found' };
const DEVICE = { device_class: 'block', backend: 'ai-work', device_id: 'sda', frontend: 'ai-idle' };
const ARGS = ['block', 'detach', 'ai-idle', 'ai-work:sda'];

describe('a detach', () => {
  test('runs the tool, whatever options there are', async () => {
    const broker = await temporaryBroker();
    const runs = await installTool(broker);
    for (const options of [undefined, 'ignored', ['x'], { 'read-only': 'yes' }, 5]) {
      expect(await broker.call(SERVICE, { ...DEVICE, options })).toEqual({ ok: true });
    }
    expect(runs()).toEqual([ARGS, ARGS, ARGS, ARGS, ARGS]);
  });

  test.each<[object | string, string]>([
    ['{', 'invalid JSON input'],
    [[1], "device_class must be one of: ['block', 'mic', 'usb']"],
    [{ ...DEVICE, device_class: 'pci' }, "device_class must be one of: ['block', 'mic', 'usb']"],
    [{ ...DEVICE, device_id: '' }, 'device_id is required'],
    [{ ...DEVICE, device_id: 'sda -o x=y' }, 'device_id is required'],
    [{ ...DEVICE, backend: '' }, 'not found'],
    [{ ...DEVICE, frontend: null }, 'not found'],
    [{ ...DEVICE, frontend: 'vault' }, 'not found'],
    [{ ...DEVICE, backend: 'ai-exec1' }, 'not found'],
    [DEVICE, 'qvm-device CLI not present in dom0'],
  ])('of %j is refused with the text of the contract', async (request, error) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, request)).toEqual({ ok: false, error });
  });

  test.each([
    ['fails', 'detach failed'],
    ['hangs', 'qvm-device detach timed out'],
  ] as const)('whose tool %s is told in a constant text', async (behaviour, error) => {
    const broker = await temporaryBroker();
    await installTool(broker, behaviour);
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: false, error });
  });

  test('without qubesd has failed', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    await installTool(broker);
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: false, error: 'detach failed' });
  });

  test('is asked by default', async () => {
    const { broker, questions } = await askingBroker({ operatorFiles: { 'pool-cap': '1\n' } });
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, DEVICE)).toEqual({ ok: true });
    expect(questions()[0]?.view.lines).toEqual([
      'Detach a disk from ai-idle (gray)',
      'Asked by: mcp-control (gray), default agent',
      'Device: block sda of ai-work (yellow)',
      'Kind: unknown, as the qube does not list it now',
      'It loses the disk at once. What it has not written to it yet is lost.',
    ]);
    expect(runs()).toEqual([ARGS]);
  });

  test('that nobody can be asked about does not happen', async () => {
    const broker = await temporaryBroker({ operatorFiles: { 'pool-cap': '1\n' } });
    const runs = await installTool(broker);
    expect(await broker.call(SERVICE, DEVICE)).toEqual(NOT_FOUND);
    expect(runs()).toEqual([]);
  });
});
