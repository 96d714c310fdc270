// qmcp.SetFirewallAIManaged: replaces the firewall rules of one managed qube. Tier `net`, always asked by default: the
// question shows the difference rule by rule, and says so when everything is let through.
import * as z from 'zod/mini';
import type { View } from '../confirm/question.ts';
import { NOT_FOUND, type Refusal, type Reply, refuse } from '../qrexec/door.ts';
import type { Qube } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { allowsAll, MAX_RULES, parseRule, parseRules, type Rule, ruleLine, ruleWords } from './firewall-rule.ts';
import { difference } from './rule-difference.ts';
import { type ChangeService, nameArg, type Operation, type Scene, type Wish, type Work } from './service.ts';
import { askedBy, type Line, shown, viewOf } from './words.ts';

const FAILED = refuse('firewall change failed');
const ROLLED_BACK = refuse('firewall change failed (rolled back)');
const LEFT = refuse('firewall change failed AND rollback failed; manual check required in dom0');
const SHAPE = refuse(`rules must be a list of 1 to ${MAX_RULES} firewall rules`);
/** A longer difference is no question that a person reads. */
const MAX_SHOWN = 40;

const hasName = z.object({ name: z.string().check(z.minLength(1)) });
const hasRules = z.object({ rules: z.array(z.string()).check(z.minLength(1), z.maxLength(MAX_RULES)) });

export const setFirewall: ChangeService = {
  kind: 'change',
  name: 'qmcp.SetFirewallAIManaged',
  malformed: refuse('invalid JSON input'),
  opaque: NOT_FOUND,
  unavailable: FAILED,
  parse(json): Wish | Refusal {
    const listed = hasRules.safeParse(json);
    if (!listed.success) return SHAPE;
    const rules = listed.data.rules.map(parseRule);
    if (!rules.every((rule) => rule !== null)) return SHAPE;
    const target = hasName.safeParse(json);
    if (!target.success) return NOT_FOUND;
    const { name } = target.data;
    return {
      action: 'set-firewall',
      roles: { target: name },
      attributes: {},
      args: { name: nameArg(name), rules: rules.length },
      request: { name, rules: rules.map(ruleLine) },
      prepare: (scene) => prepare(rules, scene),
    };
  },
};

const prepare = async (rules: readonly Rule[], scene: Scene): Promise<Operation | Refusal> => {
  const target = scene.qubes.target as Qube;
  const before = await scene.admin.firewall({ uuid: target.uuid });
  const old = parseRules(before);
  const changes = difference((old ?? []).map(ruleLine), rules.map(ruleLine)).filter(({ kind }) => kind !== 'kept');
  return {
    risk: 'destroy',
    facts: { before },
    // What is there has to be understood to be shown.
    obstacle: old === null || changes.length > MAX_SHOWN ? FAILED : null,
    failed: FAILED,
    describe: () => describe(target, old ?? [], rules, scene),
    perform: (work) => perform(target, before, rules, scene.admin, work),
  };
};

const perform = async (
  target: Qube,
  before: string,
  rules: readonly Rule[],
  admin: Admin,
  work: Work,
): Promise<Reply> => {
  const dest = { uuid: target.uuid };
  const listing = rules.map((rule) => `${ruleLine(rule)}\n`).join('');
  let isOverdue = false;
  await work.keep(target, { kind: 'firewall', before, after: listing });
  try {
    await admin.setFirewall(dest, listing);
    await admin.reloadFirewall(dest);
    if (isSame(await admin.firewall(dest), rules)) return { ok: true, rules: rules.map(ruleLine) };
    work.cause('read-back differs');
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    work.cause(error.type ?? error.kind);
    // What was given up on may still happen, after everything was found to be as before.
    isOverdue = error.kind === 'deadline';
  }
  return (await putBack(dest, before, admin)) && !isOverdue ? ROLLED_BACK : LEFT;
};

const isSame = (listing: string, rules: readonly Rule[]): boolean =>
  parseRules(listing)?.map(ruleLine).join('\n') === rules.map(ruleLine).join('\n');

const putBack = async (dest: { uuid: Qube['uuid'] }, before: string, admin: Admin): Promise<boolean> => {
  try {
    if ((await admin.firewall(dest)) === before) return true;
    await admin.setFirewall(dest, before);
    await admin.reloadFirewall(dest);
    return (await admin.firewall(dest)) === before;
  } catch (error) {
    if (error instanceof AdminError) return false;
    throw error;
  }
};

const describe = async (target: Qube, old: readonly Rule[], rules: readonly Rule[], scene: Scene): Promise<View> => {
  const { admin, caller } = scene;
  const words = new Map([...old, ...rules].map((rule) => [ruleLine(rule), ruleWords(rule)]));
  const changes = difference(old.map(ruleLine), rules.map(ruleLine));
  const kept = changes.filter(({ kind }) => kind === 'kept').length;
  const lines: Line[] = [
    ['Change the firewall of ', await shown(admin, target.name)],
    await askedBy(admin, caller),
    ...changes.flatMap(({ kind, line }) =>
      kind === 'kept' ? [] : [[`${kind === 'added' ? 'New rule' : 'Rule taken away'}: ${words.get(line)}`]],
    ),
    [`Rules that stay as they are: ${kept}`],
    [opening(old, rules)],
    ['The first rule that matches decides. What no rule allows is blocked.'],
  ];
  return viewOf('destroy', target.name, lines);
};

const opening = (old: readonly Rule[], rules: readonly Rule[]): string => {
  if (!allowsAll(rules)) return 'Afterwards only what the rules name gets out.';
  return allowsAll(old)
    ? 'It still allows all traffic that no earlier rule blocks.'
    : 'This allows all traffic that no earlier rule blocks, which it did not before.';
};
