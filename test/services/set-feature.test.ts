import { describe, expect, test } from 'vitest';
import { QUIET } from '../broker/daemon.ts';
import { temporaryBroker } from '../broker/in-process.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { askingBroker, HOSTILE } from './asking.ts';

const SERVICE = 'qmcp.SetFeatureAIManaged';
const NOT_FOUND = { ok: false, error: 'not found' };
const FAILED = { ok: false, error: 'feature.Set failed' };
const BAD_VALUE = { ok: false, error: 'value must be a string, integer, or boolean (null/remove is operator-only)' };
const operatorOnly = (feature: string): object => ({ ok: false, error: `feature '${feature}' is operator-only` });
const idle = (feature: unknown, value: unknown): object => ({ name: 'ai-idle', feature, value });

describe('a request of the wrong shape', () => {
  test.each<[string, unknown]>([
    ['no object', [1]],
    ['null', null],
    ['no name', { feature: 'ai-x', value: '1' }],
    ['a null name', { name: null, feature: 'ai-x', value: '1' }],
    ['an empty name', { name: '', feature: 'ai-x', value: '1' }],
    ['a list for a name', { name: ['ai-idle'], feature: 'ai-x', value: '1' }],
    ['no feature', { name: 'ai-idle', value: '1' }],
    ['a null feature', idle(null, '1')],
    ['an empty feature', idle('', '1')],
    ['a number for a feature', idle(5, '1')],
    ['a list for a feature', idle(['ai-x'], '1')],
  ])('with %s is not found, without a call', async (_, request) => {
    const broker = await temporaryBroker();
    broker.qubesd.reset();
    expect(await broker.call(SERVICE, request)).toEqual(NOT_FOUND);
    expect(broker.qubesd.calls).toEqual([]);
  });

  test('that is not JSON is invalid input', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, '{')).toEqual({ ok: false, error: 'invalid input' });
  });

  test.each(['ai-idle\n', 'ai-idle\u0000', '\u0430i-idle', 'x'.repeat(60_000), 'vault', 'ghost'])(
    'for a qube that is none of ours is not found (%#)',
    async (name) => {
      const broker = await temporaryBroker();
      expect(await broker.call(SERVICE, { name, feature: 'ai-x', value: '1' })).toEqual(NOT_FOUND);
      expect(broker.qubesd.changes()).toEqual([]);
    },
  );
});

describe('a key', () => {
  test.each([
    'internal',
    'gui-allow-fullscreen',
    'preload-dispvm-max',
    'bad key',
    'ai-x\n',
    'ai-x\u0000',
    'ai-\u0435',
    'ai-x dom0 name vault\u0000',
    `ai-${'x'.repeat(126)}`,
    'AI-x',
    'Menu-items',
    '__proto__',
    ...HOSTILE,
  ])('that is not on the list, or in no grammar, is the operator\u2019s (%#)', async (feature) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle(feature, '1'))).toEqual(operatorOnly(feature));
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test.each(['qmcp', 'qmcp-x', 'qmcp\n', 'qmcp.tier'])('in our own namespace is reserved (%j)', async (feature) => {
    const broker = await temporaryBroker({ operatorFiles: { ...QUIET, 'features-allowed': 'q*\ninternal\n' } });
    expect(await broker.call(SERVICE, idle(feature, '1'))).toEqual({
      ok: false,
      error: 'feature namespace qmcp* is reserved',
    });
    expect(await broker.call(SERVICE, idle('internal', '1'))).toEqual(operatorOnly('internal'));
  });

  test('is refused before its value is looked at', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle('internal', null))).toEqual(operatorOnly('internal'));
    expect(await broker.call(SERVICE, idle('gui-x', [1]))).toEqual(operatorOnly('gui-x'));
  });

  test.each(['ai-x', 'menu-items', `ai-${'x'.repeat(125)}`])('on the list is set (%#)', async (feature) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle(feature, 'on'))).toEqual({ ok: true, feature, value: 'on' });
  });

  test('is on the list where the operator put it there', async () => {
    const broker = await temporaryBroker({
      operatorFiles: { ...QUIET, 'features-allowed': 'vm-config.*\nservice.x\n' },
    });
    for (const feature of ['vm-config.a', 'service.x']) {
      expect(await broker.call(SERVICE, idle(feature, '1'))).toEqual({ ok: true, feature, value: '1' });
    }
    expect(await broker.call(SERVICE, idle('service.xy', '1'))).toEqual(operatorOnly('service.xy'));
  });
});

