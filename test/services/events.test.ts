import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Reply } from '../../daemon/qrexec/door.ts';
import { aiManagedEvents, MAX_EVENTS, SETTLE_MS } from '../../daemon/services/events.ts';
import type { Reading } from '../../daemon/services/service.ts';
import { type InProcess, type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import type { World } from '../qubesd/world.ts';

const SERVICE = 'qmcp.AIManagedEvents';
const NOT_FOUND = { ok: false, error: 'not found' };
const UNAVAILABLE = { ok: false, error: 'event stream unavailable' };
const DURATION = { ok: false, error: 'duration must be a number in [1, 120]' };
const QUBE = { ok: false, error: 'qube must be a string or null' };
const EVENTS = { ok: false, error: 'events must be a list of non-empty strings or null' };
const WARNING = { warning: 'event stream ended early' };
/** Milliseconds. */
const NOW = 1_800_000_000_250;

// The duration is wound by hand; everything else takes the time it takes.
beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});
afterEach(() => {
  vi.useRealTimers();
});

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Listening {
  readonly broker: InProcess;
  readonly world: World;
  /** Makes a change and waits until the last of its events was heard, and what it led to is over. */
  readonly heard: (event: string, change: () => unknown) => Promise<void>;
  readonly isOver: () => boolean;
  /** The reply, after as much time as the call wanted; without their times the events are easier to compare. */
  readonly reply: () => Promise<Reply>;
}

const listen = async (request: object = {}, options: InProcessOptions = {}): Promise<Listening> => {
  const broker = await temporaryBroker({ now: () => NOW, ...options });
  await broker.view.snapshot();
  let over = false;
  const answer = broker.call(SERVICE, { duration: 1, ...request }).finally(() => {
    over = true;
  });
  await turn();
  return {
    broker,
    world: broker.world,
    heard: async (event, change) => {
      const arrival = new Promise<void>((resolve) => {
        const unfollow = broker.view.follow((each) => {
          if (each?.event !== event) return;
          unfollow();
          resolve();
        });
      });
      change();
      await arrival;
      await lookedUp(broker);
    },
    isOver: () => over,
    reply: async () => {
      vi.advanceTimersByTime(1_000);
      const reply = await answer;
      if (!reply.ok) return reply;
      return { ...reply, events: (reply.events as object[]).map((event) => ({ ...event, ts: undefined })) };
    },
  };
};

/** Waits until qubesd has had no call for some turns. */
const lookedUp = async ({ qubesd }: InProcess): Promise<void> => {
  for (let quiet = 0, seen = -1; quiet < 20; quiet++) {
    if (qubesd.calls.length !== seen) quiet = 0;
    seen = qubesd.calls.length;
    await turn();
  }
};

const told = (subject: string, event: string, klass: string | null = 'AppVM') => ({
  event,
  subject,
  subject_klass: klass,
});
/** The events of a reply that has some. */
const eventsOf = (reply: Reply): { subject: string; event: string }[] => {
  if (!reply.ok) throw new Error(reply.error);
  return reply.events as { subject: string; event: string }[];
};
const events = (...events: object[]) => ({ ok: true, events });

