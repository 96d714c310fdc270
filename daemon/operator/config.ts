// qmcpctl config: the operator files, one setting each.
import { join } from 'node:path';
import { bytes, duration } from '../services/words.ts';
import { FILE_NAMES, type FileName } from '../settings/files.ts';
import { contentLines } from '../settings/lines.ts';
import { look } from '../settings/look.ts';
import { POLICY_MODE_FILE } from '../settings/mode.ts';
import { complaintText } from '../settings/settings.ts';
import { backupsIn } from './change/backups.ts';
import { backupsOf, type Change } from './change/change.ts';
import { realDisk, textAt } from './change/disk.ts';
import { DONE, FAILED, group, type Io, nearest, oneOperand, printable, Refusal, UsageError, verb } from './command.ts';
import { JSON_OPTION } from './places.ts';
import { digitsOf } from './quantities.ts';
import { SETTING_WORDS } from './settings-words.ts';
import { type Cell, tableOf } from './table.ts';
import { settingsWith, type Where, writeSettings } from './write-settings.ts';

interface Setting {
  readonly name: FileName;
  readonly from: 'file' | 'default' | 'malformed';
  /** What the file says, without its comments; empty where it says nothing. */
  readonly lines: readonly string[];
  readonly complaints: readonly string[];
}

const settingsIn = (where: Where, now: () => number): Setting[] => {
  const { complaints } = settingsWith(where, new Map(), now);
  return FILE_NAMES.map((name) => {
    const { source } = look(join(where.etc, name), undefined, now);
    const own = complaints.filter(({ file }) => file === name);
    return {
      name,
      from: own.length > 0 ? 'malformed' : source.kind === 'text' ? 'file' : 'default',
      lines: source.kind === 'text' ? contentLines(source.text).map(({ text }) => text) : [],
      complaints: own.map((each) => complaintText(where.etc, each)),
    };
  });
};

/** The value in a few words. */
const valueText = ({ name, from, lines }: Setting): string => {
  const { absent, isList, unit } = SETTING_WORDS[name];
  if (from === 'default') return withUnit(absent, unit);
  if (isList) return lines.length === 0 ? 'nothing' : lines.join(', ');
  return withUnit(lines.join(', '), unit);
};

const withUnit = (text: string, unit: 'bytes' | 'seconds' | undefined): string => {
  if (unit === undefined || !/^[0-9]{1,15}$/.test(text)) return text;
  return `${text} (${unit === 'bytes' ? bytes(Number(text)) : duration(Number(text))})`;
};

