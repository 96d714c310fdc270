// The Admin API as a table: what each method takes, whether it only reads, what it does. Anything else is "no such method".
import { acceptProperty, LABELS, propertyNames, propertyValue, REFERENCES, renderProperty } from './properties.ts';
import { Abort, asciiText, Refusal, type Request } from './wire.ts';
import { notFound, type Qube, validateName, type World } from './world.ts';

/** One admitted call: the destination exists, argument and payload are as the method's rules want them. */
interface Call {
  readonly world: World;
  readonly qube: Qube;
  readonly arg: string;
  readonly payload: Buffer;
  /** The class in `admin.vm.Create.<class>` and `admin.vm.device.<class>.*`. */
  readonly variant: string;
}

/** Gives the data of the answer; anything but a string is an answer without data. */
type Handler = (call: Call) => unknown;
type Wants = 'none' | 'some' | 'any';

interface Method {
  readonly arg: Wants;
  readonly payload: Wants;
  readonly reads: boolean;
  readonly run: Handler;
}

const reads = (arg: Wants, run: Handler): Method => ({ arg, payload: 'none', reads: true, run });
const changes = (arg: Wants, payload: Wants, run: Handler): Method => ({ arg, payload, reads: false, run });

const CREATABLE = ['AppVM', 'DispVM', 'StandaloneVM', 'TemplateVM'];
const TEMPLATE_BASED = ['AppVM', 'DispVM'];
const DEVICE_CLASSES = ['block', 'mic', 'pci', 'usb'];
const TAG = /^[A-Za-z0-9_-]+$/;
const FEATURE_NAME = /^[a-zA-Z0-9_.-]+$/;
const FEATURE_VALUE = /^[\x20-\x7e]*$/;
const FIREWALL_RULE = /^action=(accept|drop|forward)( [a-z0-9]+=[\x21-\x7e]+)*( comment=[\x20-\x7e]*)?$/;
const VOLUME_SIZE = /^[0-9]{1,20}$/;
const SHUTDOWN_WORDS = ['force', 'wait'];

const lines = (rows: Iterable<string>): string => [...rows].map((row) => `${row}\n`).join('');
const sorted = (rows: Iterable<string>): string[] => [...rows].sort();
const protocolError = (message: string): Refusal => new Refusal('ProtocolError', message);

