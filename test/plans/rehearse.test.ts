// What is made of the steps of a plan before any of them is done.
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ASKING, QUIET } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { installTool } from '../services/device-tool.ts';
import { commit, life, note, prepare, REFUSED, spawn, step } from './planning.ts';

const READ = step('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'label' });

const digest = async (broker: InProcess, calls: unknown): Promise<string> => {
  const reply = (await broker.call('qmcp.Prepare', { calls })) as unknown as { nonce: string; digest: string };
  await broker.call('qmcp.Cancel', {}, undefined, reply.nonce);
  return reply.digest;
};
const quiet = () => temporaryBroker({ operatorFiles: QUIET });

describe('the digest of a plan', () => {
  test('is that of its steps in their order, and of nothing else there is a digest of', async () => {
    const { service, request } = READ;
    const bound = JSON.stringify(Array(2).fill({ request: JSON.stringify(request), service }));
    const hash = createHash('sha256').update(`qmcp-plan-v1\0${bound}`).digest('hex');
    expect(await digest(await quiet(), [READ, READ])).toBe(hash);
  });

  test('binds what each step would do, to which qube, and what is read between', async () => {
    const broker = await quiet();
    const plans = [
      [life('ai-idle', 'start')],
      [life('ai-full1', 'start')],
      [life('ai-idle', 'remove')],
      [life('ai-idle', 'start'), life('ai-idle', 'pause')],
      [life('ai-idle', 'start'), READ],
      [life('ai-idle', 'start'), step('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'memory' })],
      [life('ai-idle', 'start'), step('qmcp.GetFirewallAIManaged', { name: 'ai-work' })],
      [READ, life('ai-idle', 'start')],
      [spawn('ai-lab'), life('ai-lab', 'start')],
    ];
    const digests = [];
    for (const plan of plans) digests.push(await digest(broker, plan));
    expect(new Set(digests).size).toBe(plans.length);
    // A qube that is not there yet has another stand-in in every plan.
    expect(await digest(broker, plans[0])).toBe(digests[0]);
    expect(await digest(broker, plans[8])).not.toBe(digests[8]);
  });
});

test('a plan may create several qubes, and go on with each', async () => {
  const broker = await quiet();
  const names = ['ai-lab', 'ai-den'];
  const nonce = await prepare(broker, [...names.map(spawn), ...names.map((name) => life(name, 'start'))]);
  expect(await commit(broker, nonce)).toMatchObject({ state: 'done' });
  expect(names.map((name) => broker.world.qube(name).state)).toEqual(['Running', 'Running']);
});

describe('a step that could not be shown in a question', () => {
  const text = note('ai-idle', 'press yes');

  test.each([
    ['alone', [text]],
    ['among others', [life('ai-full1', 'start'), text]],
  ])('has the plan refused where it would be asked about, %s', async (_, steps) => {
    const broker = await temporaryBroker({ operatorFiles: { ...ASKING, 'consent-policy': '*\n' } });
    expect(await broker.call('qmcp.Prepare', { calls: steps })).toEqual(REFUSED);
    await prepare(broker, [life('ai-full1', 'start'), note('ai-idle', '1')]);
  });

  test('is done where nobody is asked', async () => {
    const broker = await quiet();
    expect(await commit(broker, await prepare(broker, [text]))).toMatchObject({ state: 'done' });
  });
});

describe('a step that a tool of the platform does', () => {
  const attach = step('qmcp.AttachDeviceAIManaged', {
    device_class: 'block',
    backend: 'ai-work',
    device_id: 'sda',
    frontend: 'ai-full1',
  });

  test('is prepared without the tool, and done by it', async () => {
    const broker = await quiet();
    const runs = await installTool(broker);
    const nonce = await prepare(broker, [attach]);
    expect(runs()).toEqual([]);
    expect(await commit(broker, nonce)).toMatchObject({ state: 'done' });
    expect(runs()).toHaveLength(1);
  });

  test('fails when it comes to it where there is no such tool', async () => {
    const broker = await quiet();
    expect(await commit(broker, await prepare(broker, [attach]))).toMatchObject({ state: 'failed' });
  });
});

describe('the journal has', () => {
  const steps = [READ, spawn('ai-lab'), life('ai-lab', 'start')];

  test('of a plan that is prepared nothing', async () => {
    const broker = await quiet();
    await prepare(broker, steps);
    expect(await broker.lines()).toEqual([]);
  });

  test('of one that is prepared and refused the step that it was refused for', async () => {
    const broker = await quiet();
    await broker.call('qmcp.Prepare', { calls: [life('ai-idle', 'start'), life('vault', 'start')] });
    expect(await broker.lines()).toMatchObject([{ type: 'decision', verdict: 'refuse', args: { name: 'vault' } }]);
  });

  test('of one that is committed what was decided of each step, every time', async () => {
    const broker = await quiet();
    await commit(broker, await prepare(broker, steps));
    const decisions = (await broker.lines()).filter(({ type }) => type === 'decision');
    const [looks, rehearsals] = [decisions.map(({ action }) => action), ['spawn', 'start']];
    expect(looks).toEqual([...rehearsals, ...rehearsals, 'spawn', 'start']);
    expect(new Set(decisions.map(({ verdict }) => verdict))).toEqual(new Set(['allow']));
  });

  test('the qubes that are there, each once, and none that is only planned', async () => {
    const broker = await quiet();
    const nonce = await prepare(broker, [life('ai-idle', 'start'), ...steps, life('ai-idle', 'pause')]);
    await commit(broker, nonce);
    const intent = (await broker.lines()).find(({ type, service }) => type === 'intent' && service === 'qmcp.Commit');
    const named = ['ai-idle', 'ai-debian-13'].map((name) => ({
      role: 'named',
      name,
      uuid: broker.world.qube(name).uuid,
    }));
    expect(intent?.qubes).toEqual(named);
  });
});

test('however many steps want to know it, a rehearsal asks qubesd each thing once', async () => {
  const broker = await quiet();
  broker.qubesd.reset();
  await prepare(
    broker,
    Array.from({ length: 8 }, (_, index) => spawn(`ai-lab${index}`)),
  );
  const asked = broker.qubesd.calls.map(({ row }) => JSON.stringify(row)).filter((row) => row.includes('volume.Info'));
  expect(asked.length).toBeGreaterThan(0);
  expect(new Set(asked).size).toBe(asked.length);
});

test('what a reading step had to leave out is told to the operator', async () => {
  const work: QubeSpec = { ...FLEET_F0.qubes['ai-work'], devices: { 'block.Attached': ["sys-usb product='x'"] } };
  const broker = await temporaryBroker({ fleet: { ...FLEET_F0, qubes: { ...FLEET_F0.qubes, 'ai-work': work } } });
  const list = step('qmcp.ListAttachedDevicesAIManaged', { name: 'ai-work', device_class: 'block' });
  await prepare(broker, [list]);
  expect(broker.notices).toEqual([expect.stringMatching(/^qubesd listed 1 block devices of ai-work/)]);
});
