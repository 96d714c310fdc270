/**
 * Bundles the programs and writes dist/sbom.cdx.json: which packages are inside them and beside them, as CycloneDX.
 * From the lockfile and the bundler's account alone, so that the same sources give the same bytes.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, bundles, packageOfInput } from './build.ts';
import { RUNTIME_FILES } from './node-gtk.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** What the lockfile knows of a package that is installed at a path. */
export interface Locked {
  readonly version: string;
  readonly integrity: string;
  readonly license: string;
}
export interface Application {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
}
/** Path below the project of an installed package -> the files of ours that it is in. */
export type Occurrences = ReadonlyMap<string, readonly string[]>;

const INTEGRITY = /^sha512-([A-Za-z0-9+/]{86}==)$/;

/** The bill of materials (CycloneDX 1.6). Throws for a package that the lockfile does not know by its SHA-512. */
export const sbom = (
  application: Application,
  found: Occurrences,
  locked: Readonly<Record<string, Locked>>,
): object => {
  const reference = purl(application.name, application.version);
  const components = [...found.keys()].sort().map((path) => component(path, found.get(path) ?? [], locked[path]));
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: {
      component: {
        type: 'application',
        'bom-ref': reference,
        name: application.name,
        version: application.version,
        description: application.description,
        licenses: [{ license: { id: application.license } }],
        purl: reference,
      },
    },
    components,
    // What depends on what among them no longer matters once they are in one file.
    dependencies: [{ ref: reference, dependsOn: components.map((each) => each['bom-ref']) }],
  };
};

const component = (path: string, occurrences: readonly string[], locked: Locked | undefined) => {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const digest = INTEGRITY.exec(locked?.integrity ?? '')?.[1];
  if (!locked || digest === undefined) throw new Error(`${path} is not in the lockfile by its SHA-512.`);
  const reference = purl(name, locked.version);
  return {
    type: 'library',
    'bom-ref': reference,
    name,
    version: locked.version,
    scope: 'required',
    hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }],
    licenses: [{ license: { id: locked.license } }],
    purl: reference,
    evidence: { occurrences: [...occurrences].sort().map((location) => ({ location })) },
  };
};

/** Package URL of an npm package; the @ of a scope is escaped (package-url specification, type npm). */
const purl = (name: string, version: string): string => `pkg:npm/${name.replace(/^@/, '%40')}@${version}`;

const buildAndFind = async (): Promise<Occurrences> => {
  const found = new Map<string, string[]>();
  const add = (path: string, location: string) => found.set(path, [...(found.get(path) ?? []), location]);
  for (const [index, { inputs }] of (await build()).entries()) {
    const paths = Object.keys(inputs).map(packageOfInput);
    for (const path of new Set(paths)) if (path !== undefined) add(path, bundles[index]?.outfile ?? '');
  }
  for (const name of Object.keys(RUNTIME_FILES)) add(`node_modules/${name}`, `node_modules/${name}`);
  return found;
};

const readJson = async (path: string) => JSON.parse(await readFile(join(root, path), 'utf8'));

if (import.meta.main) {
  const bill = sbom(
    await readJson('package.json'),
    await buildAndFind(),
    (await readJson('package-lock.json')).packages,
  );
  await writeFile(join(root, 'dist/sbom.cdx.json'), `${JSON.stringify(bill, null, 2)}\n`);
}
