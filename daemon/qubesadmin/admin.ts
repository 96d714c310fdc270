// The Admin API methods the broker uses, each with its answer parsed and typed. All reject with `AdminError`.
import { isQubeName, isUuid, type QubeName, type Uuid } from '../names.ts';
import { type Label, POWER_STATES, type PowerState } from '../qube.ts';
import type { AdminCall } from './client.ts';
import { AdminError, type Destination } from './wire.ts';

/** A row of admin.vm.List: `NAME class=KLASS state=STATE uuid=UUID`. */
export interface Row {
  readonly name: QubeName;
  readonly uuid: Uuid;
  readonly klass: string;
  readonly state: PowerState;
  /** Set where the broker keeps it from callers (`Quarantine`). */
  readonly isHeld?: true;
}

/** One property as qubesd describes it: the declared type, and the text of the value, which may be empty. */
export interface PropertyValue {
  readonly isDefault: boolean;
  readonly type: string;
  readonly text: string;
}

export interface VolumeInfo {
  readonly sizeBytes: number;
  readonly usageBytes: number | null;
}

export type LifecycleMethod = 'Start' | 'Shutdown' | 'Kill' | 'Pause' | 'Unpause' | 'Remove';

export type DeviceClass = 'block' | 'mic' | 'usb';
/** `List` is what `Attached` was before 4.3. */
export type DeviceListing = 'Available' | 'Attached' | 'List';

export type Admin = ReturnType<typeof adminOver>;

/** `isHeld` says of a row whether callers must not have that qube; whoever sees for the operator or the broker itself leaves it out. */
export const adminOver = (call: AdminCall, isHeld: (row: Row) => boolean = () => false) => {
  const rowIn = (line: string): Row => {
    const row = parseRow(line);
    return isHeld(row) ? { ...row, isHeld: true } : row;
  };
  return methodsOver(call, rowIn);
};