const METHODS: Readonly<Record<string, Method>> = {
  // ---- qubes

  'admin.vm.List': reads('none', ({ world, qube }) =>
    lines((qube.name === 'dom0' ? world.sorted() : [qube]).map(listRow)),
  ),
  'admin.vm.CurrentState': reads('none', ({ world, qube }) => {
    const maxmem = Number(propertyValue(world, qube, 'maxmem').value) * 1024;
    const figures = qube.state === 'Halted' ? [0, 0, 0] : [4_194_304, maxmem, 1_000_000_000];
    return `mem=${figures[0]} mem_static_max=${figures[1]} cputime=${figures[2]} power_state=${qube.state}`;
  }),
  'admin.vm.Start': changes('none', 'none', (call) => call.world.start(poweredQube(call).name)),
  'admin.vm.Shutdown': changes('any', 'none', (call) => {
    const words = call.arg ? call.arg.split('+') : [];
    if (!words.every((word) => SHUTDOWN_WORDS.includes(word))) throw protocolError('');
    call.world.shutdown(startedQube(call).name, words.includes('force'));
  }),
  'admin.vm.Kill': changes('none', 'none', (call) => call.world.stop(startedQube(call).name)),
  'admin.vm.Pause': changes('none', 'none', (call) => {
    const { name, state } = poweredQube(call);
    if (state !== 'Running') {
      throw new Refusal('QubesVMNotRunningError', `Domain not running (either powered off or paused): '${name}'`);
    }
    call.world.setState(name, 'Paused', 'domain-pre-paused', 'domain-paused');
  }),
  'admin.vm.Unpause': changes('none', 'none', (call) => {
    const { name, state } = poweredQube(call);
    if (state !== 'Paused') throw new Refusal('QubesVMNotPausedError', `Domain is not paused: '${name}'`);
    call.world.setState(name, 'Running', 'domain-pre-unpaused', 'domain-unpaused');
  }),
  'admin.vm.Remove': changes('none', 'none', ({ world, qube }) => {
    const { name } = qube;
    if (name === 'dom0') throw new Refusal('QubesVMInUseError', "'dom0' cannot be removed");
    if (qube.state !== 'Halted') throw new Refusal('QubesVMNotHaltedError', `Domain is not powered off: '${name}'`);
    if (isInUse(world, qube)) {
      const advice = "see 'journalctl -u qubesd -e' in dom0 for details";
      throw new Refusal('QubesVMInUseError', `Domain is in use: '${name}';  ${advice}`);
    }
    world.remove(name);
  }),
  'admin.vm.Create.*': changes('any', 'some', (call) => create(call)),
  'admin.vm.CreateDisposable': changes('none', 'any', (call) => createDisposable(call)),

  // ---- properties

  'admin.vm.property.List': reads('none', ({ qube }) => lines(propertyNames(qube))),
  'admin.vm.property.Get': reads('some', ({ world, qube, arg }) => renderProperty(world, qube, arg)),
  'admin.vm.property.GetAll': reads('none', ({ world, qube }) => {
    const escaped = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
    return lines(propertyNames(qube).map((name) => `${name} ${escaped(renderProperty(world, qube, name))}`));
  }),
  'admin.vm.property.Set': changes('some', 'any', ({ world, qube, arg, payload }) => {
    propertyValue(world, qube, arg);
    const value = acceptProperty(world, arg, asciiText(payload));
    if (arg === 'netvm' && world.hooks.netvm_ignored) return;
    world.setProperty(qube.name, arg, value);
  }),
  'admin.vm.property.Reset': changes('some', 'none', ({ world, qube, arg }) => world.resetProperty(qube.name, arg)),
  'admin.property.Get': reads('some', ({ world, arg }) => {
    if (arg === 'default_netvm') return `default=False type=vm ${world.defaultNetvm}`;
    throw new Refusal('QubesNoSuchPropertyError', `Invalid property '${arg}' of app`);
  }),
  'admin.property.GetAll': reads('none', () => ''),
  'admin.property.List': reads('none', () => ''),
  'admin.vm.notes.Get': reads('none', () => ''),

  // ---- tags and features

  'admin.vm.tag.List': reads('none', ({ qube }) => lines(sorted(qube.tags))),
  'admin.vm.tag.Get': reads('some', ({ qube, arg }) => (qube.tags.has(arg) ? '1' : '0')),
  'admin.vm.tag.Set': changes('some', 'none', ({ world, qube, arg }) => {
    if (!TAG.test(arg)) throw new Abort('illegal tag');
    const dropped = world.hooks.drop_tag ?? [];
    if (!dropped.includes(arg) && !dropped.includes('*')) world.addTag(qube.name, arg);
  }),
  'admin.vm.tag.Remove': changes('some', 'none', ({ world, qube, arg }) => {
    if (!qube.tags.has(arg)) {
      throw new Refusal('QubesTagNotFoundError', `Tag not set for domain ${qube.name}: ${arg}`);
    }
    if (!world.hooks.sticky_tag?.includes(arg)) world.removeTag(qube.name, arg);
  }),
  'admin.vm.feature.List': reads('none', ({ qube }) => lines(sorted(qube.features.keys()))),
  'admin.vm.feature.Get': reads('some', (call) => existingFeature(call)),
  'admin.vm.feature.Set': changes('some', 'any', ({ world, qube, arg, payload }) => {
    const value = payload.toString('latin1');
    if (!FEATURE_NAME.test(arg) || !FEATURE_VALUE.test(value)) throw new Abort('illegal feature');
    world.setFeature(qube.name, arg, value);
  }),
  'admin.vm.feature.Remove': changes('some', 'none', (call) => {
    existingFeature(call);
    call.world.removeFeature(call.qube.name, call.arg);
  }),

  // ---- volumes

  'admin.vm.volume.List': reads('none', ({ qube }) => lines(sorted(qube.volumes.keys()))),
  'admin.vm.volume.Info': reads('some', (call) => volumeInfo(call)),
  'admin.vm.volume.Resize': changes('some', 'some', (call) => {
    const size = asciiText(call.payload).trim();
    const before = volumeSize(call);
    if (!VOLUME_SIZE.test(size)) throw protocolError('Size contains non ASCII digits');
    if (Number(size) < before) {
      throw new Refusal('StoragePoolException', `For your own safety, shrinking of ${call.arg} is disabled.`);
    }
    call.qube.volumes.set(call.arg, Number(size));
  }),
  'admin.vm.volume.CloneFrom': reads('some', (call) => call.world.offerClone(volumeSize(call))),
  'admin.vm.volume.CloneTo': changes('some', 'some', (call) => {
    volumeSize(call);
    const size = call.world.takeClone(asciiText(call.payload).trim());
    if (size === undefined) throw protocolError('Token to clone volume of qube was not found');
    call.qube.volumes.set(call.arg, size);
  }),

  // ---- devices, kept as the lines of the listings: "IDENT [PAYLOAD]"

  'admin.deviceclass.List': reads('none', () => lines(DEVICE_CLASSES)),
  'admin.vm.device.*.Available': reads('none', (call) => lines(deviceLines(call, 'Available'))),
  'admin.vm.device.*.Attached': reads('none', (call) => lines(deviceLines(call, 'Attached'))),
  'admin.vm.device.*.Assigned': reads('none', (call) => lines(deviceLines(call, 'Assigned'))),
  'admin.vm.device.*.List': reads('none', ({ world }) => {
    if (!world.hooks.legacy_list) throw new Abort('qubesd has no such listing any more');
    return lines(world.hooks.legacy_list);
  }),
  'admin.vm.device.*.Attach': changes('some', 'any', (call) => addDevice(call, 'attach', 'Attached')),
  'admin.vm.device.*.Assign': changes('some', 'any', (call) => addDevice(call, 'assign', 'Assigned')),
  'admin.vm.device.*.Detach': changes('some', 'none', (call) => removeDevice(call, 'detach', 'Attached')),
  'admin.vm.device.*.Unassign': changes('some', 'none', (call) => removeDevice(call, 'unassign', 'Assigned')),

  // ---- the rest

  'admin.label.List': reads('none', () => lines(LABELS)),
  'admin.vm.firewall.Get': reads('none', ({ qube }) => qube.firewall),
  'admin.vm.firewall.Set': changes('none', 'some', ({ world, qube, payload }) => {
    const rules = asciiText(payload).split('\n');
    if (rules.at(-1) === '') rules.pop();
    if (!rules.every((rule) => FIREWALL_RULE.test(rule))) throw new Abort('illegal firewall rule');
    world.setFirewall(qube.name, lines(rules));
  }),
  'admin.vm.firewall.Reload': changes('none', 'none', ({ world, qube }) => world.emit(qube.name, 'firewall-changed')),

  // Answered by the server, which keeps the connection.
  'admin.Events': reads('none', () => ''),
};

