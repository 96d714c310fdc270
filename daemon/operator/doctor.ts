// qmcpctl doctor: everything that could be wrong with an installation, each with the command that mends it.
import { join } from 'node:path';
import { status as statusShape } from '../control/answers.ts';
import { AdminError } from '../qubesadmin/wire.ts';
import { usedBytes } from '../services/budget.ts';
import { askDaemon, helloDaemon } from './ask-daemon.ts';
import { KNOWN_BREAK_OPTION, knownBreaks } from './audit-verify.ts';
import { DONE, FAILED, type Io, Refusal, verb } from './command.ts';
import { accountsCheck } from './doctor/accounts.ts';
import { daemonCheck } from './doctor/daemon.ts';
import { type Check, error, type Finding, type Level, type Machine } from './doctor/finding.ts';
import { clockCheck, journalCheck } from './doctor/journal.ts';
import { modesCheck } from './doctor/modes.ts';
import { policyCheck, policyOrderCheck } from './doctor/policy.ts';
import { quotasCheck } from './doctor/quotas.ts';
import { qubeSettingsCheck, settingsCheck } from './doctor/settings.ts';
import { socketsCheck } from './doctor/sockets.ts';
import { tagsCheck } from './doctor/tags.ts';
import { unitsCheck } from './doctor/units.ts';
import { versionsCheck } from './doctor/versions.ts';
import { adminAt, awayFrom, QubesdAway, readFleet } from './fleet.ts';
import { wrapped } from './help.ts';
import { JSON_OPTION } from './places.ts';
import { programsIn } from './programs.ts';
import { type Tone, toned } from './table.ts';
import { settingsWith } from './write-settings.ts';

/** In the order in which they are told; what stands on qubesd and the daemon comes after those. */
const CHECKS: readonly (readonly [name: string, check: Check])[] = [
  ['daemon', daemonCheck],
  ['units', unitsCheck],
  ['accounts', accountsCheck],
  ['sockets', socketsCheck],
  ['modes', modesCheck],
  ['settings', settingsCheck],
  ['policy', policyCheck],
  ['clock', clockCheck],
  ['versions', versionsCheck],
  ['tags', tagsCheck],
  ['guards', qubeSettingsCheck],
  ['order', policyOrderCheck],
  ['quotas', quotasCheck],
  ['journal', journalCheck],
];
const LONG: ReadonlySet<string> = new Set(['journal']);

interface Told extends Finding {
  readonly check: string;
}

export const doctor = verb(
  {
    name: 'qmcpctl doctor',
    summary: 'what is wrong, each with the command that mends it',
    operands: '',
    about: [
      'Looks at everything that the broker stands on: the daemon, its units, users, sockets, links and modes; the settings, ' +
        'line by line; the qrexec policy, whether it is installed, accepted, in the mode of the settings, and not overruled ' +
        'by an earlier rule; the tags of all qubes, where they contradict each other or lead out; guards and quotas; the ' +
        'clock, the versions of the platform, and every record of the journal. Changes nothing.',
      'Some of it only root may look at; then it says so.',
    ],
    options: {
      quick: {
        type: 'boolean',
        short: 'q',
        default: false,
        text: 'leave out what takes long: every record of the journal',
      },
      root: {
        type: 'string',
        default: '/',
        value: 'DIR',
        text: 'the system is below DIR (default /)',
        words: 'directory',
      },
      ...KNOWN_BREAK_OPTION,
      ...JSON_OPTION,
    },
    examples: [['sudo qmcpctl doctor', 'A list of findings, the worst first, or a line that says that all is well.']],
    json: '{"ok": bool, "checks": [word], "findings": [{"level": "error" or "warning" or "note", "check": word, "what": text, "mend": command or null}]}',
    exits: ['if there is neither an error nor a warning', 'if there is one'],
  },
  async (values, _, io) => {
    const machine = machineAt(values, io);
    const told: Told[] = [];
    const checks = CHECKS.filter(([name]) => !(values.quick && LONG.has(name)));
    const failed = new Set<string>();
    for (const [name, check] of checks) {
      machine.progress(name);
      for (const finding of await findings(check, machine)) {
        // What keeps several checks from being made is told once.
        if (failed.has(finding.what)) continue;
        failed.add(finding.what);
        told.push({ check: name, ...finding });
      }
    }
    if (io.watched) io.err('\r\x1b[K');
    const sorted = ORDER.flatMap((level) => told.filter((each) => each.level === level));
    const ok = sorted.every(({ level }) => level === 'note');
    if (values.json) {
      const list = sorted.map(({ level, check, what, mend }) => ({ level, check, what, mend }));
      await io.out(`${JSON.stringify({ ok, checks: checks.map(([name]) => name), findings: list })}\n`);
    } else await io.out(textOf(sorted, checks.length, io));
    return ok ? DONE : FAILED;
  },
);

