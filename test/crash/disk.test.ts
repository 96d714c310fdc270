// The disk failing under the broker from any of its operations on, in every kind of call: nothing is changed that is not
// written down, reads go on, health says so, and as soon as the disk is back so is the broker, without a restart; or it is
// killed before that, and the next start finds out what became of it (I4, I7).
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { JournalFiles } from '../../daemon/journal/journal-files.ts';
import { type Fault, type FaultyFiles, faultyFiles, type Operation } from '../journal/faulty-files.ts';
import { type Act, Stage } from './harness.ts';
import type { Life } from './life.ts';
import { SCENARIOS, textOf } from './scenarios.ts';

/** Over the same files: those of the journal and that of the undo store, each with faults of its own. */
interface Disk {
  readonly files: JournalFiles;
  readonly journal: FaultyFiles;
  readonly undo: FaultyFiles;
}
const diskOver = (memory: JournalFiles): Disk => {
  const [journal, undo] = [faultyFiles(memory), faultyFiles(memory)];
  const of = (path: string): FaultyFiles => (/\/state(?:\/|$)/.test(path) ? undo : journal);
  const files: JournalFiles = {
    openAppend: (path) => of(path).openAppend(path),
    createNew: (path) => of(path).createNew(path),
    identify: (path) => of(path).identify(path),
    read: (path) => of(path).read(path),
    link: (from, to) => of(to).link(from, to),
    rename: (from, to) => of(to).rename(from, to),
    unlink: (path) => of(path).unlink(path),
    list: (dir) => of(dir).list(dir),
    syncDirectory: (path) => of(path).syncDirectory(path),
  };
  return { files, journal, undo };
};

type Failing = (operation: Operation) => Fault;
const FOREVER = Number.POSITIVE_INFINITY;

/** Fails, of the operations that it can fail, those from the one with that number on, as many as told, counted from now. */
const failFrom = (files: FaultyFiles, at: number, times: number, failing: Failing) => {
  let seen = 0;
  const hit = { count: 0 };
  files.fault = (operation) => {
    const fault = failing(operation);
    if (fault === null) return null;
    const number = seen++;
    if (number < at || number >= at + times) return null;
    hit.count += 1;
    return fault;
  };
  return hit;
};

const READ = ['qmcp.GetPropertyAIManaged', { name: 'ai-source', property: 'label' }] as const;
const CHANGE = ['qmcp.LifecycleAIManaged', { name: 'ai-source', action: 'start' }] as const;

const FAULTS: readonly (readonly [how: string, times: number, failing: Failing])[] = [
  ['is full, once', 1, () => 'ENOSPC'],
  ['is full', FOREVER, () => 'ENOSPC'],
  ['fails to sync', FOREVER, (operation) => (operation === 'datasync' ? 'EIO' : null)],
  ['tears what is written', FOREVER, (operation) => (operation === 'write' ? 'EIO' : null)],
  ['takes no more bytes', FOREVER, (operation) => (operation === 'write' ? 0 : null)],
];

describe.each(SCENARIOS)('$title', (scenario) => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open(scenario);
  });
  afterAll(() => stage.close());

  const open = async () => {
    let disk = null as Disk | null;
    const { act, life } = await stage.start((memory) => {
      disk = diskOver(memory);
      return disk.files;
    });
    return { act, life, disk: disk as unknown as Disk };
  };

  /** Makes the call with a fault at each operation of these files in turn, until it is over before that. */
  const atEach = async (
    of: 'journal' | 'undo',
    [, times, failing]: (typeof FAULTS)[number],
    look: (made: { act: Act; life: Life; disk: Disk; reply: { readonly ok: boolean }; at: number }) => Promise<void>,
  ): Promise<number> => {
    for (let at = 0; ; at++) {
      const { act, life, disk } = await open();
      const hit = failFrom(disk[of], at, times, failing);
      const reply = await act.run(life);
      const isHit = hit.count > 0;
      await look({ act, life, disk, reply, at }).catch((error: unknown) => {
        const what = error instanceof Error ? error.message : error;
        throw new Error(`from operation ${at} on: ${what}`, { cause: error });
      });
      if (!isHit) return at;
    }
  };

  /** Reads go on, changes do not, and it says why. */
  const isDown = async (act: Act, life: Life): Promise<void> => {
    const effects = act.effects.length;
    expect(await life.call(...CHANGE)).toMatchObject({ ok: false });
    expect(act.effects).toHaveLength(effects);
    expect(await life.call(...READ)).toMatchObject({ ok: true });
    expect(life.journal.health()).toMatchObject({ ok: false, reason: expect.stringContaining('no restart is needed') });
  };

  /** Once the disk is back, so is the broker; and after another start nothing is left to be found out. */
  const comesBack = async (act: Act, life: Life): Promise<void> => {
    expect(await life.call(...CHANGE)).toEqual({ ok: true });
    expect(await life.journal.recover()).toMatchObject({ ok: true });
    act.isExplained();
    await act.check(life);
    life.end();
    const next = await act.beginAgain();
    expect(next.settled).toEqual([]);
    await act.check(life, next);
    next.end();
  };

  const endedWell = (act: Act, reply: { readonly ok: boolean }): void => {
    const state = textOf(act.world);
    if (reply.ok) expect(state).toBe(stage.states.at(-1));
    else if (scenario.isCreation) expect(state).toBe(act.before);
    else expect(stage.states).toContain(state);
  };

  test.each(FAULTS)(
    'when the disk of the journal %s, is refused or done, and written down once the disk is back',
    async (...fault) => {
      const operations = await atEach('journal', fault, async ({ act, life, disk, reply }) => {
        if (fault[1] === FOREVER) await isDown(act, life);
        else expect(await life.call(...READ)).toMatchObject({ ok: true });
        disk.journal.fault = () => null;
        endedWell(act, reply);
        await comesBack(act, life);
      });
      expect(operations).toBeGreaterThan(1);
    },
    60_000,
  );

  test.each(FAULTS)(
    'when the disk of the journal %s and the process ends before it is back, is explained by the next start',
    async (...fault) => {
      await atEach('journal', fault, async ({ act, life, at }) => {
        // By turns: only the process is gone, or the power too.
        if (at % 2 === 1) act.memory = act.memory.crash((unsynced) => unsynced >> 1);
        await stage.aftermath(act, life, false);
      });
    },
    60_000,
  );

  test('when every write takes seven bytes at a time, all is as ever', async () => {
    const { act, life, disk } = await open();
    const short: Failing = (operation) => (operation === 'write' ? 7 : null);
    disk.journal.fault = short;
    disk.undo.fault = short;
    const reply = await act.run(life);
    expect(reply).toMatchObject({ ok: true });
    endedWell(act, reply);
    await comesBack(act, life);
  });

  if (!scenario.undoable) return;
  test.each(FAULTS)(
    'when the disk of the undo store %s, is not done unless it was kept before',
    async (...fault) => {
      await atEach('undo', fault, async ({ act, life, disk, reply, at }) => {
        expect(textOf(act.world)).toBe(reply.ok ? stage.states.at(-1) : act.before);
        if (at === 0 && fault[1] === FOREVER) {
          expect(reply).toMatchObject({ ok: false });
          expect(act.effects).toEqual([]);
          expect(life.undo.complaint).toContain('no restart is needed');
        }
        disk.undo.fault = () => null;
        await comesBack(act, life);
      });
    },
    60_000,
  );
});
