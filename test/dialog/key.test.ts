import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nacl from 'tweetnacl';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { defaultKeyFile, KeyError, loadSeed, makeKey, publicHalf, secretKeyOf } from '../../daemon/dialog/key.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'qmcp-key-'));
  file = join(directory, 'data', 'key');
  onTestFinished(() => rmSync(directory, { recursive: true }));
});

test('a made key is the key that is loaded, and only its owner may read it', () => {
  const previous = process.umask(0);
  onTestFinished(() => void process.umask(previous));
  const made = makeKey(file, false, 'old');
  expect(loadSeed(file)).toEqual(made);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, 'data')).mode & 0o777).toBe(0o700);
});

test('the public half verifies what the key signed', () => {
  const seed = makeKey(file, false, 'old');
  const text = Buffer.from('text');
  const verifies = nacl.sign.detached.verify(
    text,
    nacl.sign.detached(text, secretKeyOf(seed)),
    Buffer.from(publicHalf(seed), 'base64'),
  );
  expect(verifies).toBe(true);
});

test('two keys differ', () => {
  expect(makeKey(file, false, 'old')).not.toEqual(makeKey(`${file}2`, false, 'old'));
});

test('an existing key is not replaced, unless it is rotated, and then kept aside', () => {
  makeKey(file, false, 'old');
  const first = readFileSync(file, 'utf8');
  expect(() => makeKey(file, false, 'old')).toThrow(/already is a key.*--rotate/);
  expect(readFileSync(file, 'utf8')).toBe(first);
  const second = makeKey(file, true, 'old');
  expect(loadSeed(file)).toEqual(second);
  expect(readFileSync(`${file}.old`, 'utf8')).toBe(first);
  expect(statSync(`${file}.old`).mode & 0o777).toBe(0o600);
});

test('rotating where there is no key makes one', () => {
  makeKey(file, true, 'old');
  expect(readdirSync(join(directory, 'data'))).toEqual(['key']);
});

test('a missing key says how to make one', () => {
  expect(() => loadSeed(file)).toThrow(/no key at .*Make one with qmcp-confirm --enroll/);
});

test.each([0o640, 0o604, 0o660, 0o602])('a key with mode %o is not used', (mode) => {
  makeKey(file, false, 'old');
  chmodSync(file, mode);
  expect(() => loadSeed(file)).toThrow(/chmod 600/);
});

test.each(['', 'x', 'A'.repeat(44), `${'A'.repeat(43)}=\n\n`, `${'A'.repeat(86)}==\n`, 'A'.repeat(10_000)])(
  'a file that holds %j is not a key',
  (text) => {
    makeKey(file, false, 'old');
    writeFileSync(file, text);
    expect(() => loadSeed(file)).toThrow(KeyError);
  },
);

test('the default place follows the XDG specification, which ignores relative paths', () => {
  expect(defaultKeyFile({ XDG_DATA_HOME: '/data' })).toBe('/data/qmcp-confirm/key');
  expect(defaultKeyFile({ XDG_DATA_HOME: 'data' })).toMatch(/\/\.local\/share\/qmcp-confirm\/key$/);
  expect(defaultKeyFile({})).toMatch(/\/\.local\/share\/qmcp-confirm\/key$/);
});