const methodsOver = (call: AdminCall, rowIn: (line: string) => Row) => ({
  /** Every qube of the machine, dom0 included. */
  list: async (): Promise<Row[]> => lines(await call({ method: 'admin.vm.List', dest: 'dom0' })).map(rowIn),

  /** One qube, or null where there is none of that name. */
  row: async (name: QubeName): Promise<Row | null> => {
    const found = await unlessMissing(call({ method: 'admin.vm.List', dest: { name } }));
    if (found === null) return null;
    const row = lines(found).map(rowIn)[0];
    if (!row || row.name !== name) throw new AdminError('malformed', null, 'admin.vm.List answered for another qube');
    return row;
  },

  /** The qube with this uuid, whatever its name is now, or null where there is none any more. */
  rowOf: async (uuid: Uuid): Promise<Row | null> => {
    const found = await unlessMissing(call({ method: 'admin.vm.List', dest: { uuid } }));
    if (found === null) return null;
    const row = lines(found).map(rowIn)[0];
    if (!row || row.uuid !== uuid) throw new AdminError('malformed', null, 'admin.vm.List answered for another qube');
    return row;
  },

  tags: async (dest: Destination): Promise<Set<string>> =>
    new Set(lines(await call({ method: 'admin.vm.tag.List', dest }))),

  property: async (dest: Destination, name: string): Promise<PropertyValue> =>
    parseProperty((await call({ method: 'admin.vm.property.Get', arg: name, dest })).toString('utf8')),

  properties: async (dest: Destination): Promise<Map<string, PropertyValue>> =>
    new Map(lines(await call({ method: 'admin.vm.property.GetAll', dest })).map(parsePropertyLine)),

  /** The power state; an empty answer reads as NA, as the client library of the platform has it. */
  state: async (dest: Destination): Promise<PowerState> => {
    try {
      const fields = parseFields((await call({ method: 'admin.vm.CurrentState', dest })).toString('utf8').split(' '));
      return asState(fields.get('power_state'));
    } catch (error) {
      if (error instanceof AdminError && error.kind === 'empty') return 'NA';
      throw error;
    }
  },

  volume: async (dest: Destination, volume: string): Promise<VolumeInfo> => {
    const info = parseFields(lines(await call({ method: 'admin.vm.volume.Info', arg: volume, dest })));
    return { sizeBytes: asBytes(info.get('size')), usageBytes: asBytesOrNull(info.get('usage')) };
  },

  /** The rules as qubesd writes them, one per line. */
  firewall: async (dest: Destination): Promise<string> => {
    const text = (await call({ method: 'admin.vm.firewall.Get', dest })).toString('utf8');
    if (!FIREWALL.test(text)) throw new AdminError('malformed', null, 'firewall rules');
    return text;
  },

  featureNames: async (dest: Destination): Promise<string[]> =>
    lines(await call({ method: 'admin.vm.feature.List', dest })),

  /** The text of one feature, which may be empty; null where the qube does not have it. */
  feature: async (dest: Destination, name: string): Promise<string | null> => {
    try {
      return (await call({ method: 'admin.vm.feature.Get', arg: name, dest })).toString('latin1');
    } catch (error) {
      if (error instanceof AdminError && error.type === 'QubesFeatureNotFoundError') return null;
      throw error;
    }
  },

  /** A property of the whole machine. */
  globalProperty: async (name: string): Promise<PropertyValue> =>
    parseProperty((await call({ method: 'admin.property.Get', arg: name, dest: 'dom0' })).toString('utf8')),

  /** The lines of a device listing as they are; what they hold is for device-lines.ts to say. */
  devices: async (dest: Destination, devclass: DeviceClass, listing: DeviceListing): Promise<string[]> =>
    lines(await call({ method: `admin.vm.device.${devclass}.${listing}`, dest })),

  /** Creates a qube. Name and label go into a line of `key=value` pairs, so they must hold neither space nor `=`. */
  create: async (klass: 'AppVM' | 'DispVM', template: QubeName, name: string, label: Label): Promise<void> => {
    if (!CREATABLE_NAME.test(name)) throw new AdminError('malformed', null, 'unframable name');
    const payload = `name=${name} label=${label}`;
    await call({ method: `admin.vm.Create.${klass}`, arg: template, dest: 'dom0', payload });
  },

  /** Creates a disposable; the name that qubesd says it gave, not looked at yet. */
  createDisposable: async (template: Destination): Promise<Buffer> =>
    call({ method: 'admin.vm.CreateDisposable', dest: template }),

  /** Sets a property to the text of a value; an empty text unsets a reference. */
  setProperty: async (dest: Destination, name: string, text: string): Promise<void> => {
    await call({ method: 'admin.vm.property.Set', arg: name, dest, payload: text });
  },

  /** Gives a property back to its default. */
  resetProperty: async (dest: Destination, name: string): Promise<void> => {
    await call({ method: 'admin.vm.property.Reset', arg: name, dest });
  },

  setFeature: async (dest: Destination, name: string, text: string): Promise<void> => {
    await call({ method: 'admin.vm.feature.Set', arg: name, dest, payload: text });
  },

  removeFeature: async (dest: Destination, name: string): Promise<void> => {
    await call({ method: 'admin.vm.feature.Remove', arg: name, dest });
  },

  setFirewall: async (dest: Destination, rules: string): Promise<void> => {
    await call({ method: 'admin.vm.firewall.Set', dest, payload: rules });
  },

  /** Has the rules take effect now. */
  reloadFirewall: async (dest: Destination): Promise<void> => {
    await call({ method: 'admin.vm.firewall.Reload', dest });
  },

  resizeVolume: async (dest: Destination, volume: string, sizeBytes: number): Promise<void> => {
    await call({ method: 'admin.vm.volume.Resize', arg: volume, dest, payload: String(sizeBytes) });
  },

  /** Replaces the contents of `to`'s volume by those of `from`'s volume of the same name. */
  copyVolume: async (from: Destination, to: Destination, volume: string): Promise<void> => {
    const token = (await call({ method: 'admin.vm.volume.CloneFrom', arg: volume, dest: from })).toString('latin1');
    if (!CLONE_TOKEN.test(token)) throw new AdminError('malformed', null, 'clone token');
    await call({ method: 'admin.vm.volume.CloneTo', arg: volume, dest: to, payload: token });
  },

  setTag: async (dest: Destination, tag: string): Promise<void> => {
    await call({ method: 'admin.vm.tag.Set', arg: tag, dest });
  },

  removeTag: async (dest: Destination, tag: string): Promise<void> => {
    await call({ method: 'admin.vm.tag.Remove', arg: tag, dest });
  },

  lifecycle: async (dest: Destination, method: LifecycleMethod): Promise<void> => {
    await call({ method: `admin.vm.${method}`, dest });
  },
});

