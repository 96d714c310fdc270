// qmcp.CloneAIManagedQube (contract 1.7 as changed by section 0): a copy of a managed qube, by a plan of our own. The clone
// belongs to nobody until all of it is there: its tags come last, so that no agent can reach what is not pinned yet.
import * as z from 'zod/mini';
import { birthTags, isControlled } from '../authority/birth.ts';
import type { View } from '../confirm/question.ts';
import type { QubeName } from '../names.ts';
import { ownerOf } from '../principals/caller.ts';
import { NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { asBefore, bear, namedBirth, type Phase, pin, rolledBack, stamp } from './birth.ts';
import { type Egress, inheritedEgress } from './birth-egress.ts';
import { collision, parseBirthName } from './birth-name.ts';
import { networkLine, tierLine } from './birth-words.ts';
import { budgetRefusal, footprint } from './budget.ts';
import { type ClonePlan, isClonedKlass, readClonePlan } from './clone-plan.ts';
import { type ChangeService, isRefusal, nameArg, type Operation, type Scene, type Wish, type Work } from './service.ts';
import { askedBy, bytes, type Line, shown, viewOf } from './words.ts';

const CLONING = asBefore('clone failed');
const STAMPING = rolledBack('birth stamp failed');

/** Tags that qubesd itself keeps, and gives the clone by its own lights. */
const PLATFORM_TAG = /^(?:disp-)?created-by-|^(?:gui|audio)vm-/;

const hasSource = z.object({ source: z.string().check(z.minLength(1)) });

export const clone: ChangeService = {
  kind: 'change',
  name: 'qmcp.CloneAIManagedQube',
  malformed: refuse('invalid JSON input'),
  opaque: NOT_FOUND,
  unavailable: refuse('qubesadmin unavailable'),
  parse(json, settings): Wish | Refusal {
    const request: Readonly<Record<string, unknown>> = typeof json === 'object' && json !== null ? { ...json } : {};
    const name = parseBirthName(request.name, settings.namePrefix);
    if (typeof name !== 'string') return name;
    const from = hasSource.safeParse(request);
    if (!from.success) return NOT_FOUND;
    const { source } = from.data;
    return {
      action: 'clone',
      roles: { source },
      attributes: {},
      args: { source: nameArg(source), name },
      request: { source, name },
      claims: [name],
      budgeted: true,
      prepare: (scene) => prepare(name, scene),
    };
  },
};

/** What exactly is to be created. */
interface Plan {
  readonly name: string;
  readonly source: Qube;
  readonly egress: Egress;
  readonly tags: ReadonlySet<string>;
  /** Of its own data, in bytes. */
  readonly size: number;
  readonly takes: ClonePlan;
}

const prepare = async (name: string, scene: Scene): Promise<Operation | Refusal> => {
  const { admin, settings, caller } = scene;
  const source = scene.qubes.source as Qube;
  const taken = await collision(admin, name);
  if (taken) return taken;
  const { klass } = source;
  if (!isClonedKlass(klass)) return refuse(`clone of a ${klass} is operator-only`);
  const egress = await inheritedEgress(source, scene);
  if (isRefusal(egress)) return egress;
  let size = 0;
  const measure = async (): Promise<number> => {
    size = await footprint(admin, source);
    return size;
  };
  const noRoom = await budgetRefusal(scene, measure, NOT_FOUND);
  if (noRoom) return noRoom;
  const takes = await readClonePlan({ ...source, klass }, admin, settings).catch(unreadable);
  if (isRefusal(takes)) return takes;

  const tags = new Set([
    ...birthTags(source.tags ?? new Set(), settings.birthCeiling, ownerOf(caller)),
    ...[...(source.tags ?? [])].filter((tag) => !isControlled(tag) && !PLATFORM_TAG.test(tag)),
  ]);
  const plan: Plan = { name, source, egress, tags, size, takes };
  return {
    risk: 'change',
    facts: { netvm: egress.netvm && [egress.netvm.name, egress.netvm.uuid], tags: [...tags].sort(), takes },
    obstacle: null,
    failed: CLONING.undone,
    describe: () => describe(plan, scene),
    perform: (work) => perform(plan, admin, work),
  };
};

const unreadable = (error: unknown): Refusal => {
  if (!(error instanceof AdminError) || error.isAway) throw error;
  return CLONING.undone;
};

const perform = async ({ name, source, egress, tags, takes }: Plan, admin: Admin, work: Work): Promise<Reply> => {
  const { klass, template, label } = takes;
  const copy = (step: string, run: Phase['run']): Phase => ({ step, failed: CLONING, run });
  const phases = [
    // A disposable is born with its template's tags, umbrella included.
    stamp(new Set(), admin, STAMPING),
    pin(egress, admin, STAMPING),
    copy('firewall', ({ uuid }) => setFirewall({ uuid }, takes.firewall, admin)),
    copy('properties', async ({ uuid }) => {
      for (const [property, text] of takes.properties) await admin.setProperty({ uuid }, property, text);
    }),
    copy('features', async ({ uuid }) => {
      for (const [feature, text] of takes.features) await admin.setFeature({ uuid }, feature, text);
    }),
    // A disposable has no files of its own.
    ...(klass === 'DispVM'
      ? []
      : [copy('volume', ({ uuid }) => admin.copyVolume({ uuid: source.uuid }, { uuid }, 'private'))]),
    stamp(tags, admin, STAMPING),
  ];
  const child = await bear({ ...namedBirth({ name, klass, template, label }, CLONING, admin), phases }, admin, work);
  return isRefusal(child) ? child : { ok: true, name };
};

/** The rules restrict the network, so they count as part of it and are read back (I8). */
const setFirewall = async (dest: { readonly uuid: Qube['uuid'] }, rules: string, admin: Admin): Promise<void> => {
  if ((await admin.firewall(dest)) === rules) return;
  await admin.setFirewall(dest, rules);
  if ((await admin.firewall(dest)) !== rules) throw new AdminError('malformed', null, 'firewall not as set');
};

const describe = async (plan: Plan, { admin, caller, settings }: Scene): Promise<View> => {
  const { name, source, egress, tags, takes } = plan;
  const lines: Line[] = [
    ['Clone ', await shown(admin, source.name), ' as ', { name: name as QubeName, label: takes.label }],
    await askedBy(admin, caller),
    [`Kind: ${takes.klass}`],
    ['Template: ', await shown(admin, takes.template)],
    await networkLine(admin, egress),
    [`Its own data: a copy of ${bytes(plan.size)}`],
    tierLine(tags, settings),
    ['Settings and firewall rules are copied, device assignments are not.'],
  ];
  return viewOf('change', null, lines);
};
