// One file of the registry: what an operator says of one principal (README.md beside this file). Pure; strict throughout,
// since what is misread here could let somebody do more.
import { createPublicKey, type KeyObject } from 'node:crypto';
import * as z from 'zod/mini';
import en from 'zod/v4/locales/en.js';
import { isQubeName, type QubeName } from '../names.ts';
import { TIERS } from '../settings/settings.ts';
import type { Limits } from './caller.ts';
import { weekOf } from './hours.ts';
import { isPattern, patternsOf } from './patterns.ts';

export interface Principal {
  readonly name: string;
  /** The sources whose calls it may make; null for any, which only unsigned calls can have. */
  readonly sources: ReadonlySet<QubeName> | null;
  /** Its Ed25519 public key, 32 bytes in base64; null where it is who makes unsigned calls. */
  readonly key: string | null;
  readonly limits: Limits;
}

/** As in tags, so that no character of it is lost there, and short enough for a line of the question. */
const NAME = /^[a-z][a-z0-9-]{0,30}$/;
/** Whom the journal calls so is no principal. */
const RESERVED: ReadonlySet<string> = new Set(['operator', 'unknown']);
export const isPrincipalName = (text: unknown): text is string =>
  typeof text === 'string' && NAME.test(text) && !RESERVED.has(text);

/** `NAME.json` -> NAME; null for any other file name. */
export const nameOfFile = (file: string): string | null => {
  const name = file.endsWith('.json') ? file.slice(0, -'.json'.length) : '';
  return isPrincipalName(name) ? name : null;
};

const SOURCES_MAX = 64;
const PATTERNS_MAX = 256;
const SPANS_MAX = 32;

const KEY = /^[A-Za-z0-9+/]{43}=$/;
const count = z.int().check(z.minimum(0), z.maximum(Number.MAX_SAFE_INTEGER));
const isKey = (text: string): boolean => KEY.test(text) && Buffer.from(text, 'base64').toString('base64') === text;
const qubeName = z.custom<QubeName>(isQubeName);
const pattern = z
  .string()
  .check(z.refine(isPattern, { error: 'is not a name, nor the beginning of one with * after it' }));

// Of the full zod: what is wrong, in words.
const { localeError } = en();

const schema = z.strictObject({
  key: z.optional(z.string().check(z.refine(isKey, { error: 'is not 32 bytes in base64' }))),
  unsigned: z.optional(z.literal(true)),
  sources: z.union([z.literal('any'), z.array(qubeName).check(z.minLength(1), z.maxLength(SOURCES_MAX))], {
    error: `write the names of 1 to ${SOURCES_MAX} qubes as a list, or "any"`,
  }),
  ceiling: z.enum(TIERS),
  names: z.optional(z.array(pattern).check(z.minLength(1), z.maxLength(PATTERNS_MAX))),
  owned_only: z._default(z.boolean(), false),
  risks: z._default(z.array(z.enum(['read', 'change', 'destroy'])), ['read', 'change', 'destroy']),
  per_hour: z._default(z.strictObject({ calls: z.optional(count), questions: z.optional(count) }), {}),
  total: z._default(z.strictObject({ qubes: z.optional(count), bytes: z.optional(count) }), {}),
  changes: z.optional(
    z.strictObject({
      zone: z.string().check(z.minLength(1), z.maxLength(64)),
      hours: z.array(z.string().check(z.maxLength(32))).check(z.maxLength(SPANS_MAX)),
    }),
  ),
});

/** A file that is none. Whoever made it may have meant to say whose unsigned calls are, unless it plainly has a key. */
export interface Wrong {
  readonly sentence: string;
  readonly mayBeUnsigned: boolean;
}

/** The principal of that name, or what is wrong with its file. Never throws. */
export function parsePrincipal(name: string, text: string): Principal | Wrong {
  const found = principalIn(name, text);
  return typeof found === 'string' ? { sentence: found, mayBeUnsigned: !hasKeyOnly(jsonIn(text)) } : found;
}

const hasKeyOnly = (json: unknown): boolean =>
  typeof json === 'object' && json !== null && 'key' in json && !('unsigned' in json);

function principalIn(name: string, text: string): Principal | string {
  const parsed = schema.safeParse(jsonIn(text), { error: localeError });
  if (!parsed.success) return sentence(parsed.error.issues[0]);
  const { key, unsigned, sources, ceiling, names, owned_only, risks, per_hour, total, changes } = parsed.data;
  if ((key === undefined) === (unsigned === undefined)) return 'It must have either a key, or unsigned: true.';
  if (key !== undefined && sources === 'any') return 'sources: a principal with a key names the qubes it calls from.';
  const week = changes === undefined ? null : weekOf(changes.zone, changes.hours);
  if (changes !== undefined && week === null)
    return 'changes: write an IANA time zone, and hours like mon-fri 08:00-18:00.';
  return {
    name,
    sources: sources === 'any' ? null : new Set(sources),
    key: key ?? null,
    limits: {
      ceiling,
      names: names === undefined ? null : patternsOf(names),
      ownedOnly: owned_only,
      risks: new Set(risks),
      calls: per_hour.calls ?? null,
      questions: per_hour.questions ?? null,
      qubes: total.qubes ?? null,
      bytes: total.bytes ?? null,
      week,
    },
  };
}

const jsonIn = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

/** What zod found first, without any text of the file's own but its known field names. */
const sentence = (issue: z.core.$ZodIssue | undefined): string => {
  const path = issue?.path.map(String).join('.') ?? '';
  if (issue === undefined || path === '') {
    return issue?.code === 'unrecognized_keys'
      ? `Unknown field ${quotedKeys(issue.keys)}.`
      : 'It is not one JSON object.';
  }
  if (issue.code === 'unrecognized_keys') return `${path}: unknown field ${quotedKeys(issue.keys)}.`;
  return `${path}: ${issue.code === 'custom' ? `it ${issue.message}` : issue.message}.`;
};

const quotedKeys = (keys: readonly string[]): string =>
  keys.map((key) => `'${key.slice(0, 40).replace(/[^\x20-\x7e]/g, '?')}'`).join(', ');

/** The key as node:crypto takes it; null where these 32 bytes are none. */
export function keyObject(base64: string): KeyObject | null {
  try {
    return createPublicKey({
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(base64, 'base64').toString('base64url') },
      format: 'jwk',
    });
  } catch {
    return null;
  }
}
