// The disk: files in memory that know what of them was synced, fail on order, and lose on a crash what a disk may lose.
import type { FileIdentity, JournalFile, JournalFiles } from '../../daemon/journal/journal-files.ts';
import type { StateFiles } from '../../daemon/state-files.ts';
import type { Chance } from './chance.ts';

interface Inode {
  readonly ino: number;
  bytes: Buffer;
  size: number;
  /** So much of the beginning is on the disk; anything before it is never rewritten. */
  synced: number;
}

/** `full`: no write gets in whole. `broken`: no sync succeeds. */
export type Condition = 'well' | 'full' | 'broken';

type Wait = <T>(what: string, work: () => T) => Promise<T>;

export class Disk {
  readonly #chance: Chance;
  #names = new Map<string, Inode>();
  #durable = new Map<string, Inode>();
  #inodes = 0;
  condition: Condition = 'well';
  /** Told of every sync that brought bytes to the disk, and of names that are durable. */
  synced: (path: string) => void = () => {};
  /** Told whenever other files have names, or names are durable. */
  named: () => void = () => {};
  /** How often it failed. */
  failures = 0;

  constructor(chance: Chance) {
    this.#chance = chance;
  }

  /** As the broker uses them; each operation waits its turn. */
  filesOver(wait: Wait): JournalFiles {
    const fileOf = (path: string, inode: Inode): JournalFile => {
      const name = path.slice(path.lastIndexOf('/') + 1);
      return {
        identity: () => wait(`identity of ${name}`, () => identityOf(inode)),
        write: (bytes) => wait(`write to ${name}`, () => this.#write(inode, bytes)),
        read: (into, position) =>
          wait(`read of ${name}`, () => inode.bytes.subarray(0, inode.size).copy(into, 0, position)),
        datasync: () => wait(`sync of ${name}`, () => this.#sync(path, inode)),
        truncate: (size) =>
          wait(`truncation of ${name}`, () => {
            this.#mayBeFull();
            inode.size = Math.min(inode.size, size);
            inode.synced = Math.min(inode.synced, size);
          }),
        close: () => wait(`close of ${name}`, () => {}),
      };
    };
    const named = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
    return {
      openAppend: (path) =>
        wait(`opening of ${named(path)}`, () => fileOf(path, this.#names.get(path) ?? this.#create(path))),
      createNew: (path) =>
        wait(`creation of ${named(path)}`, () => {
          if (this.#names.has(path)) throw failure('EEXIST');
          return fileOf(path, this.#create(path));
        }),
      identify: (path) =>
        wait(`look at ${named(path)}`, () => {
          const inode = this.#names.get(path);
          return inode ? identityOf(inode) : null;
        }),
      read: (path) => wait(`text of ${named(path)}`, () => (this.#names.has(path) ? this.text(path) : null)),
      link: (from, to) =>
        wait(`link to ${named(to)}`, () => {
          this.#mayBeFull();
          if (this.#names.has(to)) throw failure('EEXIST');
          this.#names.set(to, this.#existing(from));
        }),
      rename: (from, to) =>
        wait(`rename to ${named(to)}`, () => {
          this.#mayBeFull();
          this.#names.set(to, this.#existing(from));
          this.#names.delete(from);
          this.named();
        }),
      unlink: (path) =>
        wait(`unlink of ${named(path)}`, () => {
          this.#existing(path);
          this.#names.delete(path);
        }),
      list: (dir) => wait('listing', () => this.names(dir)),
      syncDirectory: (dir) =>
        wait(`sync of ${dir}`, () => {
          this.#mayBeBroken();
          const isIn = (path: string): boolean => path.startsWith(`${dir}/`);
          for (const path of this.#durable.keys()) if (isIn(path)) this.#durable.delete(path);
          for (const [path, inode] of this.#names) if (isIn(path)) this.#durable.set(path, inode);
          this.synced('');
          this.named();
        }),
    };
  }

  /** The state files, which are replaced whole and synced with their names. */
  stateFilesOver(wait: Wait, dir: string): StateFiles {
    const pathOf = (name: string): string => `${dir}/${name}`;
    return {
      pathOf,
      read: (name) => (this.#names.has(pathOf(name)) ? this.text(pathOf(name)) : null),
      write: (name, text) =>
        wait(`ledger ${name}`, () => {
          this.#mayBeFull();
          this.#mayBeBroken();
          this.put(pathOf(name), text);
        }),
    };
  }

  /** Another disk with the same on it, and all of that durable. */
  copy(): Disk {
    const copy = new Disk(this.#chance);
    const copies = new Map<Inode, Inode>();
    for (const [path, inode] of this.#names) {
      const { ino, size } = inode;
      const same = copies.get(inode) ?? { ino, size, synced: size, bytes: Buffer.from(inode.bytes.subarray(0, size)) };
      copies.set(inode, same);
      copy.#names.set(path, same);
    }
    copy.#durable = new Map(copy.#names);
    copy.#inodes = this.#inodes;
    return copy;
  }

  /** The process is gone. What it wrote stays, up to the middle of what it was writing. */
  killed(): void {
    for (const inode of new Set(this.#names.values())) this.#tear(inode, 0.3);
  }

  /** The power is gone: names that were not synced, and of unsynced bytes whatever the disk had not got to. */
  powerCut(): void {
    this.#names = new Map(this.#durable);
    for (const inode of new Set(this.#names.values())) this.#tear(inode, 1);
    for (const inode of this.#names.values()) inode.synced = inode.size;
    this.named();
  }

  names(dir: string): string[] {
    const names: string[] = [];
    for (const path of this.#names.keys()) if (path.startsWith(`${dir}/`)) names.push(path.slice(dir.length + 1));
    return names;
  }

  has(path: string): boolean {
    return this.#names.has(path);
  }

  /** Whether both are names of one file. */
  isSame(path: string, other: string): boolean {
    return this.#names.get(path) === this.#names.get(other);
  }

  text(path: string): string {
    const { bytes, size } = this.#existing(path);
    return bytes.toString('utf8', 0, size);
  }

  bytes(path: string): Buffer {
    const { bytes, size } = this.#existing(path);
    return bytes.subarray(0, size);
  }

  /** What a power cut at this moment would surely leave of a file. */
  durable(path: string): Buffer {
    const inode = this.#durable.get(path);
    return inode ? inode.bytes.subarray(0, inode.synced) : Buffer.alloc(0);
  }

  /** Tells one file under a name from another. */
  durableInode(path: string): number {
    return this.#durable.get(path)?.ino ?? 0;
  }

  remove(path: string): void {
    this.#names.delete(path);
    this.#durable.delete(path);
  }

  put(path: string, content: string | Uint8Array): void {
    const inode = this.#create(path);
    inode.bytes = Buffer.from(content);
    inode.size = inode.bytes.length;
    inode.synced = inode.size;
    this.#durable.set(path, inode);
  }

  #write(inode: Inode, bytes: Uint8Array): number {
    const isFull = this.condition === 'full';
    // A disk that fills up may take a beginning first; one that is well may take it in parts, too.
    const part = isFull || this.#chance.is(0.02) ? this.#chance.below(bytes.length + 1) : bytes.length;
    append(inode, bytes.subarray(0, part));
    if (isFull && (part === 0 || this.#chance.is(0.5))) throw this.#failure('ENOSPC');
    return part === 0 && bytes.length > 0 ? this.#write(inode, bytes) : part;
  }

  #sync(path: string, inode: Inode): void {
    this.#mayBeBroken();
    inode.synced = inode.size;
    this.synced(path);
  }

  #mayBeFull(): void {
    if (this.condition === 'full' && this.#chance.is(0.5)) throw this.#failure('ENOSPC');
  }

  #mayBeBroken(): void {
    if (this.condition === 'broken') throw this.#failure('EIO');
  }

  #failure(code: string): Error {
    this.failures += 1;
    return failure(code);
  }

  #tear(inode: Inode, probability: number): void {
    const loose = inode.size - inode.synced;
    if (loose > 0 && this.#chance.is(probability)) inode.size = inode.synced + this.#chance.below(loose + 1);
  }

  #create(path: string): Inode {
    this.#mayBeFull();
    this.#inodes += 1;
    const inode: Inode = { ino: this.#inodes, bytes: Buffer.alloc(0), size: 0, synced: 0 };
    this.#names.set(path, inode);
    return inode;
  }

  #existing(path: string): Inode {
    const inode = this.#names.get(path);
    if (!inode) throw failure('ENOENT');
    return inode;
  }
}

const append = (inode: Inode, bytes: Uint8Array): void => {
  const size = inode.size + bytes.length;
  if (size > inode.bytes.length) {
    const larger = Buffer.alloc(Math.max(size, inode.bytes.length * 2, 4096));
    inode.bytes.copy(larger, 0, 0, inode.size);
    inode.bytes = larger;
  }
  inode.bytes.set(bytes, inode.size);
  inode.size = size;
};

const identityOf = ({ ino, size }: Inode): FileIdentity => ({ dev: 1, ino, size, regular: true });

const failure = (code: string) => Object.assign(new Error(`${code}: simulated`), { code });
