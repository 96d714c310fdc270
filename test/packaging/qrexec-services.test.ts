import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { expect, test } from 'vitest';
import { SERVICES } from '../../daemon/services/registry.ts';

const DIRECTORY = 'qrexec-services';
/** Those of the contract (section 1), then our own. */
const WANTED = [
  ...['ListAIManagedQubes', 'GetPropertyAIManaged', 'SetPropertyAIManaged', 'LifecycleAIManaged', 'SpawnAIManagedQube'],
  ...['SpawnDisposableAIManaged', 'CloneAIManagedQube', 'SetFeatureAIManaged', 'AttachDeviceAIManaged'],
  ...['DetachDeviceAIManaged', 'ListAttachedDevicesAIManaged', 'GetPoolStats', 'AIManagedEvents'],
  ...['Prepare', 'Commit', 'Status', 'Cancel', 'SetFirewallAIManaged', 'GetFirewallAIManaged'],
].map((name) => `qmcp.${name}`);

const links = readdirSync(DIRECTORY).filter((name) => name.startsWith('qmcp.'));

test('there is a link for every service, and for nothing else', () => {
  expect(links.sort()).toEqual(WANTED.toSorted());
});

test.each(links)("%s leads from /etc/qubes-rpc to the broker's socket", (name) => {
  expect(readlinkSync(`${DIRECTORY}/${name}`)).toBe('../../run/qmcp/qrexec.sock');
});

test('whatever the broker answers, qrexec can bring to it', () => {
  expect([...SERVICES.keys()].filter((name) => !links.includes(name))).toEqual([]);
});

test('the policy allows agents exactly these in dom0', () => {
  const rule = /^(qmcp\.\S+)\s+\*\s+mcp-control\s+@adminvm\s+allow\b/gm;
  const allowed = [...readFileSync('policy/32-qmcp.policy', 'utf8').matchAll(rule)].map(([, name]) => name);
  expect(allowed.sort()).toEqual(links.toSorted());
});
