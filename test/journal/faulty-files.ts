// The real files with faults on demand: each operation asks the plan first, and may fail, write short or do nothing.
import { type JournalFile, type JournalFiles, realFiles } from '../../daemon/journal/journal-files.ts';

export type Operation =
  | 'openAppend'
  | 'createNew'
  | 'identify'
  | 'link'
  | 'rename'
  | 'unlink'
  | 'list'
  | 'syncDirectory'
  | 'write'
  | 'datasync'
  | 'truncate'
  | 'read';

/** What happens to one operation: an errno to fail with, a number of bytes after which a write ends, or null for nothing. */
export type Fault = string | number | null;

export interface FaultyFiles extends JournalFiles {
  /** Consulted before every operation, with how many of its kind came before. */
  fault: (operation: Operation, count: number) => Fault;
  readonly log: Operation[];
}

export function faultyFiles(files: JournalFiles = realFiles): FaultyFiles {
  const counts = new Map<Operation, number>();
  const next = (operation: Operation): Fault => {
    const count = counts.get(operation) ?? 0;
    counts.set(operation, count + 1);
    faulty.log.push(operation);
    return faulty.fault(operation, count);
  };
  const before = (operation: Operation) => {
    const fault = next(operation);
    if (typeof fault === 'string') throw Object.assign(new Error(`${fault}: injected`), { code: fault });
  };
  const guarded = (file: JournalFile): JournalFile => ({
    identity: () => file.identity(),
    close: () => file.close(),
    read: async (into, position) => {
      before('read');
      return file.read(into, position);
    },
    datasync: async () => {
      before('datasync');
      return file.datasync();
    },
    truncate: async (size) => {
      before('truncate');
      return file.truncate(size);
    },
    write: async (bytes) => {
      const fault = next('write');
      if (typeof fault === 'number') return fault === 0 ? 0 : file.write(bytes.subarray(0, fault));
      if (fault === null) return file.write(bytes);
      // A failing write may have written something: half of it is the worst that a reader has to cope with.
      await file.write(bytes.subarray(0, bytes.length >> 1));
      throw Object.assign(new Error(`${fault}: injected`), { code: fault });
    },
  });
  const faulty: FaultyFiles = {
    fault: () => null,
    log: [],
    openAppend: async (path, mode) => {
      before('openAppend');
      return guarded(await files.openAppend(path, mode));
    },
    createNew: async (path) => {
      before('createNew');
      return guarded(await files.createNew(path));
    },
    identify: async (path) => {
      before('identify');
      return files.identify(path);
    },
    read: async (path) => {
      before('read');
      return files.read(path);
    },
    link: async (from, to) => {
      before('link');
      return files.link(from, to);
    },
    rename: async (from, to) => {
      before('rename');
      return files.rename(from, to);
    },
    unlink: async (path) => {
      before('unlink');
      return files.unlink(path);
    },
    list: async (dir) => {
      before('list');
      return files.list(dir);
    },
    syncDirectory: async (path) => {
      before('syncDirectory');
      return files.syncDirectory(path);
    },
  };
  return faulty;
}
