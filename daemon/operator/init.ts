// qmcpctl init: what a machine needs before agents can work, and what of it is there.
import { join } from 'node:path';
import { status as statusShape } from '../control/answers.ts';
import { isQubeName } from '../names.ts';
import { isManaged } from '../qube.ts';
import { usedBytes } from '../services/budget.ts';
import { bytes } from '../services/words.ts';
import type { FileName } from '../settings/files.ts';
import { complaintText, type Settings } from '../settings/settings.ts';
import { askDaemonIfThere, RESTART, START } from './ask-daemon.ts';
import type { Change } from './change/change.ts';
import { realDisk } from './change/disk.ts';
import { failure } from './change/failure.ts';
import { DONE, type Io, Refusal, UsageError, verb } from './command.ts';
import { ENROL } from './doctor/settings.ts';
import { statOf } from './doctor/sockets.ts';
import { USUAL_AGENT } from './explain.ts';
import { adminAt, type FleetQube, readFleet } from './fleet.ts';
import { wrapped } from './help.ts';
import { JSON_OPTION } from './places.ts';
import { digitsOf } from './quantities.ts';
import { type Tone, toned } from './table.ts';
import { settingsWith, type Where, writeSettings } from './write-settings.ts';

const GIB = 2 ** 30;
/** The pool cap that is proposed: half as much again as agents use now, in steps of this, and this at least. */
const POOL_STEP = 50 * GIB;
const PRIVATE_CAP = 20 * GIB;

/** `done`: it is there; `do`: --apply does it; `you`: only you can, with this command. */
interface Step {
  readonly state: 'done' | 'do' | 'you';
  readonly what: string;
  readonly command: string | null;
  /** The setting that --apply writes. */
  readonly file?: { readonly name: string; readonly text: string };
}

const done = (what: string): Step => ({ state: 'done', what, command: null });
const you = (what: string, command: string): Step => ({ state: 'you', what, command });

export const init = verb(
  {
    name: 'qmcpctl init',
    summary: 'set this machine up, step by step; shows first, changes nothing',
    operands: '',
    about: [
      'Looks at what there is and what is missing: the settings directory, the caps on what agents may take, the key for ' +
        'answers, the qube in which agents run, the qube that gives created ones their network, the mode and the tiers. ' +
        'With --apply it writes the settings that are missing, all or none; what is there already is never touched, so it ' +
        'can be run again at any time. What only you can do it shows with the command.',
    ],
    options: {
      apply: { type: 'boolean', default: false, text: 'do what is marked do' },
      agent: {
        type: 'string',
        default: USUAL_AGENT,
        value: 'QUBE',
        text: `agents run in QUBE (default ${USUAL_AGENT})`,
        words: 'qube',
      },
      egress: { type: 'string', value: 'QUBE', text: 'created qubes get their network from QUBE', words: 'qube' },
      'pool-cap': { type: 'string', value: 'SIZE', text: 'all qubes of agents together take SIZE at most: 50GiB' },
      'private-cap': { type: 'string', value: 'SIZE', text: 'a created qube takes SIZE at most: 20GiB' },
      ...JSON_OPTION,
    },
    examples: [
      ['qmcpctl init', 'A list of what is there, what would be written, and what is left to you.'],
      ['sudo qmcpctl init --apply --egress ai-net-router', 'Writes what is missing.'],
    ],
    json: '{"steps": [{"state": "done" or "do" or "you", "what": text, "command": text or null}], "changed": [path], "backup": id or null}',
  },
  async (values, _, io) => {
    for (const name of [values.agent, values.egress]) {
      if (name !== undefined && !isQubeName(name))
        throw new UsageError('--agent and --egress take the name of a qube.');
    }
    const fleet = await readFleet(values.qubesd, { properties: true });
    const before = await stepsFor(values, fleet, io);
    const changes: Change[] = before.flatMap(({ file }) =>
      file ? [{ path: join(values.etc, file.name), text: file.text, seen: null }] : [],
    );
    const changed = values.apply ? await apply(changes, values, io) : { paths: [], backup: null };
    const steps = values.apply ? await stepsFor(values, fleet, io) : before;
    if (values.json) {
      const shown = steps.map(({ state, what, command }) => ({ state, what, command }));
      await io.out(`${JSON.stringify({ steps: shown, changed: changed.paths, backup: changed.backup })}\n`);
    } else await io.out(textOf(steps, io));
    return DONE;
  },
);

