// The contract's vectors: what each holds, and how an outcome is judged against one (contract section 9).
import { readFileSync } from 'node:fs';
import { isDeepStrictEqual } from 'node:util';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { isStateChanging } from '../qubesd/methods.ts';
import type { CallRow, ScriptStep } from '../qubesd/server.ts';
import { type Qube, World } from '../qubesd/world.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** The surroundings of a call, where they are not the usual ones. */
export interface VectorEnvironment {
  /** The calling qube; mcp-control unless told. */
  readonly principal?: string;
  /** How the person answers; absent: there is no operator session. */
  readonly consent_daemon_reply?: string;
  /** The Admin API socket is absent. */
  readonly admin_client_unavailable?: boolean;
  /** Played once somebody watches `admin.Events` and no call came for a while. */
  readonly event_stream?: readonly ScriptStep[];
  readonly kill_of_halted_qube_succeeds?: boolean;
  readonly qvm_device_missing?: boolean;
  readonly qvm_device_hangs?: boolean;
  readonly qvm_device_exit?: number;
}

/** What a new qube must look like; only the named facts count. `netvm` may be SYSTEM_DEFAULT. */
interface CreatedQube {
  readonly klass?: string;
  readonly tags?: readonly string[];
  readonly netvm?: string | null;
  /** Bytes. */
  readonly private?: number;
}

export interface Vector {
  readonly id: string;
  readonly service: string;
  readonly fleet: string;
  readonly fleet_spec: FleetSpec;
  /** Name to content; a name that is absent is a file that is absent; UNREADABLE is one whose reading fails. */
  readonly operator_files: Readonly<Record<string, string>>;
  /** A string is the raw body; anything else is sent as JSON. */
  readonly request: unknown;
  readonly want: JsonObject;
  /** Keys dropped from each item of `events` before comparing. */
  readonly ignore?: readonly string[];
  readonly why: string;
  readonly env?: VectorEnvironment;
  readonly admin_calls_mutating?: readonly CallRow[];
  readonly qvm_device_argv?: readonly (readonly string[])[];
  readonly created?: Readonly<Record<string, CreatedQube>>;
  readonly tags_after?: Readonly<Record<string, readonly string[]>>;
  readonly answered_before?: unknown;
  readonly changed_because?: string;
}

/** What one vector led to. */
export interface Outcome {
  /** The reply as `parseReply` gave it, or a text that says why there was none. */
  readonly reply: unknown;
  /** Calls of the daemon to qubesd in order; reads among them are skipped. */
  readonly calls: readonly CallRow[];
  /** Each run of the device tool with its arguments, the tool's name first. */
  readonly deviceCalls?: readonly (readonly string[])[];
  /** The fleet afterwards; absent where there was no qubesd. */
  readonly world?: World;
  /** What went wrong beside the reply: errors of the simulation, a daemon that died. */
  readonly errors?: readonly unknown[];
}

/** Carries a vector out on a daemon before the given fleet. */
export type RunVector = (vector: Vector, fleet: FleetSpec) => Promise<Outcome>;

export const DEFAULT_SOURCE = 'mcp-control';
/** In `operator_files`: a file whose open must fail. */
export const UNREADABLE = '<present but unreadable>';
/** In `created`: the netvm was never set. */
export const SYSTEM_DEFAULT = '<system default>';
/** In any wanted string: the time of the call, digits. */
const NOW = '<now>';

/** All vectors, or those that `chosen` takes. */
export const readVectors = (chosen: (vector: Vector) => boolean = () => true): Vector[] =>
  readFileSync(new URL('vectors.jsonl', import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line): Vector => JSON.parse(line))
    .filter(chosen);

/** Runs a vector and gives every difference to what it demands, as sentences; an empty list is a pass. */
export const checkVector = async (vector: Vector, run: RunVector): Promise<string[]> =>
  judge(vector, await run(vector, fleetOf(vector)));

/** The fleet of a vector, with what its environment says about the platform. */
export const fleetOf = (vector: Vector): FleetSpec => {
  const { fleet_spec: fleet, env } = vector;
  return env?.kill_of_halted_qube_succeeds ? { ...fleet, hooks: { ...fleet.hooks, kill_ok: true } } : fleet;
};

/** The JSON object of a reply, which must be exactly one object and one newline; throws a sentence otherwise. */
export const parseReply = (reply: Buffer): JsonObject => {
  const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(reply);
  if (text === '') throw new Error('the reply is empty');
  if (text.indexOf('\n') !== text.length - 1) throw new Error(`the reply is not one line: ${text.slice(0, 200)}`);
  const value: unknown = JSON.parse(text);
  if (!isObject(value)) throw new Error(`the reply is not an object: ${text.slice(0, 200)}`);
  return value;
};

