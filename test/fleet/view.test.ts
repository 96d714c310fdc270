import { describe, expect, onTestFinished, test } from 'vitest';
import { FleetView, MAX_NAMES, type Snapshot } from '../../daemon/fleet/view.ts';
import type { QubeName } from '../../daemon/names.ts';
import { adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo } from '../../daemon/qubesadmin/client.ts';
import { followEvents } from '../../daemon/qubesadmin/events.ts';
import { AdminError } from '../../daemon/qubesadmin/wire.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { temporaryQubesd } from '../qubesd/temporary.ts';
import type { World } from '../qubesd/world.ts';

const FLEET: FleetSpec = {
  default_netvm: 'sys-firewall',
  qubes: {
    dom0: { klass: 'AdminVM', state: 'Running', tags: [] },
    'ai-work': { state: 'Running', tags: ['ai-managed'], props: { template: 'ai-debian', label: 'yellow' } },
    'ai-idle': { tags: ['ai-managed'], props: { template: 'ai-debian' } },
    'ai-debian': { klass: 'TemplateVM', tags: ['ai-managed'], props: { netvm: null } },
    vault: { tags: [] },
    'sys-firewall': { state: 'Running', tags: [], props: { netvm: null, provides_network: 'True' } },
  },
};
const NAMES = Object.keys(FLEET.qubes);

const WORK = 'ai-work' as QubeName;
const IDLE = 'ai-idle' as QubeName;
const VAULT = 'vault' as QubeName;

interface Setting {
  readonly qubesd: Qubesd;
  readonly world: World;
  readonly view: FleetView;
  /** Makes a change and waits until its last event has been heard; gives what the change gave. */
  readonly heard: <T>(event: string, change: () => T) => Promise<T>;
  /** The next snapshot, and the calls that it took. */
  readonly read: () => Promise<{ snapshot: Snapshot; calls: string[] }>;
  /** Ends the stream and waits until the view knows. */
  readonly lose: () => Promise<void>;
  /** Waits until a stream stands. */
  readonly standing: () => Promise<void>;
}

const setUp = async (fleet: FleetSpec = FLEET): Promise<Setting> => {
  const qubesd = await temporaryQubesd({ fleet });
  const view = new FleetView(adminOver(adminCallsTo(qubesd.path)));
  let established = (): void => {};
  const events = followEvents(qubesd.path, {
    established: () => {
      view.established();
      established();
    },
    event: (event) => view.event(event),
    lost: () => view.lost(),
  });
  onTestFinished(() => events.stop());
  await events.firstTry;

  const next = (isIt: (event: string | undefined) => boolean): Promise<void> =>
    new Promise((resolve) => {
      const unfollow = view.follow((event) => {
        if (!isIt(event?.event)) return;
        unfollow();
        resolve();
      });
    });
  return {
    qubesd,
    world: qubesd.world,
    view,
    heard: async (event, change) => {
      const arrival = next((name) => name === event);
      const result = change();
      await arrival;
      return result;
    },
    read: async () => {
      qubesd.reset();
      const snapshot = await view.snapshot();
      return { snapshot, calls: qubesd.calls.map(({ method, name }) => `${method.replace('admin.vm.', '')} ${name}`) };
    },
    lose: async () => {
      const loss = next((event) => event === undefined);
      qubesd.streams.closeAll();
      await loss;
    },
    standing: () =>
      view.isStanding
        ? Promise.resolve()
        : new Promise((resolve) => {
            established = resolve;
          }),
  };
};

/** The calls that reading one qube again takes: few for one out of scope. */
const READ_MANAGED = (name: string) => [
  `List ${name}`,
  `tag.List ${name}`,
  `CurrentState ${name}`,
  `property.GetAll ${name}`,
];
const READ_OTHER = (name: string) => [`List ${name}`, `tag.List ${name}`];

