// The tables read once more, by somebody who writes down what they should say: risks (product, "Risk") and tiers (contract 3.1).
import { describe, expect, test } from 'vitest';
import { capabilitiesOf, lower, tierOf } from '../../daemon/authority/capabilities.ts';
import { decide, riskOf } from '../../daemon/authority/decide.ts';
import { kernelVerdict, wrapperRefusal } from '../../daemon/authority/kernel.ts';
import { SERVICES } from '../../daemon/authority/tables.ts';
import { reaperVerdict } from '../../daemon/authority/tombstone.ts';
import { TIERS } from '../../daemon/settings/settings.ts';

const tags = (...list: string[]): ReadonlySet<string> => new Set(list);

const RISKS: Record<string, Record<string, string>> = {
  'qmcp.LifecycleAIManaged': {
    start: 'change',
    shutdown: 'change',
    pause: 'change',
    unpause: 'change',
    kill: 'destroy',
    remove: 'destroy',
  },
  'qmcp.SetPropertyAIManaged': { 'set-property': 'change' },
  'qmcp.SetFeatureAIManaged': { 'set-feature': 'change' },
  'qmcp.SetFirewallAIManaged': { 'set-firewall': 'destroy' },
  'qmcp.SpawnAIManagedQube': { spawn: 'change' },
  'qmcp.SpawnDisposableAIManaged': { 'spawn-disposable': 'change' },
  'qmcp.CloneAIManagedQube': { clone: 'change' },
  'qmcp.AttachDeviceAIManaged': { attach: 'destroy' },
  'qmcp.DetachDeviceAIManaged': { detach: 'destroy' },
  'qmcp.RunInAIManaged': { run: 'change' },
  'qmcp.CopyToAIManaged': { copy: 'change' },
  'admin.vm.firewall.Set': { set: 'destroy' },
  'admin.vm.firewall.Reload': { reload: 'change' },
  'admin.vm.tag.Set': { set: 'change' },
  'admin.vm.tag.Remove': { remove: 'change' },
  'qubes.Filecopy': { copy: 'change' },
};

describe('the risk', () => {
  test('of every action of every service is the one that people were told', () => {
    const changing = [...SERVICES].filter(([, { access }]) => access === 'change').map(([name]) => name);
    expect(changing.sort()).toEqual(Object.keys(RISKS).sort());
    for (const [service, actions] of Object.entries(RISKS)) {
      expect([...(SERVICES.get(service)?.actions.keys() ?? [])]).toEqual(Object.keys(actions));
      for (const [action, risk] of Object.entries(actions))
        expect(riskOf(service, action), `${service} ${action}`).toBe(risk);
    }
  });

  test('of a read is to read, of a template change to destroy, and of what is unknown to destroy', () => {
    for (const [service, { access }] of SERVICES)
      if (access === 'read') expect(riskOf(service, 'anything')).toBe('read');
    expect(riskOf('qmcp.SetPropertyAIManaged', 'set-property', { property: 'template', value: null })).toBe('destroy');
    expect(riskOf('qmcp.SetPropertyAIManaged', 'set-property', { property: 'label' })).toBe('change');
    expect(riskOf('qmcp.LifecycleAIManaged', 'explode')).toBe('destroy');
    expect(riskOf('qmcp.NoSuch', 'start')).toBe('destroy');
  });
});

test('what a call needs of each qube is as in contract 3.2, and whether it changes that qube', () => {
  const needs = Object.fromEntries(
    [...SERVICES].map(([service, { roles }]) => [
      service,
      [...roles].map(([role, { capability, changed }]) => `${role}: ${capability}${changed ? ', changed' : ''}`),
    ]),
  );
  const target = (text: string): string[] => [`target: ${text}`];
  expect(needs).toEqual({
    'qmcp.ListAIManagedQubes': [],
    'qmcp.AIManagedEvents': [],
    'qmcp.GetPoolStats': [],
    'qmcp.GetPropertyAIManaged': target('read'),
    'qmcp.ListAttachedDevicesAIManaged': target('read'),
    'qmcp.GetFirewallAIManaged': target('read'),
    'qmcp.LifecycleAIManaged': target('full, changed'),
    'qmcp.SetPropertyAIManaged': target('full, changed'),
    'qmcp.SetFeatureAIManaged': target('full, changed'),
    'qmcp.SetFirewallAIManaged': target('net, changed'),
    'qmcp.SpawnAIManagedQube': ['template: full'],
    'qmcp.SpawnDisposableAIManaged': ['dvmt: full'],
    'qmcp.CloneAIManagedQube': ['source: full'],
    'qmcp.AttachDeviceAIManaged': ['backend: full, changed', 'frontend: full, changed'],
    'qmcp.DetachDeviceAIManaged': ['backend: full, changed', 'frontend: full, changed'],
    'qmcp.RunInAIManaged': target('exec, changed'),
    'qmcp.CopyToAIManaged': target('exec, changed'),
    'admin.vm.firewall.Get': target('read'),
    'admin.vm.firewall.Set': target('net, changed'),
    'admin.vm.firewall.Reload': target('net, changed'),
    'admin.vm.tag.Set': target('full, changed'),
    'admin.vm.tag.Remove': target('full, changed'),
    'qubes.Filecopy': ['source: exec', 'target: exec, changed'],
  });
});

