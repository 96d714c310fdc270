// qmcpctl explain: what would be decided about a call, by which rule, on which facts, and what the window would say.
import { SERVICES } from '../authority/tables.ts';
import { type Explanation, explanation } from '../control/answers.ts';
import { isQubeName } from '../names.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, type Io, printable, UsageError, verb } from './command.ts';
import { wrapped } from './help.ts';
import { JSON_OPTION } from './places.ts';
import { wordsOf } from './rules.ts';
import { type Tone, tableOf, toned } from './table.ts';

/** The qube in which agents run, in the policy as it is shipped. */
export const USUAL_AGENT = 'mcp-control';
const MAX_BODY_BYTES = 65_536;

export const explain = verb(
  {
    name: 'qmcpctl explain',
    summary: 'what would be decided about a call, and by which rule',
    operands: 'SERVICE [REQUEST]',
    words: ['service', []],
    about: [
      'Has the daemon decide a call as if it came now, by the very same way, and tells the verdict, the rule, the facts and ' +
        'the question that there would be. Nothing is done, asked, journalled as a call or counted against anybody.',
      'REQUEST is the JSON that the caller would send; without it nothing is sent, which stands for {}. Also explains what ' +
        'the tiers say of services that the qrexec policy decides, as qmcp.RunInAIManaged with {"target": QUBE}.',
    ],
    options: {
      source: {
        type: 'string',
        default: USUAL_AGENT,
        value: 'QUBE',
        text: `it comes from this qube (default ${USUAL_AGENT})`,
        words: 'qube',
      },
      principal: {
        type: 'string',
        value: 'NAME',
        text: 'signed by this principal (default: not signed)',
        words: 'principal',
      },
      ...JSON_OPTION,
    },
    examples: [
      [
        `qmcpctl explain qmcp.LifecycleAIManaged '{"name":"ai-work","action":"remove"}'`,
        'Whether the agents in mcp-control may remove ai-work, and what you would be asked.',
      ],
    ],
    json:
      '{"service", "action", "source", "principal", "ceiling": tier or null, "verdict": "allow" or "ask" or "refuse", "rule",\n' +
      ' "decided_by": "broker" or "policy",\n' +
      ' "qubes": [{"role", "name", "uuid": text or null, "klass": word or null, "state": word or null, "tags": [tag] or null,\n' +
      '   "tier": tier or null, "guarded": bool}],\n' +
      ' "settings": {"tier_default", "enforce_mode", "consent_policy"},\n' +
      ' "question": {"lines": [text], "type_to_confirm": text or null} or null,\n' +
      ' "unasked": word or null, "reply": {...} or null}',
  },
  async (values, operands, io) => {
    const [service, body = '', surplus] = operands;
    if (service === undefined) throw new UsageError('Say which service, for example qmcp.LifecycleAIManaged.');
    if (surplus !== undefined) throw new UsageError('Write the request as one argument: \'{"name":"ai-work"}\'.');
    if (!isQubeName(values.source)) throw new UsageError('--source takes the name of a qube.');
    if (Buffer.byteLength(body) > MAX_BODY_BYTES) throw new UsageError('A request has 65536 bytes at most.');
    const args = { service: fullName(service), body, source: values.source, principal: values.principal ?? null };
    const explained = await askDaemon(values.run, 'explain', args, explanation, io);
    await io.out(values.json ? `${JSON.stringify(explained)}\n` : textOf(explained, body, io));
    return DONE;
  },
);

const ENDINGS = ['', 'AIManaged', 'AIManagedQube', 'AIManagedQubes'];

/** `lifecycle` is meant as qmcp.LifecycleAIManaged. What looks like no service of ours goes as it is: the daemon says so. */
const fullName = (service: string): string => {
  const wanted = ENDINGS.flatMap((ending) => [service, `qmcp.${service}`].map((each) => (each + ending).toLowerCase()));
  return [...SERVICES.keys()].find((name) => wanted.includes(name.toLowerCase())) ?? service;
};

