// Plans as a caller makes them, to a broker in this process.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ASKING } from '../broker/daemon.ts';
import { type InProcess, type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import { type Approver, startApprover } from '../confirm/approver.ts';

export const REFUSED = { ok: false, error: 'not found' };
export const LIFECYCLE = 'qmcp.LifecycleAIManaged';

export const step = (service: string, request: unknown) => ({ service, request });
export const life = (name: string, action: string) => step(LIFECYCLE, { name, action });
export const note = (name: string, value: unknown) =>
  step('qmcp.SetFeatureAIManaged', { name, feature: 'ai-note', value });
export const spawn = (name: string) => step('qmcp.SpawnAIManagedQube', { name, template: 'ai-debian-13' });

/** A broker that asks about what is destructive, and who answers. */
export const asking = async (options: InProcessOptions = {}): Promise<{ broker: InProcess; approver: Approver }> => {
  const broker = await temporaryBroker({ operatorFiles: ASKING, ...options });
  const approver = await startApprover(join(broker.run, 'confirm.sock'));
  writeFileSync(join(broker.etc, 'confirm.pub'), `${approver.publicKey}\n`);
  return { broker, approver };
};

/** A plan of these calls; its nonce. */
export const prepare = async (broker: InProcess, calls: unknown, source?: string): Promise<string> => {
  const reply = await broker.call('qmcp.Prepare', { calls }, source);
  expect(reply).toMatchObject({ ok: true, expires_in: 600, steps: (calls as unknown[]).length });
  return (reply as unknown as { nonce: string }).nonce;
};

export const commit = (broker: InProcess, nonce: string, request: unknown = {}, source?: string) =>
  broker.call('qmcp.Commit', request, source, nonce);

export const status = (broker: InProcess, nonce: string, source?: string) =>
  broker.call('qmcp.Status', {}, source, nonce);

export const cancel = (broker: InProcess, nonce: string, source?: string) =>
  broker.call('qmcp.Cancel', {}, source, nonce);