describe('capabilities', () => {
  const of = (...args: Parameters<typeof capabilitiesOf>): string[] => [...capabilitiesOf(...args)].sort();

  test('are what the tags say (contract 3.1), and none without the umbrella', () => {
    expect(of(tags(), 'full')).toEqual([]);
    expect(of(tags('ai-full'), 'full')).toEqual([]);
    expect(tierOf(tags('ai-full'), 'full')).toBeNull();
    expect(of(tags('ai-dump'), 'full')).toEqual(['dump-in']);
    expect(of(tags('ai-managed'), 'full')).toEqual(['exec', 'full', 'net', 'read']);
    expect(of(tags('ai-managed'), 'ro')).toEqual(['read']);
    expect(of(tags('ai-managed', 'ai-exec'), 'full')).toEqual(['exec', 'read']);
    expect(of(tags('ai-managed', 'ai-net', 'ai-exec'), 'ro')).toEqual(['exec', 'net', 'read']);
    expect(of(tags('ai-managed', 'ai-dump'), 'ro')).toEqual(['dump-in', 'read']);
  });

  test('end at the ceiling, and at nothing where the ceiling is no tier', () => {
    for (const ceiling of TIERS) expect(of(tags(), 'full', ceiling)).toEqual([]);
    expect(of(tags('ai-managed', 'ai-full'), 'full', 'exec')).toEqual(['exec', 'read']);
    expect(of(tags('ai-managed', 'ai-exec'), 'full', 'full')).toEqual(['exec', 'read']);
    expect(of(tags('ai-managed', 'ai-full'), 'full', 'none' as never)).toEqual([]);
    for (const a of TIERS)
      for (const b of TIERS) expect(lower(a, b)).toBe(TIERS[Math.min(TIERS.indexOf(a), TIERS.indexOf(b))]);
  });
});

describe('the kernel', () => {
  const facts = (...list: string[]) => ({ tags: tags(...list), guarded: false });
  const input = (service: string, roles: Record<string, ReturnType<typeof facts>>) => ({
    service,
    action: 'start',
    attributes: {},
    roles,
    tierDefault: 'full' as const,
    guardedUnreadable: false,
  });

  test('knows no service that is not in the tables, on its own as in a decision', () => {
    expect(wrapperRefusal(input('qmcp.NoSuch', {}))).toBe('unknown-service');
    expect(kernelVerdict(input('qmcp.NoSuch', {}))).toEqual({ kind: 'deny', rule: 'unknown-service' });
  });

  test('leaves a service without roles in scope, whatever qubes came with the call', () => {
    expect(wrapperRefusal(input('qmcp.ListAIManagedQubes', { target: facts() }))).toBeNull();
    expect(kernelVerdict(input('qmcp.ListAIManagedQubes', { target: facts() })).kind).toBe('allow');
  });
});

test('a decision that fails is refused under a name of its own', () => {
  const roles = new Proxy(
    {},
    {
      ownKeys: () => {
        throw new Error('no');
      },
    },
  );
  const settings = {
    tierDefault: 'full',
    enforceMode: 'shadow',
    consentPolicy: { builtIn: false, asked: new Set<string>() },
    guardedUnreadable: false,
  } as const;
  const decided = decide({ service: 'qmcp.LifecycleAIManaged', action: 'start', attributes: {}, roles, settings });
  expect(decided).toEqual({ kind: 'refuse', rule: 'kernel-error' });
});

test('a tombstone whose marker only begins with digits has no date', () => {
  const remains = { tags: tags('qmcp-tombstone_12x'), halted: true, now: 1_000_000, retention: 1 };
  expect(reaperVerdict(remains).verdict).toBe('undatable');
});
