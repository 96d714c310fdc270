import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';

const MODEL = fileURLToPath(new URL('nonce.pml', import.meta.url));
const PROPERTIES = ['once', 'consumed_first'];

const place = mkdtempSync(join(tmpdir(), 'spin-'));
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** spin's verifier of a model, compiled and run over every state; what it says. */
const search = (model: string, args: readonly string[]): string => {
  const run = (program: string, ...given: string[]): string =>
    execFileSync(program, given, { cwd: place, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  run('spin', '-a', model);
  run('cc', '-O1', '-DNOREDUCE', '-o', 'pan', 'pan.c');
  return run('./pan', '-m100000', ...args);
};

test.each(PROPERTIES)('in every interleaving %s holds, and no assertion fails', (property) => {
  copyFileSync(MODEL, join(place, 'nonce.pml'));
  const said = search('nonce.pml', ['-a', '-N', property]);
  expect(said).toMatch(/errors: 0/);
  expect(said).not.toMatch(/max search depth too small/);
});

test('the model can fail: without the intent on disk, a kill before the effect lets it happen twice or unnamed', () => {
  const broken = readFileSync(MODEL, 'utf8')
    .replace(':: else -> journalled = true ', ':: else -> skip ')
    .replace(
      'state == asked && answered && journalled -> state = running',
      'state == asked && answered -> state = running',
    );
  writeFileSync(join(place, 'broken.pml'), broken);
  expect(search('broken.pml', ['-a', '-N', 'once'])).toMatch(/assertion violated/);
});