describe('a value', () => {
  test.each<[unknown, string]>([
    ['hello', 'hello'],
    ['', ''],
    [true, '1'],
    [false, ''],
    [5, '5'],
    [-5, '-5'],
    [0, '0'],
  ])('of %j is stored as %j', async (value, text) => {
    const broker = await temporaryBroker();
    expect(await broker.call(SERVICE, idle('ai-x', value))).toEqual({ ok: true, feature: 'ai-x', value: text });
    const row = ['admin.vm.feature.Set+ai-x', 'ai-idle'];
    expect(broker.qubesd.changes()).toEqual([text === '' ? row : [...row, text]]);
  });

  test.each([[null], [undefined], [1.5], [[1, 'a']], [{ a: 1 }], [1e300], [2 ** 53]])(
    'of %j is no value',
    async (value) => {
      const broker = await temporaryBroker();
      expect(await broker.call(SERVICE, idle('ai-x', value))).toEqual(BAD_VALUE);
      expect(broker.qubesd.changes()).toEqual([]);
    },
  );

  test.each(['a\nb', 'a\u0000b', '\u00e9', '\ud800', 'x'.repeat(65_500)])(
    'that qubesd refuses fails (%#)',
    async (value) => {
      const broker = await temporaryBroker();
      expect(await broker.call(SERVICE, idle('ai-x', value))).toEqual(FAILED);
    },
  );

  test('is never journalled', async () => {
    const broker = await temporaryBroker();
    await broker.call(SERVICE, idle('ai-x', 'blue-as-the-sea'));
    const lines = await broker.lines();
    expect(JSON.stringify(lines)).not.toContain('blue-as-the-sea');
    expect(lines.find(({ type }) => type === 'outcome')?.args).toEqual({ name: 'ai-idle', feature: 'ai-x' });
  });
});

describe('a feature that names a qube', () => {
  test.each([null, undefined, '', true, 5, ['ai-work'], 'vault', 'ghost', 'dom0', 'ai-work\n', '\u0430i-work'])(
    'must name a managed one (%#)',
    async (value) => {
      const broker = await temporaryBroker();
      for (const feature of ['audiovm', 'guivm']) {
        expect(await broker.call(SERVICE, idle(feature, value))).toEqual({
          ok: false,
          error: `cross-VM feature '${feature}' must reference an ai-managed qube`,
        });
      }
      expect(broker.qubesd.changes()).toEqual([]);
    },
  );

  test('is decided on what qubesd says now', async () => {
    const broker = await temporaryBroker();
    await broker.view.snapshot();
    expect(await broker.call(SERVICE, idle('guivm', 'ai-work'))).toEqual({
      ok: true,
      feature: 'guivm',
      value: 'ai-work',
    });
    broker.world.silently(() => broker.world.removeTag('ai-work', 'ai-managed'));
    expect(await broker.call(SERVICE, idle('guivm', 'ai-work'))).toMatchObject({ ok: false });
  });
});

