import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { isControlled, isRestriction } from '../../daemon/authority/birth.ts';
import { readQube } from '../../daemon/fleet/live.ts';
import type { Qube } from '../../daemon/qube.ts';
import { type Admin, adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo, DEADLINES } from '../../daemon/qubesadmin/client.ts';
import { AdminError } from '../../daemon/qubesadmin/wire.ts';
import { entomb, isInUse } from '../../daemon/services/entomb.ts';
import type { Work } from '../../daemon/services/service.ts';
import type { Fault } from '../qubesd/faults.ts';
import type { FleetSpec, Hooks, QubeSpec } from '../qubesd/fleet.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';

/** Seconds. */
const NOW = 1_800_000_000;
const MARKER = `qmcp-tombstone_${NOW}`;
const TAGS = [
  'ai-full',
  'ai-managed',
  'anon-vm',
  'created-by-dom0',
  'mylabel',
  'qmcp-egress-locked_ai-tor',
  'qmcp-guarded',
  'qmcp-owner_mcp-control',
  'qmcp-tombstone_5',
];
const ENTOMBED = ['anon-vm', 'created-by-dom0', 'mylabel', 'qmcp-egress-locked_ai-tor', 'qmcp-guarded', MARKER];
const workAt = (seconds: number, causes: string[]): Work => ({
  now: () => seconds * 1000,
  step: async () => {},
  keep: async () => {},
  changed: () => {},
  pause: async () => {},
  cause: (word) => causes.push(word),
  order: () => expect.unreachable(),
  quarantine: () => expect.unreachable(),
  left: () => expect.unreachable(),
  cameToNothing: () => expect.unreachable(),
});

const setUp = async (tags: readonly string[] = TAGS, hooks: Hooks = {}) => {
  const qubesd = await temporaryQubesd({ fleet: { qubes: { 'ai-old': { tags } }, hooks } });
  const admin = adminOver(adminCallsTo(qubesd.path));
  const target = (await readQube(admin, 'ai-old')) as Qube;
  qubesd.reset();
  const causes: string[] = [];
  const work = workAt(NOW + 0.999, causes);
  return {
    qubesd,
    causes,
    tags: () => [...qubesd.world.qube('ai-old').tags].sort(),
    entomb: () => entomb(target, admin, work),
  };
};

/** Everybody's at every moment: under the umbrella, or marked. */
const neverNobodys = (qubesd: Qubesd): void => {
  const look = (): void => {
    const { tags } = qubesd.world.qube('ai-old');
    expect(tags.has('ai-managed') || tags.has(MARKER)).toBe(true);
  };
  const unsubscribe = qubesd.world.subscribe(look);
  onTestFinished(unsubscribe);
};

