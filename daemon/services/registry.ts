// Every service there is. Adding one touches its own file and this one.
import { attachDevice } from './attach-device.ts';
import { clone } from './clone.ts';
import { detachDevice } from './detach-device.ts';
import { aiManagedEvents } from './events.ts';
import { getFirewall } from './get-firewall.ts';
import { getProperty } from './get-property.ts';
import { lifecycle } from './lifecycle.ts';
import { listAttachedDevices } from './list-attached-devices.ts';
import { listManagedQubes } from './list-managed-qubes.ts';
import { poolStats } from './pool-stats.ts';
import type { Service } from './service.ts';
import { setFeature } from './set-feature.ts';
import { setFirewall } from './set-firewall.ts';
import { setProperty } from './set-property.ts';
import { spawn } from './spawn.ts';
import { spawnDisposable } from './spawn-disposable.ts';

const ALL: readonly Service[] = [
  listManagedQubes,
  getProperty,
  lifecycle,
  aiManagedEvents,
  setProperty,
  setFeature,
  attachDevice,
  detachDevice,
  listAttachedDevices,
  poolStats,
  spawn,
  spawnDisposable,
  clone,
  getFirewall,
  setFirewall,
];

export const SERVICES: ReadonlyMap<string, Service> = new Map(ALL.map((service) => [service.name, service]));
