import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GENESIS, verifyLine } from '../../daemon/journal/chain.ts';
import { openJournal } from '../../daemon/journal/journal.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';
import { type FaultyFiles, faultyFiles } from './faulty-files.ts';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';

const DIR = '/log';
const PATH = '/log/audit.jsonl';
const stop = (reason: string): JournalRecord => ({ type: 'stop', reason });
const open = (files: FaultyFiles) =>
  openJournal({ dir: DIR, now: () => 1e12, monotonicMs: () => 5, bootId: 'boot', files, rotation: ROTATION });
// Short files, so that the walk crosses many rotations.
const ROTATION = { bytes: 2500, ageMs: Number.POSITIVE_INFINITY, keep: Number.POSITIVE_INFINITY };

/** The records of all files in order; throws where the chain does not hold, within a file or from one to the next. */
function records(memory: MemoryFiles): Record<string, unknown>[] {
  const old = memory.names().filter((name) => /^\/log\/audit-\d+-\d+\.jsonl$/.test(name));
  const all: Record<string, unknown>[] = [];
  let head = GENESIS;
  for (const name of [...old.sort(), PATH]) {
    const text = memory.text(name);
    expect(text === '' || text.endsWith('\n')).toBe(true);
    for (const line of text.split('\n').slice(0, -1)) {
      const verdict = verifyLine(line, head);
      if (!verdict.ok) throw new Error(`${name}: ${verdict.fault} at ${verdict.seq}`);
      head = verdict.head;
      all.push(verdict.record);
    }
  }
  return all;
}

describe('the journal over crashes', () => {
  it('survives a tear at every byte of the last line', async () => {
    const memory = memoryFiles();
    const first = await open(faultyFiles(memory));
    await first.journal.append(stop('1'));
    const keep = memory.text(PATH).length;
    await first.journal.append(stop('2'));
    await first.journal.close();
    const whole = memory.text(PATH);
    for (let end = keep; end < whole.length; end += 1) {
      const torn = memoryFiles();
      torn.put(PATH, whole.slice(0, end));
      const { journal, findings } = await open(faultyFiles(torn));
      expect(findings).toHaveLength(end === keep ? 0 : 1);
      if (end > keep) expect(torn.text(`/log/${(findings[0] as { kept: string }).kept}`)).toBe(whole.slice(keep, end));
      await journal.append(stop('after'));
      await journal.close();
      expect(records(torn).flatMap(({ reason }) => reason ?? [])).toEqual(['1', 'after']);
    }
  });

  it('never acknowledges what a power failure takes back, never keeps what it refused, and always verifies', async () => {
    const codes = ['ENOSPC', 'EIO', 'EROFS'];
    const round = fc.record({
      burst: fc.integer({ min: 1, max: 6 }),
      end: fc.constantFrom('go on', 'go on', 'restart', 'crash'),
      tear: fc.nat(1000),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.infiniteStream(fc.nat(999)),
        fc.array(round, { maxLength: 30, size: 'max' }),
        fc.constantFrom(0, 30, 200),
        async (dice, rounds, faultiness) => {
          let faulty = true;
          const dicedFiles = (memory: MemoryFiles): FaultyFiles => {
            const files = faultyFiles(memory);
            files.fault = (operation) => {
              const roll = dice.next().value ?? 0;
              if (!faulty || roll >= faultiness) return null;
              return operation === 'write' && roll % 2 === 0 ? roll : (codes[roll % codes.length] as string);
            };
            return files;
          };
          let memory = memoryFiles();
          let files = dicedFiles(memory);
          const kept: string[] = [];
          const refused: string[] = [];
          let opened = await open(files);
          let number = 0;
          for (const { burst, end, tear } of rounds) {
            const writes = Array.from({ length: burst }, () => {
              number += 1;
              const reason = `r${number}`;
              return opened.journal.append(stop(reason)).then(
                () => kept.push(reason),
                () => refused.push(reason),
              );
            });
            if (end === 'crash') {
              // Somewhere in the middle of the writes; whatever the old process still does, it does to files of its own.
              for (let steps = tear % 40; steps > 0; steps -= 1) await Promise.resolve();
              const acknowledged = kept.length;
              memory = memory.crash((unsynced) => tear % (unsynced + 1));
              await Promise.all(writes);
              kept.length = acknowledged;
              files = dicedFiles(memory);
              opened = await open(files);
              continue;
            }
            await Promise.all(writes);
            if (end === 'go on') continue;
            await opened.journal.close();
            opened = await open(files);
          }
          faulty = false;
          // What still ran with faults may still refuse; afterwards nothing may.
          await opened.journal.recover();
          await opened.journal.append(stop('last'));
          await opened.journal.close();
          const present = records(memory).flatMap(({ reason }) => (reason as string | undefined) ?? []);
          expect(kept.filter((reason) => !present.includes(reason))).toEqual([]);
          expect(kept).toEqual(present.filter((reason) => kept.includes(reason)));
          expect(new Set(present).size).toBe(present.length);
          // After a restart in the middle of a failure, whole lines that were never acknowledged stay, as after a crash.
          if (rounds.every(({ end }) => end === 'go on')) {
            expect(refused.filter((reason) => present.includes(reason))).toEqual([]);
          }
        },
      ),
      { numRuns: 500 },
    );
  }, 60_000);
});