interface Wanted extends Where {
  readonly qubesd: string;
  readonly agent: string;
  readonly egress?: string;
  readonly 'pool-cap'?: string;
  readonly 'private-cap'?: string;
}

const stepsFor = async (values: Wanted, fleet: readonly FleetQube[], io: Io): Promise<Step[]> => {
  const settings = settingsWith(values, new Map(), io.now);
  /** What is there is never touched, understood or not. */
  const unless = (name: FileName, step: () => Step): Step => brokenStep(name, settings, values.etc) ?? step();
  const { poolCap, privateCap } = settings;
  const used = poolCap === null ? await usedBytes(adminAt(values.qubesd), fleet).catch(() => 0) : 0;
  const now = used === 0 ? '' : `, which take ${bytes(used)} now`;
  const proposed = Math.max(1, Math.ceil((used * 1.5) / POOL_STEP)) * POOL_STEP;
  return [
    directoryStep(values.etc),
    unless('pool-cap', () =>
      capStep('pool-cap', poolCap, values['pool-cap'], proposed, 'all qubes of agents together', now),
    ),
    unless('private-cap', () =>
      capStep('private-cap', privateCap, values['private-cap'], PRIVATE_CAP, 'one created qube'),
    ),
    unless('birth-egress', () => egressStep(settings, values.egress ?? null, fleet)),
    ...agentSteps(values.agent, fleet),
    settings.confirmKey === null
      ? you('Make the key for answers, as the user of the desktop. Without it no question can be answered yes.', ENROL)
      : done('There is a key for answers.'),
    ...(await daemonSteps(values.run, io)),
    ...qubeSteps(settings, fleet),
  ];
};

const brokenStep = (name: FileName, { complaints }: Settings, etc: string): Step | null => {
  const complaint = complaints.find(({ file }) => file === name);
  return complaint ? you(complaintText(etc, complaint), `sudo qmcpctl config set ${name} ...`) : null;
};

const apply = async (changes: readonly Change[], where: Where, io: Io) => {
  try {
    await realDisk.makeDirectory(where.etc, 0o755);
  } catch (error) {
    throw new Refusal(failure(error));
  }
  return writeSettings('init', changes, where, io);
};

const directoryStep = (etc: string): Step =>
  statOf(etc)?.isDirectory()
    ? done(`There is a settings directory, ${etc}.`)
    : { state: 'do', what: `Make ${etc}.`, command: null };

const capStep = (
  name: string,
  is: number | null,
  wanted: string | undefined,
  proposed: number,
  of: string,
  why = '',
): Step => {
  if (is !== null) return done(`${name} is ${bytes(is)}: what ${of} may take.`);
  const digits = wanted === undefined ? String(proposed) : digitsOf(wanted, 'bytes');
  if (!/^[0-9]{1,15}$/.test(digits)) throw new UsageError(`--${name} takes a size like 50GiB.`);
  const what = `Write ${name} ${bytes(Number(digits))}: what ${of} may take${why}.${wanted === undefined ? ` Another: --${name}.` : ''}`;
  return { state: 'do', what, command: null, file: { name, text: `${digits}\n` } };
};

/** Where the network of a created qube comes from, when neither its source nor its agent has one. */
const egressStep = ({ birthEgress }: Settings, wanted: string | null, fleet: readonly FleetQube[]): Step => {
  if (birthEgress !== null) return done(`birth-egress is ${birthEgress}: it gives created qubes their network.`);
  const ways = fleet.filter((qube) => isManaged(qube) && qube.properties?.get('provides_network')?.text === 'True');
  const [only, another] = ways;
  const chosen = wanted === null ? (another ? undefined : only) : fleet.find(({ name }) => name === wanted);
  if (wanted !== null && !chosen) throw new Refusal(`There is no qube ${wanted}.`);
  if (chosen && !isManaged(chosen)) {
    return you(`${chosen.name} is not managed. Make it, then run init again.`, `qmcpctl tier set ${chosen.name} ro`);
  }
  if (chosen) {
    const what = `Write birth-egress ${chosen.name}: it gives created qubes their network where nothing else does.`;
    return { state: 'do', what, command: null, file: { name: 'birth-egress', text: `${chosen.name}\n` } };
  }
  return another
    ? you(
        `Several managed qubes give network (${ways.map(({ name }) => name).join(', ')}). Choose one for created qubes.`,
        `sudo qmcpctl init --apply --egress ${only?.name}`,
      )
    : you(
        'No managed qube gives network, so created ones have none. If they should, make one that does, and manage it.',
        'qvm-create --label red --property provides_network=True --property netvm=sys-firewall ai-net-router && qmcpctl tier set ai-net-router ro',
      );
};

