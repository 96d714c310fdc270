// Whether the operator's list guards a qube (contract section 0, "Guarded qubes"). The tag is `decide`'s to see. Pure.
import type { QubeName, Uuid } from '../names.ts';
import type { Guarded } from '../settings/settings.ts';

/** By uuid too, so that the guard neither ends with a rename nor passes to a new qube under an old name alone. */
export const isListed = (qube: { readonly name: QubeName; readonly uuid: Uuid }, guarded: Guarded): boolean =>
  guarded.names.has(qube.name) || guarded.uuids.has(qube.uuid);