describe('a fresh view', () => {
  test('holds every qube of the machine, and of those out of scope no properties', async () => {
    const { view, world } = await setUp();
    const snapshot = await view.snapshot();
    expect([...snapshot.keys()].sort()).toEqual([...NAMES].sort());
    expect(snapshot.get(WORK)).toMatchObject({
      name: 'ai-work',
      uuid: world.qube('ai-work').uuid,
      klass: 'AppVM',
      state: 'Running',
      tags: new Set(['ai-managed']),
    });
    expect(snapshot.get(WORK)?.properties?.get('label')).toEqual({ isDefault: false, type: 'label', text: 'yellow' });
    expect(snapshot.get(VAULT)).toMatchObject({ state: 'Halted', properties: null });
  });

  test('is served again and again without a call to qubesd', async () => {
    const { view, read } = await setUp();
    expect(view.peek()).toBeNull();
    const { snapshot, calls } = await read();
    expect(calls.length).toBeGreaterThan(0);
    for (let reads = 0; reads < 5; reads++) expect(await read()).toEqual({ snapshot, calls: [] });
    expect(view.peek()).toBe(snapshot);
  });

  test('is read once for all who ask while it is being read', async () => {
    const { view, qubesd } = await setUp();
    const one = await view.snapshot();
    const calls = qubesd.calls.length;
    const fresh = await setUp();
    const many = await Promise.all(Array.from({ length: 20 }, () => fresh.view.snapshot()));
    expect(new Set(many).size).toBe(1);
    expect(fresh.qubesd.calls.length).toBe(calls);
    expect([...(many[0]?.keys() ?? [])]).toEqual([...one.keys()]);
  });

  test('is a picture that later changes do not touch', async () => {
    const { view, world, heard } = await setUp();
    const before = await view.snapshot();
    await heard('domain-tag-delete:ai-managed', () => world.removeTag('ai-work', 'ai-managed'));
    const after = await view.snapshot();
    expect(before.get(WORK)?.tags).toEqual(new Set(['ai-managed']));
    expect(after.get(WORK)?.tags).toEqual(new Set());
  });
});

