// Every service there is. Adding one touches its own file and this one.
import { aiManagedEvents } from './events.ts';
import { getProperty } from './get-property.ts';
import { lifecycle } from './lifecycle.ts';
import { listManagedQubes } from './list-managed-qubes.ts';
import type { Service } from './service.ts';

const ALL: readonly Service[] = [listManagedQubes, getProperty, lifecycle, aiManagedEvents];

export const SERVICES: ReadonlyMap<string, Service> = new Map(ALL.map((service) => [service.name, service]));
