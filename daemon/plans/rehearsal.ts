// A rehearsal: the Admin API as it would answer after the earlier steps of a plan. Reads fall through to what is there,
// with what the steps would have changed laid over it; changes are kept here and never reach qubesd. The steps' own
// effects run against it, so that what a plan is said to do and what it does are one piece of code.
import { isQubeName, isUuid, type QubeName, type Uuid } from '../names.ts';
import type { PowerState } from '../qube.ts';
import { type Admin, adminOver } from '../qubesadmin/admin.ts';
import type { AdminCall } from '../qubesadmin/client.ts';
import { AdminError, type AdminRequest, type Destination } from '../qubesadmin/wire.ts';

/** What qubesd gives a new private volume unless told otherwise. */
const NEW_PRIVATE_BYTES = 2 * 2 ** 30;

/** Methods that change nothing: for a qube that no step touches they go to the real thing. */
const READ =
  /^admin\.(?:vm\.(?:List|CurrentState|tag\.List|property\.(?:Get|GetAll)|feature\.(?:Get|List)|volume\.Info|firewall\.Get|device\.[a-z]+\.(?:Available|Attached|List))|property\.Get)$/;

/** A qube that a step changed or created. What is null or absent is as the real thing answers for `like`. */
interface Touched {
  readonly name: QubeName;
  readonly uuid: Uuid;
  readonly klass: string;
  /** Whose facts stand in: its own, or for a qube that does not exist yet those of what it is made from. */
  readonly like: Uuid;
  readonly isBorn: boolean;
  state: PowerState;
  isGone: boolean;
  tags: Set<string> | null;
  readonly properties: Map<string, string>;
  readonly features: Map<string, string>;
  readonly volumes: Map<string, number>;
  firewall: string | null;
}

const refused = (type: string): AdminError => new AdminError('exception', type);
const text = (answer: string): Buffer => Buffer.from(answer, 'utf8');
/** GetAll has one property a line. */
const escaped = (value: string): string => value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n');
const lines = (rows: readonly string[]): Buffer => text(rows.map((row) => `${row}\n`).join(''));

export class Rehearsal {
  readonly #real: AdminCall;
  readonly #uuidFor: (name: string) => Uuid;
  /** What is so by now. */
  readonly #admin: Admin;
  readonly #touched = new Map<Uuid, Touched>();
  #disposables = 0;

  /** `uuidFor` names the uuid that stands in for a qube which a step would create. */
  constructor(real: AdminCall, uuidFor: (name: string) => Uuid) {
    this.#real = real;
    this.#uuidFor = uuidFor;
    this.#admin = adminOver(this.call);
  }