const list = verb(
  {
    name: 'qmcpctl config list',
    summary: 'every setting, its value, and where that comes from',
    operands: '',
    about: [
      'A setting is a file in /etc/qmcp. What has no file has a value of its own; what is malformed takes its strictest.',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl config list', 'A table of all settings.']],
    json: '[{"name", "from": "file" or "default" or "malformed", "lines": [text], "complaints": [text]}]',
    exits: ['if all settings are understood', 'if one is not'],
  },
  async (values, _, io) => {
    const settings = settingsIn(values, io.now);
    if (values.json) await io.out(`${JSON.stringify(settings)}\n`);
    else {
      const rows = settings.map((setting): Cell[] => [
        setting.name,
        setting.from === 'malformed' ? { text: valueText(setting), tone: 'bad' } : valueText(setting),
        setting.from,
      ]);
      await io.out(tableOf(['SETTING', 'VALUE', 'FROM'], rows, io));
      for (const complaint of settings.flatMap(({ complaints }) => complaints)) io.err(`${printable(complaint)}\n`);
    }
    return settings.every(({ from }) => from !== 'malformed') ? DONE : FAILED;
  },
);

const get = verb(
  {
    name: 'qmcpctl config get',
    summary: 'one setting',
    operands: 'SETTING',
    words: ['setting'],
    about: [
      'Prints what the file says, without its comments, one entry a line; of a setting without a file, what stands for it.',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl config get guarded', 'The guarded qubes, one a line.']],
    json: '{"name", "from": "file" or "default" or "malformed", "lines": [text], "complaints": [text]}',
    exits: ['if the setting is understood', 'if not'],
  },
  async (values, operands, io) => {
    const name = settingName(oneOperand(operands, 'setting'));
    const setting = settingsIn(values, io.now).find((each) => each.name === name) as Setting;
    if (values.json) await io.out(`${JSON.stringify(setting)}\n`);
    else if (setting.from === 'default') await io.out(`${SETTING_WORDS[name].absent}\n`);
    else await io.out(setting.lines.map((line) => `${printable(line)}\n`).join(''));
    for (const complaint of setting.complaints) io.err(`${printable(complaint)}\n`);
    return setting.from === 'malformed' ? FAILED : DONE;
  },
);

const set = verb(
  {
    name: 'qmcpctl config set',
    summary: 'write one setting',
    operands: 'SETTING VALUE...',
    words: ['setting', []],
    about: [
      'Writes the file of the setting anew: one value, or for guarded, consent-policy and features-allowed any number of ' +
        'entries. It is read as the daemon will read it first; what would not be understood is not written. What was there ' +
        'is kept: qmcpctl config restore.',
      'Sizes and times may have a unit: 50GiB, 12h. tier-default is written by qmcpctl mode, together with the policy.',
    ],
    options: {
      file: {
        type: 'string',
        value: 'FILE',
        text: 'take the whole content from FILE, with its comments; - for standard input',
        words: 'file',
      },
      ...JSON_OPTION,
    },
    examples: [
      ['sudo qmcpctl config set pool-cap 50GiB', 'All qubes of agents together may take 50 GiB.'],
      ['sudo qmcpctl config set guarded ai-archive ai-debian-13', 'Every change to these two is asked.'],
    ],
    json: '{"changed": [path], "backup": id or null}',
  },
  async (values, operands, io) => {
    const [setting, ...entries] = operands;
    if (setting === undefined) throw new UsageError(`Say which setting: ${settable()}.`);
    const name = settingName(setting);
    refuseMode(name);
    const text = await contentOf(name, entries, values.file, io);
    return write(`config set ${name}`, name, text, values, io);
  },
);

const unset = verb(
  {
    name: 'qmcpctl config unset',
    summary: 'have no file for a setting, so that its default holds',
    operands: 'SETTING',
    words: ['setting'],
    about: ['What was there is kept: qmcpctl config restore.'],
    options: JSON_OPTION,
    examples: [['sudo qmcpctl config unset consent-policy', 'What destroys something is asked, as without a file.']],
    json: '{"changed": [path], "backup": id or null}',
  },
  async (values, operands, io) => {
    const name = settingName(oneOperand(operands, 'setting'));
    refuseMode(name);
    return write(`config unset ${name}`, name, null, values, io);
  },
);

const write = async (
  by: string,
  name: FileName,
  text: string | null,
  values: Where & { readonly json: boolean },
  io: Io,
): Promise<number> => {
  const changed = await writeSettings(by, [{ path: join(values.etc, name), text }], values, io);
  if (values.json) await io.out(`${JSON.stringify({ changed: changed.paths, backup: changed.backup })}\n`);
  else if (changed.backup === null) await io.out(`${name} was so already.\n`);
  else {
    const setting = settingsIn(values, io.now).find((each) => each.name === name) as Setting;
    await io.out(
      `${name} is ${printable(valueText(setting))}. As it was: sudo qmcpctl config restore ${changed.backup}\n`,
    );
  }
  return DONE;
};

const contentOf = async (
  name: FileName,
  entries: readonly string[],
  file: string | undefined,
  io: Io,
): Promise<string> => {
  const { isList, unit } = SETTING_WORDS[name];
  if (file !== undefined) {
    if (entries.length > 0) throw new UsageError('Either --file or values, not both.');
    return file === '-' ? io.input() : textIn(file);
  }
  if (entries.length === 0) throw new UsageError(`Say what ${name} is to be: ${SETTING_WORDS[name].what}.`);
  if (!isList && entries.length > 1) throw new UsageError(`${name} takes one value.`);
  // One entry is one line: nothing in it may begin another, or a comment.
  const bad = entries.find((entry) => /[\n\r#]/.test(entry) || entry.trim() === '');
  if (bad !== undefined) throw new UsageError('A value is not empty, and has neither line breaks nor #.');
  return entries.map((entry) => `${unit ? digitsOf(entry, unit) : entry}\n`).join('');
};

const textIn = async (file: string): Promise<string> => {
  const text = await textAt(file);
  if (text === null) throw new Refusal(`There is no file ${printable(file)}.`);
  return text;
};

const refuseMode = (name: FileName): void => {
  if (name === 'tier-default')
    throw new UsageError('tier-default goes together with the policy: qmcpctl mode compat or least-privilege.');
};

const settingName = (text: string): FileName => {
  const name = FILE_NAMES.find((each) => each === text);
  if (name !== undefined) return name;
  const near = nearest(text, FILE_NAMES, 3);
  const guess = near ? `Did you mean ${near}?` : `There are: ${settable()}.`;
  throw new UsageError(`There is no setting "${printable(text.slice(0, 40))}". ${guess}`);
};

const settable = (): string => FILE_NAMES.join(', ');

const restore = verb(
  {
    name: 'qmcpctl config restore',
    summary: 'list what was kept, or put it back',
    operands: '[BACKUP]',
    words: [[]],
    about: [
      'Without BACKUP it lists what was kept each time before qmcpctl wrote settings, the newest first. With BACKUP the ' +
        'files are again as they were then, all or none; what is there now is kept too, so that this can be undone as well.',
    ],
    options: { ...JSON_OPTION },
    examples: [
      ['qmcpctl config restore', 'A table of what was kept.'],
      ['sudo qmcpctl config restore 20260131T120000000Z', 'Settings and policy as they were before that change.'],
    ],
    json:
      'without BACKUP: [{"id", "made", "by", "files": [path]}]\n' +
      'with BACKUP: {"changed": [path], "backup": id or null}',
  },
  async (values, operands, io) => {
    const backups = await backupsIn(realDisk, backupsOf(values.etc)).catch((error: NodeJS.ErrnoException) => {
      throw new Refusal(`${backupsOf(values.etc)} cannot be read (${error.code ?? error.message}). Use sudo.`);
    });
    if (operands.length === 0) {
      const rows = backups.map(({ id, made, by, files }) => ({ id, made, by, files: files.map(({ path }) => path) }));
      if (values.json) await io.out(`${JSON.stringify(rows)}\n`);
      else if (rows.length === 0) await io.out('Nothing was kept yet.\n');
      else {
        const cells = rows.map(({ id, by, files }) => [id, by, files.map((path) => path.split('/').at(-1)).join(' ')]);
        await io.out(tableOf(['BACKUP', 'BEFORE', 'FILES'], cells, io));
      }
      return DONE;
    }
    const id = oneOperand(operands, 'backup');
    const backup = backups.find((each) => each.id === id);
    if (!backup) throw new Refusal(`There is no backup ${printable(id)}. See qmcpctl config restore.`);
    const foreign = backup.files.find(({ path }) => !isOurs(path, values));
    if (foreign) throw new Refusal(`That backup holds ${printable(foreign.path)}, which is no setting here.`);
    const changes: Change[] = inSafeOrder(backup.files.map(({ path, text }) => ({ path, text })));
    const changed = await writeSettings('config restore', changes, values, io);
    if (values.json) await io.out(`${JSON.stringify({ changed: changed.paths, backup: changed.backup })}\n`);
    else if (changed.backup === null) await io.out('Everything was so already.\n');
    else
      await io.out(`Restored: ${changed.paths.join(', ')}\nAs it was: sudo qmcpctl config restore ${changed.backup}\n`);
    return DONE;
  },
);

/** The policy before the settings where it closes, after them where it opens: between the two the stricter holds. */
const inSafeOrder = (changes: readonly Change[]): Change[] => {
  const policy = changes.filter(({ path }) => path.endsWith(POLICY_MODE_FILE));
  const settings = changes.filter((each) => !policy.includes(each));
  const closes = policy.some(({ text }) => text?.includes('least-privilege') === true);
  return closes ? [...policy, ...settings] : [...settings, ...policy];
};

const isOurs = (path: string, { etc, policy }: Where): boolean =>
  path === join(policy, POLICY_MODE_FILE) ||
  FILE_NAMES.some((name) => path === join(etc, name)) ||
  /^[a-z][a-z0-9-]{0,30}\.json$/.test(
    path.startsWith(`${etc}/principals/`) ? path.slice(`${etc}/principals/`.length) : '',
  );

export const config = group('qmcpctl config', 'show, write and restore the settings in /etc/qmcp', {
  list,
  get,
  set,
  unset,
  restore,
});
