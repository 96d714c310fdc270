// What a person is told about a qube that is to be created, in the same words for every service that creates.
import type { Tags } from '../authority/capabilities.ts';
import { tierOf } from '../authority/capabilities.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import type { Settings, Tier } from '../settings/settings.ts';
import type { Egress } from './birth-egress.ts';
import { type Line, shown } from './words.ts';

const MAY: Readonly<Record<Tier, string>> = {
  ro: 'see it and read its settings',
  exec: 'run programs in it',
  net: 'run programs in it and change its firewall rules',
  full: 'run programs in it, change it and remove it',
};

export const networkLine = async (admin: Admin, { netvm }: Egress): Promise<Line> => [
  'Network: ',
  netvm ? await shown(admin, netvm.name) : 'none',
];

/** What the tags it is born with let agents do. */
export const tierLine = (tags: Tags, { tierDefault }: Pick<Settings, 'tierDefault'>): Line => [
  `Agents may: ${MAY[tierOf(tags, tierDefault) ?? 'ro']}`,
];
