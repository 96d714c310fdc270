// qmcp.LifecycleAIManaged (contract 1.4): start, shutdown, kill, pause, unpause and remove one managed qube.
import * as z from 'zod/mini';
import type { View } from '../confirm/question.ts';
import type { QubeName } from '../names.ts';
import { NOT_FOUND, type Refusal, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { LifecycleMethod, VolumeInfo } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Settings } from '../settings/settings.ts';
import { dependentLines, runningSeconds } from './dependents.ts';
import { entomb, isInUse, startsByItself } from './entomb.ts';
import { type ChangeService, nameArg, type Operation, type Scene, type Wish } from './service.ts';
import { askedBy, bytes, duration, type Line, STATE_WORDS, shown, viewOf } from './words.ts';

const FAILED = refuse('action failed');

interface Verb {
  readonly method: LifecycleMethod;
  readonly risk: Operation['risk'];
  /** The headline, before the qube's name. */
  readonly headline: string;
  /** What it means, for somebody who is tired. */
  readonly meaning: string;
  /** Which of the qubes that rest on it would feel it. */
  readonly felt: 'running' | 'all' | null;
}

const VERBS = {
  kill: {
    method: 'Kill',
    risk: 'destroy',
    headline: 'Kill ',
    meaning: 'It stops at once, without shutting down. Unsaved work in it is lost. This cannot be undone.',
    felt: 'running',
  },
  pause: {
    method: 'Pause',
    risk: 'change',
    headline: 'Pause ',
    meaning: 'Its programs stop where they are until it is unpaused.',
    felt: 'running',
  },
  remove: {
    method: 'Remove',
    risk: 'destroy',
    headline: 'Remove ',
    meaning: 'It and all its files are destroyed at once. This cannot be undone.',
    felt: 'all',
  },
  shutdown: {
    method: 'Shutdown',
    risk: 'change',
    headline: 'Shut down ',
    meaning: 'Its programs are asked to end. It can be started again.',
    felt: 'running',
  },
  start: { method: 'Start', risk: 'change', headline: 'Start ', meaning: 'It runs until it is shut down.', felt: null },
  unpause: {
    method: 'Unpause',
    risk: 'change',
    headline: 'Unpause ',
    meaning: 'Its programs go on where they stopped.',
    felt: null,
  },
} as const satisfies Record<string, Verb>;
type Action = keyof typeof VERBS;

const ACTIONS = Object.keys(VERBS) as Action[];
const UNKNOWN_ACTION = refuse(`action must be one of: [${ACTIONS.map((action) => `'${action}'`).join(', ')}]`);

const hasAction = z.object({ action: z.enum(ACTIONS) });
const hasName = z.object({ name: z.string().check(z.minLength(1)) });

export const lifecycle: ChangeService = {
  kind: 'change',
  name: 'qmcp.LifecycleAIManaged',
  malformed: refuse('invalid input'),
  opaque: NOT_FOUND,
  unavailable: FAILED,
  parse(json, settings): Wish | Refusal {
    const verb = hasAction.safeParse(json);
    if (!verb.success) return UNKNOWN_ACTION;
    const target = hasName.safeParse(json);
    if (!target.success) return NOT_FOUND;
    const { action } = verb.data;
    const { name } = target.data;
    return {
      action,
      roles: { target: name },
      attributes: action === 'remove' ? { tombstone: entombs(settings) } : {},
      args: { name: nameArg(name), action },
      request: { action, name },
      prepare: (scene) => prepare(action, scene, settings),
    };
  },
};

const prepare = async (action: Action, scene: Scene, settings: Settings): Promise<Operation> => {
  const target = scene.qubes.target as Qube;
  const dest = { uuid: target.uuid };
  const tombstone = action === 'remove' && entombs(settings);
  const obstacle = action === 'remove' ? await removalObstacle(target, scene, tombstone) : null;
  return {
    risk: VERBS[action].risk,
    facts: { tombstone },
    obstacle,
    failed: FAILED,
    describe: () => describe(action, target, scene, tombstone),
    perform: async (work) => {
      if (tombstone) {
        // Unlike qubesd, an entombment has nobody else to check what it rests on.
        if (obstacle) return obstacle;
        return (await entomb(target, scene.admin, work)) ? { ok: true } : FAILED;
      }
      await scene.admin.lifecycle(dest, VERBS[action].method);
      return { ok: true };
    },
  };
};

/** A remove leaves a tombstone where the operator's setting, or an enforcing mode of an existing install, says so. */
export const entombs = (settings: Pick<Settings, 'tombstones' | 'enforceMode'>): boolean =>
  settings.tombstones === 'on' || settings.enforceMode !== 'shadow';

const removalObstacle = async (target: Qube, { admin }: Scene, tombstone: boolean): Promise<Refusal | null> => {
  // C47: only the literal state counts, read from where a failure shows.
  const state = target.state === 'Halted' ? await admin.state({ uuid: target.uuid }) : target.state;
  if (state !== 'Halted') return FAILED;
  return tombstone && ((await startsByItself(target, admin)) || (await isInUse(target, admin))) ? FAILED : null;
};

const describe = async (action: Action, target: Qube, scene: Scene, tombstone: boolean): Promise<View> => {
  const { risk, headline, meaning, felt } = VERBS[action];
  const { admin, caller, settings, now } = scene;
  const seconds = target.state === 'Halted' ? null : await runningSeconds(target, now, admin);
  const qube = await shown(admin, target.name);
  const lines: Line[] = [
    [headline, qube],
    await askedBy(admin, caller),
    [
      `Qube: ${target.klass}, ${STATE_WORDS[target.state]}${seconds === null ? '' : `, started ${duration(seconds)} ago`}`,
    ],
    ...(felt === null ? [] : await dependentLines(target, felt, admin)),
    ...(risk === 'destroy' ? [[`Its own data: ${await privateData(target, scene)}`]] : []),
    [tombstone ? tombstoneMeaning(target.name, settings) : meaning],
  ];
  return viewOf(risk, risk === 'destroy' ? target.name : null, lines);
};

const tombstoneMeaning = (name: QubeName, { tombstoneRetention }: Settings): string =>
  tombstoneRetention === null
    ? `It is out of reach for agents at once and destroyed by nobody but you. To undo: qmcpctl tombstones restore ${name}`
    : `It is out of reach for agents at once and destroyed after ${duration(tombstoneRetention)}. Until then, to undo: qmcpctl tombstones restore ${name}`;

const privateData = async (target: Qube, { admin }: Scene): Promise<string> => {
  try {
    return usage(await admin.volume({ uuid: target.uuid }, 'private'));
  } catch (error) {
    if (error instanceof AdminError && error.kind === 'exception') return 'size unknown';
    throw error;
  }
};

const usage = ({ sizeBytes, usageBytes }: VolumeInfo): string =>
  usageBytes === null ? bytes(sizeBytes) : `${bytes(usageBytes)} used of ${bytes(sizeBytes)}`;