  /** The stand-ins, by the name of the qube that they stand in for. */
  get born(): ReadonlyMap<QubeName, Uuid> {
    return new Map([...this.#touched.values()].filter(({ isBorn }) => isBorn).map(({ name, uuid }) => [name, uuid]));
  }

  readonly call: AdminCall = async (request) => {
    const { method, dest } = request;
    if (method.startsWith('admin.vm.Create.')) return this.#create(request);
    if (dest === 'dom0') {
      if (!READ.test(method)) throw new AdminError('malformed', null, 'not rehearsed');
      return method === 'admin.vm.List' ? this.#list(await this.#real(request)) : this.#real(request);
    }
    const touched = this.#find(dest);
    if (touched?.isGone) throw refused('QubesVMNotFoundError');
    if (READ.test(method)) return touched ? this.#read(touched, request) : this.#real(request);
    return this.#change(touched ?? (await this.#touch(dest)), request);
  };

  #find(dest: Exclude<Destination, 'dom0'>): Touched | undefined {
    if ('uuid' in dest) return this.#touched.get(dest.uuid);
    const named = [...this.#touched.values()].filter(({ name }) => name === dest.name);
    return named.find(({ isGone }) => !isGone) ?? named[0];
  }

  async #touch(dest: Exclude<Destination, 'dom0'>): Promise<Touched> {
    const row = await ('uuid' in dest ? this.#admin.rowOf(dest.uuid) : this.#admin.row(dest.name));
    if (!row) throw refused('QubesVMNotFoundError');
    return this.#add({ ...row, like: row.uuid, isBorn: false, tags: null });
  }

  #add(qube: Pick<Touched, 'name' | 'uuid' | 'klass' | 'like' | 'isBorn' | 'state' | 'tags'>): Touched {
    const touched: Touched = {
      ...qube,
      isGone: false,
      properties: new Map(),
      features: new Map(),
      volumes: new Map(),
      firewall: null,
    };
    this.#touched.set(qube.uuid, touched);
    return touched;
  }

  // ---- reads

  #list(real: Buffer): Buffer {
    const rows = real.toString('utf8').split('\n').filter(Boolean);
    const untouched = rows.filter((row) => !this.#touched.has((/ uuid=(\S+)$/.exec(row)?.[1] ?? '') as Uuid));
    return lines([...untouched, ...[...this.#touched.values()].filter(({ isGone }) => !isGone).map(rowOf)]);
  }

  async #read(qube: Touched, request: AdminRequest): Promise<Buffer> {
    const { method, arg = '' } = request;
    const real = (): Promise<Buffer> => this.#real({ ...request, dest: { uuid: qube.like } });
    switch (method) {
      case 'admin.vm.List':
        return lines([rowOf(qube)]);
      case 'admin.vm.CurrentState':
        return text(`power_state=${qube.state}`);
      case 'admin.vm.tag.List':
        return qube.tags ? lines([...qube.tags].sort()) : real();
      case 'admin.vm.property.Get':
        return this.#property(qube, arg, real);
      case 'admin.vm.property.GetAll':
        return this.#properties(qube, real);
      case 'admin.vm.feature.List':
        return lines(await this.#featureNames(qube, real));
      case 'admin.vm.feature.Get':
        return this.#feature(qube, arg, real);
      case 'admin.vm.firewall.Get':
        return qube.firewall !== null ? text(qube.firewall) : qube.isBorn ? text('action=accept\n') : real();
      case 'admin.vm.volume.Info':
        return text(this.#volume(qube, arg, (await real()).toString('utf8')));
      default:
        // What is left are devices, and a qube that does not exist yet has none.
        return qube.isBorn ? text('') : real();
    }
  }

  async #property(qube: Touched, name: string, real: () => Promise<Buffer>): Promise<Buffer> {
    const value = fixed(qube, name);
    const type = TYPES[name];
    if (value !== null && type) return text(propertyAnswer(type, value));
    const answer = (await real()).toString('utf8');
    return text(value === null ? given(qube, answer) : propertyAnswer(typeIn(answer), value));
  }

  async #properties(qube: Touched, real: () => Promise<Buffer>): Promise<Buffer> {
    const rows = new Map<string, string>();
    for (const line of (await real()).toString('utf8').split('\n').filter(Boolean)) {
      const at = line.indexOf(' ');
      rows.set(line.slice(0, at), line.slice(at + 1));
    }
    for (const name of new Set([...rows.keys(), ...qube.properties.keys()])) {
      const answer = rows.get(name);
      const value = fixed(qube, name);
      const type = TYPES[name] ?? typeIn(answer ?? '');
      rows.set(name, value === null ? given(qube, answer ?? '') : propertyAnswer(type, escaped(value)));
    }
    return lines([...rows].map(([name, answer]) => `${name} ${answer}`));
  }

  async #featureNames(qube: Touched, real: () => Promise<Buffer>): Promise<string[]> {
    const had = qube.isBorn ? [] : (await real()).toString('utf8').split('\n').filter(Boolean);
    return [...new Set([...had, ...qube.features.keys()])].sort();
  }

  #feature(qube: Touched, name: string, real: () => Promise<Buffer>): Promise<Buffer> | Buffer {
    const value = qube.features.get(name);
    if (value !== undefined) return text(value);
    if (qube.isBorn) throw refused('QubesFeatureNotFoundError');
    return real();
  }

  #volume(qube: Touched, volume: string, real: string): string {
    const size = qube.volumes.get(volume) ?? (qube.isBorn && volume === 'private' ? NEW_PRIVATE_BYTES : null);
    if (size === null) return real;
    return real.replace(/^size=.*/m, `size=${size}`).replace(/^usage=.*/m, qube.isBorn ? 'usage=0' : '$&');
  }

  // ---- changes

