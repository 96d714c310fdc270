// How near agents are to what they may have.
import { ownerTag } from '../../authority/birth.ts';
import { isTombstoneMarker } from '../../authority/tombstone.ts';
import { ownerOf } from '../../principals/caller.ts';
import { Registry } from '../../principals/registry.ts';
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
      found.push(warning(what, `sudo qmcpctl config set pool-cap ${gib(Math.max(settings.poolCap, used) * 1.5)}GiB`));
    }
  }
  for (const { name, key, limits, sources } of new Registry(etc, { now }).all()) {
    const owners =
      key === null ? [...(sources ?? [])] : [ownerOf({ source: '' as never, principal: name, signed: true })];
    for (const owner of owners) {
      const own = qubes.filter((qube) => hasOwner(qube, owner));
      if (limits.qubes !== null && own.length > 0 && own.length >= limits.qubes * NEAR) {
        found.push(warning(`The principal ${name} holds ${own.length} of ${limits.qubes} qubes.`, mendOf(etc, name)));
      }
      const used = limits.bytes === null || own.length === 0 ? 0 : await bytesOf(own);
      if (limits.bytes !== null && used > 0 && used >= limits.bytes * NEAR) {
        const what = `What the principal ${name} has created takes ${bytes(used)} of its ${bytes(limits.bytes)}.`;
        found.push(warning(what, mendOf(etc, name)));
      }
    }
  }
  return found;
};

const mendOf = (etc: string, name: string): string => `sudoedit ${etc}/principals/${name}.json`;

const hasOwner = ({ tags }: FleetQube, owner: string): boolean => tags?.has(ownerTag(owner)) ?? false;

const gib = (count: number): number => Math.ceil(count / 2 ** 30);
