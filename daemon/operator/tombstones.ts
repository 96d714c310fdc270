// qmcpctl tombstones: what was removed and not destroyed yet.
import { reaped, type Tombstones, tagged, tombstones as tombstonesShape } from '../control/answers.ts';
import { isQubeName } from '../names.ts';
import { duration } from '../services/words.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, group, oneOperand, Refusal, UsageError, verb } from './command.ts';
import { JSON_OPTION, YES_OPTION } from './places.ts';
import { tableOf } from './table.ts';

const REAPER: Readonly<Record<string, string>> = {
  'within-window': 'waits',
  due: 'destroys it at its next pass',
  running: 'waits: it is not halted',
  undatable: 'never: its marker has no date',
  'stuck-in-umbrella': 'never: it is managed',
  'config-malformed': 'never: tombstone-retention',
};

const list = verb(
  {
    name: 'qmcpctl tombstones list',
    summary: 'removed qubes that are not destroyed yet',
    operands: '',
    about: [
      'Where tombstones are on, a qube that an agent removes is only taken out of its reach, and destroyed when the time in ' +
        'the setting tombstone-retention is over. Until then it can be restored.',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl tombstones list', 'A table with the age of each, and when it will be destroyed.']],
    json:
      '{"retention_s": n or null,\n' +
      ' "tombstones": [{"name", "uuid", "age_s": n or null, "due_s": n or null, "verdict": word, "restrictions": [tag]}]}',
  },
  async (values, _, io) => {
    const found = await askDaemon(values.run, 'tombstones', {}, tombstonesShape, io);
    if (values.json) await io.out(`${JSON.stringify(found)}\n`);
    else if (found.tombstones.length === 0) await io.out('There are no tombstones.\n');
    else await io.out(tableOf(['QUBE', 'REMOVED', 'DESTROYED', 'REAPER'], found.tombstones.map(row), io));
    return DONE;
  },
);

const row = ({ name, age_s, due_s, verdict }: Tombstones['tombstones'][number]): string[] => [
  name,
  age_s === null ? 'unknown' : `${duration(age_s)} ago`,
  due_s === null ? 'never' : due_s === 0 ? 'now' : `in ${duration(due_s)}`,
  REAPER[verdict] ?? verdict,
];

const qube = (operands: readonly string[]): string => {
  const name = oneOperand(operands, 'tombstone');
  if (!isQubeName(name)) throw new UsageError('That cannot be the name of a qube.');
  return name;
};

const restore = verb(
  {
    name: 'qmcpctl tombstones restore',
    summary: 'bring a removed qube back',
    operands: 'QUBE',
    words: ['qube'],
    about: [
      'Gives the qube back to agents: the umbrella, and the tier that you name. Without --tier it comes ' +
        'back with the umbrella alone; qmcpctl undo gives it exactly the tags it had. Restrictions that it had were never taken away.',
      'To have it for yourself and not for agents, take the marker away instead: qvm-tags QUBE del qmcp-tombstone_TIME',
    ],
    options: {
      tier: {
        type: 'string',
        default: 'ro',
        value: 'TIER',
        text: 'ro, exec, net or full (default ro)',
        words: ['ro', 'exec', 'net', 'full'],
      },
      ...JSON_OPTION,
    },
    examples: [
      ['qmcpctl tombstones restore ai-work --tier exec', 'Agents have ai-work again, and may run programs in it.'],
    ],
    json: '{"name", "uuid", "tier", "effective": tier or null, "added": [tag], "removed": [tag], "released": bool}',
  },
  async (values, operands, io) => {
    const { tier } = values;
    if (!['ro', 'exec', 'net', 'full'].includes(tier)) throw new UsageError('--tier takes ro, exec, net or full.');
    const done = await askDaemon(values.run, 'restore', { name: qube(operands), tier }, tagged, io);
    const more = done.effective === done.tier ? '' : `, which in mode compat grants ${done.effective}`;
    await io.out(
      values.json ? `${JSON.stringify(done)}\n` : `${done.name} is back with the tier ${done.tier}${more}.\n`,
    );
    return DONE;
  },
);

const reap = verb(
  {
    name: 'qmcpctl tombstones reap',
    summary: 'destroy what is due now, or one tombstone before its time',
    operands: '[QUBE]',
    words: ['qube'],
    about: [
      'Without QUBE it makes a pass as the reaper does every hour: what is older than tombstone-retention is destroyed, ' +
        'everything else is left. With QUBE that tombstone is destroyed now, with all its files. That cannot be undone.',
    ],
    options: { ...YES_OPTION, ...JSON_OPTION },
    examples: [['qmcpctl tombstones reap ai-work', 'Destroys ai-work, once you have typed its name.']],
    json: '{"destroyed": [qube], "left": [{"name", "verdict"}]}',
  },
  async (values, operands, io) => {
    const name = operands.length === 0 ? null : qube(operands);
    if (name !== null && !values.yes) {
      const typed = await io.ask(`${name} and all its files will be destroyed. Type its name to go on: `);
      if (typed === null) throw new Refusal('Nobody is there to ask. Say --yes to do it without.');
      if (typed.trim() !== name) throw new Refusal('Nothing was destroyed.');
    }
    const done = await askDaemon(values.run, 'reap', { name }, reaped, io);
    if (values.json) await io.out(`${JSON.stringify(done)}\n`);
    else {
      const gone =
        done.destroyed.length === 0 ? 'Nothing was destroyed.\n' : `Destroyed: ${done.destroyed.join(', ')}\n`;
      await io.out(
        gone + done.left.map((each) => `Left: ${each.name} (${REAPER[each.verdict] ?? each.verdict})\n`).join(''),
      );
    }
    return DONE;
  },
);

export const tombstones = group('qmcpctl tombstones', 'list, restore or destroy qubes that were removed', {
  list,
  restore,
  reap,
});
