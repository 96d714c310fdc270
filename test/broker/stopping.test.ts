// Between the signal to end and the end.
import { expect, test } from 'vitest';
import { temporaryBroker } from './in-process.ts';

test('a broker that is about to end still answers reads, and changes nothing any more', async () => {
  const broker = await temporaryBroker();
  const start = { name: 'ai-idle', action: 'start' };
  expect(await broker.call('qmcp.LifecycleAIManaged', start)).toMatchObject({ ok: true });
  broker.beginToStop();
  expect(await broker.call('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'label' })).toEqual({
    ok: true,
    value: 'yellow',
  });
  expect(await broker.call('qmcp.ListAIManagedQubes', {})).toMatchObject({ ok: true });
  const before = broker.world.qube('ai-work').state;
  for (const [service, request] of [
    ['qmcp.LifecycleAIManaged', { name: 'ai-work', action: 'pause' }],
    [
      'qmcp.Prepare',
      { calls: [{ service: 'qmcp.LifecycleAIManaged', request: { name: 'ai-work', action: 'pause' } }] },
    ],
  ] as const)
    expect(await broker.call(service, request)).toEqual({ ok: false, error: 'not found' });
  expect(broker.world.qube('ai-work').state).toBe(before);
});
