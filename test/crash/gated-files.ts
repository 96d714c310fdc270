// The files of a broker that can be killed: each operation passes the gate, and a write can also be cut in the middle.
import type { JournalFile, JournalFiles } from '../../daemon/journal/journal-files.ts';
import type { Gate } from './gate.ts';

export const gatedFiles = (files: JournalFiles, gate: Gate): JournalFiles => {
  const guarded = (file: JournalFile, name: string): JournalFile => ({
    identity: () => gate.pass(`identity of ${name}`, () => file.identity()),
    read: (into, position) => gate.pass(`read of ${name}`, () => file.read(into, position)),
    datasync: () => gate.pass(`sync of ${name}`, () => file.datasync()),
    truncate: (size) => gate.pass(`truncation of ${name}`, () => file.truncate(size)),
    close: () => gate.pass(`close of ${name}`, () => file.close()),
    write: (bytes) =>
      gate.pass(`write to ${name}`, async () => {
        // A part first, which the file has when it is killed there; who writes goes on with the rest.
        const part = bytes.subarray(0, Math.ceil(bytes.length / 2));
        const written = await file.write(part);
        await gate.point(`in the middle of a write to ${name}`);
        return part.length < bytes.length ? written + (await file.write(bytes.subarray(part.length))) : written;
      }),
  });
  const named = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  return {
    openAppend: (path, mode) =>
      gate.pass(`opening of ${named(path)}`, async () => guarded(await files.openAppend(path, mode), named(path))),
    createNew: (path) =>
      gate.pass(`creation of ${named(path)}`, async () => guarded(await files.createNew(path), named(path))),
    identify: (path) => gate.pass(`look at ${named(path)}`, () => files.identify(path)),
    read: (path) => gate.pass(`text of ${named(path)}`, () => files.read(path)),
    link: (from, to) => gate.pass(`link to ${named(to)}`, () => files.link(from, to)),
    rename: (from, to) => gate.pass(`rename to ${named(to)}`, () => files.rename(from, to)),
    unlink: (path) => gate.pass(`unlink of ${named(path)}`, () => files.unlink(path)),
    list: (dir) => gate.pass('listing', () => files.list(dir)),
    syncDirectory: (path) => gate.pass('sync of a directory', () => files.syncDirectory(path)),
  };
};