const CREATABLE_NAME = /^[A-Za-z0-9_.-]{1,31}$/;
const CLONE_TOKEN = /^[A-Za-z0-9_.-]{1,128}$/;
const FIREWALL = /^(?:[\x20-\x7e]*\n)*$/;

/** null for a qube that does not exist, which is an answer; every other failure stays one. */
const unlessMissing = async <T>(result: Promise<T>): Promise<T | null> => {
  try {
    return await result;
  } catch (error) {
    if (error instanceof AdminError && error.type === 'QubesVMNotFoundError') return null;
    throw error;
  }
};

/** The rows of a listing. Each ends with a newline, so an answer cut short is noticed and not taken for a shorter list. */
const lines = (data: Buffer): string[] => {
  const text = data.toString('utf8');
  if (text !== '' && !text.endsWith('\n')) throw new AdminError('malformed', null, 'listing cut short');
  return text.split('\n').filter(Boolean);
};

const parseFields = (fields: readonly string[]): Map<string, string> =>
  new Map(
    fields.map((field) => {
      const at = field.indexOf('=');
      return at < 0 ? [field, ''] : [field.slice(0, at), field.slice(at + 1)];
    }),
  );

const parseRow = (line: string): Row => {
  const [name, ...rest] = line.split(' ');
  const fields = parseFields(rest);
  const uuid = fields.get('uuid');
  const klass = fields.get('class');
  if (!isQubeName(name) || !isUuid(uuid) || !klass || !KLASS.test(klass)) {
    throw new AdminError('malformed', null, 'admin.vm.List row');
  }
  return { name, uuid, klass, state: asState(fields.get('state')) };
};

const KLASS = /^[A-Za-z]{1,32}$/;

const asState = (text: string | undefined): PowerState => {
  const state = POWER_STATES.find((known) => known === text);
  if (!state) throw new AdminError('malformed', null, 'power state');
  return state;
};

const PROPERTY = /^default=(True|False) type=([a-z]+) ?([\s\S]*)$/;

const parseProperty = (text: string): PropertyValue => {
  const match = PROPERTY.exec(text);
  if (!match) throw new AdminError('malformed', null, 'property');
  return { isDefault: match[1] === 'True', type: match[2] ?? '', text: match[3] ?? '' };
};

/** A line of GetAll: the name, then as Get, with backslash and newline escaped. */
const parsePropertyLine = (line: string): [string, PropertyValue] => {
  const at = line.indexOf(' ');
  const value = parseProperty(line.slice(at + 1));
  return [line.slice(0, at), { ...value, text: value.text.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c)) }];
};

const asBytesOrNull = (text: string | undefined): number | null =>
  text !== undefined && /^[0-9]{1,15}$/.test(text) ? Number(text) : null;

const asBytes = (text: string | undefined): number => {
  const bytes = asBytesOrNull(text);
  if (bytes === null) throw new AdminError('malformed', null, 'size');
  return bytes;
};
