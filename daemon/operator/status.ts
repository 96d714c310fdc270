// qmcpctl status: how the running daemon is.
import { type Status, status as statusShape } from '../control/answers.ts';
import { duration } from '../services/words.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, FAILED, type Io, printable, verb } from './command.ts';
import { WIDTH, wrapped } from './help.ts';
import { JSON_OPTION } from './places.ts';
import { pairs, type Tone, toned } from './table.ts';

export const status = verb(
  {
    name: 'qmcpctl status',
    summary: 'how the daemon is, what is open, frozen or amiss',
    operands: '',
    about: [
      'Asks the running daemon how it is: whether it reaches qubesd, whether the journal can be written, which mode is in ' +
        'force, who is frozen, whether a question is open. What looks wrong here is explained by qmcpctl doctor.',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl status', 'A few lines; the first that is not right says what to do.']],
    json:
      '{"pid": n, "uptime_s": n, "qubesd": "connected" or "away", "journal": {"ok": bool, "sentence": text or null},\n' +
      ' "undo_complaint": text or null, "mode": {"tier_default", "policy", "enforce"}, "dialog": {"key": bool, "listens": bool}, "complaints": [text],\n' +
      ' "calls": n, "questions": {"open": n, "waiting": n}, "frozen": [qube], "all_frozen": text or null,\n' +
      ' "resting": [{"source", "seconds"}], "quarantine": [{"name", "uuid": uuid or null, "since": time}],\n' +
      ' "quarantine_complaint": text or null, "managed": n or null, "tombstones": n or null}',
    exits: ['if all is well', 'if not'],
  },
  async (values, _, io) => {
    const status = await askDaemon(values.run, 'status', {}, statusShape, io);
    await io.out(values.json ? `${JSON.stringify(status)}\n` : textOf(status, io));
    return isWell(status) ? DONE : FAILED;
  },
);

const isWell = (status: Status): boolean => {
  const { qubesd, journal, undo_complaint, dialog, complaints, all_frozen, quarantine, quarantine_complaint } = status;
  return (
    qubesd === 'connected' &&
    journal.ok &&
    undo_complaint === null &&
    dialog.key &&
    complaints.length === 0 &&
    quarantine.length === 0 &&
    quarantine_complaint === null &&
    all_frozen === null
  );
};

const textOf = (status: Status, io: Io): string => {
  const {
    qubesd,
    journal,
    mode,
    dialog,
    questions,
    frozen,
    resting,
    complaints,
    undo_complaint,
    quarantine,
    quarantine_complaint,
  } = status;
  /** Sentences are long: what does not fit goes on below, in its column. */
  const plain = (name: string, text: string): [string, string][] =>
    wrapped(printable(text), WIDTH - 1 - VALUE_AT).map((line, index) => [index === 0 ? name : '', line]);
  const told = (tone: Tone, name: string, text: string): [string, string][] =>
    plain(name, text).map(([title, line]) => [title, toned(line, tone, io)]);
  return pairs([
    ...told('good', 'Daemon', `has run for ${duration(status.uptime_s)} (process ${status.pid})`),
    ...(qubesd === 'connected'
      ? told('good', 'qubesd', 'connected')
      : told('bad', 'qubesd', 'away: changes are refused. See qmcpctl doctor.')),
    ...(journal.ok
      ? told(journal.sentence ? 'warn' : 'good', 'Journal', journal.sentence ?? 'written')
      : told('bad', 'Journal', journal.sentence ?? 'down')),
    ...(undo_complaint === null ? [] : told('bad', 'Undo', undo_complaint)),
    ...plain('Mode', modeText(mode)),
    ...plain('Questions', `${questions.open === 0 ? 'none' : 'one'} open, ${questions.waiting} waiting`),
    ...answers(dialog, plain, told),
    ...plain('Qubes', `${count(status.managed, 'managed')}, ${count(status.tombstones, 'tombstones')}`),
    ...plain('Calls', `${status.calls} held open`),
    ...(status.all_frozen === null
      ? frozen.length === 0
        ? plain('Frozen', 'nobody')
        : told('warn', 'Frozen', frozen.join(', '))
      : told('bad', 'Frozen', status.all_frozen)),
    ...quarantine.flatMap(({ name, uuid }) =>
      told(
        'bad',
        'Quarantine',
        `${name}: a creation ${uuid === null ? 'may leave' : 'left'} it half-made. To remove it: qvm-remove ${name}. See qmcpctl doctor.`,
      ),
    ),
    ...(quarantine_complaint === null ? [] : told('bad', 'Quarantine', quarantine_complaint)),
    ...(resting.length === 0
      ? []
      : told('warn', 'Resting', resting.map(({ source, seconds }) => `${source} (${duration(seconds)})`).join(', '))),
    ...complaints.flatMap((complaint) => told('bad', 'Settings', complaint)),
  ]);
};

/** `Quarantine` is the longest name. */
const VALUE_AT = 12;

const modeText = ({ tier_default, policy, enforce }: Status['mode']): string => {
  const untiered = tier_default === 'full' ? 'compat (untiered qubes: full)' : 'least-privilege (untiered qubes: ro)';
  const installed =
    policy === 'absent' ? ', no policy of ours installed' : policy === 'unknown' ? ', policy unclear' : '';
  return `${untiered}, kernel ${enforce}${installed}`;
};

const answers = (
  { key, listens }: Status['dialog'],
  plain: (name: string, text: string) => [string, string][],
  told: (tone: Tone, name: string, text: string) => [string, string][],
): [string, string][] => {
  if (!key) return told('bad', 'Answers', 'none can be yes: there is no key. See qmcpctl init.');
  return listens
    ? told('good', 'Answers', 'a dialog listens')
    : plain('Answers', 'no session of yours listens just now, so questions end in no');
};

const count = (number: number | null, what: string): string => `${number === null ? 'unknown' : number} ${what}`;