/** Whether a call ("method" or "method+arg") may change the host; an unknown method may. */
export const isStateChanging = (methodAndArg: string): boolean =>
  !findMethod(methodAndArg.replace(/\+.*$/s, ''))?.method.reads;

/** Performs one call on a destination that exists. Gives the answer's data; throws Refusal, Abort, or what is our own fault. */
export const perform = async (world: World, qube: Qube, request: Request): Promise<string> => {
  const { arg, payload } = request;
  const found = findMethod(request.method);
  if (!found) throw protocolError(`no such method: '${request.method}'`);
  const { method, variant } = found;
  if (method.payload === 'some' && payload.length === 0) throw protocolError('expected payload');
  if (method.payload === 'none' && payload.length > 0) throw protocolError('unexpected payload');
  if (method.arg === 'some' && arg === '') throw protocolError('expected an argument');
  if (method.arg === 'none' && arg !== '') throw protocolError('unexpected argument');
  const data = await method.run({ world, qube, arg, payload, variant });
  return typeof data === 'string' ? data : '';
};

const findMethod = (name: string): { method: Method; variant: string } | null => {
  const family = /^(admin\.vm\.Create|admin\.vm\.device)\.([A-Za-z]+)(\.[A-Za-z]+)?$/.exec(name);
  const key = family ? `${family[1]}.*${family[3] ?? ''}` : name;
  const variant = family?.[2] ?? '';
  if (key.startsWith('admin.vm.Create.') && !CREATABLE.includes(variant)) return null;
  const method = name.includes('*') || !Object.hasOwn(METHODS, key) ? undefined : METHODS[key];
  return method ? { method, variant } : null;
};

