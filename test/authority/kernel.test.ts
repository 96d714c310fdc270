import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { type Attributes, combine, kernelVerdict, type Roles, wrapperRefusal } from '../../daemon/authority/kernel.ts';
import { SERVICES } from '../../daemon/authority/tables.ts';

const contract = (name: string): string => readFileSync(new URL(`../contract/${name}`, import.meta.url), 'utf8');

interface Row {
  service: string;
  action: string;
  params: Attributes;
  roles?: Record<string, string[]>;
  roles_all?: string[];
  tier_default: 'absent' | 'full' | 'ro' | 'malformed';
  guarded: 'absent' | 'unreadable' | 'lists-target' | 'lists-other';
  verdict: string;
  rule: string;
}

const rows: Row[] = contract('authority-matrix.jsonl')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line));

/** `roles_all` gives the same tags to every role the service has. */
const rolesOf = ({ service, roles, roles_all, guarded }: Row): Roles => {
  const named = roles ?? Object.fromEntries([...rolesOfService(service)].map((role) => [role, roles_all ?? []]));
  return Object.fromEntries(
    Object.entries(named).map(([role, tags]) => [role, { tags: new Set(tags), guarded: guarded === 'lists-target' }]),
  );
};
const rolesOfService = (service: string): Iterable<string> => SERVICES.get(service)?.roles.keys() ?? ['target'];

const verdictOn = (row: Row) =>
  kernelVerdict({
    service: row.service,
    action: row.action,
    attributes: row.params,
    roles: rolesOf(row),
    tierDefault: row.tier_default === 'absent' || row.tier_default === 'full' ? 'full' : 'ro',
    guardedUnreadable: row.guarded === 'unreadable',
  });

describe('the kernel verdict', () => {
  test('agrees with every row of the authority matrix', () => {
    expect(rows.length).toBe(2211);
    const wrong = rows.filter((row) => {
      const { kind, rule } = verdictOn(row);
      return kind !== row.verdict || rule !== row.rule;
    });
    expect(wrong.map((row) => ({ row, got: verdictOn(row) }))).toEqual([]);
  });

  const full = { tags: new Set(['ai-managed', 'ai-full']), guarded: false };
  const ask = (service: string, action: string, roles: Roles, attributes: Attributes = {}) =>
    kernelVerdict({ service, action, attributes, roles, tierDefault: 'full', guardedUnreadable: false });

  test('denies a call that lacks one of its roles, whatever the other may', () => {
    expect(ask('qmcp.AttachDeviceAIManaged', 'attach', { backend: full })).toEqual({ kind: 'deny', rule: 'no-target' });
    expect(ask('qmcp.LifecycleAIManaged', 'start', {})).toEqual({ kind: 'deny', rule: 'no-target' });
  });

  test('does not take a role from the prototype of the object that holds the roles', () => {
    const inherited = Object.create({ target: full });
    expect(ask('qmcp.LifecycleAIManaged', 'start', inherited).rule).toBe('no-target');
  });

  test('lets a netvm be disconnected only where the request states null', () => {
    const set = (attributes: Attributes) =>
      ask('qmcp.SetPropertyAIManaged', 'set-property', { target: full }, attributes);
    expect(set({ property: 'netvm', value: null }).kind).toBe('allow');
    for (const value of [undefined, '', 0, false, 'ai-net-router']) {
      expect(set({ property: 'netvm', value }).rule).toBe('escalation-class');
    }
    expect(set({ property: 'netvm' }).rule).toBe('escalation-class');
    expect(set({ property: 'template', value: null }).rule).toBe('escalation-class');
  });

  test('calls nothing an escalation that only reads', () => {
    expect(ask('qmcp.GetPropertyAIManaged', 'read', { target: full }, { property: 'template' }).rule).toBe('ladder');
  });

  test('knows the services of the firewall at net and read', () => {
    const at = (tags: string[], service: string, action: string) =>
      ask(service, action, { target: { tags: new Set(['ai-managed', ...tags]), guarded: false } }).rule;
    expect(at(['ai-exec'], 'qmcp.SetFirewallAIManaged', 'set-firewall')).toBe('insufficient:net');
    expect(at(['ai-net'], 'qmcp.SetFirewallAIManaged', 'set-firewall')).toBe('ladder');
    expect(at(['ai-exec'], 'qmcp.GetFirewallAIManaged', 'read')).toBe('ladder');
  });
});

describe('the wrapper', () => {
  test('wants the capability of every role and names the one that is missing', () => {
    const exec = { tags: new Set(['ai-managed', 'ai-exec']), guarded: false };
    const full = { tags: new Set(['ai-managed', 'ai-full']), guarded: false };
    const attach = (roles: Roles) =>
      wrapperRefusal({
        service: 'qmcp.AttachDeviceAIManaged',
        action: 'attach',
        attributes: {},
        roles,
        tierDefault: 'ro',
        guardedUnreadable: true,
      });
    expect(attach({ backend: full, frontend: full })).toBeNull();
    expect(attach({ backend: exec, frontend: full })).toBe('insufficient:full');
    expect(attach({ backend: full, frontend: exec })).toBe('insufficient:full');
    expect(attach({ backend: full, frontend: { tags: new Set(['ai-full']), guarded: false } })).toBe(
      'outside-umbrella',
    );
  });
});

describe('the combination of wrapper and kernel', () => {
  const modes: { mode: string; wrapper_allowed: boolean; kernel: string; effective: string }[] = JSON.parse(
    contract('mode-matrix.json'),
  );

  test('agrees with every row of the mode matrix', () => {
    expect(modes.length).toBe(32);
    const wrong = modes.filter(
      ({ mode, wrapper_allowed, kernel, effective }) => combine(mode, wrapper_allowed, kernel) !== effective,
    );
    expect(wrong).toEqual([]);
  });
});
