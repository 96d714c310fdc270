// A file system in memory that forgets on a crash what was not synced: quick, and honest about what fdatasync is for.
import type { FileIdentity, JournalFile, JournalFiles } from '../../daemon/journal/journal-files.ts';

interface Inode {
  readonly ino: number;
  data: Buffer;
  durable: Buffer;
}

export interface MemoryFiles extends JournalFiles {
  /**
   * What is there after a power failure: synced names of synced bytes, and of the bytes appended since as many as `survives`
   * says (it gets their number). Whoever still uses the former files no longer reaches these.
   */
  crash(survives: (unsynced: number) => number): MemoryFiles;
  text(path: string): string;
  put(path: string, text: string): void;
  names(): string[];
  /** How many files are open. */
  held(): number;
}

export function memoryFiles(found: ReadonlyMap<string, Inode> = new Map()): MemoryFiles {
  const names = new Map<string, Inode>(found);
  let durableNames = new Map<string, Inode>(found);
  let held = 0;
  let inodes = Math.max(0, ...[...found.values()].map(({ ino }) => ino));

  const create = (path: string): Inode => {
    inodes += 1;
    const inode = { ino: inodes, data: Buffer.alloc(0), durable: Buffer.alloc(0) };
    names.set(path, inode);
    return inode;
  };
  const existing = (path: string): Inode => {
    const inode = names.get(path);
    if (inode === undefined) throw failure('ENOENT');
    return inode;
  };
  const identityOf = (inode: Inode): FileIdentity => ({
    dev: 1,
    ino: inode.ino,
    size: inode.data.length,
    regular: true,
  });
  const opened = (inode: Inode): JournalFile => {
    held += 1;
    return fileOf(inode);
  };
  const fileOf = (inode: Inode): JournalFile => ({
    identity: async () => identityOf(inode),
    write: async (bytes) => {
      inode.data = Buffer.concat([inode.data, bytes]);
      return bytes.length;
    },
    read: async (into, position) => inode.data.copy(into, 0, position),
    datasync: async () => {
      inode.durable = inode.data;
    },
    truncate: async (size) => {
      inode.data = inode.data.subarray(0, size);
    },
    close: async () => {
      held -= 1;
    },
  });

  return {
    openAppend: async (path) => opened(names.get(path) ?? create(path)),
    createNew: async (path) => {
      if (names.has(path)) throw failure('EEXIST');
      return opened(create(path));
    },
    identify: async (path) => {
      const inode = names.get(path);
      return inode === undefined ? null : identityOf(inode);
    },
    read: async (path) => names.get(path)?.data.toString() ?? null,
    link: async (from, to) => {
      if (names.has(to)) throw failure('EEXIST');
      names.set(to, existing(from));
    },
    rename: async (from, to) => {
      names.set(to, existing(from));
      names.delete(from);
    },
    unlink: async (path) => {
      existing(path);
      names.delete(path);
    },
    list: async (dir) =>
      [...names.keys()].filter((path) => path.startsWith(`${dir}/`)).map((path) => path.slice(dir.length + 1)),
    syncDirectory: async (dir) => {
      const others = ([path]: readonly [string, Inode]) => !path.startsWith(`${dir}/`);
      const own = (entry: readonly [string, Inode]) => !others(entry);
      durableNames = new Map([...[...durableNames].filter(others), ...[...names].filter(own)]);
    },
    crash(survives) {
      // By inode, so that two names of one file stay that.
      const after = new Map<Inode, Inode>();
      for (const inode of durableNames.values()) {
        if (!after.has(inode)) after.set(inode, afterCrash(inode, survives));
      }
      return memoryFiles(new Map([...durableNames].map(([name, inode]) => [name, after.get(inode) as Inode])));
    },
    text: (path) => existing(path).data.toString(),
    put: (path, text) => {
      const inode = create(path);
      inode.data = Buffer.from(text);
      inode.durable = inode.data;
      durableNames.set(path, inode);
    },
    names: () => [...names.keys()],
    held: () => held,
  };
}

function afterCrash({ ino, data, durable }: Inode, survives: (unsynced: number) => number): Inode {
  const appended = data.length - durable.length;
  const isAppend = appended > 0 && data.subarray(0, durable.length).equals(durable);
  const left = isAppend ? data.subarray(0, durable.length + survives(appended)) : durable;
  return { ino, data: left, durable: left };
}

const failure = (code: string) => Object.assign(new Error(`${code}: in memory`), { code });
