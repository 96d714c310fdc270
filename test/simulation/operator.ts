// The operator's verbs, and what is to be known of each before it is said that it was done.
import { type Tagged, tagged } from '../../daemon/control/answers.ts';
import { aCall } from './calls.ts';
import type { Deed } from './deed.ts';
import { SOURCES } from './fleet.ts';
import type { Machine } from './machine.ts';

export class Operator {
  readonly #machine: Machine;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Any of the verbs, about this qube or one that is dead or was left half-made. */
  operate(name: string): void {
    const { life, isStopping, chance, world, watch } = this.#machine;
    if (!life || isStopping) return;
    const source = chance.pick(SOURCES);
    const tombstones = [...world.qubes.values()].filter(({ tags }) =>
      [...tags].some((tag) => tag.startsWith('qmcp-tombstone_')),
    );
    const dead = chance.pick(tombstones)?.name ?? name;
    const kept = life.undo.list();
    const request = ((): { verb: string; args: Record<string, unknown> } => {
      switch (
        chance.weighted({
          tier: 5,
          freeze: 2,
          thaw: 6,
          undo: 5,
          restore: 5,
          reap: 6,
          status: 2,
          tombstones: 1,
          explain: 3,
        })
      ) {
        case 'tier':
          return {
            verb: 'tier',
            args: {
              name: chance.is(0.2) ? (chance.pick(watch.births.left) ?? name) : name,
              tier: chance.pick(['none', 'dump', 'ro', 'exec', 'net', 'full', 'full']),
              force: chance.is(0.7),
            },
          };
        case 'freeze':
          return { verb: 'freeze', args: { source } };
        case 'thaw':
          return { verb: 'thaw', args: { source } };
        case 'undo':
          return { verb: 'undo', args: { seq: chance.pick(kept)?.seq ?? 1, dry_run: chance.is(0.2) } };
        case 'restore':
          return { verb: 'restore', args: { name: dead, tier: chance.pick(['ro', 'exec', 'full']) } };
        case 'reap':
          return { verb: 'reap', args: { name: chance.is(0.5) ? null : dead } };
        case 'explain': {
          const call = aCall(chance, []);
          return {
            verb: 'explain',
            args: { service: call.service, body: call.body.toString('latin1', 0, 500), source, principal: null },
          };
        }
        case 'status':
          return { verb: 'status', args: {} };
        case 'tombstones':
          return { verb: 'tombstones', args: {} };
      }
    })();
    // A pass over what is due is the reaper's own, whoever has it made.
    this.ask(request.verb === 'reap' && request.args.name === null ? 'reaper' : 'operator', request.verb, request.args);
  }

  /** The operator asks something of the daemon. */
  ask(kind: Deed['kind'], verb: string, args: Readonly<Record<string, unknown>>): void {
    const { life, isStopping, lives, deeds, frozen, history, watch } = this.#machine;
    if (!life || isStopping) return;
    const changes = verb === 'thaw' || verb === 'freeze';
    if (changes) frozen.isAsked(verb, String(args.source));
    if (verb === 'tier' && args.tier !== 'none' && args.tier !== 'dump') watch.births.released(String(args.name));
    const deed = deeds.begin({ kind, source: 'dom0', service: verb, request: args, life: lives });
    history.tell(`operator ${deed.number} ${verb} ${JSON.stringify(args)}`);
    void deeds.current.run(deed, async () => {
      const said = await life.operate({ v: 1, verb, args });
      if (lives !== this.#machine.lives) return;
      if (isTagged(said) && said.result.released) watch.births.surelyReleased(said.result.uuid);
      // A freeze that could not be saved holds all the same, and is in no file.
      if (changes && said.ok && !JSON.stringify(said).includes('"lasts":false')) frozen.isSaid(String(args.source));
      history.tell(`said ${deed.number} ${JSON.stringify(said).slice(0, 300)}`);
    });
  }
}

const isTagged = (said: object): said is { readonly result: Tagged } =>
  'result' in said && tagged.safeParse(said.result).success;