const listRow = (qube: Qube): string => `${qube.name} class=${qube.klass} state=${qube.state} uuid=${qube.uuid}`;

// ---- power

const poweredQube = ({ qube }: Call): Qube => {
  if (qube.klass === 'AdminVM') throw new Abort('dom0 has no power switch');
  return qube;
};

const startedQube = (call: Call): Qube => {
  const qube = poweredQube(call);
  if (qube.state === 'Halted' && !call.world.hooks.kill_ok) {
    throw new Refusal('QubesVMNotStartedError', `Domain is powered off: '${qube.name}'`);
  }
  return qube;
};

// Being the host's default is a use, too; it covers the qubes whose netvm is not set.
const isInUse = (world: World, used: Qube): boolean => {
  if (used.name === world.defaultNetvm) return true;
  for (const qube of world.qubes.values()) {
    if (qube === used) continue;
    for (const [name, value] of qube.props) if (value === used.name && REFERENCES.includes(name)) return true;
  }
  return false;
};

// ---- births

const create = ({ world, arg, payload, variant }: Call): void => {
  const template = arg === '' ? undefined : world.qubes.get(arg);
  if (arg !== '' && !TEMPLATE_BASED.includes(variant)) {
    throw new Refusal('QubesValueError', `${variant} cannot be based on template`);
  }
  if (arg !== '' && !template) throw notFound(arg);
  const { name, label } = creationOptions(asciiText(payload));
  if (world.qubes.has(name)) throw new Refusal('QubesVMAlreadyExistsError', `Qube already exists: ${name}`);
  if (variant === 'DispVM' && template?.props.get('template_for_dispvms') !== 'True') {
    const needed = 'needs to be an AppVM with template_for_dispvms=True';
    throw new Refusal('QubesValueError', `template for disposable (${arg}) ${needed}`);
  }
  const inherited = template && variant === 'DispVM' ? inheritance(template) : undefined;
  const root = template?.volumes.get('root');
  const props = { ...inherited?.props, label, ...(template ? { template: arg } : {}) };
  const volumes = root === undefined ? {} : { root };
  const tags = ['created-by-dom0', ...(world.hooks.extra_birth_tags ?? [])];
  world.add(name, { klass: variant, props, tags, volumes }, inherited);
  world.emit(name, 'domain-create-on-disk');
};

const creationOptions = (text: string): { name: string; label: string } => {
  const options = new Map<string, string>();
  for (const pair of text.split(' ')) {
    const equals = pair.indexOf('=');
    if (equals < 0) throw new Abort('not key=value');
    options.set(pair.slice(0, equals), pair.slice(equals + 1));
  }
  const [name, label] = [options.get('name'), options.get('label')];
  if (name === undefined) throw protocolError('Creation requested without key: name');
  validateName(name);
  // qubesd says the same of a label that it does not know.
  if (label === undefined || !LABELS.includes(label)) throw protocolError('Creation requested without key: label');
  return { name, label };
};

const createDisposable = ({ world, qube, payload }: Call): string => {
  const wantsUuid = payload.toString('latin1') === 'uuid';
  if (payload.length > 0 && !wantsUuid) {
    throw protocolError("Invalid payload, expected empty string or 'uuid'");
  }
  if (qube.props.get('template_for_dispvms') !== 'True') {
    throw new Refusal('QubesException', `Refusing to create DispVM out of this AppVM: ${qube.name}`);
  }
  const name = world.hooks.disp_name ?? `disp${world.nextDisp}`;
  if (name === '') return '';
  world.nextDisp++;
  const inherited = inheritance(qube);
  const props: Record<string, string | null> = { ...inherited.props, template: qube.name, auto_cleanup: 'True' };
  if (world.hooks.disp_netvm !== undefined) props.netvm = world.hooks.disp_netvm;
  const disposable = world.add(
    name,
    { klass: 'DispVM', state: world.hooks.disp_state ?? 'Halted', props, tags: [], volumes: privateVolume(qube) },
    inherited,
  );
  world.emit(name, 'domain-create-on-disk');
  for (const tag of ['created-by-dom0', 'disp-created-by-dom0', ...(world.hooks.extra_birth_tags ?? [])]) {
    world.addTag(name, tag);
  }
  return wantsUuid ? `uuid:${disposable.uuid}` : name;
};