  async #create({ method, arg = '', dest, payload = '' }: AdminRequest): Promise<Buffer> {
    const [, name = '', label = ''] = /^name=(\S+) label=(\S+)$/.exec(payload) ?? [];
    if (dest !== 'dom0' || !isQubeName(name) || !isQubeName(arg)) throw refused('QubesValueError');
    const template = await this.#require(arg);
    if (await this.#admin.row(name)) throw refused('QubesVMAlreadyExistsError');
    const klass = method.slice('admin.vm.Create.'.length);
    const isDisposable = klass === 'DispVM';
    const tags = new Set([...(isDisposable ? await this.#admin.tags(template) : []), 'created-by-dom0']);
    this.#bear(name, klass, template, tags).properties.set('label', label).set('template', template.name);
    return text('');
  }

  #bear(name: QubeName, klass: string, from: { readonly uuid: Uuid; readonly like: Uuid }, tags: Set<string>): Touched {
    const uuid = this.#uuidFor(name);
    return this.#add({ name, uuid, klass, like: from.like, isBorn: true, state: 'Halted', tags });
  }

  async #require(name: QubeName): Promise<Touched> {
    const touched = this.#find({ name }) ?? (await this.#touch({ name }));
    if (touched.isGone) throw refused('QubesVMNotFoundError');
    return touched;
  }

  async #change(qube: Touched, { method, arg = '', payload = '' }: AdminRequest): Promise<Buffer> {
    switch (method) {
      case 'admin.vm.tag.Set':
        qube.tags = (await this.#admin.tags(qube)).add(arg);
        break;
      case 'admin.vm.tag.Remove':
        qube.tags = await this.#admin.tags(qube);
        if (!qube.tags.delete(arg)) throw refused('QubesTagNotFoundError');
        break;
      case 'admin.vm.property.Set':
        qube.properties.set(arg, payload);
        break;
      case 'admin.vm.feature.Set':
        qube.features.set(arg, payload);
        break;
      case 'admin.vm.firewall.Set':
        qube.firewall = payload;
        break;
      case 'admin.vm.firewall.Reload':
        break;
      case 'admin.vm.volume.Resize':
        qube.volumes.set(arg, Number(payload));
        break;
      case 'admin.vm.volume.CloneFrom':
        return text(`${qube.uuid}.${arg}`);
      case 'admin.vm.volume.CloneTo':
        await this.#cloneVolume(qube, arg, payload);
        break;
      case 'admin.vm.CreateDisposable':
        return this.#createDisposable(qube);
      case 'admin.vm.Remove':
        if (qube.state !== 'Halted') throw refused('QubesVMNotHaltedError');
        qube.isGone = true;
        break;
      default:
        await this.#power(qube, method);
    }
    return text('');
  }

  async #cloneVolume(to: Touched, volume: string, token: string): Promise<void> {
    const [uuid, from = ''] = token.split('.');
    if (!isUuid(uuid)) throw refused('QubesVolumeCopyTokenNotFoundError');
    to.volumes.set(volume, (await this.#admin.volume({ uuid }, from)).sizeBytes);
  }

  async #createDisposable(template: Touched): Promise<Buffer> {
    // Its real name is qubesd's to choose, so no later step can mean it; this one only has to be nobody's.
    let name: QubeName;
    do name = `disp-planned-${++this.#disposables}` as QubeName;
    while (await this.#admin.row(name));
    const tags = (await this.#admin.tags(template)).add('created-by-dom0').add('disp-created-by-dom0');
    this.#bear(name, 'DispVM', template, tags).properties.set('template', template.name).set('auto_cleanup', 'True');
    return text(name);
  }

  async #power(qube: Touched, method: string): Promise<void> {
    const stateAfter = POWER[method];
    if (!stateAfter) throw new AdminError('malformed', null, 'not rehearsed');
    const after = stateAfter(qube.state);
    // A disposable that cleans up after itself is gone once it stops.
    qube.isGone =
      after === 'Halted' &&
      qube.klass === 'DispVM' &&
      (await this.#admin.property(qube, 'auto_cleanup')).text === 'True';
    qube.state = after;
  }
}

const stopped = (state: PowerState): PowerState => {
  if (state === 'Halted') throw refused('QubesVMNotStartedError');
  return 'Halted';
};

const only =
  (before: PowerState, after: PowerState, otherwise: string) =>
  (state: PowerState): PowerState => {
    if (state !== before) throw refused(otherwise);
    return after;
  };

/** The state that each power call leaves a qube in; throws what qubesd answers instead (facts: Admin API). */
const POWER: Readonly<Record<string, (state: PowerState) => PowerState>> = {
  // One that is paused, crashed or stopping stays so, without an error.
  'admin.vm.Start': (state) => (state === 'Halted' || state === 'Transient' ? 'Running' : state),
  'admin.vm.Shutdown': stopped,
  'admin.vm.Kill': stopped,
  'admin.vm.Pause': only('Running', 'Paused', 'QubesVMNotRunningError'),
  'admin.vm.Unpause': only('Paused', 'Running', 'QubesVMNotPausedError'),
};

const rowOf = ({ name, klass, state, uuid }: Touched): string => `${name} class=${klass} state=${state} uuid=${uuid}`;

/** The types of what a qube has and the one that it is made from has not; of anything else that one has the type. */
const TYPES: Readonly<Record<string, string>> = {
  template: 'vm',
  template_for_dispvms: 'bool',
  auto_cleanup: 'bool',
};

/** The value that a step has set or a birth has fixed; null where the real one stands. */
const fixed = (qube: Touched, property: string): string | null => {
  const set = qube.properties.get(property);
  if (set !== undefined || !qube.isBorn) return set ?? null;
  return property === 'name' ? qube.name : property === 'uuid' ? qube.uuid : property === 'klass' ? qube.klass : null;
};

const propertyAnswer = (type: string, value: string): string => `default=False type=${type} ${value}`;

const typeIn = (answer: string): string => /^default=\S+ type=(\S+)/.exec(answer)?.[1] ?? 'str';

/** What a qube has that does not exist yet, unless a step fixed it, is what the platform gives it. */
const given = (qube: Touched, real: string): string =>
  qube.isBorn ? real.replace(/^default=\S+/, 'default=True') : real;