describe('entombing', () => {
  test('leaves the marker, the restrictions and what is not ours, in an order in which every prefix is safe', async () => {
    const { qubesd, causes, tags, entomb } = await setUp();
    expect(await entomb()).toBe(true);
    expect(tags()).toEqual([...ENTOMBED].sort());
    expect(causes).toEqual([]);
    expect(qubesd.changes().map(([call]) => call.replace('admin.vm.tag.', ''))).toEqual([
      `Set+${MARKER}`,
      'Remove+ai-full',
      'Remove+ai-managed',
      'Remove+qmcp-owner_mcp-control',
      'Remove+qmcp-tombstone_5',
    ]);
  });

  test('addresses the qube by its uuid, so that no other of its name is touched', async () => {
    const { qubesd, entomb } = await setUp();
    const { uuid } = qubesd.world.qube('ai-old');
    await entomb();
    expect(new Set(qubesd.calls.map(({ rawDest }) => rawDest))).toEqual(new Set([`uuid:${uuid}`]));
  });

  test('does nothing further when the marker does not stand', async () => {
    const { qubesd, causes, tags, entomb } = await setUp(TAGS, { drop_tag: ['*'] });
    expect(await entomb()).toBe(false);
    expect(tags()).toEqual(TAGS);
    expect(qubesd.changes()).toEqual([[`admin.vm.tag.Set+${MARKER}`, 'ai-old']]);
    expect(causes).toEqual(['malformed']);
  });

  test('takes everything back when a tag stays that has to go', async () => {
    const { causes, tags, entomb } = await setUp(TAGS, { sticky_tag: ['qmcp-owner_mcp-control'] });
    expect(await entomb()).toBe(false);
    expect(tags()).toEqual(TAGS);
    expect(causes).toEqual(['tags not as set']);
  });

  test('says so when it cannot be taken back, and leaves a qube that nobody can reach rather than one that is nobody’s', async () => {
    const { causes, tags, entomb } = await setUp(TAGS, { sticky_tag: ['ai-managed', MARKER] });
    expect(await entomb()).toBe(false);
    expect(causes).toEqual(['tags not as set', 'rollback failed']);
    expect(tags()).toEqual([...TAGS, MARKER].sort());
  });

  test('rejects without having changed anything where the tags cannot be read at first', async () => {
    const { qubesd, tags, entomb } = await setUp();
    qubesd.faults.inject({ fault: 'empty' });
    await expect(entomb()).rejects.toBeInstanceOf(AdminError);
    expect(tags()).toEqual(TAGS);
    expect(qubesd.changes()).toEqual([]);
  });
});

describe('when qubesd fails', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Lets the deadline of a call that is not answered pass as soon as qubesd has got it. */
  const passDeadlines = (qubesd: Qubesd, skip: number, times: number): void => {
    let calls = 0;
    qubesd.onCall = () => {
      const call = calls++;
      if (call >= skip && call < skip + times) setImmediate(() => vi.advanceTimersByTime(DEADLINES.usual));
    };
  };

  const faults: Fault[] = [
    'empty',
    'lost',
    { exception: ['QubesException', 'x'] },
    { exception: ['QubesTagNotFoundError', 'x'] },
    { cut: 1 },
    'hang',
    'mute',
  ];
  const cases = faults.flatMap((fault) => [1, Number.POSITIVE_INFINITY].map((times) => ({ fault, times })));

  test.each(cases)(
    'at any one call ($fault, $times times), the qube is a tombstone, or as it was, or said to be neither',
    async ({ fault, times }) => {
      const sound = await setUp();
      await sound.entomb();
      const count = sound.qubesd.calls.length;
      expect(count).toBeGreaterThan(6);
      // The first call reads the tags; before it nothing has been done. Beyond the last one lie those of the way back.
      for (let skip = 1; skip < count + 3; skip++) {
        const { qubesd, causes, tags, entomb } = await setUp();
        neverNobodys(qubesd);
        qubesd.faults.inject({ fault, skip, times });
        if (fault === 'hang' || fault === 'mute') passDeadlines(qubesd, skip, times);
        const done = await entomb();
        const at = `call ${skip + 1}`;
        if (done) expect(tags(), at).toEqual([...ENTOMBED].sort());
        else if (!causes.includes('rollback failed')) expect(tags(), at).toEqual(TAGS);
        else if (times === 1) {
          expect(causes, at).toContain('deadline');
          expect(tags(), at).toEqual([...TAGS, MARKER].sort());
        }
        expect(causes.length > 0, at).toBe(!done);
        expect(done, at).toBe(skip >= count);
        // What was given up on is carried out late.
        qubesd.release();
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
  );

  test('twice, also on the way back, no qube is left without umbrella and marker', async () => {
    for (let first = 1; first < 9; first++) {
      for (let second = 0; second < 12; second++) {
        const { qubesd, causes, tags, entomb } = await setUp();
        neverNobodys(qubesd);
        qubesd.faults.inject({ fault: 'empty', skip: first });
        qubesd.faults.inject({ fault: 'empty', skip: first + second });
        const done = await entomb();
        if (done) expect(tags()).toEqual([...ENTOMBED].sort());
        else if (!causes.includes('rollback failed')) expect(tags()).toEqual(TAGS);
      }
    }
  });
});

test('whatever the tags, an entombed qube keeps exactly the restrictions and what is not ours', async () => {
  const tag = fc.oneof(
    fc.constantFrom('ai-managed', 'ai-exec', 'ai-net', 'ai-full', 'ai-dump', 'anon-vm', 'qmcp-guarded', 'mylabel'),
    fc.constantFrom('qmcp-', 'qmcp-x', 'qmcp-tombstone_', 'qmcp-tombstone_7', MARKER, 'qmcp-egress-locked_', 'AI-full'),
  );
  const { qubesd, entomb: _, ...rest } = await setUp();
  const admin = adminOver(adminCallsTo(qubesd.path));
  const target = (await readQube(admin, 'ai-old')) as Qube;
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(tag), async (tags) => {
      const present = qubesd.world.qube('ai-old').tags;
      present.clear();
      for (const each of tags) present.add(each);
      expect(await entomb(target, admin, workAt(NOW, []))).toBe(true);
      const kept = tags.filter((each) => isRestriction(each) || !isControlled(each));
      expect(rest.tags()).toEqual([...new Set([...kept, MARKER])].sort());
    }),
  );
});

