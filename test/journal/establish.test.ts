import { describe, expect, it } from 'vitest';
import { GENESIS, verifyLine } from '../../daemon/journal/chain.ts';
import { openJournal } from '../../daemon/journal/journal.ts';
import type { JournalFiles } from '../../daemon/journal/journal-files.ts';
import type { Intent, JournalRecord } from '../../daemon/journal/record.ts';
import { ROTATION } from '../../daemon/journal/rotation.ts';
import { faultyFiles } from './faulty-files.ts';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';

const DIR = '/log';
const PATH = '/log/audit.jsonl';
const TORN = '/log/audit.torn-20260102T000000.000Z';
const BROKEN = '/log/audit.broken-20260102T000000.000Z';

const stop = (reason: string): JournalRecord => ({ type: 'stop', reason });
const OF_CALL = { source: 'agent', principal: 'agent', service: 'qmcp.X', action: 'x', qubes: [], args: {} };
const intent = (call: number): Intent => ({ type: 'intent', call, ...OF_CALL, digest: 'd', nonce: null });

const place = (memory = memoryFiles()) => {
  const files = faultyFiles(memory);
  const open = (over: JournalFiles = files) =>
    openJournal({
      ...{ dir: DIR, now: () => Date.UTC(2026, 0, 2), monotonicMs: () => 5, bootId: 'boot', files: over },
      ...{ rotation: ROTATION, compress: async () => {} },
    });
  return { memory, files, open };
};
const recordsIn = (memory: MemoryFiles, path = PATH) =>
  memory
    .text(path)
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
/** The lines of a journal of so many records. */
const written = async (count: number) => {
  const { memory, open } = place();
  const { journal } = await open();
  for (let seq = 1; seq <= count; seq += 1) await journal.append(stop(String(seq)));
  await journal.close();
  return memory.text(PATH);
};