describe('an event', () => {
  type Row = [event: string, change: (world: World) => unknown, calls: string[], now: (snapshot: Snapshot) => unknown];
  const state = (name: QubeName) => (snapshot: Snapshot) => snapshot.get(name)?.state;
  const property = (name: QubeName, of: string) => (snapshot: Snapshot) =>
    snapshot.get(name)?.properties?.get(of)?.text;
  const rows: [string, unknown, Row][] = [
    [
      'a tag added',
      new Set(['ai-managed', 'x']),
      ['domain-tag-add:x', (w) => w.addTag('ai-work', 'x'), READ_MANAGED('ai-work'), (s) => s.get(WORK)?.tags],
    ],
    [
      'the umbrella taken',
      null,
      [
        'domain-tag-delete:ai-managed',
        (w) => w.removeTag('ai-work', 'ai-managed'),
        READ_OTHER('ai-work'),
        (s) => s.get(WORK)?.properties,
      ],
    ],
    [
      'the umbrella given',
      'gray',
      [
        'domain-tag-add:ai-managed',
        (w) => w.addTag('vault', 'ai-managed'),
        READ_MANAGED('vault'),
        property(VAULT, 'label'),
      ],
    ],
    [
      'a property set',
      'red',
      [
        'property-set:label',
        (w) => w.setProperty('ai-work', 'label', 'red'),
        READ_MANAGED('ai-work'),
        property(WORK, 'label'),
      ],
    ],
    [
      'a property reset',
      'gray',
      [
        'property-reset:label',
        (w) => w.resetProperty('ai-work', 'label'),
        READ_MANAGED('ai-work'),
        property(WORK, 'label'),
      ],
    ],
    ['a start', 'Running', ['domain-start', (w) => w.start('ai-idle'), READ_MANAGED('ai-idle'), state(IDLE)]],
    [
      'a shutdown',
      'Halted',
      ['domain-shutdown', (w) => w.shutdown('ai-work', false), READ_MANAGED('ai-work'), state(WORK)],
    ],
    [
      'a pause',
      'Paused',
      ['domain-paused', (w) => w.setState('ai-work', 'Paused', 'domain-paused'), READ_MANAGED('ai-work'), state(WORK)],
    ],
    [
      'a new managed qube',
      'Halted',
      [
        'domain-tag-add:ai-managed',
        (w) => w.add('ai-new', { tags: ['ai-managed'] }),
        READ_MANAGED('ai-new'),
        state('ai-new' as QubeName),
      ],
    ],
    [
      'a new other qube',
      'Halted',
      ['domain-add', (w) => w.add('mail', { tags: [] }), READ_OTHER('mail'), state('mail' as QubeName)],
    ],
    ['a removal', undefined, ['domain-delete', (w) => w.remove('ai-work'), ['List ai-work'], (s) => s.get(WORK)]],
    [
      'new firewall rules',
      'Running',
      ['firewall-changed', (w) => w.setFirewall('ai-work', 'action=drop\n'), READ_MANAGED('ai-work'), state(WORK)],
    ],
  ];

  test.each(rows)('about %s makes exactly that qube stale', async (_, want, [event, change, calls, now]) => {
    const { view, world, heard, read } = await setUp();
    await view.snapshot();
    await heard(event, () => change(world));
    expect(view.peek()).toBeNull();
    const after = await read();
    expect(after.calls.sort()).toEqual([...calls].sort());
    expect(now(after.snapshot)).toEqual(want);
    expect((await read()).calls).toEqual([]);
  });

  test.each([
    ['ai-work', 'property-pre-set:label'],
    ['ai-work', 'property-pre-reset:label'],
    ['ai-work', 'domain-pre-start'],
    ['ai-work', 'domain-pre-shutdown'],
    ['ai-work', 'domain-feature-pre-set:x'],
    ['ai-work', 'domain-feature-set:x'],
    ['ai-work', 'domain-feature-delete:x'],
    ['ai-work', 'device-pre-attach:block'],
    ['ai-work', 'device-list-change:block'],
    ['ai-work', 'domain-is-fully-usable'],
    ['', 'domain-pre-delete'],
    ['', 'property-set:default_netvm'],
  ])('that changes nothing held (%s %s) costs no call', async (subject, event) => {
    const { view, world, heard, read } = await setUp();
    const before = await view.snapshot();
    await heard(event, () => world.emit(subject, event, { vm: 'ai-work' }));
    expect(await read()).toEqual({ snapshot: before, calls: [] });
  });

  test('of a storm about one qube costs one reading', async () => {
    const { view, world, heard, read } = await setUp();
    await view.snapshot();
    await heard('property-set:label', () => {
      for (let events = 0; events < 50; events++) world.addTag('ai-work', `t${events}`);
      world.setProperty('ai-work', 'label', 'red');
    });
    expect((await read()).calls.sort()).toEqual(READ_MANAGED('ai-work').sort());
  });

  test.each(['', '-x', 'a b', 'x'.repeat(32), '../etc'])(
    'about %j, which no qube can be called, is none',
    async (name) => {
      const { view, heard, world, read } = await setUp();
      await view.snapshot();
      await heard('domain-start', () => world.emit(name, 'domain-start'));
      await heard('domain-add', () => world.emit('', 'domain-add', { vm: name }));
      expect((await read()).calls).toEqual([]);
    },
  );

  test('that is late is acted on when it comes, and until then nothing is known of it', async () => {
    const { view, world, qubesd, heard, read } = await setUp();
    await view.snapshot();
    qubesd.streams.hold();
    world.removeTag('ai-work', 'ai-managed');
    world.addTag('vault', 'ai-managed');
    const { calls, snapshot } = await read();
    expect(calls).toEqual([]);
    expect(snapshot.get(WORK)?.tags).toContain('ai-managed');
    await heard('domain-tag-add:ai-managed', () => qubesd.streams.release());
    const later = (await read()).snapshot;
    expect(later.get(WORK)?.tags).not.toContain('ai-managed');
    expect(later.get(VAULT)?.tags).toContain('ai-managed');
  });

  test('sequence in any order ends in the picture as it is', async () => {
    const { view, world, heard } = await setUp();
    await view.snapshot();
    const recreated = await heard('domain-delete', () => {
      world.remove('ai-idle');
      const again = world.add('ai-idle', { klass: 'StandaloneVM', tags: ['ai-managed'] });
      world.remove('vault');
      return again;
    });
    // The events come in another order than they happened: the deletion of the first ai-idle last.
    view.event({ subject: '', event: 'domain-delete', details: { vm: 'ai-idle' } });
    const snapshot = await view.snapshot();
    expect(snapshot.get(IDLE)).toMatchObject({ uuid: recreated.uuid, klass: 'StandaloneVM' });
    expect(snapshot.has(VAULT)).toBe(false);
  });
});