describe('a request', () => {
  test.each<[unknown, object]>([
    ['{', { ok: false, error: 'invalid JSON input' }],
    ['', DURATION],
    [null, DURATION],
    [[1], DURATION],
    [{}, DURATION],
    [{ duration: null }, DURATION],
    [{ duration: '5' }, DURATION],
    [{ duration: true }, DURATION],
    [{ duration: [5] }, DURATION],
    [{ duration: 'x', qube: 5, events: 5 }, DURATION],
    [{ duration: 1, qube: 5, events: 'x' }, QUBE],
    [{ duration: 1, qube: false }, QUBE],
    [{ duration: 1, qube: ['ai-work'] }, QUBE],
    [{ duration: 1, qube: 'ghost', events: 'x' }, EVENTS],
    [{ duration: 1, events: {} }, EVENTS],
    [{ duration: 1, events: '' }, EVENTS],
    [{ duration: 1, events: [''] }, EVENTS],
    [{ duration: 1, events: ['domain-start', 5] }, EVENTS],
    [{ duration: 1, events: ['domain-start', null] }, EVENTS],
    [{ duration: 1, qube: '' }, NOT_FOUND],
    [{ duration: 1, qube: 'ghost' }, NOT_FOUND],
    [{ duration: 1, qube: 'vault' }, NOT_FOUND],
    [{ duration: 1, qube: 'dom0' }, NOT_FOUND],
    [{ duration: 1, qube: 'ai-work\0' }, NOT_FOUND],
    [{ duration: 1, qube: `ai-${'x'.repeat(60_000)}` }, NOT_FOUND],
  ])('%j is answered at once', async (request, want) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, request)).toEqual(want);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    [0, 1_000],
    [-7.5, 1_000],
    [0.999, 1_000],
    [1, 1_000],
    [1.5, 1_500],
    [119.5, 119_500],
    [120, 120_000],
    [121, 120_000],
    [1e300, 120_000],
  ])('for %d seconds is answered after %d ms', async (duration, ms) => {
    const { isOver, reply } = await listen({ duration });
    vi.advanceTimersByTime(ms - 1);
    await turn();
    expect(isOver()).toBe(false);
    vi.advanceTimersByTime(1);
    await turn();
    expect(isOver()).toBe(true);
    expect(await reply()).toEqual(events());
  });

  test('for more seconds than a number can hold is one for the most', async () => {
    const broker = await temporaryBroker();
    const answer = broker.call(SERVICE, '{"duration":1e999}');
    await lookedUp(broker);
    vi.advanceTimersByTime(120_000);
    expect(await answer).toEqual(events());
  });

  test('without a stream is told so, before anything about the qube', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    expect(await broker.call(SERVICE, { duration: 1, qube: 'ghost' })).toEqual(UNAVAILABLE);
    expect(await broker.call(SERVICE, { duration: 1, events: 5 })).toEqual(EVENTS);
  });

  test('whose beginning cannot be read is told that there is no stream', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ method: 'admin.vm.List', fault: 'empty' });
    expect(await broker.call(SERVICE, { duration: 1 })).toEqual(UNAVAILABLE);
  });
});

