// The operator's signing key: a file that only its owner reads, made once by --enroll.
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';
import nacl from 'tweetnacl';

const SEED = /^[A-Za-z0-9+/]{43}=\n?$/;
const MAX_KEY_FILE_BYTES = 256;

/** Where the key lies unless --key says otherwise (XDG base directory specification). */
export const defaultKeyFile = (env: NodeJS.ProcessEnv): string => {
  const data = env.XDG_DATA_HOME;
  return join(data && isAbsolute(data) ? data : join(homedir(), '.local', 'share'), 'qmcp-confirm', 'key');
};

export class KeyError extends Error {}

/** What a key file holds: 32 bytes. The key pair is derived from it when it is needed, which takes a while. */
export type Seed = Uint8Array;

/** The seed in `file`. Throws KeyError with a sentence when it is missing, open to others or no key. */
export const loadSeed = (file: string): Seed => {
  const seed = SEED.exec(readPrivately(file));
  if (!seed) throw new KeyError(`${file} does not hold a key. Make a new one with qmcp-confirm --enroll --rotate.`);
  return Uint8Array.from(Buffer.from(seed[0], 'base64'));
};

/** tweetnacl's secret key, 64 bytes. */
export const secretKeyOf = (seed: Seed): Uint8Array => nacl.sign.keyPair.fromSeed(seed).secretKey;

const readPrivately = (file: string): string => {
  let fd: number;
  try {
    fd = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new KeyError(`${file} cannot be read: ${error}.`);
    throw new KeyError(`There is no key at ${file}. Make one with qmcp-confirm --enroll.`);
  }
  try {
    // Of the open file, so that what is checked is what is read.
    const { mode, uid, size } = fstatSync(fd);
    if ((mode & 0o077) !== 0) throw new KeyError(`${file} is open to other users. Run chmod 600 on it.`);
    if (uid !== process.getuid?.()) throw new KeyError(`${file} belongs to another user. Enrol as this user.`);
    if (size > MAX_KEY_FILE_BYTES) return '';
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
};

/** Base64 of the public half, as `<etc>/confirm.pub` holds it. */
export const publicHalf = (seed: Seed): string =>
  Buffer.from(nacl.sign.keyPair.fromSeed(seed).publicKey).toString('base64');

/**
 * Makes a key at `file` and returns its seed. An existing key is an error, unless `rotate`: then it is kept
 * beside the new one as `<file>.<suffix>`, so that receipts of the past can still be checked.
 */
export const makeKey = (file: string, rotate: boolean, suffix: string): Seed => {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  if (rotate) setAside(file, suffix);
  const seed = nacl.randomBytes(nacl.sign.seedLength);
  try {
    writeFileSync(file, `${Buffer.from(seed).toString('base64')}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw new KeyError(`${file} cannot be written: ${error}.`);
    throw new KeyError(`There already is a key at ${file}. Replace it with qmcp-confirm --enroll --rotate.`);
  }
  return seed;
};

const setAside = (file: string, suffix: string): void => {
  try {
    renameSync(file, `${file}.${suffix}`);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new KeyError(`${file} cannot be moved: ${error}.`);
  }
};
