// qmcp.SpawnAIManagedQube (contract 1.5): a new qube from a managed template.
import * as z from 'zod/mini';
import { birthTags } from '../authority/birth.ts';
import type { View } from '../confirm/question.ts';
import type { QubeName, Uuid } from '../names.ts';
import { ownerOf } from '../principals/caller.ts';
import { type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import { LABELS, type Label, type Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import type { Settings } from '../settings/settings.ts';
import { asBefore, bear, namedBirth, type Phase, pin, rolledBack, stamp } from './birth.ts';
import { type Egress, requestedEgress } from './birth-egress.ts';
import { collision, parseBirthName } from './birth-name.ts';
import { networkLine, tierLine } from './birth-words.ts';
import { budgetRefusal, LEAST_CHARGE } from './budget.ts';
import { isDisposableTemplate, notDisposableTemplate } from './disposables.ts';
import { type ChangeService, isRefusal, nameArg, type Operation, type Scene, type Wish, type Work } from './service.ts';
import { askedBy, bytes, type Line, shown, viewOf } from './words.ts';

const KLASSES = ['AppVM', 'DispVM', 'DispVMTemplate'] as const;
type Klass = (typeof KLASSES)[number];

/** What the person is told that it is. */
const KIND: Readonly<Record<Klass, string>> = {
  AppVM: 'a qube with files of its own (AppVM)',
  DispVM: 'a named disposable (DispVM)',
  DispVMTemplate: 'a template for disposables (AppVM)',
};

const quotedList = (words: readonly string[]): string => `[${words.map((word) => `'${word}'`).join(', ')}]`;

const UNAVAILABLE = refuse('qubesadmin unavailable');
const UNKNOWN_KLASS = refuse(`klass must be one of: ${quotedList(KLASSES)}`);
const UNKNOWN_LABEL = refuse(`label must be one of: ${quotedList(LABELS)}`);
const SIZE_TYPE = refuse('private_size must be an integer number of bytes');
const SIZE_SIGN = refuse('private_size must be a positive number of bytes');
const PRIVATE_CAP_UNKNOWN = refuse('private cap not configured');
const PRIVATE_CAP_EXCEEDED = refuse('private size exceeds per-qube limit');

const CREATION = asBefore('create failed');
const STAMPING = rolledBack('tag application failed');
const PINNING = rolledBack('netvm assignment failed');

const hasKlass = z.object({ klass: z._default(z.enum(KLASSES), 'AppVM') });
const hasLabel = z.object({ label: z._default(z.enum(LABELS), 'gray') });

/** The request in the shape the contract wants it; `netvm` is looked at only when the template is known. */
interface Spawn {
  readonly name: string;
  readonly klass: Klass;
  readonly label: Label;
  readonly netvm: unknown;
  /** Bytes; null for what the platform gives. */
  readonly privateSize: number | null;
}

/** One text for everything about the template (contract 1.5, step 10), and for what the caller may not hold. */
const OPAQUE = refuse('template must reference an ai-managed qube');

export const spawn: ChangeService = {
  kind: 'change',
  name: 'qmcp.SpawnAIManagedQube',
  malformed: refuse('invalid JSON input'),
  opaque: OPAQUE,
  unavailable: UNAVAILABLE,
  parse(json, settings): Wish | Refusal {
    const request: Readonly<Record<string, unknown>> = typeof json === 'object' && json !== null ? { ...json } : {};
    const name = parseBirthName(request.name, settings.namePrefix);
    if (typeof name !== 'string') return name;
    const klass = hasKlass.safeParse(request);
    if (!klass.success) return UNKNOWN_KLASS;
    const label = hasLabel.safeParse(request);
    if (!label.success) return UNKNOWN_LABEL;
    const privateSize = parseSize(request.private_size);
    if (privateSize !== null && typeof privateSize !== 'number') return privateSize;

    const wanted: Spawn = { name, ...klass.data, ...label.data, netvm: request.netvm, privateSize };
    const template = typeof request.template === 'string' ? request.template : '';
    return {
      action: 'spawn',
      roles: { template },
      attributes: { klass: wanted.klass },
      args: {
        name,
        template: nameArg(template),
        klass: wanted.klass,
        netvm: nameArg(wanted.netvm),
        label: wanted.label,
        private_size: privateSize,
      },
      request: { ...wanted, template },
      claims: [name],
      budgeted: true,
      before: ({ admin }) => collision(admin, name),
      prepare: (scene) => prepare(wanted, scene),
    };
  },
};

const parseSize = (size: unknown): number | null | Refusal => {
  if (size === undefined || size === null) return null;
  if (typeof size !== 'number' || !Number.isInteger(size)) return SIZE_TYPE;
  return size > 0 ? size : SIZE_SIGN;
};

const prepare = async (wanted: Spawn, scene: Scene): Promise<Operation | Refusal> => {
  const { admin, settings, caller } = scene;
  const template = scene.qubes.template as Qube;
  const misshapen = await shapeRefusal(wanted.klass, template, admin);
  if (misshapen) return misshapen;
  const egress = await requestedEgress(wanted.netvm, template, scene);
  if (isRefusal(egress)) return egress;
  const noRoom = sizeRefusal(wanted, settings) ?? (await budgetRefusal(scene, async () => chargeOf(wanted), OPAQUE));
  if (noRoom) return noRoom;

  const tags = birthTags(template.tags ?? new Set(), settings.birthCeiling, ownerOf(caller));
  const plan: Plan = { wanted, template, egress, tags };
  return {
    risk: 'change',
    facts: { netvm: egress.netvm && [egress.netvm.name, egress.netvm.uuid], tags: [...tags].sort() },
    obstacle: null,
    failed: CREATION.undone,
    describe: () => describe(plan, scene),
    perform: (work) => perform(plan, admin, work),
  };
};

/** What exactly is to be created, once everything about it is known. */
interface Plan {
  readonly wanted: Spawn;
  readonly template: Qube;
  readonly egress: Egress;
  readonly tags: ReadonlySet<string>;
}

const shapeRefusal = async (klass: Klass, { name, uuid, klass: own }: Qube, admin: Admin): Promise<Refusal | null> => {
  if (klass === 'DispVM') return (await isDisposableTemplate(admin, uuid)) ? null : notDisposableTemplate(name, own);
  if (own === 'TemplateVM') return null;
  return refuse(`template '${name}' must be a TemplateVM for klass=${klass} (klass is ${own})`);
};

const sizeRefusal = ({ privateSize }: Spawn, { privateCap }: Settings): Refusal | null => {
  if (privateSize === null) return null;
  if (privateCap === null) return PRIVATE_CAP_UNKNOWN;
  return privateSize > privateCap ? PRIVATE_CAP_EXCEEDED : null;
};

const chargeOf = ({ privateSize }: Spawn): number => Math.max(privateSize ?? LEAST_CHARGE, LEAST_CHARGE);

const perform = async ({ wanted, template, egress, tags }: Plan, admin: Admin, work: Work): Promise<Reply> => {
  const { name, klass, label, privateSize } = wanted;
  const warnings: string[] = [];
  /** A phase whose failure leaves a qube that is whole without it. */
  const orWarn = (warning: string, step: string, run: Phase['run']): Phase => ({
    step,
    failed: CREATION,
    run: async (child) => {
      try {
        await run(child);
      } catch (error) {
        if (!(error instanceof AdminError)) throw error;
        warnings.push(warning);
      }
    },
  });
  const flag = orWarn('dispvm_template_flag_failed', 'template flag', ({ uuid }) =>
    admin.setProperty({ uuid }, 'template_for_dispvms', 'True'),
  );
  const resized = (size: number): Phase =>
    orWarn('private_resize_failed', 'resize', ({ uuid }) => grow(uuid, size, admin));

  const creation = { name, klass: klass === 'DispVM' ? klass : 'AppVM', template: template.name, label } as const;
  const phases = [
    stamp(tags, admin, STAMPING),
    ...(klass === 'DispVMTemplate' ? [flag] : []),
    pin(egress, admin, PINNING),
    ...(privateSize === null ? [] : [resized(privateSize)]),
  ];
  const child = await bear({ ...namedBirth(creation, CREATION, admin), phases }, admin, work);
  if (isRefusal(child)) return child;
  const [warning] = warnings;
  return { ok: true, name, ...(warning === undefined ? {} : { warning }) };
};

/** qubesd never shrinks a volume, so that is not even tried (S64). */
const grow = async (uuid: Uuid, size: number, admin: Admin): Promise<void> => {
  const { sizeBytes } = await admin.volume({ uuid }, 'private');
  if (size < sizeBytes) throw new AdminError('malformed', null, 'smaller than it is');
  await admin.resizeVolume({ uuid }, 'private', size);
};

const describe = async ({ wanted, template, egress, tags }: Plan, scene: Scene): Promise<View> => {
  const { admin, caller, settings } = scene;
  const { name, klass, label, privateSize } = wanted;
  const lines: Line[] = [
    // The label is the caller's choice and no judgement of anybody's, so it is said to be one (R24).
    ['Create ', { name: name as QubeName, label }],
    await askedBy(admin, caller),
    [`Kind: ${KIND[klass]}`],
    ['Template: ', await shown(admin, template.name)],
    await networkLine(admin, egress),
    [`Its own data: up to ${bytes(privateSize ?? LEAST_CHARGE)}`],
    tierLine(tags, settings),
    [`The label ${label} was chosen by the one who asks.`],
  ];
  return viewOf('change', null, lines);
};
