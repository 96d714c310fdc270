// qmcpctl principals: who may make signed calls, and how far each of them goes. One file each below <etc>/principals.
import { join } from 'node:path';
import { isPrincipalName, keyObject, type Principal, parsePrincipal } from '../principals/file.ts';
import { Registry } from '../principals/registry.ts';
import { complaintText } from '../settings/settings.ts';
import type { Change } from './change/change.ts';
import { realDisk, textAt } from './change/disk.ts';
import { failure } from './change/failure.ts';
import { DONE, FAILED, group, type Io, oneOperand, printable, Refusal, UsageError, verb } from './command.ts';
import { JSON_OPTION, YES_OPTION } from './places.ts';
import { digitsOf } from './quantities.ts';
import { tableOf } from './table.ts';
import { seenAt, type Where, writeSettings } from './write-settings.ts';

const TIERS = ['ro', 'exec', 'net', 'full'];
const RISKS = ['read', 'change', 'destroy'];
const SHAPE = '{"changed": [path], "backup": id or null}';

const fileOf = (etc: string, name: string): string => join(etc, 'principals', `${name}.json`);

const list = verb(
  {
    name: 'qmcpctl principals list',
    summary: 'who is enrolled, and with which limits',
    operands: '',
    about: ['Lists the principals as the daemon has them, and says what is wrong with a file that is none.'],
    options: JSON_OPTION,
    examples: [['qmcpctl principals list', 'A table of the principals.']],
    json: '{"in_use": bool, "principals": [{"name", "key": text or null, "sources": [qube] or null, "limits": {"ceiling": tier, ...}}], "complaints": [text]}',
    exits: ['if every file is understood', 'if one is not'],
  },
  async (values, _, io) => {
    const registry = new Registry(values.etc, { now: io.now });
    const complaints = registry.complaints.map((each) => complaintText(values.etc, each));
    const rows = await Promise.all(
      registry.all().map(async (each) => ({ ...each, fields: await fieldsOf(values.etc, each) })),
    );
    if (values.json) {
      const principals = rows.map(({ name, key, sources, fields }) => ({
        name,
        key,
        sources: sources && [...sources],
        limits: fields,
      }));
      await io.out(`${JSON.stringify({ in_use: registry.isInUse, principals, complaints })}\n`);
    } else if (!registry.isInUse) {
      await io.out('Nobody is enrolled: every call is made by the default principal of its source, without limits.\n');
    } else {
      const cells = rows.map(({ name, key, sources, fields }) => [
        name,
        key === null ? 'unsigned' : 'signed',
        sources === null ? 'any' : [...sources].join(' '),
        String(fields.ceiling),
        limitsText(fields),
      ]);
      await io.out(tableOf(['NAME', 'CALLS', 'FROM', 'CEILING', 'LIMITS'], cells, io));
    }
    for (const complaint of complaints) io.err(`${printable(complaint)}\n`);
    return complaints.length === 0 ? DONE : FAILED;
  },
);

type Fields = Readonly<Record<string, unknown>>;

/** What the file says besides key and sources, as it stands there. */
const fieldsOf = async (etc: string, { name }: Principal): Promise<Fields> => {
  const text = (await realDisk.read(fileOf(etc, name)).catch(() => null))?.text ?? '{}';
  const { key: _, sources: __, unsigned: ___, ...fields } = JSON.parse(text) as Record<string, unknown>;
  return fields;
};

const limitsText = ({ ceiling: _, ...fields }: Fields): string =>
  Object.entries(fields)
    .map(([name, value]) => {
      if (value === true) return name;
      if (Array.isArray(value)) return `${name}: ${value.join(' ')}`;
      return `${name}: ${JSON.stringify(value).replace(/[{}"]/g, '').replaceAll(',', ', ')}`;
    })
    .join('; ') || 'none';