describe('a change of our own', () => {
  test('is seen at once, however late its event', async () => {
    const { view, world, qubesd, read } = await setUp();
    await view.snapshot();
    qubesd.streams.hold();
    world.setProperty('ai-work', 'label', 'red');
    view.changed(WORK);
    const { snapshot, calls } = await read();
    expect(snapshot.get(WORK)?.properties?.get('label')?.text).toBe('red');
    expect(calls.sort()).toEqual(READ_MANAGED('ai-work').sort());
  });

  test('is seen even while other qubes change faster than they can be read', async () => {
    const { view, world, qubesd } = await setUp();
    await view.snapshot();
    let readings = 0;
    let ownReading: Promise<Snapshot> | undefined;
    // Each reading of vault is overtaken by another change of vault. In the last try the broker makes a change of its own.
    qubesd.onCall = ({ method, name }) => {
      if (method !== 'admin.vm.tag.List' || name !== 'vault') return;
      view.event({ subject: 'vault', event: 'domain-paused', details: {} });
      readings += 1;
      if (readings !== 3) return;
      world.silently(() => world.setProperty('ai-work', 'label', 'red'));
      view.changed(WORK);
      ownReading = view.snapshot();
    };
    view.event({ subject: 'vault', event: 'domain-paused', details: {} });
    await view.snapshot();
    expect(readings).toBeGreaterThanOrEqual(3);
    expect((await ownReading)?.get(WORK)?.properties?.get('label')?.text).toBe('red');
  });
});

describe('a default value', () => {
  test('is believed until anything happens that defaults can depend on', async () => {
    const { view, world, heard } = await setUp();
    const changes: [string, () => unknown][] = [
      ['property-set:label', () => world.setProperty('vault', 'label', 'red')],
      ['property-set:default_netvm', () => world.emit('', 'property-set:default_netvm', { name: 'default_netvm' })],
      ['domain-feature-set:x', () => world.setFeature('vault', 'x', '1')],
      ['domain-tag-add:x', () => world.addTag('vault', 'x')],
      ['domain-add', () => world.emit('', 'domain-add', { vm: 'vault' })],
    ];
    for (const [event, change] of changes) {
      const held = await freshly(view);
      expect(view.isCurrent(held), event).toBe(true);
      await heard(event, change);
      expect(view.isCurrent(held), event).toBe(false);
    }
    const held = await freshly(view);
    view.changed(VAULT);
    expect(view.isCurrent(held)).toBe(false);
  });

  test('is still believed after a start or a stop, which no default depends on', async () => {
    const { view, world, heard } = await setUp();
    const held = await freshly(view);
    await heard('domain-start', () => world.start('ai-idle'));
    await heard('domain-shutdown', () => world.shutdown('ai-idle', false));
    expect(view.isCurrent(held)).toBe(true);
  });

  test('is not believed without a stream, nor after a change made while it was read', async () => {
    const { view, world, qubesd, lose } = await setUp();
    qubesd.onCall = ({ method, name }) => {
      if (method !== 'admin.vm.property.GetAll' || name !== 'ai-work') return;
      qubesd.onCall = undefined;
      view.event({ subject: '', event: 'property-set:default_netvm', details: {} });
      world.defaultNetvm = 'vault';
    };
    const held = (await view.snapshot()).get(WORK);
    expect(held && view.isCurrent(held)).toBe(false);
    const again = await freshly(view);
    expect(view.isCurrent(again)).toBe(true);
    await lose();
    expect(view.isCurrent(again)).toBe(false);
  });

  /** ai-work, read again just now. */
  const freshly = async (view: FleetView) => {
    view.event({ subject: 'ai-work', event: 'domain-paused', details: {} });
    const qube = (await view.snapshot()).get(WORK);
    if (!qube) throw new Error('ai-work is gone');
    return qube;
  };
});