describe('a qube is in use', () => {
  const check = async (
    qubes: Record<string, QubeSpec>,
    more: Partial<FleetSpec> = {},
  ): Promise<[boolean, Qubesd, Admin, Qube]> => {
    const fleet = {
      default_netvm: 'sys-net',
      qubes: { 'ai-old': {}, 'sys-net': { props: { netvm: null } }, ...qubes },
      ...more,
    };
    const qubesd = await temporaryQubesd({ fleet });
    const admin = adminOver(adminCallsTo(qubesd.path));
    const target = (await readQube(admin, 'ai-old')) as Qube;
    return [await isInUse(target, admin), qubesd, admin, target];
  };

  test.each(['template', 'netvm', 'default_dispvm', 'guivm', 'audiovm', 'management_dispvm'])(
    'as the %s of another, managed or not',
    async (property) => {
      for (const tags of [['ai-managed'], []]) {
        expect((await check({ other: { tags, props: { [property]: 'ai-old' } } }))[0]).toBe(true);
        expect((await check({ other: { tags, props: { [property]: 'ai-other' } } }))[0]).toBe(false);
      }
    },
  );

  test('as the default of the machine, through whoever has it', async () => {
    expect((await check({ other: {} }, { default_netvm: 'ai-old' }))[0]).toBe(true);
  });

  test('not by itself, nor because its name is a part of another', async () => {
    expect((await check({ 'ai-old': { props: { default_dispvm: 'ai-old', netvm: null } } }))[0]).toBe(false);
    expect((await check({ other: { props: { netvm: 'ai-older' } } }))[0]).toBe(false);
  });

  test.each<Fault>(['empty', { exception: ['QubesException', 'x'] }, { cut: 20 }])(
    'for all we know, where a qube does not say (%j)',
    async (fault) => {
      const [, qubesd, admin, target] = await check({ other: {} });
      qubesd.faults.inject({ method: 'admin.vm.property.GetAll', dest: 'other', fault });
      expect(await isInUse(target, admin)).toBe(true);
    },
  );

  test('not by one that is gone by the time it is asked', async () => {
    const [, qubesd, admin, target] = await check({ other: { props: { netvm: 'ai-old' } } });
    qubesd.onCall = ({ method, name }) => {
      if (method === 'admin.vm.property.GetAll' && name === 'other') qubesd.world.remove('other');
    };
    expect(await isInUse(target, admin)).toBe(false);
  });

  test('or not, is not for us to say where the list cannot be had', async () => {
    const [, qubesd, admin, target] = await check({});
    qubesd.faults.inject({ method: 'admin.vm.List', fault: 'empty' });
    await expect(isInUse(target, admin)).rejects.toBeInstanceOf(AdminError);
  });
});