const agentSteps = (agent: string, fleet: readonly FleetQube[]): Step[] => {
  const qube = fleet.find(({ name }) => name === agent);
  if (!qube) return [you(`There is no qube ${agent} for agents to run in.`, `qvm-create --label red ${agent}`)];
  const steps =
    agent === USUAL_AGENT || qube.tags?.has('mcp-agent')
      ? [done(`Agents run in ${agent}.`)]
      : [you(`${agent} may not call the broker yet.`, `qvm-tags ${agent} add mcp-agent`)];
  if (isManaged(qube))
    steps.push(you(`${agent} is managed, so agents manage the qube they run in.`, `qmcpctl tier set ${agent} none`));
  return steps;
};

const daemonSteps = async (run: string, io: Io): Promise<Step[]> => {
  const status = await askDaemonIfThere(run, 'status', {}, statusShape, io).catch((error: unknown) => {
    if (error instanceof Refusal) return error.message;
    throw error;
  });
  if (typeof status === 'string') return [you(status, RESTART)];
  if (status === null) return [you('The daemon does not run.', START)];
  const installed =
    status.mode.policy === 'absent' ? [you('The qrexec policy is not installed.', 'sudo qmcpctl doctor')] : [];
  const listens = status.dialog.listens
    ? done('The daemon runs, and a session listens for its questions.')
    : you(
        'The daemon runs. No session listens for its questions; in the desktop:',
        'systemctl --user start qmcp-confirm.socket',
      );
  return [...installed, listens];
};

const qubeSteps = ({ tierDefault }: Settings, fleet: readonly FleetQube[]): Step[] => {
  const managed = fleet.filter(isManaged).length;
  const mode =
    tierDefault === 'ro'
      ? done('The mode is least-privilege: a managed qube grants what its tier says, and nothing more.')
      : you(
          'The mode is compat: a managed qube without a tier grants everything. To have it grant nothing but reading:',
          'sudo qmcpctl mode least-privilege',
        );
  const tiers =
    managed === 0
      ? you('Agents have no qube yet. Choose one, and how much they may do with it.', 'qmcpctl tier set QUBE exec')
      : done(`Agents have ${managed} qube${managed === 1 ? '' : 's'}: qmcpctl tier show.`);
  return [mode, tiers];
};

const TONES: Readonly<Record<Step['state'], Tone>> = { done: 'good', do: 'warn', you: 'bold' };
const INDENT = 6;

const textOf = (steps: readonly Step[], io: Io): string => {
  const lines = steps.flatMap(({ state, what, command }) => {
    const [first = '', ...rest] = wrapped(what, 79 - INDENT);
    return [
      toned(state.padEnd(INDENT), TONES[state], io) + first,
      ...rest.map((line) => ' '.repeat(INDENT) + line),
      ...(command === null ? [] : [`${' '.repeat(INDENT)}$ ${command}`]),
    ];
  });
  const open = steps.some(({ state }) => state === 'do');
  const left = steps.filter(({ state }) => state === 'you').length;
  const end = open
    ? 'Nothing was changed. To do what is marked do: sudo qmcpctl init --apply'
    : left > 0
      ? `${left} step${left === 1 ? ' is' : 's are'} left to you. Then: sudo qmcpctl doctor`
      : 'Everything is there. To be sure: sudo qmcpctl doctor';
  return [...lines, end].map((line) => `${line}\n`).join('');
};