describe('opening the journal', () => {
  it('holds one file open, and none when it is closed', async () => {
    const { memory, open } = place();
    const { journal } = await open();
    await journal.append(stop('1'));
    expect(memory.held()).toBe(1);
    await journal.close();
    expect(memory.held()).toBe(0);
  });

  it.each([
    ['a torn line', async () => (await written(2)).slice(0, -5)],
    ['a broken one', async () => `${await written(2)}junk\n`],
  ])('holds one file open also where it finds %s', async (_, content) => {
    const { memory, open } = place();
    memory.put(PATH, await content());
    const { journal } = await open();
    expect(memory.held()).toBe(1);
    await journal.close();
    expect(memory.held()).toBe(0);
  });

  it.each([
    'openAppend',
    'createNew',
    'identify',
    'list',
    'link',
    'rename',
    'write',
    'datasync',
    'truncate',
    'read',
  ] as const)('holds no file open where it fails because %s does', async (operation) => {
    for (const content of [(await written(2)).slice(0, -5), `${await written(2)}junk\n`]) {
      const { memory, files, open } = place();
      memory.put(PATH, content);
      files.fault = (each) => (each === operation ? 'EIO' : null);
      const { journal } = await open();
      if (!journal.health().ok) expect(memory.held()).toBe(0);
      files.fault = () => null;
      await journal.append(stop('after'));
      expect(memory.held()).toBe(1);
      await journal.close();
      expect(memory.held()).toBe(0);
    }
  });

  it('has on the disk what it finds, before it goes on', async () => {
    const { memory, files, open } = place();
    memory.put(PATH, await written(2));
    const { journal } = await open();
    expect(
      files.log.filter((operation) => ['write', 'truncate', 'datasync', 'syncDirectory'].includes(operation)),
    ).toEqual(['datasync', 'syncDirectory']);
    await journal.close();
  });

  it('keeps what a crash cut short, of whatever length, and syncs it before it is cut off', async () => {
    const { memory, files, open } = place();
    const content = await written(2);
    memory.put(PATH, content + 'x'.repeat(100_000));
    const { journal, findings } = await open();
    expect(findings).toEqual([{ type: 'torn', kept: TORN.slice(5), bytes: 100_000 }]);
    expect(memory.text(TORN)).toBe('x'.repeat(100_000));
    const steps = ['createNew', 'datasync', 'syncDirectory', 'truncate'] as const;
    expect(files.log.filter((operation) => (steps as readonly string[]).includes(operation)).slice(0, 4)).toEqual(
      steps,
    );
    await journal.close();
    expect(recordsIn(memory).map(({ seq, type }) => [seq, type])).toEqual([
      [1, 'stop'],
      [2, 'stop'],
      [3, 'torn'],
    ]);
  });

  it('finds a name for what it keeps where others of the same moment are there', async () => {
    const { memory, open } = place();
    memory.put(PATH, (await written(2)).slice(0, -5));
    memory.put(TORN, 'other');
    memory.put(`${TORN}-1`, 'other');
    const { journal, findings } = await open();
    expect(findings).toMatchObject([{ kept: `${TORN.slice(5)}-2` }]);
    await journal.close();
    memory.put(PATH, 'junk\n');
    memory.put(`${BROKEN}.jsonl`, 'other');
    const again = await open();
    expect(again.findings).toMatchObject([{ kept: `${BROKEN.slice(5)}-1.jsonl` }]);
    expect(memory.text(`${BROKEN}-1.jsonl`)).toBe('junk\n');
    await again.journal.close();
  });

  it('gives up where a thousand others are there, and takes nothing away', async () => {
    const { memory, files, open } = place();
    memory.put(PATH, 'junk\n');
    let names = 0;
    const crowded: JournalFiles = {
      ...files,
      identify: async (path) => {
        if (!path.startsWith(BROKEN)) return files.identify(path);
        names += 1;
        return { dev: 1, ino: 1000, size: 0, regular: true };
      },
    };
    const { journal } = await open(crowded);
    expect(journal.health()).toMatchObject({ ok: false, reason: expect.stringContaining('there are 1000 damaged') });
    expect(names).toBe(1000);
    expect(memory.text(PATH)).toBe('junk\n');
    expect(memory.held()).toBe(0);
    await journal.close();
  });

  it('does not take what is no plain file for the journal', async () => {
    const { memory, files, open } = place();
    const odd: JournalFiles = {
      ...files,
      openAppend: async (path) => {
        const file = await files.openAppend(path);
        return { ...file, identity: async () => ({ ...(await file.identity()), regular: false }) };
      },
    };
    const { journal } = await open(odd);
    expect(journal.health()).toMatchObject({ ok: false, reason: expect.stringContaining('not a plain file') });
    expect(memory.held()).toBe(0);
    await journal.close();
  });

  it('begins the new file anew where a crash left half of one', async () => {
    const { memory, open } = place();
    memory.put(PATH, 'junk\n');
    memory.put('/log/audit.new', 'half of one that a crash left');
    const { journal } = await open();
    await journal.close();
    expect(recordsIn(memory)).toMatchObject([{ type: 'break', reason: 'unparseable', line: 1, seq: 2 }]);
    expect(memory.names()).not.toContain('/log/audit.new');
  });

  it('leaves the damaged file under its own name alone where the new one cannot take its place', async () => {
    const { memory, files, open } = place();
    memory.put(PATH, 'junk\n');
    files.fault = (operation) => (operation === 'rename' ? 'EIO' : null);
    const { journal } = await open();
    expect(memory.names().filter((name) => name !== '/log/audit.new')).toEqual([PATH]);
    expect(memory.text(PATH)).toBe('junk\n');
    await journal.close();
  });

  it('goes on beside old files also where the one that grows is gone, or one of them goes', async () => {
    const { memory, files, open } = place();
    memory.put('/log/audit-000000000001-000000000002.jsonl', 'text');
    const { journal } = await open();
    await journal.append(stop('1'));
    expect(journal.health()).toEqual({ ok: true });
    await journal.close();
    const listed = async () => ['audit-000000000003-000000000004.jsonl', 'audit.jsonl'];
    const again = await open({ ...files, list: listed });
    expect(again.journal.health()).toEqual({ ok: true });
    await again.journal.close();
    expect(memory.text('/log/audit-000000000001-000000000002.jsonl')).toBe('text');
  });

  it('says what it found also where the first attempt to write that fails', async () => {
    const { memory, files, open } = place();
    memory.put(PATH, (await written(2)).slice(0, -5));
    // The first write is of the piece that is kept aside.
    files.fault = (operation, count) => (operation === 'write' && count === 1 ? 'EIO' : null);
    const { journal } = await open();
    expect(journal.health()).toMatchObject({ ok: false });
    await journal.append(stop('after'));
    await journal.close();
    expect(recordsIn(memory).map(({ type, reason }) => reason ?? type)).toEqual(['1', 'torn', 'after']);
  });

  it('carries what was open over a break, and uses none of the numbers of the bad lines again', async () => {
    const { memory, open } = place();
    const first = await open();
    await first.journal.append(intent(1));
    await first.journal.close();
    memory.put(PATH, `${memory.text(PATH)}junk\n\njunk without an end`);
    const { journal, unfinished } = await open();
    expect(unfinished).toMatchObject([{ seq: 1, call: 1 }]);
    expect(recordsIn(memory)).toMatchObject([
      { type: 'break', seq: 5, line: 2, last_good_seq: 1, open: [{ seq: 1, intent: { call: 1 } }] },
    ]);
    await journal.close();
  });
});

