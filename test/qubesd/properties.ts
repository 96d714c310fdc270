// The properties of qubes: which class has which, of what type, with which default, and what a Set accepts.
import { Abort, Refusal } from './wire.ts';
import type { Qube, World } from './world.ts';

type PropertyType = 'vm' | 'int' | 'bool' | 'label' | 'str';

interface Property {
  readonly type: PropertyType;
  /** The text of the default; '' is an unset reference. */
  readonly fallback: string | ((qube: Qube, world: World) => string);
  /** The classes that have it; absent: all of them. */
  readonly klasses?: readonly string[];
  /** Loaded in a late stage, so listed after the others (qubes.property sorts by stage, then name). */
  readonly late?: true;
}

interface PropertyValue {
  readonly isDefault: boolean;
  readonly type: PropertyType;
  readonly value: string;
}

export const LABELS = ['red', 'orange', 'yellow', 'green', 'gray', 'blue', 'purple', 'black'];

const property = (type: PropertyType, fallback: Property['fallback'] = '', klasses?: readonly string[]): Property =>
  klasses ? { type, fallback, klasses } : { type, fallback };
const reference = (fallback: Property['fallback'] = '', klasses?: readonly string[]): Property => ({
  ...property('vm', fallback, klasses),
  late: true,
});

const address = (qube: Qube): string => `10.137.${qube.qid >> 8}.${qube.qid & 255}`;
const isSet = (qube: Qube, name: string): boolean => qube.props.get(name) === 'True';
const whenProvidingNetwork = (text: (qube: Qube) => string) => (qube: Qube) =>
  isSet(qube, 'provides_network') ? text(qube) : '';

const PROPERTIES: Readonly<Record<string, Property>> = {
  auto_cleanup: property('bool', 'False', ['DispVM']),
  autostart: property('bool', 'False'),
  backup_timestamp: property('int'),
  debug: property('bool', 'False'),
  default_user: property('str', 'user'),
  devices_denied: property('str'),
  dns: property('str', '10.139.1.1 10.139.1.2'),
  gateway: property('str', whenProvidingNetwork(address)),
  gateway6: property('str'),
  icon: property('str', (qube) => `${qube.klass.toLowerCase()}-${qube.props.get('label') ?? 'gray'}`),
  include_in_backups: property('bool', 'True'),
  installed_by_rpm: property('bool', 'False'),
  ip: property('str', address),
  ip6: property('str'),
  kernel: property('str', '6.6.0-fake'),
  kernelopts: { type: 'str', fallback: '', late: true },
  keyboard_layout: property('str', 'us++'),
  klass: property('str', (qube) => qube.klass),
  label: property('label', 'gray'),
  mac: property('str', (qube) => `00:16:3e:5e:6c:${(qube.qid & 255).toString(16).padStart(2, '0')}`),
  maxmem: property('int', '4000'),
  memory: property('int', '400'),
  name: property('str'),
  provides_network: property('bool', 'False'),
  qid: property('int'),
  qrexec_timeout: property('int', '60'),
  shutdown_timeout: property('int', '60'),
  start_time: property('str'),
  stubdom_mem: property('int'),
  template_for_dispvms: property('bool', 'False', ['AppVM']),
  updateable: property('bool', (qube) => (['TemplateVM', 'StandaloneVM'].includes(qube.klass) ? 'True' : 'False')),
  uuid: property('str'),
  vcpus: property('int', '2'),
  virt_mode: property('str', 'pvh'),
  visible_ip: property('str', address),
  xid: property('int', (qube) => (qube.state === 'Halted' ? '-1' : String(qube.qid))),
  audiovm: reference(),
  default_dispvm: reference(),
  guivm: reference(),
  management_dispvm: reference(),
  netvm: reference((_, world) => world.defaultNetvm),
  template: reference('', ['AppVM', 'DispVM']),
};

