// What happens beside calls: to the qubes and the settings, to qubesd, the disk and the clocks, and to the broker.
import type { Agents } from './agents.ts';
import { AGENTS_QUBES } from './fleet.ts';
import type { Lives } from './lives.ts';
import type { Machine } from './machine.ts';
import { Operator } from './operator.ts';
import type { Qubesd } from './qubesd.ts';
import { anotherWish } from './settings.ts';

const ACTS = {
  settings: 10,
  tags: 14,
  power: 10,
  replace: 8,
  operator: 22,
  qubesd: 2,
  events: 3,
  faults: 3,
  disk: 2,
  time: 8,
  clock: 1,
  kill: 1,
  stop: 1.5,
  burst: 0.3,
} as const;

/** What would make a day longer or shorter than it is. */
const TIMELESS: ReadonlySet<string> = new Set(['time', 'clock']);

export class Acts {
  readonly #machine: Machine;
  readonly #qubesd: Qubesd;
  readonly #agents: Agents;
  readonly #lives: Lives;
  readonly #operator: Operator;

  constructor(machine: Machine, qubesd: Qubesd, agents: Agents, lives: Lives) {
    this.#machine = machine;
    this.#qubesd = qubesd;
    this.#agents = agents;
    this.#lives = lives;
    this.#operator = new Operator(machine);
  }

  act(): void {
    const { chance, world, weather, watch, settings, history, disk, clock, quotas } = this.#machine;
    // What went wrong is mended sooner or later; a machine that stays broken is soon a dull one.
    const act = chance.is(0.3) ? (this.#mend() ?? chance.weighted(ACTS)) : chance.weighted(ACTS);
    if (act === 'kill' && weather.deadly === 0) return;
    if (this.#machine.isDay && TIMELESS.has(act)) return;
    history.tell(`act ${act}`);
    const name = chance.pick(Object.keys(AGENTS_QUBES).filter((each) => each !== 'ai-t'));
    const present = world.qubes.get(name);
    switch (act) {
      case 'settings':
        settings.change(history.step, anotherWish(settings.wishes, chance));
        return;
      case 'calm':
        settings.change(history.step, this.#machine.calm);
        return;
      case 'return':
        this.#return();
        return;
      case 'thaw':
        this.#operator.ask('operator', 'thaw', { source: chance.pick([...this.#machine.frozen.since.keys()]) });
        return;
      case 'tags':
        if (present) this.#retag(name);
        return;
      case 'power': {
        const left = chance.is(0.3) ? chance.pick(watch.births.left) : undefined;
        const qube = left === undefined ? present : world.qubes.get(left);
        if (qube) this.#qubesd.switchByHand(qube.name, qube.state);
        return;
      }
      case 'replace':
        this.#replace(name);
        return;
      case 'operator':
        this.#operator.operate(name);
        return;
      case 'qubesd':
        this.#qubesd.isAway = !this.#qubesd.isAway;
        if (this.#qubesd.isAway) this.#qubesd.events.lose();
        else if (this.#machine.life) this.#qubesd.connect(this.#machine.life.fleet);
        return;
      case 'events':
        if (this.#qubesd.events.isFollowed) this.#qubesd.events.lose();
        else if (this.#machine.life) this.#qubesd.connect(this.#machine.life.fleet);
        return;
      case 'faults':
        this.#qubesd.faults = chance.pick([0, 0, weather.faults, weather.faults * 5]);
        return;
      case 'disk':
        disk.condition = disk.condition === 'well' ? chance.pick(['full', 'broken'] as const) : 'well';
        return;
      case 'time':
        clock.pass(chance.pick([1_000, 30_000, 600_000, 3_700_000, 90_000_000]));
        return;
      case 'clock':
        quotas.clockIsSet(() =>
          clock.set(chance.pick([-86_400_000, -3_600_000, -1_000, 1_000, 3_600_000, 100_000_000])),
        );
        return;
      case 'burst':
        this.#agents.burst();
        return;
      case 'kill':
        this.#machine.outside.kill();
        return;
      case 'stop':
        this.#lives.stop();
    }
  }

  #mend(): 'qubesd' | 'disk' | 'events' | 'thaw' | 'calm' | 'return' | null {
    const { chance, disk, frozen, settings, calm } = this.#machine;
    if (this.#qubesd.isAway) return 'qubesd';
    if (disk.condition !== 'well') return 'disk';
    if (!this.#qubesd.events.isFollowed) return 'events';
    if (frozen.since.size > 0) return 'thaw';
    if (settings.wishes !== calm && chance.is(0.3)) return 'calm';
    return chance.is(0.5) ? 'return' : null;
  }

  /** The operator puts one of the agents' qubes back to what it was. */
  #return(): void {
    const { chance, world } = this.#machine;
    const lost = Object.keys(AGENTS_QUBES).filter((name) => {
      const qube = world.qubes.get(name);
      return !qube || AGENTS_QUBES[name]?.tags?.some((tag) => !qube.tags.has(tag));
    });
    const name = chance.pick(lost);
    if (name === undefined) return;
    if (world.qubes.has(name)) for (const tag of AGENTS_QUBES[name]?.tags ?? []) world.addTag(name, tag);
    else world.add(name, AGENTS_QUBES[name] ?? {});
  }

  #retag(name: string): void {
    const { chance, world } = this.#machine;
    const tag = chance.pick(['ai-managed', 'ai-full', 'ai-full', 'ai-net', 'ai-exec', 'qmcp-guarded', 'mine']);
    if (world.qube(name).tags.has(tag)) world.removeTag(name, tag);
    else world.addTag(name, tag);
  }

  /** It is gone; or it is back, as another qube, with the tags it always had or with none. */
  #replace(name: string): void {
    const { chance, world } = this.#machine;
    const spec = AGENTS_QUBES[name] ?? {};
    const isBare = chance.is(0.3);
    const again = isBare ? { ...spec, tags: [] } : spec;
    if (!world.qubes.has(name)) world.add(name, again);
    else if (chance.is(0.3)) world.remove(name);
    else world.recreate(name, again);
  }
}
