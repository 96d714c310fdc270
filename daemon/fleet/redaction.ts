// Names of qubes outside the umbrella never reach a caller. This is the only place that decides so.
import { isQubeName } from '../names.ts';
import { isManaged } from '../qube.ts';
import type { Snapshot } from './view.ts';

export const OUT_OF_SCOPE = '<out-of-scope>';

/** The name itself where it is a managed qube's, else the sentinel: what is not known is out of scope. */
export const redacted = (snapshot: Snapshot, name: string): string => {
  const qube = isQubeName(name) ? snapshot.get(name) : undefined;
  return qube && isManaged(qube) ? name : OUT_OF_SCOPE;
};

/** The word itself unless it is the name of a qube known to be out of scope. For text in which anything may stand. */
export const redactedWord = (snapshot: Snapshot, word: string): string => {
  const qube = isQubeName(word) ? snapshot.get(word) : undefined;
  return qube && !isManaged(qube) ? OUT_OF_SCOPE : word;
};