const add = verb(
  {
    name: 'qmcpctl principals add',
    summary: 'enrol a principal',
    operands: 'NAME',
    words: [[]],
    about: [
      'Writes the file of a new principal. KEY is the public half of an Ed25519 key, 32 bytes in base64, whose private half ' +
        'never leaves the qube of the agent; daemon/principals/README.md says how calls are signed. Limits only take ' +
        'something away: what the tier of a qube does not grant, no principal gets.',
      'As soon as one principal is enrolled, unsigned calls are refused, unless a principal with --unsigned is whose they are.',
    ],
    options: {
      key: { type: 'string', value: 'KEY', text: 'its public key' },
      unsigned: { type: 'boolean', default: false, text: 'it is who makes the unsigned calls of its sources' },
      source: {
        type: 'string',
        multiple: true,
        value: 'QUBE',
        text: 'it calls from this qube; may be repeated; any with --unsigned',
        words: 'qube',
      },
      ceiling: {
        type: 'string',
        value: 'TIER',
        text: 'the highest tier that counts: ro, exec, net or full',
        words: TIERS,
      },
      name: {
        type: 'string',
        multiple: true,
        value: 'PATTERN',
        text: 'it may name only such qubes: NAME or BEGINNING*; may be repeated',
      },
      'owned-only': { type: 'boolean', default: false, text: 'it changes only qubes that it had created' },
      risk: {
        type: 'string',
        multiple: true,
        value: 'RISK',
        text: 'only calls of this class: read, change, destroy; may be repeated',
        words: RISKS,
      },
      calls: { type: 'string', value: 'N', text: 'so many calls an hour' },
      questions: { type: 'string', value: 'N', text: 'so many questions an hour' },
      qubes: { type: 'string', value: 'N', text: 'so many created qubes at a time' },
      bytes: { type: 'string', value: 'SIZE', text: 'so much of what it created at a time: 20GiB' },
      zone: { type: 'string', value: 'ZONE', text: 'the time zone of --hours: Europe/Berlin' },
      hours: {
        type: 'string',
        multiple: true,
        value: 'SPAN',
        text: 'it changes something only then: "mon-fri 08:00-18:00"; may be repeated',
      },
      file: {
        type: 'string',
        value: 'FILE',
        text: 'take the whole file from FILE instead; - for standard input',
        words: 'file',
      },
      ...YES_OPTION,
      ...JSON_OPTION,
    },
    examples: [
      [
        'sudo qmcpctl principals add web --key KEY --source mcp-control --ceiling exec --name "ai-web-*" --questions 12',
        'The agent with that key may run programs in qubes whose names begin with ai-web-, and ask twelve times an hour.',
      ],
      [
        'sudo qmcpctl principals add rest --unsigned --source any --ceiling full',
        'Unsigned calls of all qubes go on as before.',
      ],
    ],
    json: SHAPE,
  },
  async (values, operands, io) => {
    const name = principalName(operands);
    if ((await textAt(fileOf(values.etc, name))) !== null) {
      throw new Refusal(`${name} is enrolled already. For a new key: qmcpctl principals rotate ${name}`);
    }
    const text =
      values.file === undefined ? `${JSON.stringify(fieldsFrom(values), null, 2)}\n` : await contentOf(values.file, io);
    const principal = understood(name, text);
    const registry = new Registry(values.etc, { now: io.now });
    refuseSecondUnsigned(principal, registry);
    const also = (): void => refuseSecondUnsigned(principal, new Registry(values.etc, { now: io.now }));
    if (!registry.isInUse && principal.key !== null) {
      await sure(
        'Nobody was enrolled so far. From now on unsigned calls are refused. To let them go on as before, enrol them first: ' +
          'sudo qmcpctl principals add rest --unsigned --source any --ceiling full',
        values.yes,
        io,
      );
    }
    return write('principals add', { name, text, seen: null }, values, io, also);
  },
);

interface LimitFlags {
  readonly key?: string;
  readonly unsigned: boolean;
  readonly source?: readonly unknown[];
  readonly ceiling?: string;
  readonly name?: readonly unknown[];
  readonly 'owned-only': boolean;
  readonly risk?: readonly unknown[];
  readonly calls?: string;
  readonly questions?: string;
  readonly qubes?: string;
  readonly bytes?: string;
  readonly zone?: string;
  readonly hours?: readonly unknown[];
}

/** The fields of a file from the flags; what they hold is for `understood` to judge. Throws UsageError for what is no number. */
const fieldsFrom = (flags: LimitFlags): Record<string, unknown> => {
  const { key, unsigned, source = [], ceiling, name, risk, zone, hours } = flags;
  const count = (flag: 'calls' | 'questions' | 'qubes' | 'bytes'): number | undefined => {
    const text = flags[flag];
    if (text === undefined) return undefined;
    const digits = flag === 'bytes' ? digitsOf(text, 'bytes') : text;
    if (!/^[0-9]{1,15}$/.test(digits)) {
      throw new UsageError(`--${flag} takes ${flag === 'bytes' ? 'a size' : 'a number'}.`);
    }
    return Number(digits);
  };
  const perHour = present({ calls: count('calls'), questions: count('questions') });
  const total = present({ qubes: count('qubes'), bytes: count('bytes') });
  if (hours && zone === undefined) throw new UsageError('--hours needs --zone, for example Europe/Berlin.');
  return present({
    key,
    unsigned: unsigned || undefined,
    sources: source.length === 1 && source[0] === 'any' ? 'any' : source,
    ceiling,
    names: name,
    owned_only: flags['owned-only'] || undefined,
    risks: risk,
    per_hour: Object.keys(perHour).length > 0 ? perHour : undefined,
    total: Object.keys(total).length > 0 ? total : undefined,
    changes: zone === undefined ? undefined : { zone, hours: hours ?? [] },
  });
};

