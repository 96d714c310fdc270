// What each rule of a decision means for the operator, and what they can do about it. The same as the tables in
// authority/README.md and principals/README.md, which say more; a test holds them together.

export interface RuleWords {
  /** Goes on after the rule's name. No capital, no full stop. */
  readonly means: string;
  /** What the operator can do, or null where there is nothing to be done. */
  readonly mend: string | null;
}

const tier = (capability: string, tag: string): RuleWords => ({
  means: `a qube of the call has a tier below ${capability}, or the principal has such a ceiling`,
  mend: `give it the tier, if agents should have it: qmcpctl tier set QUBE ${tag}`,
});

const RULES: Readonly<Record<string, RuleWords>> = {
  ladder: { means: 'every qube of the call has the tier that it takes', mend: null },
  'dominated:exec': {
    means: 'mode enforce: who may run programs in a qube may also start, stop and remove it',
    mend: 'to ask for the tier full instead: qmcpctl config set enforce-mode strict',
  },
  guarded: {
    means: 'a qube of the call is guarded, by the file guarded or by the tag qmcp-guarded',
    mend: 'to take it off the list: qmcpctl config get guarded, then config set',
  },
  'guarded-unreadable': {
    means: 'the file guarded cannot be read or has a bad line, so every qube counts as guarded',
    mend: 'qmcpctl doctor names the line',
  },
  'consent-policy': {
    means: 'the action is one that is asked',
    mend: 'to choose what is asked: qmcpctl config set consent-policy',
  },
  'outside-umbrella': {
    means: 'a qube of the call is not tagged ai-managed',
    mend: 'if agents should have it: qmcpctl tier set QUBE TIER',
  },
  quarantine: {
    means: 'a qube of the call was left half-made by a creation, or is just being made, so agents do not have it',
    mend: 'qmcpctl doctor says which, and how to remove or release it',
  },
  missing: { means: 'there is no qube of that name', mend: null },
  argument: {
    means: 'the request itself is one that the service never accepts, or the state of the qube forbids it',
    mend: null,
  },
  'insufficient:read': tier('read', 'ro'),
  'insufficient:exec': tier('exec', 'exec'),
  'insufficient:net': tier('net', 'net'),
  'insufficient:full': tier('full', 'full'),
  'escalation-class': {
    means: 'it would write tags, a template, a name, provides_network or a netvm other than none, or create a template',
    mend: 'do it yourself in dom0',
  },
  'no-target': { means: 'the call came without a qube in one of its roles', mend: null },
  'unknown-service': { means: 'there is no such service', mend: null },
  'unknown-action': { means: 'there is no such action', mend: null },
  'kernel-error': {
    means: 'the decision itself failed, which refuses',
    mend: 'report it, with the record of the journal',
  },
  frozen: { means: 'its source is frozen', mend: 'qmcpctl thaw QUBE' },
  'questions-rest': {
    means: 'its source was denied so often that its questions rest for a while',
    mend: 'qmcpctl status says for how long',
  },
  'qubesd-unavailable': { means: 'qubesd could not be asked', mend: 'qmcpctl doctor' },
  unplanned: { means: 'the broker had a fault, which refuses', mend: 'journalctl -u qmcp-brokerd' },
};

/** Of a principal's limits; one sentence is enough for all of them. */
const PRINCIPAL: RuleWords = {
  means: 'the limits of the principal forbid it, or nobody is enrolled who may make the call',
  mend: 'qmcpctl principals list shows who is, and with which limits',
};

export const wordsOf = (rule: string): RuleWords | null =>
  Object.hasOwn(RULES, rule) ? (RULES[rule] ?? null) : rule.startsWith('principal-') ? PRINCIPAL : null;

export const KNOWN_RULES: readonly string[] = Object.keys(RULES);
