// The fleet behind the simulated qubesd. Every change sends the events that a real host sends, unless made silently.
import { createHash } from 'node:crypto';
import type { FleetSpec, Hooks, QubeSpec } from './fleet.ts';
import { propertyValue } from './properties.ts';
import { type EventDetails, Refusal } from './wire.ts';

export interface Qube {
  readonly name: string;
  readonly klass: string;
  readonly uuid: string;
  readonly qid: number;
  state: string;
  readonly tags: Set<string>;
  /** Properties that are not default; null is an unset reference. */
  readonly props: Map<string, string | null>;
  readonly features: Map<string, string>;
  /** Sizes in bytes. */
  readonly volumes: Map<string, number>;
  /** What is used of a volume, in bytes; a volume that is not here is empty. */
  readonly usage: Map<string, number>;
  readonly devices: Map<string, string[]>;
  firewall: string;
}

export type EventListener = (subject: string, event: string, details: EventDetails) => void;

/** What a new qube has before anybody hears of it, beside its description. */
interface Inheritance {
  readonly tags?: Iterable<string>;
  readonly features?: Iterable<readonly [string, string]>;
  readonly firewall?: string;
}

const GIB = 1024 ** 3;
const ADMIN_UUID = '00000000-0000-0000-0000-000000000000';
const DEFAULT_VOLUMES: Readonly<Record<string, number>> = { private: 2 * GIB, root: 20 * GIB, volatile: 10 * GIB };
const USUAL_TAGS = ['created-by-dom0', 'guivm-dom0', 'audiovm-dom0'];
const ACCEPT_ALL = 'action=accept\n';

const NAME = /^[a-zA-Z][a-zA-Z0-9_.-]*$/;
const NAME_LENGTH = 31;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** qubes.vm.validate_name: throws the QubesValueError that qubesd answers. */
export const validateName = (name: string): void => {
  if (name.length > NAME_LENGTH) throw new Refusal('QubesValueError', 'VM name must be shorter than 32 characters');
  if (!NAME.test(name)) throw new Refusal('QubesValueError', 'VM name contains illegal characters');
};

export const notFound = (dest: string): Refusal => new Refusal('QubesVMNotFoundError', `No such domain: '${dest}'`);

export class World {
  readonly qubes = new Map<string, Qube>();
  readonly hooks: Hooks;
  defaultNetvm: string;
  nextDisp: number;
  /** Whether Start and Shutdown stay half-way (Transient, Halting) until `settle` lets them go on. */
  transitionsHeld = false;
  readonly #byUuid = new Map<string, Qube>();
  readonly #births = new Map<string, number>();
  readonly #listeners = new Set<EventListener>();
  readonly #halfway = new Map<Qube, { finish: () => void; started: Promise<void>; killed: () => void }>();
  readonly #clones = new Map<string, number>();
  #offers = 0;
  #nextQid = 1;
  #silent = false;

  constructor(spec: FleetSpec) {
    this.hooks = spec.hooks ?? {};
    this.defaultNetvm = spec.default_netvm ?? 'sys-firewall';
    this.nextDisp = spec.next_disp ?? 1234;
    for (const [name, description] of Object.entries(spec.qubes)) this.add(name, description);
    if (!this.qubes.has('dom0')) this.add('dom0', { klass: 'AdminVM', state: 'Running' });
  }

  // ---- reading

  /** The qube with this name; throws where a test names one that is not there. */
  qube(name: string): Qube {
    const qube = this.qubes.get(name);
    if (!qube) throw new Error(`the simulated fleet has no qube ${JSON.stringify(name)}`);
    return qube;
  }

  /** The qube that a destination ("name" or "uuid:<uuid>") stands for; throws the Refusal that qubesd answers. */
  resolve(dest: string): Qube {
    if (dest.startsWith('uuid:')) {
      const uuid = dest.slice('uuid:'.length);
      if (!UUID.test(uuid)) throw new Refusal('QubesVMInvalidUUIDError', `VM UUID is not valid: '${uuid}'`);
      const qube = this.#byUuid.get(uuid);
      if (!qube) throw notFound(dest);
      return qube;
    }
    const qube = this.qubes.get(dest);
    if (qube) return qube;
    validateName(dest);
    throw notFound(dest);
  }

