// qmcp.GetFirewallAIManaged: the firewall rules of a managed qube, one line each, without comments.
import * as z from 'zod/mini';
import { readQube } from '../fleet/live.ts';
import { isInScope } from '../principals/scope.ts';
import { NOT_FOUND, type Reply, refuse } from '../qrexec/door.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { parseRules, ruleLine } from './firewall-rule.ts';
import type { Reading, ReadService } from './service.ts';

const READ_FAILED = refuse('read failed');
const request = z.object({ name: z.string().check(z.minLength(1)) });

export const getFirewall: ReadService = {
  kind: 'read',
  name: 'qmcp.GetFirewallAIManaged',
  malformed: NOT_FOUND,
  answer(json, reading) {
    const wanted = request.safeParse(json);
    return wanted.success ? read(wanted.data.name, reading, isInScope) : NOT_FOUND;
  },
  async inVain(json, reading) {
    const wanted = request.safeParse(json);
    return wanted.success ? read(wanted.data.name, reading, nobodys) : NOT_FOUND;
  },
};

const nobodys = (): false => false;

/** Rules are no part of the view, so this reads live; whose rules they are is read live then, too. */
const read = async (name: string, { admin, caller }: Reading, isTheirs: typeof isInScope): Promise<Reply> => {
  try {
    const qube = await readQube(admin, name);
    if (!qube || !isTheirs(qube, caller)) return NOT_FOUND;
    const rules = parseRules(await admin.firewall({ uuid: qube.uuid }));
    return rules ? { ok: true, rules: rules.map(ruleLine) } : READ_FAILED;
  } catch (error) {
    if (error instanceof AdminError) return error.type === 'QubesVMNotFoundError' ? NOT_FOUND : READ_FAILED;
    throw error;
  }
};