/** Every difference between an outcome and what the vector demands, as sentences. */
export const judge = (vector: Vector, outcome: Outcome): string[] => {
  const before = new World(vector.fleet_spec);
  const { world } = outcome;
  return [
    ...judgeReply(vector, outcome.reply),
    ...judgeCalls(vector, outcome.calls),
    ...judgeDeviceCalls(vector, outcome.deviceCalls ?? []),
    ...(world ? [...judgeCreated(vector, before, world), ...judgeTags(vector, before, world)] : []),
    ...(outcome.errors ?? []).map((error) => `something else went wrong: ${error}`),
  ];
};

/** Equal as JSON; `<now>` in a wanted string stands for digits. */
export const matches = (want: unknown, got: unknown): boolean => {
  if (Array.isArray(want) && Array.isArray(got)) {
    return want.length === got.length && want.every((item, index) => matches(item, got[index]));
  }
  if (isObject(want) && isObject(got)) {
    const keys = Object.keys(want);
    if (keys.length !== Object.keys(got).length) return false;
    return keys.every((key) => Object.hasOwn(got, key) && matches(want[key], got[key]));
  }
  if (typeof want === 'string' && typeof got === 'string' && want.includes(NOW)) {
    const literals = want.split(NOW).map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
    return new RegExp(`^${literals.join('[0-9]+')}$`).test(got);
  }
  return isDeepStrictEqual(want, got);
};

const judgeReply = ({ want, ignore = [] }: Vector, reply: unknown): string[] => {
  if (matches(want, withoutIgnored(reply, ignore))) return [];
  return [`the reply differs: got ${typeof reply === 'string' ? reply : show(reply)}, want ${show(want)}`];
};

const withoutIgnored = (reply: unknown, ignored: readonly string[]): unknown => {
  if (ignored.length === 0 || !isObject(reply) || !Array.isArray(reply.events)) return reply;
  const strip = (event: unknown): unknown =>
    isObject(event) ? Object.fromEntries(Object.entries(event).filter(([key]) => !ignored.includes(key))) : event;
  return { ...reply, events: reply.events.map(strip) };
};

// Some recorded lists also name reads; only state changes are compared.
const judgeCalls = ({ admin_calls_mutating: expected }: Vector, calls: readonly CallRow[]): string[] => {
  if (!expected) return [];
  const [wanted, got] = [expected, calls].map((rows) => rows.filter(([method]) => isStateChanging(method)));
  for (let at = 0; at < Math.max(wanted?.length ?? 0, got?.length ?? 0); at++) {
    if (matches(wanted?.[at], got?.[at])) continue;
    return [`state-changing call ${at + 1}: got ${show(got?.[at])}, want ${show(wanted?.[at])}`];
  }
  return [];
};

const judgeDeviceCalls = ({ qvm_device_argv: wanted = [] }: Vector, got: readonly (readonly string[])[]): string[] =>
  matches(wanted, got) ? [] : [`device tool: got ${show(got)}, want ${show(wanted)}`];

/** New qubes are exactly those named, with at least the details given; a refused call leaves none, unless it admits a failed rollback. */
const judgeCreated = ({ created: wanted, want }: Vector, before: World, after: World): string[] => {
  const born = [...after.qubes.values()].filter(({ name }) => !before.qubes.has(name));
  if (!wanted) {
    const isAdmitted = String(want.error ?? '').includes('rollback failed');
    const names = born.map(({ name }) => name).join(', ');
    return born.length > 0 && !want.ok && !isAdmitted ? [`a refused call left ${names} behind`] : [];
  }
  const compared = Object.fromEntries(
    born.map((qube) => {
      const facts = Object.entries(factsOf(qube));
      const named = Object.hasOwn(wanted, qube.name) ? Object.keys(wanted[qube.name] ?? {}) : null;
      return [qube.name, Object.fromEntries(facts.filter(([key]) => named?.includes(key) ?? true))];
    }),
  );
  return matches(wanted, compared) ? [] : [`created: got ${show(compared)}, want ${show(wanted)}`];
};

const factsOf = (qube: Qube): Required<CreatedQube> & JsonObject => {
  const netvm = qube.props.get('netvm');
  return {
    klass: qube.klass,
    tags: [...qube.tags].sort(),
    netvm: netvm === undefined ? SYSTEM_DEFAULT : netvm,
    private: qube.volumes.get('private') ?? 0,
  };
};

/** Tags of the qubes that were there before are as in `tags_after`, otherwise unchanged. */
const judgeTags = ({ tags_after: wanted = {} }: Vector, before: World, after: World): string[] =>
  [...before.qubes.values()].flatMap(({ name, tags }) => {
    const want = Object.hasOwn(wanted, name) ? wanted[name] : [...tags].sort();
    const now = after.qubes.get(name);
    if (!now || matches(want, [...now.tags].sort())) return [];
    return [`tags of ${name}: got ${show([...now.tags].sort())}, want ${show(want)}`];
  });

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const show = (value: unknown): string => JSON.stringify(value) ?? 'nothing';