describe('an event', () => {
  test('is told with its keys in order and the time it was heard, and nothing of what it carried', async () => {
    const { broker, heard, world } = await listen();
    const answer = broker.call(SERVICE, { duration: 1 });
    await lookedUp(broker);
    await heard('domain-tag-add:ai-managed', () => {
      world.emit('ai-idle', 'domain-start', { start_guid: 'True', secret: 'vault' });
      world.emit('ai-idle', 'domain-tag-add:ai-managed', { tag: 'ai-managed' });
    });
    vi.advanceTimersByTime(1_000);
    expect(JSON.stringify(await answer)).toBe(
      '{"ok":true,"events":[' +
        '{"event":"domain-start","subject":"ai-idle","subject_klass":"AppVM","ts":1800000000.25},' +
        '{"event":"domain-tag-add","subject":"ai-idle","subject_klass":"AppVM","ts":1800000000.25,"tag":"ai-managed"}]}',
    );
  });

  type Row = [what: string, play: (world: World) => void, last: string, want: object[]];
  const umbrella = (subject: string, event: string, klass: string | null = 'AppVM') => ({
    ...told(subject, event, klass),
    tag: 'ai-managed',
  });
  const emit =
    (subject: string, event: string, kwargs = {}) =>
    (world: World) =>
      world.emit(subject, event, kwargs);
  const silently = (change: (world: World) => void, subject: string, event: string) => (world: World) => {
    world.silently(() => change(world));
    world.emit(subject, event);
  };

  test.each<Row>([
    ['of a managed qube', emit('ai-work', 'domain-paused'), 'domain-paused', [told('ai-work', 'domain-paused')]],
    [
      'of a template',
      emit('ai-debian-13', 'domain-start'),
      'domain-start',
      [told('ai-debian-13', 'domain-start', 'TemplateVM')],
    ],
    [
      'that keeps its suffix',
      emit('ai-work', 'property-set:netvm', { newvalue: 'sys-whonix' }),
      'property-set:netvm',
      [told('ai-work', 'property-set:netvm')],
    ],
    [
      'about a feature',
      emit('ai-work', 'domain-feature-set:qmcp-x', { value: 'v' }),
      'domain-feature-set:qmcp-x',
      [told('ai-work', 'domain-feature-set:qmcp-x')],
    ],
    [
      'that only announces',
      emit('ai-work', 'domain-pre-start'),
      'domain-pre-start',
      [told('ai-work', 'domain-pre-start')],
    ],
    ['of a qube out of scope', emit('vault', 'domain-start'), 'domain-start', []],
    ['of dom0', emit('dom0', 'property-set:label'), 'property-set:label', []],
    ['of nobody', emit('ghost', 'domain-start'), 'domain-start', []],
    ['of the whole machine', emit('', 'property-set:default_netvm'), 'property-set:default_netvm', []],
    ['that a qube came', (world) => world.add('ai-new', { tags: [] }), 'domain-add', []],
    ['that a qube went', (world) => world.remove('ai-idle'), 'domain-delete', []],
    [
      'of a qube that left the umbrella unheard',
      silently((w) => w.removeTag('ai-work', 'ai-managed'), 'ai-work', 'domain-paused'),
      'domain-paused',
      [],
    ],
    [
      'of a qube that came under it unheard',
      silently((w) => w.addTag('vault', 'ai-managed'), 'vault', 'domain-start'),
      'domain-start',
      [told('vault', 'domain-start')],
    ],
    [
      'that comes late, of a qube that is gone',
      silently((w) => w.remove('ai-idle'), 'ai-idle', 'domain-shutdown'),
      'domain-shutdown',
      [told('ai-idle', 'domain-shutdown', null)],
    ],
    [
      'that comes late, of a qube that is gone and was never managed',
      silently((w) => w.remove('vault'), 'vault', 'domain-shutdown'),
      'domain-shutdown',
      [],
    ],
    [
      'that comes late, where another has the name now',
      silently((w) => void w.recreate('ai-idle', { tags: [] }), 'ai-idle', 'domain-shutdown'),
      'domain-shutdown',
      [],
    ],
    [
      'that the umbrella came',
      (world) => world.addTag('vault', 'ai-managed'),
      'domain-tag-add:ai-managed',
      [umbrella('vault', 'domain-tag-add')],
    ],
    [
      'that the umbrella went',
      (world) => world.removeTag('ai-work', 'ai-managed'),
      'domain-tag-delete:ai-managed',
      [umbrella('ai-work', 'domain-tag-delete')],
    ],
    [
      'that the umbrella went from a qube that never had it',
      emit('vault', 'domain-tag-delete:ai-managed', { tag: 'ai-managed' }),
      'domain-tag-delete:ai-managed',
      [],
    ],
    [
      'that the umbrella went from a qube that is gone',
      silently((w) => w.remove('ai-idle'), 'ai-idle', 'domain-tag-delete:ai-managed'),
      'domain-tag-delete:ai-managed',
      [umbrella('ai-idle', 'domain-tag-delete', null)],
    ],
    [
      'that the umbrella went, where another klass has the name now',
      silently(
        (w) => void w.recreate('ai-idle', { klass: 'StandaloneVM', tags: [] }),
        'ai-idle',
        'domain-tag-delete:ai-managed',
      ),
      'domain-tag-delete:ai-managed',
      [umbrella('ai-idle', 'domain-tag-delete', null)],
    ],
    ['about another tag', (world) => world.addTag('ai-work', 'ai-full'), 'domain-tag-add:ai-full', []],
    [
      'about a tag like the umbrella',
      (world) => world.addTag('ai-work', 'ai-managed-not'),
      'domain-tag-add:ai-managed-not',
      [],
    ],
    [
      'about the umbrella, told by what it carries',
      emit('ai-work', 'domain-tag-add', { tag: 'ai-managed' }),
      'domain-tag-add',
      [umbrella('ai-work', 'domain-tag-add')],
    ],
    [
      'about another tag, told by what it carries',
      emit('ai-work', 'domain-tag-add', { tag: 'secret' }),
      'domain-tag-add',
      [],
    ],
    ['about a tag it does not name', emit('ai-work', 'domain-tag-delete'), 'domain-tag-delete', []],
    [
      'about tags that nobody knows of yet',
      emit('ai-work', 'domain-tag-load:secret', { tag: 'ai-managed' }),
      'domain-tag-load:secret',
      [],
    ],
    ['with an odd name', emit('ai-work', 'domain start'), 'domain start', []],
    [
      'with a name of 256 characters',
      emit('ai-work', 'x'.repeat(256)),
      'x'.repeat(256),
      [told('ai-work', 'x'.repeat(256))],
    ],
    ['with a longer name', emit('ai-work', 'x'.repeat(257)), 'x'.repeat(257), []],
  ])('%s', async (_, play, last, want) => {
    const { heard, reply, world } = await listen();
    await heard(last, () => play(world));
    expect(await reply()).toEqual(events(...want));
  });

  test.each(['empty', { exception: ['QubesException', 'x'] }, { cut: 3 }] as const)(
    'is not told where nobody can say whose it is (%j)',
    async (fault) => {
      const { broker, heard, reply, world } = await listen();
      for (const method of ['admin.vm.List', 'admin.vm.tag.List']) {
        broker.qubesd.faults.inject({ method, dest: 'ai-work', fault });
        await heard('domain-paused', () => world.emit('ai-work', 'domain-paused'));
      }
      expect(await reply()).toEqual(events());
    },
  );

  test('is told in the order of hearing, however long it takes to look its qube up', async () => {
    const { broker, heard, reply, world } = await listen();
    broker.qubesd.faults.inject({ dest: 'ai-work', fault: 'mute' });
    await heard('domain-unpaused', () => {
      world.emit('ai-work', 'domain-paused');
      world.emit('ai-idle', 'domain-start');
      world.emit('ai-work', 'domain-unpaused');
    });
    broker.qubesd.release();
    await lookedUp(broker);
    expect(await reply()).toEqual(
      events(told('ai-work', 'domain-paused'), told('ai-idle', 'domain-start'), told('ai-work', 'domain-unpaused')),
    );
  });
});

