// Which journal a verb is about, and what it is checked against: the options --log, --state, --key and FILE.
import { readdir, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Head } from '../journal/chain.ts';
import { readPublicKey, type VerifyingKey } from '../journal/checkpoint.ts';
import { anchorIn, CHECKPOINT_FILE, PUBLIC_KEY_FILE } from '../journal/seal.ts';
import { fileSource, journalIn, type Source } from '../journal/sources.ts';
import { type Options, Refusal } from './command.ts';

export const DEFAULT_LOG = '/var/log/qmcp';
export const DEFAULT_STATE = '/var/lib/qmcp';

export const LOG_OPTION = {
  log: { type: 'string', value: 'DIR', text: `the journal is in DIR (default ${DEFAULT_LOG})`, words: 'directory' },
} as const satisfies Options;

export const PLACE_OPTIONS = {
  ...LOG_OPTION,
  state: {
    type: 'string',
    value: 'DIR',
    text: 'the public key and the newest checkpoint are in DIR (journal.pub, checkpoint.json; else those beside FILE)',
    words: 'directory',
  },
  key: {
    type: 'string',
    multiple: true,
    value: 'FILE',
    text: 'trust this public key and no other; may be repeated',
    words: 'file',
  },
} as const satisfies Options;

export interface PlaceFlags {
  readonly log?: string | undefined;
  readonly state?: string | undefined;
  readonly key?: readonly string[] | undefined;
}

/**
 * Hands the files to read to `use`: one named file, or those of the journal's directory. Rejects with Refusal where there
 * is no such file.
 */
export async function withSources<T>(
  file: string | undefined,
  flags: PlaceFlags,
  use: (sources: readonly Source[]) => Promise<T>,
): Promise<T> {
  const sources = await sourcesOf(file, flags);
  try {
    return await use(sources);
  } finally {
    for (const source of sources) await source.close();
  }
}

async function sourcesOf(file: string | undefined, flags: PlaceFlags): Promise<Source[]> {
  const path = file ?? flags.log ?? DEFAULT_LOG;
  try {
    return file === undefined ? await journalIn(path) : [await fileSource(path)];
  } catch (error) {
    throw new Refusal(
      `${path} cannot be read (${(error as NodeJS.ErrnoException).code}). Name the file or its directory.`,
    );
  }
}

/**
 * The keys and the newest checkpoint to verify against, from the state directory and from beside the journal. To be read
 * before the journal is opened, which then is never older than the checkpoint.
 */
export async function trustOf(
  file: string | undefined,
  flags: PlaceFlags,
): Promise<{ keys: VerifyingKey[]; keyFiles: string[]; anchor: Head | null; anchorFiles: string[] }> {
  const beside = file === undefined ? (flags.log ?? DEFAULT_LOG) : dirname(file);
  const state = flags.state ?? (resolve(beside) === DEFAULT_LOG ? DEFAULT_STATE : null);
  // Keys of one's own count alone; else those of the state directory, which the journal's owner cannot be without.
  const named = flags.key ?? (state === null ? [] : await keyFilesIn(state));
  const keyFiles = named.length > 0 ? [...named] : await keyFilesIn(beside);
  const keyTexts = await Promise.all(keyFiles.map((path) => readText(path)));
  const keys = keyTexts.map((text, index) => {
    const key = readPublicKey(text ?? '');
    if (key === null) throw new Refusal(`${keyFiles[index]} holds no public key of a journal (base64 of 32 bytes).`);
    return key;
  });
  const anchors: { head: Head; path: string }[] = [];
  for (const path of [...(state === null ? [] : [`${state}/${CHECKPOINT_FILE}`]), `${beside}/${CHECKPOINT_FILE}`]) {
    const text = await readText(path);
    for (const keyText of keyTexts) {
      const anchor = anchorIn(text, keyText ?? '');
      if (anchor.kind === 'head') anchors.push({ head: anchor.head, path });
    }
  }
  const newest = anchors.toSorted((a, b) => b.head.seq - a.head.seq)[0];
  return { keys, keyFiles, anchor: newest?.head ?? null, anchorFiles: anchors.map(({ path }) => path) };
}

/** journal.pub and the public halves of lost keys beside it. */
async function keyFilesIn(dir: string): Promise<string[]> {
  try {
    const names = await readdir(dir);
    return names
      .filter((name) => name === PUBLIC_KEY_FILE || /^journal\.pub\.[0-9a-f]{16}$/.test(name))
      .map((name) => `${dir}/${name}`);
  } catch {
    return [];
  }
}

async function readText(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new Refusal(`${path} cannot be read (${(error as NodeJS.ErrnoException).code}).`);
  }
}