const privateVolume = (qube: Qube): Record<string, number> => {
  const size = qube.volumes.get('private');
  return size === undefined ? {} : { private: size };
};

/** What a disposable takes over from the qube it is made of (qubes.vm.dispvm): everything but what makes that one a template. */
const inheritance = (source: Qube) => ({
  props: Object.fromEntries(
    [...source.props].filter(([name]) => name !== 'template' && name !== 'template_for_dispvms' && name !== 'qid'),
  ),
  tags: source.tags,
  features: [...source.features].filter(([name]) => !name.startsWith('preload-dispvm')),
  firewall: source.firewall,
});

// ---- features, volumes, devices

const existingFeature = ({ qube, arg }: Call): string => {
  const value = qube.features.get(arg);
  if (value === undefined) {
    throw new Refusal('QubesFeatureNotFoundError', `Feature not set for domain ${qube.name}: ${arg}`);
  }
  return value;
};

const volumeSize = ({ qube, arg }: Call): number => {
  const size = qube.volumes.get(arg);
  if (size === undefined) throw protocolError(`Invalid volume: ${arg}`);
  return size;
};

const volumeInfo = (call: Call): string => {
  const { qube, arg } = call;
  const hasOwnRoot = ['TemplateVM', 'StandaloneVM'].includes(qube.klass);
  const persists = arg === 'private' || (arg === 'root' && hasOwnRoot);
  return lines([
    'pool=vm-pool',
    `vid=qubes_dom0/vm-${qube.name}-${arg}`,
    `size=${volumeSize(call)}`,
    `usage=${qube.usage.get(arg) ?? 0}`,
    'rw=True',
    'source=',
    'path=/x',
    `save_on_stop=${persists ? 'True' : 'False'}`,
    `snap_on_start=${arg === 'root' && !persists ? 'True' : 'False'}`,
    'revisions_to_keep=2',
    'ephemeral=False',
  ]);
};

type Listing = 'Available' | 'Attached' | 'Assigned';

const deviceLines = ({ qube, variant }: Call, listing: Listing): readonly string[] =>
  qube.devices.get(`${variant}.${listing}`) ?? [];

const withoutDevice = (rows: readonly string[], ident: string): string[] =>
  rows.filter((row) => row.split(' ', 1)[0] !== ident);

const addDevice = (call: Call, verb: 'attach' | 'assign', listing: Listing): void => {
  const { world, qube, variant, arg } = call;
  const rows = deviceLines(call, listing);
  if (withoutDevice(rows, arg).length !== rows.length) {
    throw new Refusal(`DeviceAlready${listing}`, `device ${arg} already ${listing.toLowerCase()}`);
  }
  const row = `${arg} ${asciiText(call.payload)}`.trimEnd();
  const details = { device: arg, options: '{}' };
  world.emit(qube.name, `device-pre-${verb}:${variant}`, details);
  qube.devices.set(`${variant}.${listing}`, [...rows, row]);
  world.emit(qube.name, `device-${verb}:${variant}`, details);
};

const removeDevice = (call: Call, verb: 'detach' | 'unassign', listing: Listing): void => {
  const { world, qube, variant, arg } = call;
  const rows = deviceLines(call, listing);
  const rest = withoutDevice(rows, arg);
  if (rest.length === rows.length) {
    throw new Refusal('DeviceNotAssigned', `device ${arg} is not attached or assigned`);
  }
  const details: Record<string, string> = verb === 'detach' ? { port: arg } : { device: arg };
  qube.devices.set(`${variant}.${listing}`, rest);
  world.emit(qube.name, `device-${verb}:${variant}`, details);
};