describe('a filter', () => {
  test.each<[string, object, string[]]>([
    ['none', {}, ['ai-work property-set:netvm', 'ai-work domain-start', 'ai-idle domain-start']],
    [
      'nulls',
      { qube: null, events: null },
      ['ai-work property-set:netvm', 'ai-work domain-start', 'ai-idle domain-start'],
    ],
    ['one qube', { qube: 'ai-idle' }, ['ai-idle domain-start']],
    ['an empty list', { events: [] }, []],
    ['a whole name', { events: ['domain-start'] }, ['ai-work domain-start', 'ai-idle domain-start']],
    ['a name without its suffix', { events: ['property-set'] }, ['ai-work property-set:netvm']],
    ['a name with its suffix', { events: ['property-set:netvm'] }, ['ai-work property-set:netvm']],
    ['half a name', { events: ['domain-st', 'property', 'property-set:net', 'property-set:'] }, []],
    ['both', { qube: 'ai-work', events: ['domain-start', 'property-reset'] }, ['ai-work domain-start']],
  ])('of %s', async (_, filter, want) => {
    const { heard, reply, world } = await listen(filter);
    await heard('last', () => {
      world.emit('ai-work', 'property-set:netvm');
      world.emit('ai-work', 'domain-start');
      world.emit('ai-idle', 'domain-start');
      world.emit('vault', 'last');
    });
    expect(eventsOf(await reply()).map(({ subject, event }) => `${subject} ${event}`)).toEqual(want);
  });

  test('looks at the name as qubesd gives it, the tag included', async () => {
    for (const [filter, count] of [
      ['domain-tag-add:ai-managed', 1],
      ['domain-tag-add', 1],
      ['domain-tag-delete', 0],
    ] as const) {
      const { heard, reply, world } = await listen({ events: [filter] });
      await heard('domain-tag-add:ai-managed', () =>
        world.emit('ai-work', 'domain-tag-add:ai-managed', { tag: 'ai-managed' }),
      );
      expect(eventsOf(await reply()), filter).toHaveLength(count);
    }
  });

  test('spares the reading of qubes that nobody asked about', async () => {
    const { broker, heard, reply, world } = await listen({ qube: 'ai-idle', events: ['domain-start'] });
    broker.qubesd.reset();
    await heard('domain-paused', () => {
      world.emit('ai-work', 'domain-start');
      world.emit('ai-idle', 'domain-tag-add:x', { tag: 'x' });
      world.emit('ai-idle', 'domain-paused');
    });
    expect(broker.qubesd.calls).toEqual([]);
    expect(await reply()).toEqual(events());
  });
});

