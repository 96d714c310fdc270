// The journal's key and its newest checkpoint outside the journal, both in the state directory: what the journal is held
// against, so that a cut end shows. Copies of the public key and the checkpoint stand beside the journal, so that the
// directory can be verified elsewhere; only those in the state directory are believed here.
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { canonical } from './canonical.ts';
import type { Head } from './chain.ts';
import {
  isSignedBy,
  KEY_BYTES,
  publicKeyOf,
  readPublicKey,
  readSeed,
  readStatement,
  type SignedHead,
  type Signer,
  signerOf,
} from './checkpoint.ts';
import { realFiles } from './journal-files.ts';
import { JournalUnavailable } from './unavailable.ts';

export const PUBLIC_KEY_FILE = 'journal.pub';
export const CHECKPOINT_FILE = 'checkpoint.json';
const KEY_FILE = 'journal.key';

/** What the second file says: nothing yet, a head with a good signature, or something else. */
export type Anchor =
  | { readonly kind: 'none' }
  | { readonly kind: 'bad' }
  | { readonly kind: 'head'; readonly head: Head };

export interface Seal {
  readonly signer: Signer;
  readonly anchor: Anchor;
  /** The name of the key that had to be replaced because only its public half was left; else null. */
  readonly lostKey: string | null;
  /** Puts the newest checkpoint into the second file, durably. */
  keep(signed: SignedHead): Promise<void>;
}

/**
 * Opens, or at the first start makes, the key and the checkpoint of a journal. Rejects with what the disk says, or with
 * JournalUnavailable where the key file holds no key.
 */
export async function openSeal(state: string, log: string): Promise<Seal> {
  const { seed, lostKey } = await keyIn(state, log);
  const publicKey = `${publicKeyOf(seed).toString('base64')}\n`;
  for (const dir of [state, log]) {
    if ((await textOf(`${dir}/${PUBLIC_KEY_FILE}`)) !== publicKey)
      await replace(dir, PUBLIC_KEY_FILE, publicKey, 0o644);
  }
  const signer = signerOf(seed);
  return {
    signer,
    lostKey,
    anchor: anchorIn(await textOf(`${state}/${CHECKPOINT_FILE}`), publicKey),
    async keep(signed) {
      const text = `${canonical(signed)}\n`;
      await replace(state, CHECKPOINT_FILE, text, 0o600);
      await writeCopy(log, text);
    },
  };
}

/** The key, made if there is none. Where only the public half is left, in either place, that is kept under another name. */
async function keyIn(state: string, log: string): Promise<{ seed: Buffer; lostKey: string | null }> {
  const path = `${state}/${KEY_FILE}`;
  const text = await textOf(path);
  if (text !== null) {
    const seed = readSeed(text);
    if (seed !== null) return { seed, lostKey: null };
    throw new JournalUnavailable(`${path} holds no key; restore it, or move it away for a new one`);
  }
  let lostKey: string | null = null;
  for (const former of [`${log}/${PUBLIC_KEY_FILE}`, `${state}/${PUBLIC_KEY_FILE}`]) {
    const text = await textOf(former);
    if (text === null) continue;
    lostKey = readPublicKey(text)?.keyId ?? 'unreadable';
    await rename(former, `${former}.${lostKey}`);
  }
  const seed = randomBytes(KEY_BYTES);
  await replace(state, KEY_FILE, `${seed.toString('base64')}\n`, 0o600);
  return { seed, lostKey };
}

/** What a checkpoint file says to who trusts this public key. */
export function anchorIn(text: string | null, publicKey: string): Anchor {
  if (text === null) return { kind: 'none' };
  const key = readPublicKey(publicKey);
  try {
    const signed = JSON.parse(text) as Partial<SignedHead>;
    const head = readStatement(signed);
    return head !== null && key !== null && isSignedBy(signed, [key]) ? { kind: 'head', head } : { kind: 'bad' };
  } catch {
    return { kind: 'bad' };
  }
}

/** The text of a small file, null where there is none. */
async function textOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, { encoding: 'utf8', flag: constants.O_RDONLY | constants.O_NOFOLLOW });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Old content or new content, never a mixture, and durable when it resolves. */
async function replace(dir: string, name: string, text: string, mode: number): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  const file = await open(`${dir}/${name}.new`, flags, mode);
  try {
    // The mode of open is subject to the umask, and to what an earlier attempt left.
    await file.chmod(mode);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${dir}/${name}.new`, `${dir}/${name}`);
  await realFiles.syncDirectory(dir);
}

// The copy proves nothing that the original does not, so it need not be durable.
async function writeCopy(log: string, text: string): Promise<void> {
  await writeFile(`${log}/${CHECKPOINT_FILE}.new`, text, { mode: 0o600 });
  await rename(`${log}/${CHECKPOINT_FILE}.new`, `${log}/${CHECKPOINT_FILE}`);
}