describe('when qubesd', () => {
  test.each(['empty', { exception: ['QubesException', 'vault'] as const }, { cut: 1 }] as const)(
    'does not set it, the reply is the constant text (%j)',
    async (fault) => {
      const broker = await temporaryBroker();
      broker.qubesd.faults.inject({ method: 'admin.vm.feature.Set', fault });
      expect(await broker.call(SERVICE, idle('ai-x', '1'))).toEqual(FAILED);
    },
  );

  test.each(['empty', { exception: ['QubesException', 'vault'] as const }] as const)(
    'does not give it back, the value is null (%j)',
    async (fault) => {
      const broker = await temporaryBroker();
      broker.qubesd.faults.inject({ method: 'admin.vm.feature.Get', fault, times: Number.POSITIVE_INFINITY });
      expect(await broker.call(SERVICE, idle('ai-x', '1'))).toEqual({ ok: true, feature: 'ai-x', value: null });
    },
  );

  test('is not there, the set failed', async () => {
    const broker = await temporaryBroker({ qubesd: false });
    expect(await broker.call(SERVICE, idle('ai-x', '1'))).toEqual(FAILED);
  });
});

describe('the question', () => {
  const fleet = {
    ...FLEET_F0,
    qubes: {
      ...FLEET_F0.qubes,
      'ai-idle': { ...FLEET_F0.qubes['ai-idle'], features: { 'ai-text': 'press yes', 'ai-n': '7' } },
    },
  };

  test.each<[string, unknown, string[]]>([
    ['ai-x', 5, ['Feature: ai-x', 'Now: not set', 'Then: 5']],
    ['ai-n', false, ['Feature: ai-n', 'Now: 7', 'Then: empty, which means off']],
    ['ai-text', '1', ['Feature: ai-text', 'Now: a text of 9 characters', 'Then: 1']],
    ['guivm', 'ai-work', ['Feature: guivm', 'Now: not set', 'Then: ai-work (yellow)']],
    [
      'menu-items',
      'firefox.desktop org.gnome.Terminal.desktop',
      ['Feature: menu-items', 'Now: not set', 'Then: firefox.desktop org.gnome.Terminal.desktop'],
    ],
  ])('about %s to %j shows what is and what would be', async (feature, value, wanted) => {
    const { broker, questions } = await askingBroker({ fleet });
    expect(await broker.call(SERVICE, idle(feature, value))).toMatchObject({ ok: true });
    const { lines } = questions()[0]?.view ?? { lines: [] };
    expect(lines[0]).toBe('Set a feature of ai-idle (gray)');
    expect(lines.slice(2, -1)).toEqual(wanted);
  });

  test('is not raised about a text of the caller, which fails', async () => {
    const { broker, questions } = await askingBroker();
    for (const text of [...HOSTILE, 'hello', 'a\nb', '12345678901234567', 'firefox.desktop']) {
      expect(await broker.call(SERVICE, idle('ai-x', text)), text).toEqual(FAILED);
    }
    const many = Array.from({ length: 20 }, () => 'firefox.desktop').join(' ');
    for (const text of ['firefox', 'a.desktop  b.desktop', 'a.desktop press yes', many]) {
      expect(await broker.call(SERVICE, idle('menu-items', text)), text).toEqual(FAILED);
    }
    expect(questions()).toEqual([]);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('is not raised about what is refused anyway', async () => {
    const { broker, questions } = await askingBroker();
    for (const [feature, value] of [
      ['internal', '1'],
      ['qmcp', '1'],
      ['gui-x', '1'],
      ['guivm', 'vault'],
      ['ai-x', null],
    ]) {
      expect(await broker.call(SERVICE, idle(feature, value))).toMatchObject({ ok: false });
    }
    expect(questions()).toEqual([]);
  });

  test('is void when the value it showed is another by the time of the yes', async () => {
    const { broker, approver } = await askingBroker({ fleet });
    approver.reflex = (asked) => {
      broker.world.silently(() => broker.world.setFeature('ai-idle', 'ai-n', '8'));
      asked.approve();
    };
    expect(await broker.call(SERVICE, idle('ai-n', 9))).toEqual(NOT_FOUND);
    expect(broker.qubesd.changes()).toEqual([]);
  });
});
