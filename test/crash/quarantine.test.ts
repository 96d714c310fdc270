// A birth that can neither be finished nor taken back (contract vector S72), and the broker killed at every wait in it, or after
// its reply: in no later life does an agent get at what was left (I8).

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openSettings } from '../../daemon/settings/open.ts';
import { type MemoryFiles, memoryFiles } from '../journal/memory-files.ts';
import { Refusal } from '../qubesd/wire.ts';
import { World } from '../qubesd/world.ts';
import { born, CREATIONS, type Creation, FILES, FLEET } from '../services/creations.ts';
import { type QuarantineFiles, quarantineFiles } from '../services/quarantine-files.ts';
import { Gate } from './gate.ts';
import { gatedFiles } from './gated-files.ts';
import { AN_HOUR_LATER, begin, type Life, NOW } from './life.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'qmcp-'));
  for (const name of ['etc', 'run', 'state', 'log']) await mkdir(join(root, name));
  for (const [name, text] of Object.entries(FILES)) await writeFile(join(root, 'etc', name), text);
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** Of a new qube a tag stays that must not, its network is not set, and it cannot be removed. */
const stubbornWorld = (): World => {
  const world = new World({ ...FLEET, hooks: { ...FLEET.hooks, netvm_ignored: 1, sticky_tag: ['qmcp-stray'] } });
  const remove = world.remove.bind(world);
  world.remove = (name) => {
    if (!(name in FLEET.qubes)) throw new Refusal('QubesVMInUseError', 'in use');
    remove(name);
  };
  return world;
};

interface Place {
  readonly world: World;
  readonly kept: QuarantineFiles;
  memory: MemoryFiles;
}

const live = (place: Place, gate: Gate, now: number): Promise<Life> => {
  const { world, kept, memory } = place;
  return begin({
    ...{
      root,
      world,
      gate,
      now,
      settings: openSettings(join(root, 'etc')),
      files: gatedFiles(memory, gate),
      onEffect: () => {},
    },
    quarantineFiles: {
      ...{ pathOf: kept.pathOf, read: (name) => kept.read(name) },
      write: (name, text) => gate.pass('the quarantine', () => kept.write(name, text)),
    },
  });
};

/** Whatever an agent tries with it, and with the fleet that has it. */
const isOutOfReach = async (life: Life, world: World): Promise<void> => {
  for (const { name } of born(world)) {
    for (const action of ['start', 'kill', 'remove']) {
      expect(await life.call('qmcp.LifecycleAIManaged', { name, action })).toEqual({ ok: false, error: 'not found' });
    }
    const clone = await life.call('qmcp.CloneAIManagedQube', { source: name, name: 'ai-copy' });
    expect(clone).toEqual({ ok: false, error: 'not found' });
    expect(world.qube(name).state).toBe('Halted');
  }
};

/** What the reply said to be left: by then reads do not show it either. */
const isUnseen = async (life: Life, world: World): Promise<void> => {
  const list = JSON.stringify(await life.call('qmcp.ListAIManagedQubes', {}));
  for (const { name } of born(world)) expect(list).not.toContain(`"${name}"`);
};

/** One life in which the creation is tried, killed at that step, and two lives after it. False where it was over by then. */
const dies = async ({ service, request }: Creation, killAt: number, isCut: boolean): Promise<boolean> => {
  const place: Place = { world: stubbornWorld(), kept: quarantineFiles(), memory: memoryFiles() };
  const gate = new Gate();
  const first = await live(place, gate, NOW);
  await first.journal.recover();
  gate.arm(killAt);
  const replied = first.call(service, request);
  const reply = await Promise.race([replied, gate.killed]);
  // It may also be killed after the reply, on the way to its last record or while it disarms what is left.
  await Promise.race([first.later(), gate.killed]);
  await Promise.race([first.journal.recover(), gate.killed]);
  const { isDead } = gate;
  if (reply && !isDead) {
    gate.arm(Number.POSITIVE_INFINITY);
    expect(reply).toMatchObject({ ok: false, error: expect.stringContaining('rollback failed; manual cleanup') });
    expect(born(place.world)).toHaveLength(1);
    await isOutOfReach(first, place.world);
    await isUnseen(first, place.world);
    await first.journal.recover();
  }
  await new Promise((resolve) => setImmediate(resolve));
  first.end();
  if (isCut) place.memory = place.memory.crash((bytes) => bytes >> 1);
  for (let lives = 0; lives < 2; lives++) {
    const next = await live(place, new Gate(), AN_HOUR_LATER);
    await isOutOfReach(next, place.world);
    if (reply) await isUnseen(next, place.world);
    await next.journal.recover();
    next.end();
    expect(next.unplanned).toEqual([]);
  }
  return isDead;
};

test.each(CREATIONS.flatMap((creation) => [false, true].map((isCut) => ({ ...creation, isCut }))))(
  '$title that fails for good is out of reach in every later life, wherever it is killed (power cut: $isCut)',
  { timeout: 120_000 },
  async (creation) => {
    let step = 0;
    while (await dies(creation, step, creation.isCut)) step += 1;
    expect(step).toBeGreaterThan(20);
  },
);
