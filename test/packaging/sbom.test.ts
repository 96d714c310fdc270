import { describe, expect, it } from 'vitest';
import { type Locked, sbom } from '../../packaging/sbom.ts';

const application = { name: 'qmcp-broker', version: '1.2.3', description: 'It decides.', license: 'MIT' };
const digest = Buffer.alloc(64, 7);
const locked = (version: string, license = 'ISC'): Locked => ({
  version,
  license,
  integrity: `sha512-${digest.toString('base64')}`,
});

interface Bill {
  readonly components: readonly Record<string, unknown>[];
  readonly dependencies: readonly unknown[];
}
const bill = (found: Record<string, string[]>, lock: Record<string, Locked>) =>
  sbom(application, new Map(Object.entries(found)), lock) as Bill;

describe('the bill of materials', () => {
  it('names each package by name, version, licence, hash, and the files that it is in', () => {
    const { components } = bill({ 'node_modules/zod': ['b.mjs', 'a.mjs'] }, { 'node_modules/zod': locked('4.0.0') });
    expect(components).toEqual([
      {
        type: 'library',
        'bom-ref': 'pkg:npm/zod@4.0.0',
        name: 'zod',
        version: '4.0.0',
        scope: 'required',
        hashes: [{ alg: 'SHA-512', content: digest.toString('hex') }],
        licenses: [{ license: { id: 'ISC' } }],
        purl: 'pkg:npm/zod@4.0.0',
        evidence: { occurrences: [{ location: 'a.mjs' }, { location: 'b.mjs' }] },
      },
    ]);
  });

  it('tells two versions of one package apart, and escapes a scope', () => {
    const paths = ['node_modules/@x/y', 'node_modules/a/node_modules/@x/y'];
    const found = Object.fromEntries(paths.map((path) => [path, ['a.mjs']]));
    const { components } = bill(found, { [paths[0] ?? '']: locked('1.0.0'), [paths[1] ?? '']: locked('2.0.0') });
    expect(components.map(({ purl }) => purl)).toEqual(['pkg:npm/%40x/y@1.0.0', 'pkg:npm/%40x/y@2.0.0']);
  });

  it('is the same whatever the order in which packages were found', () => {
    const lock = { 'node_modules/a': locked('1.0.0'), 'node_modules/b': locked('2.0.0') };
    const there = bill({ 'node_modules/a': ['x', 'y'], 'node_modules/b': ['x'] }, lock);
    const back = bill({ 'node_modules/b': ['x'], 'node_modules/a': ['y', 'x'] }, lock);
    expect(JSON.stringify(back)).toBe(JSON.stringify(there));
  });

  it.each([
    ['is not in the lockfile', {}],
    ['is locked by a weaker hash', { 'node_modules/a': { ...locked('1.0.0'), integrity: 'sha1-AAAA' } }],
  ])('cannot be made for a package that %s', (_, lock) => {
    expect(() => bill({ 'node_modules/a': ['x'] }, lock)).toThrow('node_modules/a is not in the lockfile');
  });
});
