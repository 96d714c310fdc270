import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { temporaryBroker } from '../broker/in-process.ts';
import { askingBroker, HOSTILE } from './asking.ts';

const SERVICE = 'qmcp.SetPropertyAIManaged';
const NOT_FOUND = { ok: false, error: 'not found' };
const FAILED = { ok: false, error: 'set failed' };
const idle = (property: unknown, value: unknown): object => ({ name: 'ai-idle', property, value });

describe('a request of the wrong shape', () => {
  test.each<[string, unknown]>([
    ['no object', [1]],
    ['null', null],
    ['a text', '"x"'],
    ['not JSON', '{'],
    ['no name', { property: 'memory', value: 1 }],
    ['a null name', { name: null, property: 'memory', value: 1 }],
    ['an empty name', { name: '', property: 'memory', value: 1 }],
    ['a list for a name', { name: ['ai-idle'], property: 'memory', value: 1 }],
    ['a number for a name', { name: 5, property: 'memory', value: 1 }],
    ['no property', { name: 'ai-idle', value: 1 }],
    ['a null property', idle(null, 1)],
    ['an empty property', idle('', 1)],
    ['a list for a property', idle(['memory'], 1)],
    ['an object for a property', idle({ memory: 1 }, 1)],
    ['no value (P25)', { name: 'ai-idle', property: 'netvm' }],
  ])('with %s is not found, without a call', async (_, request) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, request)).toEqual(NOT_FOUND);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test.each([
    'memory\n',
    'mem\u0000ory',
    'm\u0435mory',
    'Memory',
    'x'.repeat(60_000),
    5,
    true,
    '__proto__',
    'toString',
  ])('for a property that is none is not settable (%#)', async (property) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle(property, 1))).toEqual({ ok: false, error: 'property not settable' });
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test.each(['ai-idle\n', 'ai-idle\u0000', '\u0430i-idle', ' ai-idle', 'x'.repeat(60_000), 'vault', 'ghost', 'dom0'])(
    'for a qube that is none of ours is not found (%#)',
    async (name) => {
      const broker = await temporaryBroker();
      expect(await broker.call(SERVICE, { name, property: 'memory', value: 1 })).toEqual(NOT_FOUND);
      expect(broker.qubesd.changes()).toEqual([]);
    },
  );

  test('with a key twice means the last', async () => {
    const broker = await temporaryBroker();
    const body = '{"name":"ai-idle","property":"memory","value":1,"value":800}';
    expect(await broker.call(SERVICE, body)).toEqual({ ok: true });
    expect(broker.qubesd.changes()).toEqual([['admin.vm.property.Set+memory', 'ai-idle', '800']]);
  });
});