describe('opening the journal again after a failure', () => {
  const failing = async () => {
    const made = place();
    const { journal } = await made.open();
    await journal.append(stop('one'));
    made.files.fault = (operation) => (operation === 'datasync' ? 'EIO' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow('EIO');
    return { ...made, journal };
  };
  const goOn = async ({ files, journal, memory }: Awaited<ReturnType<typeof failing>>) => {
    files.fault = () => null;
    await journal.append(stop('after'));
    await journal.close();
    expect(memory.held()).toBe(0);
    return recordsIn(memory).map(({ type, reason }) => reason ?? type);
  };

  it('cuts off what was refused, once, and holds one file', async () => {
    const made = await failing();
    expect(made.memory.held()).toBe(0);
    made.files.log.length = 0;
    expect(await goOn(made)).toEqual(['one', 'gap', 'after']);
    expect(made.files.log.filter((operation) => operation === 'truncate')).toHaveLength(1);
  });

  it('cuts off nothing where nothing of it was written', async () => {
    const made = place();
    const { journal } = await made.open();
    await journal.append(stop('one'));
    made.files.fault = (operation) => (operation === 'identify' ? 'EIO' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow('EIO');
    made.files.log.length = 0;
    expect(await goOn({ ...made, journal })).toEqual(['one', 'gap', 'after']);
    expect(made.files.log).not.toContain('truncate');
  });

  it.each([
    ['something else of the same length', (line: string) => line.replace('refused', 'REFUSED'), 'changed'],
    ['more than that', (line: string) => `${line}x`, 'changed'],
    ['less than that', (line: string) => line.slice(0, 5), null],
    ['nothing', () => '', null],
  ])('looks whether what follows its end is what it tried to write: %s', async (_, left, reason) => {
    const made = await failing();
    const [one, refused] = made.memory.text(PATH).split('\n') as [string, string];
    const file = await made.memory.openAppend(PATH);
    await file.truncate(one.length + 1);
    await file.write(Buffer.from(left(`${refused}\n`)));
    await file.close();
    expect(await goOn(made)).toEqual(reason === null ? ['one', 'gap', 'after'] : [reason, 'gap', 'after']);
  });

  it('reads the end of the file in as many pieces as it takes, and sees that a piece is missing', async () => {
    const { memory, files, open } = place();
    let most = 3;
    const slow: JournalFiles = {
      ...files,
      openAppend: async (path) => {
        const file = await files.openAppend(path);
        return { ...file, read: (into, position) => file.read(into.subarray(0, most), position) };
      },
    };
    const { journal } = await open(slow);
    await journal.append(stop('one'));
    for (const [pieces, before] of [
      [3, 'one'],
      [0, 'changed'],
    ] as const) {
      files.fault = (operation) => (operation === 'datasync' ? 'EIO' : null);
      await expect(journal.append(stop('refused'))).rejects.toThrow('EIO');
      files.fault = () => null;
      most = pieces;
      await journal.append(stop('after'));
      expect(recordsIn(memory)[0]).toMatchObject({ reason: before });
    }
    await journal.close();
  });

  it('notices that an empty file was replaced by another', async () => {
    const { memory, files, open } = place();
    const { journal } = await open();
    files.fault = (operation) => (operation === 'identify' ? 'EIO' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow('EIO');
    memory.put(PATH, '');
    files.fault = () => null;
    await journal.append(stop('after'));
    await journal.close();
    expect(recordsIn(memory)).toMatchObject([
      { type: 'break', reason: 'replaced', kept: null, line: null, last_good_seq: 0, seq: 1 },
      { type: 'gap' },
      { reason: 'after' },
    ]);
  });

  it('notices that its file is empty now, also where it is the same one', async () => {
    const made = await failing();
    const file = await made.memory.openAppend(PATH);
    await file.truncate(0);
    await file.close();
    expect(await goOn(made)).toEqual(['gone', 'gap', 'after']);
  });

  it('goes on in the new file after a failure in the middle of beginning it', async () => {
    const { memory, files, open } = place();
    // No other file is touched, whatever it is called.
    memory.put('/log/null', 'text');
    const { journal } = await open();
    await journal.append(intent(1));
    await memory.unlink(PATH);
    files.fault = (operation) => (operation === 'rename' ? 'EIO' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow('deleted');
    await expect(journal.append(stop('refused'))).rejects.toThrow('EIO');
    expect(memory.held()).toBe(0);
    expect(memory.text('/log/null')).toBe('text');
    files.log.length = 0;
    files.fault = (operation) => (operation === 'write' && files.log.includes('rename') ? 'EIO' : null);
    await expect(journal.append(stop('refused'))).rejects.toThrow('EIO');
    files.fault = () => null;
    await journal.append(stop('after'));
    const found = recordsIn(memory);
    expect(found).toMatchObject([
      { type: 'break', seq: 2, reason: 'gone', open: [{ seq: 1, current: true }] },
      { type: 'gap', refused: 3 },
      { reason: 'after' },
    ]);
    await journal.close();
    let head = verifyLine(memory.text(PATH).split('\n')[0] as string, null);
    expect(head).toMatchObject({ ok: true });
    for (const line of memory.text(PATH).split('\n').slice(1, -1)) {
      head = verifyLine(line, head.ok ? head.head : GENESIS);
      expect(head).toMatchObject({ ok: true });
    }
  });
});
