// The judge itself: what it lets pass, what it finds; and that the simulated qubesd can carry out what the vectors demand.
import { describe, expect, it } from 'vitest';
import { ask, EventReader } from '../qubesd/client.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';
import { World } from '../qubesd/world.ts';
import {
  checkVector,
  fleetOf,
  judge,
  matches,
  parseReply,
  readVectors,
  SYSTEM_DEFAULT,
  type Vector,
} from './vectors.ts';

const vectors = readVectors();

const vector = (more: Partial<Vector>): Vector => ({
  id: 'X',
  service: 'qmcp.X',
  fleet: 'F0',
  fleet_spec: FLEET_F0,
  operator_files: {},
  request: {},
  want: { ok: true },
  why: '',
  ...more,
});

const changed = (change: (world: World) => void): World => {
  const world = new World(FLEET_F0);
  change(world);
  return world;
};

describe('the vectors', () => {
  it('are many, each with its own id and a machine-readable fleet', () => {
    expect(vectors.length).toBeGreaterThan(300);
    expect(new Set(vectors.map(({ id }) => id)).size).toBe(vectors.length);
    for (const { fleet_spec: fleet } of vectors) expect(fleet.qubes.dom0?.klass).toBe('AdminVM');
  });

  it('agree with our copy of the fleet F0', () => {
    const f0 = vectors.filter(({ fleet }) => fleet === 'F0');
    expect(f0.length).toBeGreaterThan(200);
    for (const { fleet_spec: fleet } of f0) expect(fleet).toEqual(FLEET_F0);
  });

  const scripted = vectors.filter((one) => one.admin_calls_mutating && !one.env?.admin_client_unavailable);

  it('demand calls that the simulated qubesd carries out, with the fleet and the tags they say', async () => {
    expect(scripted.length).toBeGreaterThan(200);
    for (const one of scripted) {
      const problems = await checkVector(one, async (_, fleet) => {
        const qubesd = await temporaryQubesd({ fleet });
        if (one.env?.event_stream) {
          const stream = new EventReader(qubesd.path);
          await qubesd.playWhenQuiet(one.env.event_stream, 1);
          await stream.close();
        }
        for (const [method, dest, payload] of one.admin_calls_mutating ?? []) {
          await ask(qubesd.path, method.replace('<now>', '1'), dest, payload);
        }
        const { world, errors } = qubesd;
        const calls = qubesd.calls.map(({ row }) => row);
        return { reply: one.want, calls, deviceCalls: one.qvm_device_argv ?? [], world, errors };
      });
      expect(problems, one.id).toEqual([]);
    }
  });
});

