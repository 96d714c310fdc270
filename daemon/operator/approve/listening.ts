// The broker's door to a person, <run>/confirm.sock, taken where nobody else has it.
import { linkSync, rmSync, statSync } from 'node:fs';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Refusal } from '../command.ts';

export interface Listening {
  /** Whether connections still come here: systemd puts its own socket in place of another's. */
  readonly isOurs: () => boolean;
  readonly leave: () => void;
}

/** Hands every connection to `visit`. Rejects with Refusal where somebody else listens, or the place is not open to us. */
export const listenAlone = async (path: string, visit: (visitor: Socket) => void): Promise<Listening> => {
  // Made beside it and then put there, so that it is never there half made; and the end of a server removes the file that it
  // was made as, whoever's the one at `path` may be by then.
  const made = `${path}.${process.pid}`;
  const server = createServer(visit);
  try {
    await listening(server, made);
    try {
      await put(made, path);
    } finally {
      rmSync(made, { force: true });
    }
  } catch (error) {
    server.close();
    if (error instanceof Refusal) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new Refusal(`${path} cannot be made (${code}). Are you in the group qubes, and has the daemon been started?`);
  }
  const inode = inodeOf(path);
  const isOurs = (): boolean => inodeOf(path) === inode;
  return {
    isOurs,
    leave: () => {
      server.close();
      if (isOurs()) rmSync(path, { force: true });
    },
  };
};

/** Who may reach it besides its owner: the group, as it is with the unit's socket. */
const NOT_FOR_OTHERS = 0o117;

const listening = async (server: Server, path: string): Promise<void> => {
  const before = process.umask(NOT_FOR_OTHERS);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  } finally {
    process.umask(before);
  }
};

const put = async (made: string, path: string): Promise<void> => {
  for (;;) {
    try {
      return linkSync(made, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    if (await answers(path)) throw new Refusal(taken(path));
    // Left behind by a process that was killed.
    rmSync(path, { force: true });
  }
};

const taken = (path: string): string =>
  `Somebody already listens for questions on ${path}. If it is the desktop of your user: systemctl --user stop qmcp-confirm.socket`;

const answers = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createConnection(path);
    const tell = (is: boolean): void => {
      probe.destroy();
      resolve(is);
    };
    probe.once('connect', () => tell(true)).once('error', () => tell(false));
  });

const inodeOf = (path: string): number | null => statSync(path, { throwIfNoEntry: false })?.ino ?? null;
