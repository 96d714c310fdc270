import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nacl from 'tweetnacl';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { isSignedBy, keyId, publicKeyOf, readPublicKey, signerOf } from '../../daemon/journal/checkpoint.ts';
import type { JournalFiles } from '../../daemon/journal/journal-files.ts';
import { anchorIn, CHECKPOINT_FILE, openSeal, PUBLIC_KEY_FILE } from '../../daemon/journal/seal.ts';
import { JournalUnavailable } from '../../daemon/journal/unavailable.ts';
import { faultyFiles } from './faulty-files.ts';
import { type MemoryFiles, memoryFiles } from './memory-files.ts';
import { openPaths } from './open-paths.ts';

const SEED = Buffer.alloc(32, 7);
const publicText = () => `${publicKeyOf(SEED).toString('base64')}\n`;
const HEAD = { seq: 5, hash: 'ab'.repeat(32) };

let base: string;
let state: string;
let log: string;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), 'qmcp-seal-'));
  onTestFinished(() => rm(base, { recursive: true, force: true }));
  [state, log] = [join(base, 'state'), join(base, 'log')];
  await mkdir(state);
  await mkdir(log);
});

const text = (dir: string, name: string) => readFile(join(dir, name), 'utf8');
const modeOf = async (dir: string, name: string) => (await stat(join(dir, name))).mode & 0o777;
const ids = async (dir: string) => (await stat(join(dir, PUBLIC_KEY_FILE))).ino;

describe('the key of a journal', () => {
  it('is made at the first start, and is the same at the next', async () => {
    const first = await openSeal(state, log);
    expect(first).toMatchObject({ anchor: { kind: 'none' }, lostKey: null });
    expect(Buffer.from(await text(state, 'journal.key'), 'base64')).toHaveLength(32);
    expect(await text(state, 'journal.key')).toMatch(/^\S+\n$/);
    expect((await openSeal(state, log)).signer.keyId).toBe(first.signer.keyId);
    expect((await readdir(state)).sort()).toEqual(['journal.key', 'journal.pub']);
    expect(await readdir(log)).toEqual(['journal.pub']);
    expect(openPaths().filter((path) => path.startsWith(base))).toEqual([]);
  });

  it('is that in the file, and its public half stands in both places for everybody, whatever stood there', async () => {
    await writeFile(join(state, 'journal.key'), `${SEED.toString('base64')}\n`);
    await writeFile(join(log, PUBLIC_KEY_FILE), 'garbage');
    const { signer, lostKey } = await openSeal(state, log);
    expect([signer.keyId, lostKey]).toEqual([keyId(publicKeyOf(SEED)), null]);
    for (const dir of [state, log]) {
      expect(await text(dir, PUBLIC_KEY_FILE)).toBe(publicText());
      expect(await modeOf(dir, PUBLIC_KEY_FILE)).toBe(0o644);
    }
  });

  it('does not write its public half again where it stands already', async () => {
    await openSeal(state, log);
    const before = [await ids(state), await ids(log)];
    await openSeal(state, log);
    expect([await ids(state), await ids(log)]).toEqual(before);
  });

  it('is not made anew where its file holds none, or cannot be read', async () => {
    await writeFile(join(state, 'journal.key'), 'garbage');
    await expect(openSeal(state, log)).rejects.toThrow(JournalUnavailable);
    await expect(openSeal(state, log)).rejects.toThrow(/journal\.key holds no key/);
    expect(await text(state, 'journal.key')).toBe('garbage');
    await rm(join(state, 'journal.key'));
    await writeFile(join(base, 'elsewhere'), SEED.toString('base64'));
    await symlink(join(base, 'elsewhere'), join(state, 'journal.key'));
    await expect(openSeal(state, log)).rejects.toThrow('ELOOP');
  });

  it('is known to be lost where a public half that nobody can read is left, which is kept', async () => {
    await writeFile(join(log, PUBLIC_KEY_FILE), 'garbage');
    expect((await openSeal(state, log)).lostKey).toBe('unreadable');
    expect(await text(log, `${PUBLIC_KEY_FILE}.unreadable`)).toBe('garbage');
  });

  it('that was lost is named by the half in the state directory, which is believed, where the two differ', async () => {
    await writeFile(join(log, PUBLIC_KEY_FILE), 'garbage');
    await writeFile(join(state, PUBLIC_KEY_FILE), publicText());
    expect((await openSeal(state, log)).lostKey).toBe(keyId(publicKeyOf(SEED)));
    expect(await text(log, `${PUBLIC_KEY_FILE}.unreadable`)).toBe('garbage');
    expect(await text(state, `${PUBLIC_KEY_FILE}.${keyId(publicKeyOf(SEED))}`)).toBe(publicText());
  });
});

/** The files of a process that is killed at the operation with that number: neither that one nor any after it happens. */
const killedAt = (files: MemoryFiles, number: number): JournalFiles => {
  let count = 0;
  const dying = faultyFiles(files);
  dying.fault = () => (count++ >= number ? 'killed' : null);
  return dying;
};
const OPERATIONS = 40;