describe('the judge', () => {
  const passes = { reply: { ok: true }, calls: [] };

  it('accepts what is as wanted', () => {
    expect(judge(vector({}), { ...passes, world: new World(FLEET_F0) })).toEqual([]);
  });

  it('finds a reply that differs, be it in one key more', () => {
    for (const reply of [{ ok: false }, { ok: true, more: 1 }, {}, { ok: 'true' }, 'empty reply', null, [true]]) {
      expect(judge(vector({}), { ...passes, reply })).toHaveLength(1);
    }
  });

  it('drops ignored keys from events, and only those', () => {
    const one = vector({ want: { ok: true, events: [{ event: 'e' }] }, ignore: ['ts'] });
    expect(judge(one, { ...passes, reply: { ok: true, events: [{ event: 'e', ts: 1.5 }] } })).toEqual([]);
    expect(judge(one, { ...passes, reply: { ok: true, events: [{ event: 'e', at: 1.5 }] } })).toHaveLength(1);
    expect(judge(one, { ...passes, reply: { ok: true, ts: 1, events: [{ event: 'e' }] } })).toHaveLength(1);
  });

  it('compares state-changing calls in order and skips reads on both sides', () => {
    const one = vector({
      admin_calls_mutating: [
        ['admin.vm.List', 'dom0'],
        ['admin.vm.tag.Set+q_<now>', 'ai-idle'],
      ],
    });
    const read = ['admin.vm.tag.Get+x', 'ai-idle'] as const;
    expect(judge(one, { ...passes, calls: [read, ['admin.vm.tag.Set+q_17', 'ai-idle'], read] })).toEqual([]);
    expect(judge(one, { ...passes, calls: [] })).toHaveLength(1);
    expect(judge(one, { ...passes, calls: [['admin.vm.tag.Set+q_x', 'ai-idle']] })).toHaveLength(1);
    expect(judge(one, { ...passes, calls: [['admin.vm.tag.Set+q_17', 'ai-work']] })).toHaveLength(1);
    expect(
      judge(one, {
        ...passes,
        calls: [
          ['admin.vm.tag.Set+q_17', 'ai-idle'],
          ['admin.vm.Unheard', 'ai-idle'],
        ],
      }),
    ).toHaveLength(1);
    expect(judge(vector({}), { ...passes, calls: [['admin.vm.Kill', 'ai-idle']] })).toEqual([]);
  });

  it('wants the device tool to run as told, or never', () => {
    const argv = [['qvm-device', 'block']];
    expect(judge(vector({ qvm_device_argv: argv }), { ...passes, deviceCalls: argv })).toEqual([]);
    expect(judge(vector({ qvm_device_argv: argv }), passes)).toHaveLength(1);
    expect(judge(vector({}), { ...passes, deviceCalls: argv })).toHaveLength(1);
  });

  it('wants exactly the new qubes that are named, with at least the details given', () => {
    const world = changed((fleet) => fleet.add('ai-new', { tags: ['b', 'a'] }));
    const wants = (created: Vector['created']) => judge(vector(created ? { created } : {}), { ...passes, world });
    expect(wants({ 'ai-new': { tags: ['a', 'b'], netvm: SYSTEM_DEFAULT } })).toEqual([]);
    expect(wants({ 'ai-new': {} })).toEqual([]);
    expect(wants(undefined)).toEqual([]);
    expect(wants({ 'ai-new': { tags: ['a'] } })).toHaveLength(1);
    expect(wants({ 'ai-new': { netvm: null } })).toHaveLength(1);
    expect(wants({})).toHaveLength(1);
    expect(wants({ 'ai-new': {}, other: {} })).toHaveLength(1);
  });

  it('lets a refused call leave a qube behind only where the reply admits it', () => {
    const world = changed((fleet) => fleet.add('ai-new', {}));
    const refused = (error: string): string[] => {
      const want = { ok: false, error };
      return judge(vector({ want }), { reply: want, calls: [], world });
    };
    expect(refused('create failed')).toEqual(['a refused call left ai-new behind']);
    expect(refused('x AND rollback failed; y')).toEqual([]);
  });

  it('wants the tags of old qubes unchanged, but for those it names; removed qubes have none', () => {
    const world = changed((fleet) => fleet.addTag('ai-idle', 'qmcp-x_123'));
    expect(judge(vector({}), { ...passes, world })).toHaveLength(1);
    const tags = ['ai-managed', 'qmcp-x_<now>'];
    expect(judge(vector({ tags_after: { 'ai-idle': tags } }), { ...passes, world })).toEqual([]);
    expect(judge(vector({}), { ...passes, world: changed((fleet) => fleet.remove('ai-idle')) })).toEqual([]);
  });

  it('passes errors on', () => {
    expect(judge(vector({}), { ...passes, errors: [new Error('oops')] })).toEqual([
      'something else went wrong: Error: oops',
    ]);
  });
});

describe('the matching rules', () => {
  it.each<[want: unknown, got: unknown, same: boolean]>([
    ['a.b_<now>', 'a.b_123', true],
    ['a.b_<now>', 'axb_123', false],
    ['a_<now>', 'a_', false],
    ['a_<now>', 'a_12x', false],
    ['a_<now>', 'a_12\n', false],
    [{ a: 1, b: [null] }, { b: [null], a: 1 }, true],
    [{ a: undefined }, {}, false],
    [[1], [1, 2], false],
    [[], {}, false],
    [1, '1', false],
    [null, undefined, false],
    [{ toString: 1 }, {}, false],
  ])('find %j and %j alike: %s', (want, got, same) => {
    expect(matches(want, got)).toBe(same);
  });

  it('read exactly one JSON object and a newline', () => {
    expect(parseReply(Buffer.from('{"ok": true}\n'))).toEqual({ ok: true });
    for (const text of ['', '{"ok":true}', '{}\n{}\n', '\n{}\n', '[]\n', 'null\n', '{"a":NaN}\n', '\ufeff{}\n']) {
      expect(() => parseReply(Buffer.from(text)), JSON.stringify(text)).toThrow();
    }
    expect(() => parseReply(Buffer.from('{"a":"\xff"}\n', 'latin1'))).toThrow();
  });

  it('let a halted qube be killed where the environment says so', () => {
    expect(fleetOf(vector({ env: { kill_of_halted_qube_succeeds: true } })).hooks).toEqual({ kill_ok: true });
    expect(fleetOf(vector({})).hooks).toBeUndefined();
  });
});
