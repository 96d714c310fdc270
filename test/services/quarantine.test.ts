import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { QubeName, Uuid } from '../../daemon/names.ts';
import type { Row } from '../../daemon/qubesadmin/admin.ts';
import { AdminError } from '../../daemon/qubesadmin/wire.ts';
import { anotherThan, namedAs } from '../../daemon/services/birth.ts';
import { MAY_COME_MS, Quarantine, type Quarantined } from '../../daemon/services/quarantine.ts';
import { stateFilesIn } from '../../daemon/state-files.ts';
import { quarantineFiles } from './quarantine-files.ts';

const AT = Date.UTC(2026, 0, 31, 12);
const LATER = AT + MAY_COME_MS;
const row = (name: string, digit: number, klass = 'AppVM'): Row => ({
  name: name as QubeName,
  uuid: `00000000-0000-4000-8000-00000000000${digit}` as Uuid,
  klass,
  state: 'Halted',
});
const [NEW, OTHER, DISP] = [row('ai-new', 1), row('ai-other', 2), row('disp7', 7, 'DispVM')];
const left = ({ name, uuid }: Row): Quarantined => ({ name, uuid, at: AT });
const unseen = ({ name }: Row): Quarantined => ({ name, uuid: null, at: AT });

/** A qubesd in which there are these, or which is away. */
const adminOf = (rows: readonly Row[] | 'away') => {
  const find = async (is: (row: Row) => boolean): Promise<Row | null> => {
    if (rows === 'away') throw new AdminError('unreachable');
    return rows.find(is) ?? null;
  };
  return {
    row: (name: QubeName) => find((each) => each.name === name),
    rowOf: (uuid: Uuid) => find((each) => each.uuid === uuid),
  };
};

test('what is kept is held over a restart, and another qube of its name is not', async () => {
  const files = quarantineFiles();
  const quarantine = new Quarantine(files);
  expect(await quarantine.keep(left(NEW))).toBe(true);
  for (const each of [quarantine, new Quarantine(files)]) {
    expect([each.keeps(NEW), each.holds(NEW)]).toEqual([true, true]);
    expect([each.keeps(OTHER), each.holds({ ...NEW, uuid: OTHER.uuid })]).toEqual([false, false]);
    expect(each.qubes).toEqual([left(NEW)]);
  }
  expect(files.text).toBe('00000000-0000-4000-8000-000000000001 ai-new 2026-01-31T12:00:00.000Z\n');
});

test('without a file nothing is held, and there is nothing to complain about', () => {
  const { qubes, complaint, unsaved, keeps } = new Quarantine(quarantineFiles());
  expect([qubes, complaint, unsaved, keeps(NEW)]).toEqual([[], null, null, false]);
});

test('the file is on the disk for the broker alone', async () => {
  const state = mkdtempSync(join(tmpdir(), 'quarantine-'));
  onTestFinished(() => rmSync(state, { recursive: true, force: true }));
  await new Quarantine(stateFilesIn(state)).keep(left(NEW));
  expect(readFileSync(join(state, 'quarantine'), 'utf8')).toContain(' ai-new ');
  writeFileSync(join(state, 'quarantine'), 'x'.repeat(20_000));
  expect(new Quarantine(stateFilesIn(state)).complaint).toMatch(/quarantine cannot be used/);
});

test('where only the name is known whatever has it is held, until qubesd says which that is', async () => {
  const files = quarantineFiles();
  const quarantine = new Quarantine(files);
  await quarantine.keep(unseen(NEW));
  expect(files.text).toBe('- ai-new 2026-01-31T12:00:00.000Z\n');
  const again = new Quarantine(files);
  expect([again.keeps(NEW), again.keeps({ ...NEW, uuid: OTHER.uuid }), again.keeps(OTHER)]).toEqual([
    true,
    true,
    false,
  ]);
  await again.review(adminOf([NEW]), LATER);
  expect(again.qubes).toEqual([left(NEW)]);
  expect(new Quarantine(files).qubes).toEqual([left(NEW)]);
});

test('what is gone is forgotten when qubesd says so, and not when it cannot be asked', async () => {
  const files = quarantineFiles();
  const quarantine = new Quarantine(files);
  for (const qube of [left(NEW), left(OTHER), unseen(DISP)]) await quarantine.keep(qube);
  await quarantine.review(adminOf('away'), LATER);
  expect(quarantine.qubes).toHaveLength(3);
  await quarantine.review(adminOf([OTHER]), LATER);
  expect(quarantine.qubes).toEqual([left(OTHER)]);
  expect(new Quarantine(files).qubes).toEqual([left(OTHER)]);
});

test('a name without a qube is kept for as long as one may yet come of the order, over restarts too', async () => {
  const files = quarantineFiles();
  const quarantine = new Quarantine(files);
  await quarantine.keep(unseen(NEW));
  await quarantine.review(adminOf([]), LATER - 1);
  const again = new Quarantine(files);
  await again.review(adminOf([]), LATER - 1);
  expect([quarantine.keeps(NEW), again.keeps(NEW)]).toEqual([true, true]);
  await again.review(adminOf([]), LATER);
  expect([again.keeps(NEW), new Quarantine(files).keeps(NEW)]).toEqual([false, false]);
});