/** Never set through the Admin API once a qube exists; trying is an unhandled error in qubesd. */
const WRITE_ONCE = new Set(['name', 'uuid', 'klass', 'qid']);
const NEVER_ON_ADMIN = new Set(['netvm', 'template']);

const LISTED = Object.keys(PROPERTIES).sort((a, b) => {
  const [lateA, lateB] = [PROPERTIES[a]?.late ?? false, PROPERTIES[b]?.late ?? false];
  return lateA === lateB ? (a < b ? -1 : 1) : lateA ? 1 : -1;
});

/** The properties that name another qube. */
export const REFERENCES = LISTED.filter((name) => PROPERTIES[name]?.type === 'vm');

/** The names of a qube's properties, in qubesd's order. */
export const propertyNames = (qube: Qube): string[] => LISTED.filter((name) => has(qube, name));

/** A property as qubesd knows it; throws QubesNoSuchPropertyError for one that this qube's class does not have. */
export const propertyValue = (world: World, qube: Qube, name: string): PropertyValue => {
  if (!has(qube, name)) throw new Refusal('QubesNoSuchPropertyError', `Invalid property '${name}' of ${qube.name}`);
  const { type, fallback } = definition(name);
  if (name === 'name' || name === 'uuid') return { isDefault: false, type, value: qube[name] };
  const explicit = qube.props.get(name);
  if (explicit !== undefined) return { isDefault: false, type, value: explicit ?? '' };
  if (name === 'qid') return { isDefault: false, type, value: String(qube.qid) };
  return { isDefault: true, type, value: typeof fallback === 'string' ? fallback : fallback(qube, world) };
};

/** `default=True|False type=TYPE VALUE` */
export const renderProperty = (world: World, qube: Qube, name: string): string => {
  const { isDefault, type, value } = propertyValue(world, qube, name);
  return `default=${isDefault ? 'True' : 'False'} type=${type} ${value}`;
};

/** The value that a Set with this text stores, or the exception qubesd answers instead. */
export const acceptProperty = (world: World, name: string, text: string): string | null => {
  if (WRITE_ONCE.has(name)) throw new Abort(`${name} is write-once`);
  return ACCEPT[definition(name).type](world, name, text);
};

const ACCEPT: Readonly<Record<PropertyType, (world: World, name: string, text: string) => string | null>> = {
  vm: (world, name, text) => {
    if (text === '') return null;
    if (world.qubes.has(text)) return text;
    throw new Refusal('QubesPropertyValueError', `Can't set ${name} to non-existing qube ${text}`);
  },
  int: (_world, _name, text) => {
    if (/^-?[0-9]+$/.test(text)) return String(BigInt(text));
    throw new Refusal('QubesValueError', 'Failed to parse property value as int');
  },
  bool: (_world, _name, text) => {
    const word = text.toLowerCase();
    if (['1', 'yes', 'true', 'on'].includes(word)) return 'True';
    if (['0', 'no', 'false', 'off'].includes(word)) return 'False';
    throw new Refusal('QubesPropertyValueError', `Invalid literal for boolean property: ${text}`);
  },
  label: (_world, _name, text) => {
    if (LABELS.includes(text)) return text;
    throw new Refusal('QubesLabelNotFoundError', `Label does not exist: ${text}`);
  },
  str: (_world, _name, text) => text || null,
};

const UNLISTED = property('str');

// A fleet may give a qube properties that are not in the table; they are texts.
const definition = (name: string): Property => (Object.hasOwn(PROPERTIES, name) ? PROPERTIES[name] : null) ?? UNLISTED;

const has = (qube: Qube, name: string): boolean => {
  if (qube.klass === 'AdminVM' && NEVER_ON_ADMIN.has(name)) return false;
  if (qube.props.has(name)) return true;
  if (!Object.hasOwn(PROPERTIES, name)) return false;
  return definition(name).klasses?.includes(qube.klass) ?? true;
};