  /** All qubes in qubesd's order: dom0 first, then by name. */
  sorted(): Qube[] {
    const rank = (qube: Qube): string => (qube.klass === 'AdminVM' ? '' : qube.name);
    return [...this.qubes.values()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
  }

  // ---- events

  /** Hears every event from now on; returns what ends that. */
  subscribe(listener: EventListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(subject: string, event: string, details: EventDetails = {}): void {
    if (this.#silent) return;
    for (const listener of this.#listeners) listener(subject, event, details);
  }

  /** Makes a (synchronous) change of which no event tells. */
  silently<T>(change: () => T): T {
    const before = this.#silent;
    this.#silent = true;
    try {
      return change();
    } finally {
      this.#silent = before;
    }
  }

  // ---- qubes

  /**
   * Adds a qube. One that re-uses a name gets a new uuid unless the description says otherwise. As in qubesd, what it
   * inherits is there before `domain-add` and has no event; the tags of the description follow with theirs.
   */
  add(name: string, spec: QubeSpec, inherited: Inheritance = {}): Qube {
    const birth = (this.#births.get(name) ?? 0) + 1;
    this.#births.set(name, birth);
    const klass = spec.klass ?? 'AppVM';
    const isAdmin = klass === 'AdminVM';
    const qube: Qube = {
      name,
      klass,
      uuid: spec.uuid ?? (isAdmin ? ADMIN_UUID : uuidOf(birth === 1 ? name : `${name}#${birth}`)),
      qid: isAdmin ? 0 : this.#nextQid++,
      state: spec.state ?? 'Halted',
      tags: new Set(inherited.tags),
      props: new Map(Object.entries(spec.props ?? {})),
      features: new Map([...(inherited.features ?? []), ...Object.entries(spec.features ?? {})]),
      volumes: new Map(Object.entries({ ...(isAdmin ? {} : DEFAULT_VOLUMES), ...spec.volumes })),
      usage: new Map(Object.entries(spec.usage ?? {})),
      devices: new Map(Object.entries(spec.devices ?? {}).map(([listing, lines]) => [listing, [...lines]])),
      firewall: spec.firewall ?? inherited.firewall ?? ACCEPT_ALL,
    };
    this.qubes.set(name, qube);
    this.#byUuid.set(qube.uuid, qube);
    this.emit('', 'domain-add', { vm: name });
    for (const tag of spec.tags ?? (isAdmin ? [] : USUAL_TAGS)) this.addTag(name, tag);
    return qube;
  }

  /** Removes a qube, whatever its state. Nothing is heard of it afterwards. */
  remove(name: string): void {
    const qube = this.qube(name);
    this.emit('', 'domain-pre-delete', { vm: name });
    this.qubes.delete(name);
    this.#byUuid.delete(qube.uuid);
    this.#halfway.delete(qube);
    this.emit('', 'domain-delete', { vm: name });
  }

  /** Replaces a qube by another of the same name, as an operator could between two calls. */
  recreate(name: string, spec: QubeSpec): Qube {
    this.remove(name);
    return this.add(name, spec);
  }

  // ---- what a qube carries

  addTag(name: string, tag: string): void {
    const { tags } = this.qube(name);
    if (tags.has(tag)) return;
    tags.add(tag);
    this.emit(name, `domain-tag-add:${tag}`, { tag });
  }

  removeTag(name: string, tag: string): void {
    if (this.qube(name).tags.delete(tag)) this.emit(name, `domain-tag-delete:${tag}`, { tag });
  }

  setProperty(name: string, property: string, value: string | null): void {
    const qube = this.qube(name);
    const oldvalue = propertyValue(this, qube, property).value || null;
    const details = { name: property, newvalue: value, oldvalue };
    this.emit(name, `property-pre-set:${property}`, details);
    qube.props.set(property, value);
    this.emit(name, `property-set:${property}`, details);
  }

  resetProperty(name: string, property: string): void {
    const qube = this.qube(name);
    const details = { name: property, oldvalue: propertyValue(this, qube, property).value || null };
    for (const event of ['property-pre-reset', 'property-pre-del']) this.emit(name, `${event}:${property}`, details);
    qube.props.delete(property);
    for (const event of ['property-reset', 'property-del']) this.emit(name, `${event}:${property}`, details);
  }

  setFeature(name: string, feature: string, value: string): void {
    const { features } = this.qube(name);
    const oldvalue = features.get(feature);
    const details = { feature, value, ...(oldvalue === undefined ? {} : { oldvalue }) };
    this.emit(name, `domain-feature-pre-set:${feature}`, details);
    features.set(feature, value);
    this.emit(name, `domain-feature-set:${feature}`, details);
  }

  removeFeature(name: string, feature: string): void {
    this.emit(name, `domain-feature-pre-delete:${feature}`, { feature });
    this.qube(name).features.delete(feature);
    this.emit(name, `domain-feature-delete:${feature}`, { feature });
  }

  setFirewall(name: string, rules: string): void {
    this.qube(name).firewall = rules;
    this.emit(name, 'firewall-changed');
  }

  /** A token for a volume of this size, good for one takeClone. */
  offerClone(size: number): string {
    const token = `token${String(++this.#offers).padStart(27, '0')}`;
    this.#clones.set(token, size);
    return token;
  }

  takeClone(token: string): number | undefined {
    const size = this.#clones.get(token);
    this.#clones.delete(token);
    return size;
  }

  // ---- power

  /** Puts a qube into a state and sends the named events about it. */
  setState(name: string, state: string, ...events: string[]): void {
    this.qube(name).state = state;
    for (const event of events) this.emit(name, event);
  }

  /** Starts a halted qube; resolves once it runs. One that is not halted stays as it is. */
  async start(name: string): Promise<void> {
    const qube = this.qube(name);
    if (qube.state === 'Transient') return this.#halfway.get(qube)?.started;
    if (qube.state !== 'Halted') return;
    this.emit(name, 'domain-pre-start', { start_guid: 'True' });
    qube.state = 'Transient';
    this.emit(name, 'domain-spawn', { start_guid: 'True' });
    const run = (): void => {
      qube.state = 'Running';
      this.emit(name, 'domain-start', { start_guid: 'True' });
    };
    return this.transitionsHeld ? this.#holdHalfway(qube, run) : run();
  }

  /** Asks a qube to stop; it has stopped on return unless transitions are held. */
  shutdown(name: string, force: boolean): void {
    const qube = this.qube(name);
    this.emit(name, 'domain-pre-shutdown', { force: force ? 'True' : 'False' });
    if (this.transitionsHeld && qube.state !== 'Halted') {
      qube.state = 'Halting';
      void this.#holdHalfway(qube, () => this.stop(name));
    } else this.stop(name);
  }

  /** Stops a qube at once. A disposable that cleans up after itself is gone afterwards. */
  stop(name: string): void {
    const qube = this.qube(name);
    this.#halfway.get(qube)?.killed();
    this.#halfway.delete(qube);
    this.setState(name, 'Halted', 'domain-stopped', 'domain-shutdown');
    if (qube.klass === 'DispVM' && qube.props.get('auto_cleanup') === 'True') this.remove(name);
  }

  /** Lets a held Start or Shutdown of this qube go on to its end. */
  settle(name: string): void {
    const qube = this.qube(name);
    const halfway = this.#halfway.get(qube);
    this.#halfway.delete(qube);
    halfway?.finish();
  }

  #holdHalfway(qube: Qube, end: () => void): Promise<void> {
    let [finish, killed] = [end, end];
    const started = new Promise<void>((resolve, reject) => {
      finish = () => {
        end();
        resolve();
      };
      killed = () => reject(new Refusal('QubesVMError', `Domain has been killed: '${qube.name}'`));
    });
    started.catch(() => {}); // whoever asked for the start hears of it; nobody asks about a shutdown
    this.#halfway.set(qube, { finish, killed, started });
    return started;
  }
}

/** A uuid that depends on the text alone, so that runs are alike (version 5 layout). */
const uuidOf = (text: string): string => {
  const hex = createHash('sha1').update(`fleet.invalid/${text}`).digest('hex');
  return [hex.slice(0, 8), hex.slice(8, 12), `5${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  );
};