test('a release lasts, and does not happen where it cannot be made to', async () => {
  const files = quarantineFiles();
  const quarantine = new Quarantine(files);
  await quarantine.keep(left(NEW));
  files.fault = new Error('the disk is full');
  expect(await quarantine.release(NEW)).toBe(false);
  expect(quarantine.keeps(NEW)).toBe(true);
  files.fault = null;
  expect(await quarantine.release(NEW)).toBe(true);
  expect([quarantine.keeps(NEW), new Quarantine(files).keeps(NEW)]).toEqual([false, false]);
});

test('what cannot be written is held all the same, complained of once, and written with the next', async () => {
  const files = quarantineFiles();
  const complaints: string[] = [];
  const quarantine = new Quarantine(files, (sentence) => complaints.push(sentence));
  files.fault = new Error('the disk is full');
  expect([await quarantine.keep(left(NEW)), await quarantine.keep(left(OTHER))]).toEqual([false, false]);
  expect([quarantine.keeps(NEW), quarantine.keeps(OTHER)]).toEqual([true, true]);
  expect(complaints).toEqual([expect.stringMatching(/^\/state\/quarantine cannot be written \(the disk is full\)\./)]);
  expect(quarantine.unsaved).toMatch(/cannot be written/);
  files.fault = null;
  await quarantine.review(adminOf([NEW, OTHER]), LATER);
  expect(quarantine.unsaved).toBeNull();
  expect(new Quarantine(files).qubes).toEqual([left(NEW), left(OTHER)]);
});

const LINE = `${NEW.uuid} ai-new 2026-01-31T12:00:00.000Z`;
test.each([
  ['a line too few words', `${NEW.uuid} ai-new\n`],
  ['a word too many', `${LINE} x\n`],
  ['no uuid', 'x ai-new 2026-01-31T12:00:00.000Z\n'],
  ['no name', `${NEW.uuid} a%b 2026-01-31T12:00:00.000Z\n`],
  ['no time', `${NEW.uuid} ai-new yesterday\n`],
  ['one bad line of two', `${LINE}\n?\n`],
  ['an end cut off', LINE],
])(
  'with %s in the file every qube is held, nothing is released or overwritten, and the complaint says what to do',
  async (_, text) => {
    const files = quarantineFiles(text);
    const quarantine = new Quarantine(files);
    expect([quarantine.keeps(OTHER), quarantine.holds(OTHER)]).toEqual([true, true]);
    expect(quarantine.complaint).toMatch(/^\/state\/quarantine cannot be used .* Mend or remove it, then restart;/);
    expect([await quarantine.keep(left(NEW)), await quarantine.release(NEW)]).toEqual([false, false]);
    expect(files.text).toBe(text);
  },
);

test('more qubes than the file has room for are held, and the file stays as it was', async () => {
  const quarantine = new Quarantine(quarantineFiles());
  const kept = await Promise.all(
    Array.from({ length: 129 }, (_, index) => quarantine.keep({ ...unseen(NEW), name: `ai-${index}` as QubeName })),
  );
  expect(kept.at(0)).toBe(false);
  expect(quarantine.qubes).toHaveLength(129);
});

test('while an order is open no call changes what may be its qube, and reads are as ever', () => {
  const quarantine = new Quarantine(quarantineFiles());
  const [named, disposable] = [
    quarantine.order(namedAs('ai-new')),
    quarantine.order(anotherThan(new Set([row('disp6', 6).uuid]))),
  ];
  expect([NEW, OTHER, DISP, row('disp6', 6, 'DispVM')].map(quarantine.holds)).toEqual([true, false, true, false]);
  expect([NEW, DISP].map(quarantine.keeps)).toEqual([false, false]);
  named.over();
  disposable.found(DISP.uuid);
  expect([NEW, DISP, row('disp8', 8, 'DispVM')].map(quarantine.holds)).toEqual([false, true, false]);
  disposable.over();
  expect(quarantine.holds(DISP)).toBe(false);
});

test('a qube that became whole is none of another order’s, nor one that was left behind under its name', async () => {
  const files = quarantineFiles();
  const quarantine = new Quarantine(files);
  await quarantine.keep(unseen(DISP));
  const lost = quarantine.order(anotherThan(null));
  quarantine.order(anotherThan(null)).whole(DISP);
  expect([quarantine.holds(DISP), quarantine.holds(row('disp9', 9, 'DispVM'))]).toEqual([false, true]);
  expect(await quarantine.keep(left(DISP))).toBe(true);
  expect(quarantine.keeps(DISP)).toBe(false);
  lost.over();
  expect(new Quarantine(files).qubes).toEqual([]);
});

test('whoever watches hears of every qube that comes and goes', async () => {
  const quarantine = new Quarantine(quarantineFiles());
  const heard: string[] = [];
  quarantine.watch((name) => heard.push(name));
  await quarantine.keep(left(NEW));
  await quarantine.release(NEW);
  await quarantine.keep(unseen(OTHER));
  await quarantine.forget(OTHER.name);
  expect(heard).toEqual(['ai-new', 'ai-new', 'ai-other', 'ai-other']);
});