describe('a call ends early, and says so', () => {
  test('when the stream is lost, with what it has', async () => {
    const { broker, heard, reply, world } = await listen({ duration: 100 });
    await heard('domain-start', () => world.emit('ai-idle', 'domain-start'));
    broker.qubesd.streams.closeAll();
    expect(await reply()).toEqual({ ...events(told('ai-idle', 'domain-start')), ...WARNING });
  });

  test('when the broker stops', async () => {
    const { broker, heard, reply, world } = await listen({ duration: 100 });
    await heard('domain-start', () => world.emit('ai-idle', 'domain-start'));
    broker.abort();
    expect(await reply()).toEqual({ ...events(told('ai-idle', 'domain-start')), ...WARNING });
  });

  test('when the broker stops before it has well begun', async () => {
    const broker = await temporaryBroker();
    const answer = broker.call(SERVICE, { duration: 100 });
    broker.abort();
    expect(await answer).toEqual({ ...events(), ...WARNING });
  });

  test('when it holds as many events as it may, and not one before', async () => {
    const { heard, isOver, reply, world } = await listen({ duration: 100 });
    await heard('last', () => {
      for (let count = 1; count < MAX_EVENTS - 1; count++) world.emit('ai-idle', 'domain-start');
      world.emit('ai-idle', 'last');
    });
    expect(isOver()).toBe(false);
    await heard('one-more', () => world.emit('ai-idle', 'one-more'));
    expect(isOver()).toBe(true);
    const ended = await reply();
    expect(ended).toMatchObject({ ok: true, ...WARNING });
    expect(eventsOf(ended)).toHaveLength(MAX_EVENTS);
  });

  test('but not for any number of events of others', async () => {
    const { heard, isOver, reply, world } = await listen({ duration: 100 });
    for (let batch = 0; batch < 3; batch++) {
      await heard(`last-${batch}`, () => {
        for (let count = 1; count < MAX_EVENTS / 2; count++) world.emit('vault', 'domain-start');
        world.emit('vault', `last-${batch}`);
      });
    }
    expect(isOver()).toBe(false);
    vi.advanceTimersByTime(99_000);
    expect(await reply()).toEqual(events());
  });

  test('when what it heard last could not be looked up in time; the rest is told', async () => {
    const { broker, heard, reply, isOver, world } = await listen();
    await heard('domain-start', () => world.emit('ai-idle', 'domain-start'));
    broker.qubesd.faults.inject({ dest: 'ai-work', fault: 'hang' });
    await heard('domain-paused', () => world.emit('ai-work', 'domain-paused'));
    const answer = reply();
    await turn();
    expect(isOver()).toBe(false);
    vi.advanceTimersByTime(SETTLE_MS - 1);
    await turn();
    expect(isOver()).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await answer).toEqual({ ...events(told('ai-idle', 'domain-start')), ...WARNING });
  });
});

describe('many calls at once', () => {
  test('share the looking up of qubes, whatever the flood', async () => {
    const { broker, heard, world } = await listen();
    const answers = Array.from({ length: 30 }, () => broker.call(SERVICE, { duration: 1 }));
    await lookedUp(broker);
    broker.qubesd.reset();
    await heard('last', () => {
      for (let count = 0; count < 200; count++) world.emit('ai-idle', 'domain-feature-set:ai-x');
      world.emit('ai-idle', 'last');
    });
    // Two calls for each reading, and one reading follows another: far fewer than 30 x 200.
    expect(broker.qubesd.calls.length).toBeLessThan(450);
    vi.advanceTimersByTime(1_000);
    for (const reply of await Promise.all(answers)) expect(eventsOf(reply)).toHaveLength(201);
  });

  test('leave nothing behind: no timer, no listener, no warning of too many of them', async () => {
    const warnings: unknown[] = [];
    const onWarning = (warning: unknown) => warnings.push(warning);
    process.on('warning', onWarning);
    const broker = await temporaryBroker();
    const follow = vi.spyOn(broker.view, 'follow');
    await broker.view.snapshot();
    const { signal } = new AbortController();
    const reading = { fleet: broker.view, now: () => NOW, stopping: signal } as Partial<Reading> as Reading;
    const answers = Array.from({ length: 40 }, () => aiManagedEvents.answer({ duration: 1 }, reading));
    await turn();
    expect(getEventListeners(signal, 'abort')).toHaveLength(40);
    const unfollows = follow.mock.results.map(({ value }) => value as () => boolean);
    expect(unfollows).toHaveLength(40);
    vi.advanceTimersByTime(1_000);
    await Promise.all(answers);
    await turn();
    process.off('warning', onWarning);
    expect(warnings).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
    for (const unfollow of unfollows) expect(unfollow()).toBe(false);
  });
});

test('a fault of the broker while it listens is a no, and ends the call at once', async () => {
  const { broker, reply, world } = await listen({ duration: 100 }, { fleet: FLEET_F0 });
  Object.assign(broker.view, { live: () => Promise.reject(new TypeError('ours')) });
  world.emit('ai-idle', 'domain-start');
  expect(await reply()).toEqual(NOT_FOUND);
  expect(broker.unplanned).toHaveLength(1);
  broker.unplanned.length = 0;
});
