import { expect, test } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { temporaryBroker } from '../broker/in-process.ts';

const crossing = (backend: string, frontend: string): object => ({
  device_class: 'usb',
  backend,
  device_id: '1-1',
  frontend,
});

// The door's tick hides how long a call takes only up to a point: a busy qubesd can take longer for two calls than that.
test.each<[string, (name: string) => object]>([
  ['qmcp.LifecycleAIManaged', (name) => ({ name, action: 'remove' })],
  ['qmcp.SetPropertyAIManaged', (name) => ({ name, property: 'memory', value: 400 })],
  ['qmcp.SetFirewallAIManaged', (name) => ({ name, rules: ['action=drop'] })],
  ['qmcp.SpawnAIManagedQube', (name) => ({ name: 'ai-new', template: name })],
  ['qmcp.SpawnDisposableAIManaged', (name) => ({ template: name })],
  ['qmcp.CloneAIManagedQube', (name) => ({ name: 'ai-new', source: name })],
  ['qmcp.AttachDeviceAIManaged', (name) => crossing(name, 'ai-full1')],
  ['qmcp.AttachDeviceAIManaged', (name) => crossing('ai-full1', name)],
])(
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
