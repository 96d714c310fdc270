// A device that goes from one managed qube to another, or back: what Attach and Detach have in common (contract 1.9).
import * as z from 'zod/mini';
import { riskOf } from '../authority/decide.ts';
import type { View } from '../confirm/question.ts';
import { isQubeName } from '../names.ts';
import { NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin, DeviceClass } from '../qubesadmin/admin.ts';
import { type FieldsLine, parseDeviceLine } from '../qubesadmin/device-lines.ts';
import type { ToolEnd } from '../qubesadmin/tool.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { describeDevice } from './device-description.ts';
import { DEVICE_CLASSES, isPortId, isPortOf, UNKNOWN_CLASS } from './device-port.ts';
import { type ChangeService, nameArg, type Operation, type Scene, type Wish, type Work } from './service.ts';
import { askedBy, shown, viewOf } from './words.ts';

const TOOL = 'qvm-device';
const TOOL_MISSING = refuse('qvm-device CLI not present in dom0');
const NO_DEVICE = refuse('device_id is required');

/** An option of the call: its key, and its value as the tool is told it. */
export type DeviceOption = readonly [key: string, value: string];

export interface Crossing {
  readonly verb: 'attach' | 'detach';
  readonly service: string;
  /** The headline, between the device and the qube. */
  readonly headline: readonly [before: string, after: string];
  readonly meaning: Readonly<Record<DeviceClass, string>>;
  /** The options of a request, or the text for their shape. */
  readonly options: (json: unknown) => readonly DeviceOption[] | Refusal;
  /** An option in words, or null for one that is not of the platform, whose text could say anything. */
  readonly optionWords: (option: DeviceOption, devclass: DeviceClass) => string | null;
}

const hasClass = z.object({ device_class: z.enum(DEVICE_CLASSES) });
const hasEnds = z.object({ backend: z.string().check(z.minLength(1)), frontend: z.string().check(z.minLength(1)) });

export const crossingService = (crossing: Crossing): ChangeService => {
  const { verb, service } = crossing;
  return {
    kind: 'change',
    name: service,
    malformed: refuse('invalid JSON input'),
    opaque: NOT_FOUND,
    unavailable: refuse(`${verb} failed`),
    parse(json): Wish | Refusal {
      const classed = hasClass.safeParse(json);
      if (!classed.success) return UNKNOWN_CLASS;
      const { device_class } = classed.data;
      const options = crossing.options(json);
      if ('ok' in options) return options;
      const device_id = deviceId((json as { device_id?: unknown }).device_id, device_class);
      if (device_id === null) return NO_DEVICE;
      const ends = hasEnds.safeParse(json);
      if (!ends.success) return NOT_FOUND;
      const { backend, frontend } = ends.data;
      return {
        action: verb,
        roles: { backend, frontend },
        attributes: {},
        args: { device_class, backend: nameArg(backend), frontend: nameArg(frontend), device_id },
        request: { device_class, backend, frontend, device_id, options },
        prepare: (scene) => prepare(crossing, { devclass: device_class, port: device_id, options }, scene),
      };
    },
  };
};

/** The port id, `mic` where the class has but one port and none was given, or null for what can be none. */
const deviceId = (id: unknown, devclass: DeviceClass): string | null => {
  if (typeof id === 'string' && isPortId(id)) return id;
  const isAbsent = id === undefined || id === null || id === '';
  return isAbsent && devclass === 'mic' ? 'mic' : null;
};

interface Device {
  readonly devclass: DeviceClass;
  readonly port: string;
  readonly options: readonly DeviceOption[];
}

const prepare = async (crossing: Crossing, device: Device, scene: Scene): Promise<Operation | Refusal> => {
  if (!(await scene.tools.has(TOOL))) return TOOL_MISSING;
  const { verb, service } = crossing;
  const { devclass, port, options } = device;
  const failed = refuse(`${verb} failed`);
  const listed = await readListed(scene.admin, scene.qubes.backend as Qube, device);
  const isPlain =
    isPortOf(devclass, port) && options.every((option) => crossing.optionWords(option, devclass) !== null);
  const risk = riskOf(service, verb) === 'destroy' ? 'destroy' : 'change';
  return {
    risk,
    facts: { listed },
    obstacle: isPlain ? null : failed,
    failed,
    describe: () => describe(crossing, device, listed, risk, scene),
    perform: (work) => perform(crossing, device, scene, work),
  };
};

/** What the backend says of the device, or null where it does not list it in a way that is understood. */
const readListed = async (admin: Admin, backend: Qube, { devclass, port }: Device): Promise<FieldsLine | null> => {
  try {
    const lines = await admin.devices({ uuid: backend.uuid }, devclass, 'Available');
    for (const line of lines) {
      const parsed = parseDeviceLine(line, 'available');
      if (parsed?.layout === 'fields' && parsed.port === port) return parsed;
    }
    return null;
  } catch (error) {
    if (!(error instanceof AdminError) || error.isAway) throw error;
    return null;
  }
};

const describe = async (
  { headline, meaning, optionWords }: Crossing,
  { devclass, port, options }: Device,
  listed: FieldsLine | null,
  risk: Operation['risk'],
  { admin, caller, qubes }: Scene,
): Promise<View> => {
  const backend = await shown(admin, (qubes.backend as Qube).name);
  const frontend = await shown(admin, (qubes.frontend as Qube).name);
  const attachment = listed?.fields.find(([key]) => key === 'attachment')?.[1];
  return viewOf(risk, frontend.name, [
    [`${headline[0]} ${CLASS_WORDS[devclass]} ${headline[1]} `, frontend],
    await askedBy(admin, caller),
    [`Device: ${devclass} ${port} of `, backend],
    [`Kind: ${listed ? describeDevice(listed, devclass) : 'unknown, as the qube does not list it now'}`],
    ...(isQubeName(attachment) ? [['In use by: ', await shown(admin, attachment)]] : []),
    ...options.map((option) => [`Option: ${optionWords(option, devclass)}`]),
    [meaning[devclass]],
  ]);
};

const CLASS_WORDS: Readonly<Record<DeviceClass, string>> = {
  block: 'a disk',
  mic: 'the microphone',
  usb: 'a USB device',
};

const perform = async ({ verb }: Crossing, device: Device, { tools, qubes }: Scene, work: Work): Promise<Reply> => {
  const { devclass, port, options } = device;
  const end = await tools.run(TOOL, [
    devclass,
    verb,
    (qubes.frontend as Qube).name,
    `${(qubes.backend as Qube).name}:${port}`,
    ...options.flatMap(([key, value]) => ['-o', `${key}=${value}`]),
  ]);
  if (end.kind === 'done') return { ok: true };
  work.cause(`${TOOL} ${end.kind === 'failed' ? end.why : end.kind}`);
  return refusalAfter(end, verb);
};

const refusalAfter = (end: ToolEnd, verb: Crossing['verb']): Refusal => {
  switch (end.kind) {
    case 'missing':
      return TOOL_MISSING;
    case 'late':
      return refuse(`${TOOL} ${verb} timed out`);
    default:
      return refuse(`${verb} failed`);
  }
};
