// Our policy files as they are shipped, and as either mode makes them.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CARELESS, PLATFORM } from './platform.ts';
import { type Files, type Rule, rulesOf } from './rules.ts';

const DIR = fileURLToPath(new URL('../../policy/', import.meta.url));

export const MODES = ['compat', 'least-privilege'] as const;
export type Mode = (typeof MODES)[number];
export const MODE_FILE = 'include/qmcp-mode';

const named = (below: string): string[] =>
  readdirSync(join(DIR, below), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ name }) => join(below, name));

export const SHIPPED: Files = new Map(
  [...named('.'), ...named('include')].map((path) => [path, readFileSync(join(DIR, path), 'utf8')]),
);

export const inMode = (mode: Mode): Files => new Map([...SHIPPED, [MODE_FILE, `!include include/qmcp-${mode}\n`]]);

/** Ours alone; ours before the platform's; ours before one that allows everything. */
export const alone = (mode: Mode): readonly Rule[] => rulesOf(inMode(mode));
export const onPlatform = (mode: Mode): readonly Rule[] => rulesOf(new Map([...inMode(mode), ...PLATFORM]));
export const beforeCareless = (mode: Mode): readonly Rule[] => rulesOf(new Map([...inMode(mode), ...CARELESS]));