describe('a value', () => {
  test.each<[string, unknown, string | undefined]>([
    ['memory', 800, '800'],
    ['memory', '800', '800'],
    ['vcpus', true, 'True'],
    ['vcpus', false, 'False'],
    ['memory', 1.5, '1.5'],
    ['memory', 1e16, '1e+16'],
    ['memory', 1e-7, '1e-07'],
    ['memory', -0, '0'],
    ['memory', null, undefined],
    ['label', 'pink', 'pink'],
    ['label', '', undefined],
    ['label', 're\nd', 're\nd'],
  ])('for %s of %j reaches qubesd as Python would write it', async (property, value, text) => {
    const broker = await temporaryBroker();
    await broker.call(SERVICE, idle(property, value));
    const row = [`admin.vm.property.Set+${property}`, 'ai-idle'];
    expect(broker.qubesd.changes()).toEqual([text === undefined ? row : [...row, text]]);
  });

  test.each([[[1]], [{ a: 1 }], [[]]])('that is %j is one that no property takes', async (value) => {
    const broker = await temporaryBroker();
    for (const property of ['memory', 'label', 'vcpus']) {
      expect(await broker.call(SERVICE, idle(property, value))).toEqual(FAILED);
    }
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('longer than qubesd takes fails', async () => {
    const broker = await temporaryBroker();
    const value = 'x'.repeat(65_000);
    expect(await broker.call(SERVICE, idle('label', value))).toEqual(FAILED);
  });

  test('is never journalled', async () => {
    const broker = await temporaryBroker();
    await broker.call(SERVICE, idle('label', 'blue-as-the-sea'));
    const lines = await broker.lines();
    expect(lines.some((line) => line.type === 'outcome')).toBe(true);
    expect(JSON.stringify(lines)).not.toContain('blue-as-the-sea');
    for (const line of lines.filter(({ type }) => type === 'outcome')) {
      expect(line.args).toEqual({ name: 'ai-idle', property: 'label' });
    }
  });
});

describe('a reference', () => {
  test.each<[string, unknown, string]>([
    ['template', 5, 'template value must be a qube name string or null'],
    ['template', true, 'template value must be a qube name string or null'],
    ['default_dispvm', ['ai-dvmt'], 'default_dispvm value must be a qube name string or null'],
    ['template', '', "cross-ref property 'template' must reference an ai-managed qube"],
    ['template', 'fedora-43', "cross-ref property 'template' must reference an ai-managed qube"],
    ['template', 'ghost', "cross-ref property 'template' must reference an ai-managed qube"],
    ['default_dispvm', 'ai-dvmt\n', "cross-ref property 'default_dispvm' must reference an ai-managed qube"],
    ['default_dispvm', 'vault', "cross-ref property 'default_dispvm' must reference an ai-managed qube"],
    ['netvm', '', 'netvm change is operator-only; null (disconnect) is permitted'],
    ['netvm', 'ai-tor', 'netvm change is operator-only; null (disconnect) is permitted'],
    ['netvm', 'vault', 'netvm change is operator-only; null (disconnect) is permitted'],
    ['netvm', [], 'netvm change is operator-only; null (disconnect) is permitted'],
  ])('%s to %j is refused', async (property, value, error) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle(property, value))).toEqual({ ok: false, error });
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('to nothing is an empty text', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle('default_dispvm', null))).toEqual({ ok: true });
    expect(broker.qubesd.changes()).toEqual([['admin.vm.property.Set+default_dispvm', 'ai-idle']]);
  });

  test('to a qube that has just left the umbrella is refused, before any event says so', async () => {
    const broker = await temporaryBroker();
    await broker.view.snapshot();
    broker.world.silently(() => broker.world.removeTag('ai-dvmt', 'ai-managed'));
    expect(await broker.call(SERVICE, idle('default_dispvm', 'ai-dvmt'))).toEqual({
      ok: false,
      error: "cross-ref property 'default_dispvm' must reference an ai-managed qube",
    });
  });

  test('away from the network is refused for a qube that provides it, or of which that cannot be read', async () => {
    const error = 'netvm of a network-providing qube is operator-only';
    const broker = await temporaryBroker();
    const router = { name: 'ai-net-router', property: 'netvm' };
    expect(await broker.call(SERVICE, { ...router, value: null })).toEqual({ ok: false, error });
    expect(await broker.call(SERVICE, { ...router, value: 'ai-tor' })).toEqual({ ok: false, error });
    for (const fault of ['empty', { exception: ['QubesException', 'x'] as const }] as const) {
      broker.qubesd.faults.inject({ method: 'admin.vm.property.Get+provides_network', fault });
      expect(await broker.call(SERVICE, idle('netvm', null))).toEqual({ ok: false, error });
    }
    expect(broker.qubesd.changes()).toEqual([]);
  });
});

describe('when qubesd', () => {
  test.each<[string, object | string, object]>([
    ['answers nothing', 'empty', { ok: false, error: "property 'memory' does not exist" }],
    [
      'knows no such property',
      { exception: ['QubesNoSuchPropertyError', 'of vault'] },
      { ok: false, error: "property 'memory' does not exist" },
    ],
    [
      'has lost the qube',
      { exception: ['QubesVMNotFoundError', 'vault'] },
      { ok: false, error: "property 'memory' does not exist" },
    ],
    ['refuses', { exception: ['QubesValueError', 'vault'] }, FAILED],
    ['cuts its answer short', { cut: 1 }, FAILED],
  ])('%s to the Set, the reply is the constant text', async (_, fault, reply) => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ method: 'admin.vm.property.Set', fault: fault as 'empty' });
    expect(await broker.call(SERVICE, idle('memory', 800))).toEqual(reply);
  });

  test('is not there, the set failed', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    expect(await broker.call(SERVICE, idle('memory', 800))).toEqual(FAILED);
    expect(await broker.call(SERVICE, { name: 'ai-idle' })).toEqual(NOT_FOUND);
  });

  test('refuses a new name in whatever way, the set failed (P35)', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle('name', 'ai-renamed'))).toEqual(FAILED);
    broker.qubesd.faults.inject({ method: 'admin.vm.property.Set', fault: 'empty' });
    expect(await broker.call(SERVICE, idle('name', 'ai-renamed'))).toEqual(FAILED);
  });
});