const present = (fields: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

const understood = (name: string, text: string): Principal => {
  const principal = parsePrincipal(name, text);
  if ('sentence' in principal) throw new Refusal(`Nothing was changed. ${principal.sentence}`);
  if (principal.key !== null && keyObject(principal.key) === null) {
    throw new Refusal('Nothing was changed. key: these 32 bytes are no Ed25519 public key.');
  }
  return principal;
};

/** Of two that claim the unsigned calls of a source, neither would have them. */
const refuseSecondUnsigned = ({ key, sources }: Principal, registry: Registry): void => {
  if (key !== null) return;
  const other = registry
    .all()
    .find(
      (each) =>
        each.key === null &&
        (sources === null || each.sources === null
          ? sources === each.sources
          : [...sources].some((source) => each.sources?.has(source))),
    );
  if (other)
    throw new Refusal(`Nothing was changed. The unsigned calls of that source are those of ${other.name} already.`);
};

const remove = verb(
  {
    name: 'qmcpctl principals remove',
    summary: 'take a principal away',
    operands: 'NAME',
    words: ['principal'],
    about: [
      'Its calls are refused from then on. What it had created stays, and carries its name. The file is kept: qmcpctl config ' +
        'restore. When the last one goes, unsigned calls are made by the default principal again, without limits.',
    ],
    options: { ...YES_OPTION, ...JSON_OPTION },
    examples: [['sudo qmcpctl principals remove web', 'The agent web may not do anything any more.']],
    json: SHAPE,
  },
  async (values, operands, io) => {
    const name = principalName(operands);
    const seen = await seenAt(fileOf(values.etc, name));
    if (seen === null) throw new Refusal(`Nobody called ${name} is enrolled. See qmcpctl principals list.`);
    const present = (await realDisk.list(join(values.etc, 'principals'))).filter((file) => !file.startsWith('.'));
    if (present.length === 1) {
      await sure(
        'It is the last one: unsigned calls of every source will be answered again, without limits.',
        values.yes,
        io,
      );
    }
    return write('principals remove', { name, text: null, seen }, values, io);
  },
);

const rotate = verb(
  {
    name: 'qmcpctl principals rotate',
    summary: 'give a principal a new key',
    operands: 'NAME --key KEY',
    words: ['principal'],
    about: [
      'Puts another public key in the place of the one that it has; its limits stay. Calls signed with the old key are refused at once.',
    ],
    options: { key: { type: 'string', value: 'KEY', text: 'its new public key' }, ...JSON_OPTION },
    examples: [['sudo qmcpctl principals rotate web --key KEY', 'From now on web signs with the new key alone.']],
    json: SHAPE,
  },
  async (values, operands, io) => {
    const name = principalName(operands);
    const { key } = values;
    if (key === undefined) throw new UsageError('Say --key, the new public key.');
    const text = await textAt(fileOf(values.etc, name));
    if (text === null) throw new Refusal(`Nobody called ${name} is enrolled. See qmcpctl principals list.`);
    const before = understood(name, text);
    if (before.key === null) throw new Refusal(`${name} makes unsigned calls, so it has no key.`);
    if (before.key === key) throw new Refusal('That is the key that it has.');
    const renewed = `${JSON.stringify({ ...(JSON.parse(text) as object), key }, null, 2)}\n`;
    understood(name, renewed);
    return write('principals rotate', { name, text: renewed, seen: text }, values, io);
  },
);

const principalName = (operands: readonly string[]): string => {
  const name = oneOperand(operands, 'principal');
  if (!isPrincipalName(name))
    throw new UsageError('A principal is named by a-z, 0-9 and dashes, a letter first, 31 at most.');
  return name;
};

const contentOf = async (file: string, io: Io): Promise<string> => {
  if (file === '-') return io.input();
  const text = await textAt(file);
  if (text === null) throw new Refusal(`There is no file ${printable(file)}.`);
  return text;
};

const sure = async (sentence: string, yes: boolean, io: Io): Promise<void> => {
  if (yes) return;
  const typed = await io.ask(`${sentence}\nGo on? [y/N] `);
  if (typed === null) throw new Refusal(`Nothing was changed. ${sentence} Say --yes to do it all the same.`);
  if (!/^y(es)?$/i.test(typed.trim())) throw new Refusal('Nothing was changed.');
};

const write = async (
  by: string,
  { name, text, seen }: { readonly name: string } & Pick<Change, 'text' | 'seen'>,
  values: Where & { readonly json: boolean },
  io: Io,
  also?: () => void,
): Promise<number> => {
  await realDisk.makeDirectory(join(values.etc, 'principals'), 0o755).catch((error: unknown) => {
    throw new Refusal(failure(error));
  });
  const changes = [{ path: fileOf(values.etc, name), text, seen }];
  const changed = await writeSettings(`${by} ${name}`, changes, values, io, also);
  const did = {
    'principals add': 'is enrolled',
    'principals remove': 'is not enrolled any more',
    'principals rotate': 'has its new key',
  }[by];
  const back = `As it was: sudo qmcpctl config restore ${changed.backup}`;
  await io.out(
    values.json
      ? `${JSON.stringify({ changed: changed.paths, backup: changed.backup })}\n`
      : `${name} ${did}. ${back}\n`,
  );
  return DONE;
};

export const principals = group('qmcpctl principals', 'enrol who may make signed calls, and how far each goes', {
  list,
  add,
  remove,
  rotate,
});
