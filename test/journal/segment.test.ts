import { describe, expect, it } from 'vitest';
import { isSame, segmentOf, writeAll } from '../../daemon/journal/segment.ts';
import { faultyFiles } from './faulty-files.ts';
import { memoryFiles } from './memory-files.ts';

const PATH = '/log/audit.jsonl';
const opened = async (text: string) => {
  const memory = memoryFiles();
  memory.put(PATH, text);
  const files = faultyFiles(memory);
  const file = await files.openAppend(PATH);
  const identity = await file.identity();
  return {
    memory,
    files,
    file,
    segment: segmentOf(files, PATH, file, { identity, size: text.length, lastLine: null }),
  };
};

describe('the open file', () => {
  it('is looked at, written and synced at each append, and its end is known afterwards', async () => {
    const { memory, files, segment } = await opened('one\n');
    files.log.length = 0;
    await segment.append(Buffer.from('two\nthree\n'), 'three');
    expect(files.log).toEqual(['identify', 'write', 'datasync']);
    expect(segment.acknowledged()).toMatchObject({ identity: { dev: 1, ino: 1 }, size: 14, lastLine: 'three' });
    await segment.append(Buffer.from('four\n'), 'four');
    expect(segment.acknowledged()).toMatchObject({ size: 19, lastLine: 'four' });
    expect(memory.text(PATH)).toBe('one\ntwo\nthree\nfour\n');
  });

  it.each([
    ['deleted', 'the file was deleted', (memory: ReturnType<typeof memoryFiles>) => memory.unlink(PATH)],
    ['another', 'the file was replaced by another', async (memory) => memory.put(PATH, 'one\n')],
    [
      'longer',
      'somebody else wrote to the file',
      async (memory) => void (await (await memory.openAppend(PATH)).write(Buffer.from('x'))),
    ],
    ['shorter', 'somebody else wrote to the file', async (memory) => (await memory.openAppend(PATH)).truncate(1)],
  ] as [string, string, (memory: ReturnType<typeof memoryFiles>) => Promise<void>][])(
    'is not written to when it is %s, and what is known of its end stays',
    async (_, reason, act) => {
      const { memory, files, segment } = await opened('one\n');
      await act(memory);
      files.log.length = 0;
      await expect(segment.append(Buffer.from('two\n'), 'two')).rejects.toThrow(reason);
      expect(files.log).toEqual(['identify']);
      expect(segment.acknowledged()).toMatchObject({ size: 4, lastLine: null });
    },
  );

  it('is the same where device and number are', () => {
    const file = { dev: 1, ino: 2 };
    expect(isSame(file, { ...file })).toBe(true);
    expect(isSame(file, { ...file, dev: 2 })).toBe(false);
    expect(isSame(file, { ...file, ino: 1 })).toBe(false);
  });

  it('gets all bytes in as many writes as it takes, and none for none', async () => {
    const { memory, files, file } = await opened('');
    files.fault = () => 3;
    files.log.length = 0;
    await writeAll(file, Buffer.from('0123456'));
    expect(files.log).toEqual(['write', 'write', 'write']);
    await writeAll(file, Buffer.alloc(0));
    expect(files.log).toHaveLength(3);
    expect(memory.text(PATH)).toBe('0123456');
    files.fault = () => 0;
    await expect(writeAll(file, Buffer.from('x'))).rejects.toThrow('takes no more bytes');
  });
});