const TONES: Readonly<Record<Explanation['verdict'], Tone>> = { allow: 'good', ask: 'warn', refuse: 'bad' };
const VERDICTS: Readonly<Record<Explanation['verdict'], string>> = {
  allow: 'ALLOW',
  ask: 'ASK',
  refuse: 'REFUSE',
};
const UNASKED: Readonly<Record<string, string>> = {
  obstacle: 'It would fail anyway, so nobody is asked.',
  'questions-rest': 'Questions of this source rest just now, so nobody is asked. See qmcpctl status.',
  'principal-questions': 'The principal has used up its questions of this hour, so nobody is asked.',
  'no-key': 'Nobody can say yes: there is no confirm.pub. See qmcpctl init.',
  'no-events': 'Nobody is asked while the broker does not hear what happens to qubes. See qmcpctl doctor.',
};

const textOf = (explained: Explanation, body: string, io: Io): string => {
  const { verdict, rule, qubes, question, unasked, reply, settings, decided_by, ceiling } = explained;
  const words = wordsOf(rule);
  const by = explained.principal === 'unknown' ? '' : `, principal ${explained.principal}`;
  const sentences = [
    `${toned(VERDICTS[verdict], TONES[verdict], io)}, by the rule ${printable(rule)}${words === null ? '' : `: ${words.means}`}.`,
    ...(decided_by === 'policy'
      ? ['The qrexec policy decides this service, by the same tags; see 32-qmcp.policy.']
      : []),
    ...(verdict === 'allow' ? [] : adviceOn(explained)),
  ];
  const facts = qubes.map(({ role, name, klass, state, tier, guarded, tags }) => [
    role,
    name,
    klass ?? 'none',
    state ?? '',
    tier ?? 'none',
    guarded || tags?.includes('qmcp-guarded') ? 'yes' : 'no',
  ]);
  return [
    `${explained.service} ${body} from ${explained.source}${by}`.replace(/ +/g, ' '),
    ...sentences.flatMap((sentence) => wrapped(sentence, 79)),
    ...(facts.length > 0
      ? ['', tableOf(['ROLE', 'QUBE', 'KLASS', 'STATE', 'TIER', 'GUARDED'], facts, io).trimEnd()]
      : []),
    ...(ceiling === null ? [] : [`Ceiling of the principal: ${ceiling}`]),
    `Settings: tier-default ${settings.tier_default}, enforce-mode ${settings.enforce_mode}, consent-policy ${settings.consent_policy}`,
    ...(question === null ? [] : ['', 'The question:', ...question.lines.flatMap((line) => indented(printable(line)))]),
    ...(question?.type_to_confirm ? [`  To allow it, ${printable(question.type_to_confirm)} has to be typed.`] : []),
    ...(unasked === null ? [] : ['', UNASKED[unasked] ?? `It would not be asked: ${printable(unasked)}.`]),
    ...(reply === null ? [] : ['', `The caller would get ${printable(JSON.stringify(reply))}`]),
  ]
    .map((line) => `${line}\n`)
    .join('');
};

const indented = (line: string): string[] => wrapped(line, 77).map((each) => `  ${each}`);

/** What the operator can do, about the qube that it hangs on. */
const adviceOn = ({ rule, source, principal, qubes, ceiling }: Explanation): string[] => {
  const mend = wordsOf(rule)?.mend;
  if (!mend) return [];
  const [, needed] = /^insufficient:(.+)$/.exec(rule) ?? [];
  const below = (tier: string | null): boolean =>
    tier !== null && TIERS.indexOf(tier) < TIERS.indexOf(needed ?? 'read');
  if (needed !== undefined && below(ceiling) && !qubes.some(({ tier }) => below(tier))) {
    return [`What you can do: raise the ceiling in the file of the principal ${printable(principal)}.`];
  }
  const about = rule === 'frozen' ? source : (qubes.find(({ tier }) => below(tier)) ?? qubes[0])?.name;
  return [`What you can do: ${mend.replaceAll('QUBE', about ?? 'QUBE')}.`];
};

/** By their capabilities: `ro` can `read`. */
const TIERS: readonly string[] = ['read', 'exec', 'net', 'full'];
