// How near agents are to what they may have.
import { ownerTag } from '../../authority/birth.ts';
import { isTombstoneMarker } from '../../authority/tombstone.ts';
import { ownerOf } from '../../principals/caller.ts';
import { Registry } from '../../principals/registry.ts';
import { isManaged } from '../../qube.ts';
import { bytes } from '../../services/words.ts';
import type { FleetQube } from '../fleet.ts';
import { type Check, type Finding, warning } from './finding.ts';

const NEAR = 0.9;

export const quotasCheck: Check = async ({ etc, settings, fleet, bytesOf, now }) => {
  const qubes = await fleet();
  const found: Finding[] = [];
  if (settings.poolCap !== null) {
    const used = await bytesOf(qubes);
    if (used >= settings.poolCap * NEAR) {
      const tombs = qubes.some(({ tags }) => [...(tags ?? [])].some(isTombstoneMarker)) ? ' Tombstones count too.' : '';
      const what = `Agents use ${bytes(used)} of the pool cap of ${bytes(settings.poolCap)}.${tombs}`;
      found.push(warning(what, `sudo qmcpctl config set pool-cap ${gib(settings.poolCap * 1.5)}GiB`));
    }
  }
  for (const { name, key, limits, sources } of new Registry(etc, { now }).all()) {
    const most = limits.qubes;
    const owners =
      key === null ? [...(sources ?? [])] : [ownerOf({ source: '' as never, principal: name, signed: true })];
    if (most === null || owners.length === 0) continue;
    for (const owner of owners) {
      const own = qubes.filter((qube) => isManaged(qube) && hasOwner(qube, owner)).length;
      if (own >= most * NEAR)
        found.push(warning(`The principal ${name} holds ${own} of ${most} qubes.`, 'qmcpctl principals list'));
    }
  }
  return found;
};

const hasOwner = ({ tags }: FleetQube, owner: string): boolean => tags?.has(ownerTag(owner)) ?? false;

const gib = (count: number): number => Math.ceil(count / 2 ** 30);
