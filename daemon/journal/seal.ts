// The journal's key and its newest checkpoint outside the journal, both in the state directory: what the journal is held
// against, so that a cut end shows. Copies of the public key and the checkpoint stand beside the journal, so that the
// directory can be verified elsewhere; only those in the state directory are believed here.
import { randomBytes } from 'node:crypto';
import { dirname } from 'node:path';
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
import { type JournalFiles, realFiles } from './journal-files.ts';
import { writeAll } from './segment.ts';
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
export async function openSeal(state: string, log: string, files: JournalFiles = realFiles): Promise<Seal> {
  const { seed, lostKey } = await keyIn(files, state, log);
  // Whoever made it may have been killed before its name was on disk; without it, its public half would tell of a loss.
  await files.syncDirectory(state);
  const publicKey = `${publicKeyOf(seed).toString('base64')}\n`;
  for (const dir of [state, log]) {
    if ((await files.read(`${dir}/${PUBLIC_KEY_FILE}`)) !== publicKey)
      await replace(files, `${dir}/${PUBLIC_KEY_FILE}`, publicKey, 0o644);
  }
  const signer = signerOf(seed);
  return {
    signer,
    lostKey,
    anchor: anchorIn(await files.read(`${state}/${CHECKPOINT_FILE}`), publicKey),
    async keep(signed) {
      const text = `${canonical(signed)}\n`;
      await replace(files, `${state}/${CHECKPOINT_FILE}`, text, 0o600);
      // The copy proves nothing that the original does not, so it need not be durable.
      await replace(files, `${log}/${CHECKPOINT_FILE}`, text, 0o600, false);
    },
  };
}

/** The key, made if there is none. Where only the public half is left, in either place, that is kept under another name. */
async function keyIn(
  files: JournalFiles,
  state: string,
  log: string,
): Promise<{ seed: Buffer; lostKey: string | null }> {
  const path = `${state}/${KEY_FILE}`;
  const text = await files.read(path);
  if (text !== null) {
    const seed = readSeed(text);
    if (seed !== null) return { seed, lostKey: null };
    throw new JournalUnavailable(`${path} holds no key; restore it, or move it away for a new one`);
  }
  let lostKey: string | null = null;
  for (const former of [`${log}/${PUBLIC_KEY_FILE}`, `${state}/${PUBLIC_KEY_FILE}`]) {
    const text = await files.read(former);
    if (text === null) continue;
    lostKey = readPublicKey(text)?.keyId ?? 'unreadable';
    await files.rename(former, `${former}.${lostKey}`);
    await files.syncDirectory(dirname(former));
  }
  const seed = randomBytes(KEY_BYTES);
  await replace(files, path, `${seed.toString('base64')}\n`, 0o600);
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

/** Old content or new content, never a mixture, unless it need not be durable; else it is when it resolves. */
async function replace(files: JournalFiles, path: string, text: string, mode: number, isDurable = true): Promise<void> {
  const file = await files.openAppend(`${path}.new`, mode);
  try {
    // An earlier attempt may have left a part.
    await file.truncate(0);
    await writeAll(file, Buffer.from(text));
    if (isDurable) await file.datasync();
  } finally {
    await file.close();
  }
  await files.rename(`${path}.new`, path);
  if (isDurable) await files.syncDirectory(dirname(path));
}