describe('a state that goes over into another without an event', () => {
  test('is read again each time, and for that qube alone, until it settles', async () => {
    const { world, view, heard, read } = await setUp();
    await view.snapshot();
    world.transitionsHeld = true;
    await heard('domain-spawn', () => void world.start('ai-idle'));
    for (let reads = 0; reads < 3; reads++) {
      const { snapshot, calls } = await read();
      expect(snapshot.get(IDLE)?.state).toBe('Transient');
      expect(calls.sort()).toEqual(READ_MANAGED('ai-idle').sort());
      expect(view.peek()).toBeNull();
    }
    world.silently(() => world.settle('ai-idle'));
    expect((await read()).snapshot.get(IDLE)?.state).toBe('Running');
    expect((await read()).calls).toEqual([]);
  });

  test.each(['Halting', 'Dying', 'Crashed', 'NA'])('is %s', async (state) => {
    const { world, read } = await setUp();
    world.silently(() => world.setState('ai-idle', state));
    expect((await read()).snapshot.get(IDLE)?.state).toBe(state);
    world.silently(() => world.setState('ai-idle', 'Halted'));
    expect((await read()).snapshot.get(IDLE)?.state).toBe('Halted');
  });

  test('does not matter of a qube out of scope, of which it is never told', async () => {
    const { world, read } = await setUp();
    world.silently(() => world.setState('vault', 'Transient'));
    await read();
    expect((await read()).calls).toEqual([]);
  });
});

describe('a fact that one qube does not give', () => {
  const refused = { exception: ['QubesException', 'x'] as const };

  test.each([
    ['admin.vm.CurrentState', refused, { state: 'unknown' }],
    ['admin.vm.CurrentState', 'empty' as const, { state: 'NA' }],
    ['admin.vm.property.GetAll', refused, { properties: null, state: 'Running' }],
    ['admin.vm.property.GetAll', { cut: 20 }, { properties: null }],
    ['admin.vm.tag.List', refused, { tags: null, properties: null }],
    ['admin.vm.tag.List', 'empty' as const, { tags: null }],
  ])('(%s: %j) is unknown for now, and asked for again by the next reader', async (method, fault, known) => {
    const { qubesd, read } = await setUp();
    qubesd.faults.inject({ method, dest: 'ai-work', fault });
    const first = await read();
    expect(first.snapshot.get(WORK)).toMatchObject(known);
    expect(first.snapshot.size).toBe(NAMES.length);
    const second = await read();
    expect(second.calls.sort()).toEqual(READ_MANAGED('ai-work').sort());
    expect(second.snapshot.get(WORK)).toMatchObject({ state: 'Running', tags: new Set(['ai-managed']) });
    expect(second.snapshot.get(WORK)?.properties).not.toBeNull();
    expect((await read()).calls).toEqual([]);
  });

  test('is also that of a qube out of scope whose tags are unreadable: it might be managed', async () => {
    const { qubesd, read } = await setUp();
    qubesd.faults.inject({ method: 'admin.vm.tag.List', dest: 'vault', fault: refused });
    expect((await read()).snapshot.get(VAULT)?.tags).toBeNull();
    expect((await read()).calls.sort()).toEqual(READ_OTHER('vault').sort());
    expect((await read()).calls).toEqual([]);
  });
});

describe('without a stream', () => {
  test('every reader builds its own picture from live facts', async () => {
    const { view, world, lose, read } = await setUp();
    await view.snapshot();
    await lose();
    expect(view.isStanding).toBe(false);
    world.silently(() => world.setProperty('ai-work', 'label', 'red'));
    const first = await read();
    expect(first.snapshot.get(WORK)?.properties?.get('label')?.text).toBe('red');
    world.silently(() => world.setProperty('ai-work', 'label', 'blue'));
    const second = await read();
    expect(second.snapshot.get(WORK)?.properties?.get('label')?.text).toBe('blue');
    expect(second.calls.length).toBe(first.calls.length);
    expect(view.peek()).toBeNull();
  });

  test('the view is rebuilt once a stream stands again, with what was missed', async () => {
    const { view, world, lose, standing, read } = await setUp();
    await view.snapshot();
    await lose();
    world.removeTag('ai-work', 'ai-managed');
    world.remove('vault');
    await standing();
    const { snapshot, calls } = await read();
    expect(calls[0]).toBe('List dom0');
    expect(snapshot.get(WORK)?.tags).toEqual(new Set());
    expect(snapshot.has(VAULT)).toBe(false);
    expect((await read()).calls).toEqual([]);
  });

  test('nothing can be said about what did not change', async () => {
    const { view, lose, standing } = await setUp();
    const before = view.revision(['ai-work']);
    expect(before).not.toBeNull();
    await lose();
    expect(view.revision(['ai-work'])).toBeNull();
    await standing();
    expect(view.revision(['ai-work'])).not.toBe(before);
  });
});