describe('the key of a journal, over kills and power cuts', () => {
  const textsIn = (files: MemoryFiles) => files.names().map((name) => files.text(name));

  it('is known to nobody before it is surely on disk, wherever two starts are killed before one goes well', async () => {
    let ends = 0;
    for (let first = 0; first < OPERATIONS; first += 1) {
      for (let second = 0; second < OPERATIONS; second += 1) {
        const files = memoryFiles();
        for (const number of [first, second, OPERATIONS]) {
          const end = await openSeal('/state', '/log', killedAt(files, number)).catch(() => null);
          ends += end === null ? 1 : 0;
          // Who finds the public half and no key takes the key for lost.
          expect(
            (
              await openSeal(
                '/state',
                '/log',
                files.crash(() => 0),
              )
            ).lostKey,
            `${first}, ${second}`,
          ).toBeNull();
        }
      }
    }
    expect(ends).toBeGreaterThan(OPERATIONS);
  });

  it('that was lost leaves its public half under another name, wherever the start that makes a new one is killed', async () => {
    for (let number = 0; number < OPERATIONS; number += 1) {
      const files = memoryFiles();
      files.put(`/log/${PUBLIC_KEY_FILE}`, publicText());
      await openSeal('/state', '/log', killedAt(files, number)).catch(() => null);
      const left = files.crash(() => 0);
      expect(textsIn(left)).toContain(publicText());
      await openSeal('/state', '/log', left);
      expect(textsIn(left)).toContain(publicText());
    }
  });
});

describe('the newest checkpoint', () => {
  it('is kept in both places, for nobody else to read, and is what the next start holds the journal against', async () => {
    const { signer, keep } = await openSeal(state, log);
    await keep(signer.signHead({ ...HEAD, seq: 4 }, 0));
    await keep(signer.signHead(HEAD, 0));
    expect((await openSeal(state, log)).anchor).toEqual({ kind: 'head', head: HEAD });
    expect(await text(state, CHECKPOINT_FILE)).toMatch(/^\{"key":.*\}\n$/);
    expect(await text(log, CHECKPOINT_FILE)).toBe(await text(state, CHECKPOINT_FILE));
    expect([await modeOf(state, CHECKPOINT_FILE), await modeOf(log, CHECKPOINT_FILE)]).toEqual([0o600, 0o600]);
  });

  it('beside the journal alone is not believed', async () => {
    const { signer, keep } = await openSeal(state, log);
    await keep(signer.signHead(HEAD, 0));
    await rm(join(state, CHECKPOINT_FILE));
    expect((await openSeal(state, log)).anchor).toEqual({ kind: 'none' });
  });

  it('takes the place of what a crash left, whatever mode that has, and of no file that a link there points to', async () => {
    const { signer, keep } = await openSeal(state, log);
    await writeFile(join(state, `${CHECKPOINT_FILE}.new`), 'half of one, which is longer than a whole one'.repeat(20));
    await chmod(join(state, `${CHECKPOINT_FILE}.new`), 0o644);
    await keep(signer.signHead(HEAD, 0));
    expect(await modeOf(state, CHECKPOINT_FILE)).toBe(0o600);
    expect((await openSeal(state, log)).anchor).toEqual({ kind: 'head', head: HEAD });
    await writeFile(join(base, 'elsewhere'), 'text');
    await symlink(join(base, 'elsewhere'), join(state, `${CHECKPOINT_FILE}.new`));
    await expect(keep(signer.signHead(HEAD, 0))).rejects.toThrow('ELOOP');
    expect(await text(base, 'elsewhere')).toBe('text');
  });
});

describe('what a checkpoint file says', () => {
  const sign = () => signerOf(SEED).signHead(HEAD, 0);

  it('is a head where the key signed it', () => {
    expect(anchorIn(JSON.stringify(sign()), publicText())).toEqual({ kind: 'head', head: HEAD });
  });

  it('is nothing where there is none', () => {
    expect(anchorIn(null, publicText())).toEqual({ kind: 'none' });
  });

  it.each([
    ['nothing at all', () => ''],
    ['no JSON', () => '{'],
    ['no object', () => 'null'],
    ['no statement', () => JSON.stringify({ ...sign(), statement: undefined })],
    ['another statement', () => JSON.stringify({ ...sign(), statement: sign().statement.replace('5', '6') })],
    ['a signature of another key', () => JSON.stringify(signerOf(Buffer.alloc(32, 8)).signHead(HEAD, 0))],
  ])('is bad with %s', (_, content) => {
    expect(anchorIn(content(), publicText())).toEqual({ kind: 'bad' });
  });

  it('is bad where the key signed what is no head', () => {
    const { secretKey } = nacl.sign.keyPair.fromSeed(SEED);
    const signature = nacl.sign.detached(Buffer.from('qmcp-journal-v1\0{}'), secretKey);
    const signed = { ...sign(), statement: '{}', signature: Buffer.from(signature).toString('base64') };
    expect(isSignedBy(signed, [readPublicKey(publicText()) ?? expect.fail()])).toBe(true);
    expect(anchorIn(JSON.stringify(signed), publicText())).toEqual({ kind: 'bad' });
  });

  it('is bad to who has no key', () => {
    expect(anchorIn(JSON.stringify(sign()), 'garbage')).toEqual({ kind: 'bad' });
  });
});
