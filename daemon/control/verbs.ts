// What the operator can ask of the running daemon. A verb is a schema for its arguments and an answer; adding one touches
// its own file and this one. None of them can answer a question.
import * as z from 'zod/mini';
import { explain } from './explain.ts';
import { freeze, thaw } from './freeze.ts';
import type { ControlParts } from './parts.ts';
import { qubeName, type Request, TIER_WORDS } from './protocol.ts';
import { declined, type Said } from './socket.ts';
import { hello, noted, pending, status } from './status.ts';
import { setTier } from './tier.ts';
import { listTombstones, reap, restore } from './tombstones.ts';
import { listUndo, undo } from './undo.ts';

interface Verb {
  readonly run: (args: unknown, parts: ControlParts) => Said | Promise<Said> | null;
}

/** null for arguments of the wrong shape. */
const verb = <A>(args: z.ZodMiniType<A>, answer: (args: A, parts: ControlParts) => Said | Promise<Said>): Verb => ({
  run: (raw, parts) => {
    const parsed = args.safeParse(raw);
    return parsed.success ? answer(parsed.data, parts) : null;
  },
});

const nothing = z.strictObject({});
const ofSource = z.strictObject({ source: qubeName });
const MAX_BODY = 65_536;

const VERBS: ReadonlyMap<string, Verb> = new Map([
  ['hello', verb(nothing, hello)],
  ['status', verb(nothing, status)],
  ['pending', verb(nothing, pending)],
  ['freeze', verb(ofSource, freeze)],
  ['thaw', verb(ofSource, thaw)],
  [
    'explain',
    verb(
      z.strictObject({
        service: z.string().check(z.maxLength(128)),
        body: z.string().check(z.maxLength(MAX_BODY)),
        source: qubeName,
        principal: z.nullable(z.string().check(z.maxLength(64))),
      }),
      explain,
    ),
  ],
  ['tier', verb(z.strictObject({ name: qubeName, tier: z.enum(TIER_WORDS), force: z.boolean() }), setTier)],
  ['tombstones', verb(nothing, listTombstones)],
  ['restore', verb(z.strictObject({ name: qubeName, tier: z.enum(['ro', 'exec', 'net', 'full']) }), restore)],
  ['reap', verb(z.strictObject({ name: z.nullable(qubeName) }), reap)],
  ['undo-list', verb(nothing, listUndo)],
  ['undo', verb(z.strictObject({ seq: z.int().check(z.minimum(1)), dry_run: z.boolean() }), undo)],
  [
    'noted',
    verb(
      z.strictObject({
        by: z.string().check(z.maxLength(64)),
        files: z.array(z.string().check(z.maxLength(255))).check(z.maxLength(64)),
      }),
      noted,
    ),
  ],
]);

/** Answers one request. Rejects only for what nobody planned. */
export const controlOver =
  (parts: ControlParts) =>
  async ({ verb, args }: Request): Promise<Said> => {
    const known = VERBS.get(verb);
    if (!known) return declined('The daemon does not know that verb. Is it of another version than qmcpctl?');
    return (await known.run(args, parts)) ?? declined('The daemon cannot make sense of these arguments.');
  };