describe('during a reading', () => {
  test('a change that is heard of is in the picture', async () => {
    const { view, world, qubesd } = await setUp();
    qubesd.onDone = ({ method, name }) => {
      if (method !== 'admin.vm.property.GetAll' || name !== 'ai-work') return;
      qubesd.onDone = undefined;
      world.silently(() => world.setProperty('ai-work', 'label', 'red'));
      view.event({ subject: 'ai-work', event: 'property-set:label', details: {} });
    };
    expect((await view.snapshot()).get(WORK)?.properties?.get('label')?.text).toBe('red');
    expect(view.peek()).not.toBeNull();
  });

  test('a qube that is replaced by another of its name is never mixed with it', async () => {
    const { view, world, qubesd, read } = await setUp();
    qubesd.onCall = ({ method, name }) => {
      if (method !== 'admin.vm.CurrentState' || name !== 'ai-work') return;
      qubesd.onCall = undefined;
      world.silently(() => world.recreate('ai-work', { klass: 'StandaloneVM', tags: [] }));
    };
    const { snapshot } = await read();
    expect(snapshot.has(WORK)).toBe(false);
    view.event({ subject: '', event: 'domain-add', details: { vm: 'ai-work' } });
    expect((await view.snapshot()).get(WORK)).toMatchObject({ klass: 'StandaloneVM', tags: new Set() });
  });

  test('a removed qube is left out', async () => {
    const { view, world, qubesd } = await setUp();
    qubesd.onCall = ({ method, name }) => {
      if (method === 'admin.vm.tag.List' && name === 'ai-idle') world.silently(() => world.remove('ai-idle'));
    };
    expect([...(await view.snapshot()).keys()].sort()).toEqual(NAMES.filter((name) => name !== 'ai-idle').sort());
  });

  test('the loss of the stream leaves the reader with a picture of its own', async () => {
    const { view, world, qubesd, standing } = await setUp();
    qubesd.onCall = ({ method, name }) => {
      if (method !== 'admin.vm.property.GetAll' || name !== 'ai-work') return;
      qubesd.onCall = undefined;
      view.lost();
      world.silently(() => world.setProperty('ai-idle', 'label', 'red'));
    };
    const snapshot = await view.snapshot();
    expect(snapshot.get(IDLE)?.properties?.get('label')?.text).toBe('red');
    expect(view.peek()).toBeNull();
    view.established();
    await standing();
    await view.snapshot();
    expect(view.peek()).not.toBeNull();
  });

  test('a stream that is lost and stands again does not make the half-read picture whole', async () => {
    const { view, world, qubesd } = await setUp();
    qubesd.onCall = ({ method, name }) => {
      if (method !== 'admin.vm.property.GetAll' || name !== 'ai-work') return;
      qubesd.onCall = undefined;
      view.lost();
      world.silently(() => world.addTag('vault', 'ai-managed'));
      view.established();
    };
    expect((await view.snapshot()).get(VAULT)?.tags).toContain('ai-managed');
    expect((await view.snapshot()).get(VAULT)?.tags).toContain('ai-managed');
  });

  test('a qube that never stops changing does not hold the reader', async () => {
    const { view, qubesd } = await setUp();
    qubesd.onDone = ({ method, name }) => {
      if (method === 'admin.vm.tag.List' && name === 'vault') {
        view.event({ subject: 'vault', event: 'domain-tag-add:x', details: {} });
      }
    };
    expect((await view.snapshot()).size).toBe(NAMES.length);
    expect(view.peek()).toBeNull();
    qubesd.onDone = undefined;
    await view.snapshot();
    expect(view.peek()).not.toBeNull();
  });
});