const findings = async (check: Check, machine: Machine): Promise<readonly Finding[]> => {
  try {
    return await check(machine);
  } catch (failure) {
    // What a check stands on is not there; that is a finding of its own.
    if (failure instanceof QubesdAway) return [error(failure.message, failure.mend)];
    if (failure instanceof Refusal) return [error(failure.message, null)];
    throw failure;
  }
};

const machineAt = (
  values: {
    readonly etc: string;
    readonly run: string;
    readonly state: string;
    readonly log: string;
    readonly policy: string;
    readonly qubesd: string;
    readonly root: string;
    readonly 'tool-path': string;
    readonly 'known-break': readonly string[];
  },
  io: Io,
): Machine => {
  const { etc, run, state, log, policy, qubesd } = values;
  const admin = adminAt(qubesd);
  return {
    ...{ etc, run, state, log, policy, now: io.now },
    system: (path) => join(values.root, path),
    programs: programsIn(values['tool-path']),
    knownBreaks: knownBreaks(values),
    settings: settingsWith(values, new Map(), io.now),
    fleet: once(() => readFleet(qubesd, { properties: true })),
    bytesOf: async (qubes) => {
      try {
        return await usedBytes(admin, qubes);
      } catch (failure) {
        if (failure instanceof AdminError) throw awayFrom(qubesd, failure);
        throw failure;
      }
    },
    status: () => askDaemon(run, 'status', {}, statusShape, { err: () => {} }),
    version: () => helloDaemon(run),
    progress: (text) => {
      if (io.watched) io.err(`\r\x1b[K${text}`);
    },
  };
};

/** The same promise however often it is asked for. */
const once = <T>(work: () => Promise<T>): (() => Promise<T>) => {
  let promise: Promise<T> | null = null;
  return () => {
    promise ??= work();
    return promise;
  };
};

const ORDER: readonly Level[] = ['error', 'warning', 'note'];
const TONES: Readonly<Record<Level, Tone>> = { error: 'bad', warning: 'warn', note: 'dim' };
const INDENT = 9;

const textOf = (told: readonly Told[], checks: number, io: Io): string => {
  const counts = ORDER.map((level) => [level, told.filter((each) => each.level === level).length] as const);
  const summary = counts
    .filter(([, count]) => count > 0)
    .map(([level, count]) => `${count} ${level}${count === 1 ? '' : 's'}`)
    .join(', ');
  const blocks = told.map(({ level, what, mend }) => {
    const [first = '', ...rest] = wrapped(what, 79 - INDENT);
    const lines = [
      toned(level.padEnd(INDENT), TONES[level], io) + first,
      ...rest.map((line) => ' '.repeat(INDENT) + line),
      ...(mend === null ? [] : [`${' '.repeat(INDENT)}$ ${mend}`]),
    ];
    return lines.map((line) => `${line}\n`).join('');
  });
  const end = told.some(({ level }) => level !== 'note')
    ? summary
    : `All is well${summary === '' ? '' : ` (${summary})`}`;
  return `${blocks.join('')}${end}; ${checks} things were looked at.\n`;
};
