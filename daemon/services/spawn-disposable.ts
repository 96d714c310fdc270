// qmcp.SpawnDisposableAIManaged (contract 1.6): a disposable of a managed disposable template, under a name of qubesd's.
import * as z from 'zod/mini';
import { birthTags } from '../authority/birth.ts';
import type { View } from '../confirm/question.ts';
import { isQubeName } from '../names.ts';
import { ownerOf } from '../principals/caller.ts';
import { NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin, Row } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import {
  anotherThan,
  asBefore,
  type Birth,
  bear,
  childOf,
  type Phase,
  pin,
  rolledBack,
  stamp,
  stillUnused,
} from './birth.ts';
import { type Egress, inheritedEgress } from './birth-egress.ts';
import { networkLine, tierLine } from './birth-words.ts';
import { budgetRefusal, footprint, LEAST_CHARGE } from './budget.ts';
import {
  isDisposableOf,
  isDisposableTemplate,
  isPreloaded,
  newDisposables,
  notDisposableTemplate,
} from './disposables.ts';
import { type ChangeService, isRefusal, nameArg, type Operation, type Scene, type Wish, type Work } from './service.ts';
import { askedBy, type Line, shown, viewOf } from './words.ts';

const CREATION = asBefore('disposable creation failed');
const STAMPING = rolledBack('birth stamp failed');

/** A start looks for its debris by these uuids; a machine with more disposables gets it named and not removed. */
export const MAX_KNOWN = 256;

const hasTemplate = z.object({ template: z.string().check(z.minLength(1)) });

export const spawnDisposable: ChangeService = {
  kind: 'change',
  name: 'qmcp.SpawnDisposableAIManaged',
  malformed: refuse('invalid JSON input'),
  opaque: NOT_FOUND,
  unavailable: refuse('qubesadmin unavailable'),
  parse(json): Wish | Refusal {
    const request = hasTemplate.safeParse(json);
    if (!request.success) return NOT_FOUND;
    const { template } = request.data;
    return {
      action: 'spawn-disposable',
      roles: { dvmt: template },
      attributes: {},
      args: { template: nameArg(template) },
      request: { template },
      budgeted: true,
      prepare,
    };
  },
};

/** What exactly is to be created. */
interface Plan {
  readonly dvmt: Qube;
  readonly egress: Egress;
  readonly tags: ReadonlySet<string>;
}

const prepare = async (scene: Scene): Promise<Operation | Refusal> => {
  const { admin, settings, caller } = scene;
  const dvmt = scene.qubes.dvmt as Qube;
  const { name, uuid, klass } = dvmt;
  if (!(await isDisposableTemplate(admin, uuid))) return notDisposableTemplate(name, klass);
  const charge = async (): Promise<number> => Math.max(await footprint(admin, dvmt), LEAST_CHARGE);
  const noRoom = await budgetRefusal(scene, charge, NOT_FOUND);
  if (noRoom) return noRoom;
  const egress = await inheritedEgress(dvmt, scene);
  if (isRefusal(egress)) return egress;
  if (await isPreloaded(admin, name, uuid)) return CREATION.undone;

  const tags = birthTags(dvmt.tags ?? new Set(), settings.birthCeiling, ownerOf(caller));
  const plan: Plan = { dvmt, egress, tags };
  return {
    risk: 'change',
    facts: { netvm: egress.netvm && [egress.netvm.name, egress.netvm.uuid], tags: [...tags].sort() },
    obstacle: null,
    failed: CREATION.undone,
    describe: () => describe(plan, scene),
    perform: (work) => perform(plan, admin, work),
  };
};

const perform = async ({ dvmt, egress, tags }: Plan, admin: Admin, work: Work): Promise<Reply> => {
  const before = (await admin.list()).filter(({ klass }) => klass === 'DispVM').map(({ uuid }) => uuid);
  const known = new Set(before);
  const birth: Birth<Buffer> = {
    name: null,
    nameIn: (answer) => answer.toString('latin1'),
    known: before.length > MAX_KNOWN ? null : before,
    failed: CREATION,
    covers: anotherThan(known),
    order: () => admin.createDisposable({ uuid: dvmt.uuid }),
    late: (data) => data,
    locate: async (answer) => {
      const name = answer.toString('latin1');
      const row = isQubeName(name) ? await admin.row(name) : null;
      const isOurs = row && (await isDisposableOf(row, dvmt.name, admin)) && !(known.has(row.uuid) && isIdle(row));
      if (!isOurs) throw new AdminError('malformed', null, 'no new disposable');
      return childOf(row);
    },
    search: async (failure) => {
      // While qubesd is still at it, a new one may be anybody's.
      if (failure?.late) return null;
      const [found, ...others] = await newDisposables(dvmt.name, known, admin);
      if (others.length > 0) throw new AdminError('malformed', null, 'several new disposables');
      return found ? childOf(found) : null;
    },
    phases: [inspect(admin), stamp(tags, admin, STAMPING), pin(egress, admin, STAMPING)],
  };
  const child = await bear(birth, admin, work);
  return isRefusal(child) ? child : { ok: true, name: child.name };
};

/** One that was there before is only handed out if it was made in advance, and then it runs. */
const isIdle = ({ state }: Row): boolean => state === 'Halted';

/** R5: one that runs already ran before anybody could pin it. */
const inspect = (admin: Admin): Phase => ({
  step: 'inspect',
  failed: STAMPING,
  run: ({ uuid }) => stillUnused(uuid, admin),
});

const describe = async ({ dvmt, egress, tags }: Plan, { admin, caller, settings }: Scene): Promise<View> => {
  const lines: Line[] = [
    ['Create a disposable of ', await shown(admin, dvmt.name)],
    await askedBy(admin, caller),
    await networkLine(admin, egress),
    tierLine(tags, settings),
    ['It is gone, with everything in it, when it stops.'],
  ];
  return viewOf('change', null, lines);
};
