// Who rests on a qube, and how long it has run, in the words of a question.
import { describe, expect, test } from 'vitest';
import { readQube } from '../../daemon/fleet/live.ts';
import { dependentLines, MAX_NAMED, runningSeconds } from '../../daemon/services/dependents.ts';
import { viewOf } from '../../daemon/services/words.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import type { QubeSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker } from './asking.ts';

const NOW = 1_800_000_000_000;
const withQubes = (qubes: Record<string, QubeSpec>) => ({ ...FLEET_F0, qubes: { ...FLEET_F0.qubes, ...qubes } });

const linesFor = async ({ admin }: InProcess, name: string, whose: 'running' | 'all'): Promise<readonly string[]> => {
  const target = await readQube(admin, name);
  if (!target) throw new Error(`no ${name}`);
  return viewOf('change', null, await dependentLines(target, whose, admin)).lines;
};

describe('of the qubes that rest on another', () => {
  test('a stop concerns those that run, in the order of their names', async () => {
    const broker = await temporaryBroker();
    expect(await linesFor(broker, 'ai-net-router', 'running')).toEqual([
      'Network of: ai-work (yellow), mcp-control (gray)',
    ]);
    expect(await linesFor(broker, 'ai-debian-13', 'running')).toEqual([]);
    broker.world.setState('ai-work', 'Paused', 'domain-paused');
    expect(await linesFor(broker, 'ai-net-router', 'running')).toContain(
      'Network of: ai-work (yellow), mcp-control (gray)',
    );
  });

  test('a removal concerns all, in every way in which they do; of many only some are named', async () => {
    const broker = await temporaryBroker({
      fleet: withQubes({ vault: { klass: 'AppVM', tags: [], props: { default_dispvm: 'ai-dvmt', label: 'black' } } }),
    });
    expect(await linesFor(broker, 'ai-debian-13', 'all')).toEqual([
      'Template of: ai-dvmt (gray), ai-exec1 (gray), ai-full1 (gray), ai-idle (gray) and 2 more',
    ]);
    expect(MAX_NAMED).toBe(4);
    expect(await linesFor(broker, 'ai-dvmt', 'all')).toEqual(['Disposables of: vault (black)']);
    expect(await linesFor(broker, 'ai-idle', 'all')).toEqual([]);
  });

  test('exactly as many as are named are not followed by a number', async () => {
    const broker = await temporaryBroker();
    for (const name of ['ai-exec1', 'ai-full1']) broker.world.remove(name);
    const [line] = await linesFor(broker, 'ai-debian-13', 'all');
    expect(line).toBe('Template of: ai-dvmt (gray), ai-idle (gray), ai-net1 (gray), ai-work (yellow)');
  });

  test('what cannot be read is said to be unknown, and one that is gone by now rests on nothing', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({
      ...{ method: 'admin.vm.property.GetAll', dest: 'ai-work', fault: { exception: ['QubesException', ''] } },
    });
    expect(await linesFor(broker, 'ai-net-router', 'running')).toEqual([
      'Network of: mcp-control (gray)',
      'Not known: what 1 other qube rests on',
    ]);
    broker.qubesd.faults.inject({
      ...{ method: 'admin.vm.property.GetAll', dest: 'ai-work', fault: { exception: ['QubesVMNotFoundError', ''] } },
    });
    expect(await linesFor(broker, 'ai-net-router', 'running')).toEqual(['Network of: mcp-control (gray)']);
  });
});

describe('how long it has run', () => {
  const secondsFor = async (started: string): Promise<number | null> => {
    const { admin } = await temporaryBroker({
      fleet: withQubes({ 'ai-work': { klass: 'AppVM', state: 'Running', tags: [], props: { start_time: started } } }),
    });
    const target = await readQube(admin, 'ai-work');
    if (!target) throw new Error('no ai-work');
    return runningSeconds(target, NOW, admin);
  };

  test.each<[string, number | null]>([
    ['1799992800.0', 7_200],
    ['1799992800.25', 7_199],
    ['1800000000', 0],
    ['1800000001.0', null],
    ['', null],
    ['None', null],
    ['0', null],
    ['-1', null],
    ['1e9', null],
    ['99999999999999', null],
  ])('since %j is %s seconds', async (started, seconds) => {
    expect(await secondsFor(started)).toBe(seconds);
  });

  test('is not known where qubesd does not tell', async () => {
    const { admin, qubesd } = await temporaryBroker();
    const target = await readQube(admin, 'ai-work');
    if (!target) throw new Error('no ai-work');
    for (const fault of [{ exception: ['QubesNoSuchPropertyError', ''] as [string, string] }, 'empty'] as const) {
      qubesd.faults.inject({ method: 'admin.vm.property.Get', fault });
      expect(await runningSeconds(target, NOW, admin)).toBeNull();
    }
  });
});

test('a question about a stop says since when it runs and who loses what, and one about a start does not', async () => {
  const started = { klass: 'AppVM', state: 'Running', tags: ['ai-managed', 'ai-full'] } as const;
  const { broker, questions } = await askingBroker({
    fleet: withQubes({
      'ai-net-router': { ...started, props: { start_time: '1799992800.0', label: 'red', netvm: 'sys-firewall' } },
    }),
    now: () => NOW,
  });
  for (const action of ['pause', 'unpause', 'shutdown', 'start'])
    await broker.call('qmcp.LifecycleAIManaged', { name: 'ai-net-router', action });
  const [pause = [], unpause = [], shutdown = [], start = []] = questions().map(({ view }) => view.lines);
  for (const lines of [pause, shutdown]) {
    expect(lines).toContain('Network of: ai-work (yellow), mcp-control (gray)');
    expect(lines).toContainEqual(expect.stringMatching(/^Qube: AppVM, running, started 2 hours ago$/));
  }
  expect(unpause).toContain('Qube: AppVM, paused, started 2 hours ago');
  expect(start).toContain('Qube: AppVM, not running');
  for (const lines of [unpause, start]) expect(lines.join()).not.toContain('Network of');
});
