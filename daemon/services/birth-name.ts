// The names that callers may give to qubes they have created (contract 1.5, 1.15).
import { isQubeName } from '../names.ts';
import { type Refusal, refuse } from '../qrexec/door.ts';
import type { Admin } from '../qubesadmin/admin.ts';

const GRAMMAR = /^[A-Za-z0-9][A-Za-z0-9-]{0,30}$/;
const UNGRAMMATICAL = refuse('name must be alphanumeric + dashes, 1-31 chars, starting with alphanumeric');

/** A name in the grammar and in the reserved namespace, or the text that says which it is not. Looks nothing up. */
export const parseBirthName = (name: unknown, prefix: string): string | Refusal => {
  if (typeof name !== 'string' || !GRAMMAR.test(name)) return UNGRAMMATICAL;
  if (!name.startsWith(prefix)) {
    return refuse(`name must start with '${prefix}' — that namespace is reserved for AI-created qubes`);
  }
  return name === prefix ? refuse(`name must have something after the reserved '${prefix}' prefix`) : name;
};

/** The refusal when any qube of the machine has this name, managed or not. Rejects with `AdminError`. */
export const collision = async (admin: Admin, name: string): Promise<Refusal | null> =>
  // The grammar here admits a leading digit, which no qube can have; qubesd says so when it is to create it (S96).
  isQubeName(name) && (await admin.row(name)) ? refuse(`qube '${name}' already exists`) : null;
