// qubesd as the broker meets it: the world of `test/qubesd`, which is away, fails, answers late, or loses the answer; and
// what each deed was told by it.
import { type AdminCall, DEADLINES } from '../../daemon/qubesadmin/client.ts';
import type { Tools } from '../../daemon/qubesadmin/tool.ts';
import { AdminError, type AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import { callTo } from '../crash/world-admin.ts';
import { isStateChanging } from '../qubesd/methods.ts';
import type { World } from '../qubesd/world.ts';
import type { Chance } from './chance.ts';
import type { Deed } from './deed.ts';
import { Events } from './events.ts';
import type { Life } from './life.ts';
import type { Machine } from './machine.ts';
import type { Outside } from './outside.ts';

const FAULTS = ['exception', 'exception', 'empty', 'malformed', 'unreachable', 'deadline', 'lost', 'lost'] as const;

export class Qubesd {
  readonly #machine: Machine;
  readonly #chance: Chance;
  readonly #world: World;
  readonly events: Events;
  isAway = false;
  /** So often a call fails. */
  faults: number;
  #isByHand = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#chance = machine.chance;
    this.#world = machine.world;
    this.events = new Events(machine);
    this.faults = machine.weather.faults;
    machine.world.subscribe((subject, event, details) => this.#happened(subject, event, details));
  }

  /** The view connects, and is connected, if anybody is there. */
  connect(fleet: Life['fleet']): void {
    if (!this.isAway) this.events.follow(fleet);
  }

  adminOver(outside: Outside): AdminCall {
    return (request) => {
      const { method, arg } = request;
      const deed = this.#machine.deeds.current.getStore();
      const changes = isChange(method);
      if (changes && !outside.isDead) {
        this.#machine.watch.effects.sends(deed, request);
        if (deed) this.#machine.quotas.isGranted(deed);
      }
      const asked = this.#machine.history.step;
      const isFaulty = this.faults > 0 && this.#chance.is(this.faults);
      const fault = this.#isStubborn(deed, request) ? 'exception' : isFaulty ? this.#chance.pick(FAULTS) : null;
      const work = () => this.#answer(outside, deed, request, asked, fault);
      return outside.wait(
        `${deed?.number ?? '-'} ${method}${arg ? `+${arg}` : ''} ${destOf(request)}${fault ? ` ${fault}` : ''}`,
        work,
        changes,
      );
    };
  }

  #isStubborn(deed: Deed | undefined, { method, dest }: AdminRequest): boolean {
    const isOfChild = typeof dest === 'object' && 'uuid' in dest && deed?.children.has(dest.uuid) === true;
    const { stubborn } = this.#machine.weather;
    return (
      stubborn > 0 && isOfChild && /^admin\.vm\.(?:property\.Set|Remove)$/.test(method) && this.#chance.is(stubborn)
    );
  }

  async #answer(
    outside: Outside,
    deed: Deed | undefined,
    request: AdminRequest,
    asked: number,
    fault: (typeof FAULTS)[number] | null,
  ): Promise<Buffer> {
    if (deed && (fault !== null || this.isAway)) deed.isTroubled = true;
    if (this.isAway) throw new AdminError('unreachable');
    switch (fault) {
      case 'exception':
        throw new AdminError('exception', this.#chance.pick(['QubesException', 'QubesVMInUseError', 'ProtocolError']));
      case 'empty':
      case 'malformed':
        throw new AdminError(fault);
      case 'unreachable':
        throw new AdminError('unreachable');
      case 'deadline': {
        // It may yet be done, now that nobody waits for it any more.
        this.#machine.clock.pass(5_000);
        const isDone = this.#chance.is(0.5);
        const late = isDone
          ? outside.wait('a late answer', () => this.#perform(deed, request, asked), true)
          : new Promise<Buffer>((_, reject) =>
              this.#machine.clock.after(DEADLINES.late, () => reject(new AdminError('deadline'))),
            );
        late.catch(() => {});
        throw new AdminError('deadline', null, '', isSlow(request.method) ? late : null);
      }
      case 'lost':
        await this.#perform(deed, request, asked);
        throw new AdminError('empty');
      default: {
        const answer = await this.#perform(deed, request, asked);
        if (request.method === 'admin.vm.CreateDisposable') this.#machine.watch.births.isAnswered(answer.toString());
        return answer;
      }
    }
  }

  async #perform(deed: Deed | undefined, request: AdminRequest, asked: number): Promise<Buffer> {
    const { method, dest } = request;
    const answer = await callTo(this.#world, request).catch((error: unknown) => {
      if (deed && method === 'admin.vm.List' && typeof dest === 'object' && 'name' in dest) deed.rows.delete(dest.name);
      throw error;
    });
    if (!deed) return answer;
    if (method === 'admin.vm.List' && typeof dest === 'object' && 'name' in dest) {
      const qube = this.#world.qubes.get(dest.name);
      if (qube) {
        deed.rows.set(dest.name, { uuid: qube.uuid, asked });
        const before = deed.tags.get(qube.uuid);
        if (before) deed.tagsBefore.set(qube.uuid, before.tags);
        deed.tags.delete(qube.uuid);
      }
    } else if (method === 'admin.vm.tag.List' && typeof dest === 'object' && 'uuid' in dest) {
      // The first tags after the row are what is decided on; later ones are for the budget, or to see what was written.
      const tags = new Set(answer.toString().split('\n').filter(Boolean));
      if (!deed.tags.has(dest.uuid)) deed.tags.set(dest.uuid, { tags, asked });
    } else if (method.startsWith('admin.vm.Create')) {
      const name =
        method === 'admin.vm.CreateDisposable' ? answer.toString() : /name=(\S+)/.exec(String(request.payload))?.[1];
      const qube = this.#world.qubes.get(name ?? '');
      if (qube) this.#machine.watch.births.wasBorn(deed, qube.uuid, qube.name);
    }
    return answer;
  }

  toolsOver(outside: Outside): Tools {
    return {
      has: (name) => outside.wait(`look for ${name}`, () => true),
      run: (name, [devclass = '', verb = '', frontend = '', device = '']) => {
        const deed = this.#machine.deeds.current.getStore();
        const [backend = ''] = device.split(':');
        if (!outside.isDead) this.#machine.watch.effects.runs(deed, name, frontend, backend);
        const fate =
          this.faults > 0 && this.#chance.is(0.05) ? this.#chance.pick(['failed', 'late', 'missing'] as const) : 'done';
        return outside.wait(
          `${name} ${verb}`,
          () => {
            if (fate !== 'done') {
              if (deed) deed.isTroubled = true;
              return fate === 'failed' ? { kind: fate, why: 'status 1' } : { kind: fate };
            }
            const qube = this.#world.qubes.get(frontend);
            if (!qube) return { kind: 'failed', why: 'status 1' };
            const listing = `${devclass}.Attached`;
            qube.devices.set(listing, verb === 'attach' ? [device] : []);
            this.#world.emit(
              frontend,
              `device-${verb}:${devclass}`,
              verb === 'attach' ? { device, options: '{}' } : { port: device },
            );
            return { kind: 'done' };
          },
          true,
        );
      },
    };
  }

  /** The operator starts or stops it in dom0, whatever the broker thinks of it. */
  switchByHand(name: string, state: string): void {
    this.#isByHand = true;
    if (state === 'Halted') void this.#world.start(name);
    else this.#world.stop(name);
    this.#isByHand = false;
  }

  #happened(subject: string, event: string, details: Readonly<Record<string, string | null>>): void {
    const { watch, history } = this.#machine;
    const name = subject || details.vm || '';
    watch.replies.changes.set(name, history.step);
    if (event === 'domain-start' || event === 'domain-spawn') {
      const qube = this.#world.qubes.get(name);
      if (qube) {
        const netvm = qube.props.has('netvm') ? (qube.props.get('netvm') ?? null) : this.#world.defaultNetvm;
        if (!this.#isByHand) watch.births.ranAs(qube.uuid, name, netvm);
      }
    }
    const texts = Object.fromEntries(Object.entries(details).map(([key, value]) => [key, value ?? 'None']));
    this.events.happened({ subject, event, details: texts });
  }
}

const known = new Map<string, boolean>();
const isChange = (method: string): boolean => {
  const before = known.get(method);
  if (before !== undefined) return before;
  const changes = isStateChanging(method);
  known.set(method, changes);
  return changes;
};

const isSlow = (method: string): boolean =>
  /^admin\.vm\.(?:Start|Remove|Create|volume\.(?:CloneTo|Resize))/.test(method);

const destOf = ({ dest }: AdminRequest): string => (dest === 'dom0' ? dest : 'uuid' in dest ? dest.uuid : dest.name);
