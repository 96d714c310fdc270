import { describe, expect, test } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { temporaryBroker } from '../broker/in-process.ts';

const crossing = (backend: string, frontend: string): object => ({
  device_class: 'usb',
  backend,
  device_id: '1-1',
  frontend,
});

// The door's tick hides how long a call takes only up to a point: a busy qubesd can take longer for two calls than that.
const CHANGES: readonly [string, (name: string) => object][] = [
  ['qmcp.LifecycleAIManaged', (name) => ({ name, action: 'remove' })],
  ['qmcp.SetPropertyAIManaged', (name) => ({ name, property: 'memory', value: 400 })],
  ['qmcp.SetFirewallAIManaged', (name) => ({ name, rules: ['action=drop'] })],
  ['qmcp.SpawnAIManagedQube', (name) => ({ name: 'ai-new', template: name })],
  ['qmcp.SpawnDisposableAIManaged', (name) => ({ template: name })],
  ['qmcp.CloneAIManagedQube', (name) => ({ name: 'ai-new', source: name })],
  ['qmcp.AttachDeviceAIManaged', (name) => crossing(name, 'ai-full1')],
  ['qmcp.AttachDeviceAIManaged', (name) => crossing('ai-full1', name)],
];

test.each(CHANGES)(
  '%s asks qubesd as often for a qube that is missing as for one that is not managed or under its tier',
  async (service, body) => {
    const broker = await temporaryBroker({ operatorFiles: { ...QUIET, 'tier-default': 'ro\n' } });
    const costs = [];
    for (const name of ['ghost', 'vault', 'ai-work']) {
      broker.qubesd.reset();
      const reply = await broker.call(service, body(name));
      costs.push([broker.qubesd.calls.map(({ method }) => method), reply]);
    }
    const [missing, unmanaged, underTier] = costs;
    expect(missing).toEqual(unmanaged);
    expect(underTier).toEqual(unmanaged);
  },
);

describe('who is refused whatever they ask', () => {
  const refused = {
    operatorFiles: {
      ...QUIET,
      'principals/all.json': JSON.stringify({ unsigned: true, sources: 'any', ceiling: 'full' }),
      'principals/spent.json': JSON.stringify({
        unsigned: true,
        sources: ['agent-spent'],
        ceiling: 'full',
        per_hour: { calls: 0 },
      }),
    },
    stateFiles: { frozen: 'agent-frozen\n' },
  };

  test.each<[string, (name: string) => object]>([...CHANGES, ['qmcp.GetFirewallAIManaged', (name) => ({ name })]])(
    'by %s costs qubesd as much as a qube that is missing, whatever it is about',
    async (service, body) => {
      const broker = await temporaryBroker(refused);
      const cost = async (name: string, source: string): Promise<unknown> => {
        broker.qubesd.reset();
        const reply = await broker.call(service, body(name), source);
        return [broker.qubesd.calls.map(({ method }) => method), reply];
      };
      const missing = await cost('ghost', 'mcp-control');
      for (const source of ['agent-frozen', 'agent-spent'])
        for (const name of ['ghost', 'vault', 'ai-full1']) expect(await cost(name, source)).toEqual(missing);
    },
  );

  test.each(['agent-frozen', 'agent-spent'])(
    'is %s: does not learn by the cost which names are taken',
    async (source) => {
      const broker = await temporaryBroker(refused);
      const cost = async (name: string): Promise<unknown> => {
        broker.qubesd.reset();
        const reply = await broker.call('qmcp.SpawnAIManagedQube', { name, template: 'ai-debian-13' }, source);
        return [broker.qubesd.calls.map(({ method }) => method), reply];
      };
      const free = await cost('ai-free');
      expect(free).toEqual([expect.arrayContaining(['admin.vm.tag.List']), expect.objectContaining({ ok: false })]);
      for (const name of ['ai-work', 'ai-full1']) expect(await cost(name)).toEqual(free);
    },
  );

  test.each(['agent-frozen', 'agent-spent'])('is %s: told like others that qubesd is away', async (source) => {
    const broker = await temporaryBroker({ ...refused, qubesd: false });
    for (const [service, body] of CHANGES)
      expect(await broker.call(service, body('ghost'), source)).toEqual(
        await broker.call(service, body('ghost'), 'mcp-control'),
      );
  });
});