describe('when qubesd fails', () => {
  test.each(['empty', { exception: ['QubesException', 'x'] }, { cut: 30 }] as const)(
    'to list the qubes (%j), the reader is told, and the next one tries again',
    async (fault) => {
      const { view, qubesd } = await setUp();
      qubesd.faults.inject({ method: 'admin.vm.List', fault });
      await expect(view.snapshot()).rejects.toBeInstanceOf(AdminError);
      expect((await view.snapshot()).size).toBe(NAMES.length);
    },
  );

  test('to read one qube again, that qube stays stale', async () => {
    const { view, world, qubesd, heard } = await setUp();
    await view.snapshot();
    await heard('property-set:label', () => world.setProperty('ai-work', 'label', 'red'));
    qubesd.faults.inject({ method: 'admin.vm.List', dest: 'ai-work', fault: 'empty' });
    await expect(view.snapshot()).rejects.toBeInstanceOf(AdminError);
    expect((await view.snapshot()).get(WORK)?.properties?.get('label')?.text).toBe('red');
  });

  test('altogether, nothing old is served', async () => {
    const { view, qubesd } = await setUp();
    await view.snapshot();
    await qubesd.stop();
    await new Promise<void>((resolve) => {
      if (!view.isStanding) resolve();
      else view.follow((event) => event === null && resolve());
    });
    await expect(view.snapshot()).rejects.toMatchObject({ kind: 'unreachable' });
  });
});

describe('who depends on the view', () => {
  test('has a revision that stays the same until one of its qubes is touched', async () => {
    const { view, world, heard } = await setUp();
    const names = ['ai-work', 'ai-idle'];
    const before = view.revision(names);
    await heard('domain-tag-add:x', () => world.addTag('vault', 'x'));
    await heard('domain-feature-set:x', () => world.setFeature('ai-work', 'x', '1'));
    expect(view.revision(names)).toBe(before);
    await heard('domain-tag-add:x', () => world.addTag('ai-idle', 'x'));
    const after = view.revision(names);
    expect(after).not.toBe(before);
    view.changed(WORK);
    expect(view.revision(names)).not.toBe(after);
  });

  test('is called back about every touched qube and about a loss, until it has enough', async () => {
    const { view, world, heard, lose } = await setUp();
    const told: (string | null)[] = [];
    const unwatch = view.watch((name) => told.push(name));
    await heard('domain-tag-add:x', () => world.addTag('vault', 'x'));
    await heard('domain-delete', () => world.remove('ai-idle'));
    view.changed(WORK);
    await lose();
    unwatch();
    view.changed(WORK);
    expect(told).toEqual(['vault', 'ai-idle', 'ai-work', null]);
  });

  test('may follow every event as it came, also those that change nothing held', async () => {
    const { view, world, heard, lose } = await setUp();
    const told: unknown[] = [];
    const unfollow = view.follow((event) => told.push(event && [event.subject, event.event, { ...event.details }]));
    await heard('domain-feature-set:x', () => world.setFeature('ai-work', 'x', '1'));
    await lose();
    unfollow();
    view.event({ subject: '', event: 'domain-add', details: {} });
    expect(told).toEqual([
      ['ai-work', 'domain-feature-pre-set:x', { feature: 'x', value: '1' }],
      ['ai-work', 'domain-feature-set:x', { feature: 'x', value: '1' }],
      null,
    ]);
  });

  test('may have a qube as it is now, whatever the view holds', async () => {
    const { view, world } = await setUp();
    await view.snapshot();
    world.silently(() => {
      world.removeTag('ai-work', 'ai-managed');
      world.remove('ai-idle');
    });
    expect((await view.live(WORK))?.tags).toEqual(new Set());
    expect(await view.live(IDLE)).toBeNull();
  });

  test('forgets rather than keep count of ever more names, and says that nothing is known any more', async () => {
    const { view, read } = await setUp();
    await view.snapshot();
    const name = (index: number): QubeName => `disp${index}` as QubeName;
    const before = view.revision(['ai-work']);
    for (let index = 1; index <= MAX_NAMES; index++) view.changed(name(index));
    expect(view.revision(['ai-work'])).toBe(before);
    const told: unknown[] = [];
    view.watch((name) => told.push(name));
    view.changed(name(MAX_NAMES + 1));
    expect(told).toEqual([null, name(MAX_NAMES + 1)]);
    expect(view.isStanding).toBe(true);
    expect(view.revision(['ai-work'])).not.toBe(before);
    const { calls } = await read();
    expect(calls.length).toBeLessThan(40);
    expect((await read()).calls).toEqual([]);
  });
});