describe('the question', () => {
  test.each<[string, unknown, string[]]>([
    ['memory', 800, ['Change the initial memory of ai-idle (gray)', 'Now: 400 MiB', 'Then: 800 MiB']],
    ['memory', '0800', ['Change the initial memory of ai-idle (gray)', 'Now: 400 MiB', 'Then: 800 MiB']],
    ['vcpus', '4', ['Change the number of processors of ai-idle (gray)', 'Now: 2', 'Then: 4']],
    ['label', 'red', ['Change the label colour of ai-idle (gray)', 'Now: gray', 'Then: red']],
    ['netvm', null, ['Take the network from ai-idle (gray)', 'Now: ai-net-router (red)', 'Then: none']],
    [
      'default_dispvm',
      'ai-dvmt',
      ['Change the default disposable template of ai-idle (gray)', 'Now: none', 'Then: ai-dvmt (gray)'],
    ],
    [
      'template',
      'ai-debian-13',
      ['Change the template of ai-idle (gray)', 'Now: ai-debian-13 (black)', 'Then: ai-debian-13 (black)'],
    ],
  ])('about %s to %j shows what is and what would be', async (property, value, wanted) => {
    const { broker, questions } = await askingBroker();
    expect(await broker.call(SERVICE, idle(property, value))).toEqual({ ok: true });
    const { lines, risk, type_to_confirm } = questions()[0]?.view ?? { lines: [] };
    expect([lines[0], ...lines.slice(2, -1)]).toEqual(wanted);
    expect([risk, type_to_confirm]).toEqual(property === 'template' ? ['destroy', 'ai-idle'] : ['change', null]);
    expect(broker.qubesd.changes()).toHaveLength(1);
  });

  test('is not raised for what qubesd would refuse', async () => {
    const { broker, questions } = await askingBroker();
    for (const [property, value] of [
      ['name', 'ai-renamed'],
      ['label', 'pink'],
      ['label', null],
      ['memory', true],
      ['memory', 1.5],
      ['memory', null],
      ['memory', '1234567890'],
      ['template', null],
      ['template', 'ai-dvmt'],
    ] as const) {
      expect(await broker.call(SERVICE, idle(property, value)), property).toEqual(FAILED);
    }
    const running = { name: 'ai-work', property: 'template', value: 'ai-debian-13' };
    expect(await broker.call(SERVICE, running)).toEqual(FAILED);
    const untemplated = { name: 'ai-debian-13', property: 'template', value: 'ai-debian-13' };
    expect(await broker.call(SERVICE, untemplated)).toEqual({ ok: false, error: "property 'template' does not exist" });
    expect(await broker.call(SERVICE, idle('autostart', true))).toEqual({ ok: false, error: 'property not settable' });
    expect(questions()).toEqual([]);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is raised by default for a template and for nothing else here', async () => {
    const { broker, questions } = await askingBroker({ operatorFiles: { 'pool-cap': '1\n' } });
    expect(await broker.call(SERVICE, idle('memory', 800))).toEqual({ ok: true });
    expect(questions()).toHaveLength(0);
    expect(await broker.call(SERVICE, idle('template', 'ai-debian-13'))).toEqual({ ok: true });
    expect(questions()).toHaveLength(1);
  });

  test('that is answered no changes nothing', async () => {
    const { broker, questions } = await askingBroker({}, 'deny');
    expect(await broker.call(SERVICE, idle('memory', 800))).toEqual(NOT_FOUND);
    expect(questions()).toHaveLength(1);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is void when the value it showed is another by the time of the yes', async () => {
    const { broker, approver } = await askingBroker();
    approver.reflex = (asked) => {
      broker.world.silently(() => broker.world.setProperty('ai-idle', 'memory', '500'));
      asked.approve();
    };
    expect(await broker.call(SERVICE, idle('memory', 800))).toEqual(NOT_FOUND);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is void when the template has left the umbrella by the time of the yes', async () => {
    const { broker, approver } = await askingBroker();
    approver.reflex = (asked) => {
      broker.world.silently(() => broker.world.removeTag('ai-debian-13', 'ai-managed'));
      asked.approve();
    };
    expect(await broker.call(SERVICE, idle('template', 'ai-debian-13'))).toEqual(NOT_FOUND);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('never holds text of the caller', async () => {
    const { broker, questions } = await askingBroker();
    for (const text of HOSTILE) {
      for (const property of ['label', 'memory', 'template', 'default_dispvm', 'netvm', 'name', text]) {
        await broker.call(SERVICE, idle(property, text));
      }
      await broker.call(SERVICE, { name: text, property: 'memory', value: 1 });
    }
    expect(questions()).toEqual([]);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('shows nothing of any request but numbers, colours and managed qubes', async () => {
    const { broker, questions } = await askingBroker();
    const value = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom('800', 'red', 'ai-dvmt', 'vault', 'ai-debian-13'),
      fc.nat(),
      fc.boolean(),
      fc.constant(null),
    );
    const property = fc.constantFrom(
      'label',
      'memory',
      'maxmem',
      'vcpus',
      'template',
      'netvm',
      'default_dispvm',
      'name',
    );
    await fc.assert(
      fc.asyncProperty(property, value, async (property, value) => {
        await broker.call(SERVICE, idle(property, value));
      }),
      { numRuns: 150 },
    );
    expect(questions().length).toBeGreaterThan(10);
    for (const { view } of questions()) {
      const then = view.lines.find((line) => line.startsWith('Then: ')) ?? '';
      expect(then).toMatch(/^Then: (?:none|[0-9]+(?: MiB)?|red|ai-dvmt \(gray\)|ai-debian-13 \(black\))$/);
    }
  });
});

test('a guarded qube is asked about in every mode', async () => {
  const broker = await temporaryBroker({ operatorFiles: { ...QUIET, guarded: 'ai-idle\n' } });
  expect(await broker.call(SERVICE, idle('memory', 800))).toEqual(NOT_FOUND);
  expect(await broker.call(SERVICE, { name: 'ai-full1', property: 'memory', value: 800 })).toEqual({ ok: true });
});
