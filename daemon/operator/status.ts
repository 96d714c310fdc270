// qmcpctl status: how the running daemon is.
import { type Status, status as statusShape } from '../control/protocol.ts';
import { duration } from '../services/words.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, FAILED, type Io, printable, verb } from './command.ts';
import { JSON_OPTION } from './places.ts';
import { pairs, toned } from './table.ts';

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
      ' "mode": {"tier_default", "policy", "enforce"}, "dialog": {"key": bool, "listens": bool}, "complaints": [text],\n' +
      ' "calls": n, "questions": {"open": n, "waiting": n}, "frozen": [qube], "all_frozen": text or null,\n' +
      ' "resting": [{"source", "seconds"}], "managed": n or null, "tombstones": n or null}',
    exits: ['if all is well', 'if not'],
  },
  async (values, _, io) => {
    const status = await askDaemon(values.run, 'status', {}, statusShape, io);
    await io.out(values.json ? `${JSON.stringify(status)}\n` : textOf(status, io));
    return isWell(status) ? DONE : FAILED;
  },
);

const isWell = ({ qubesd, journal, dialog, complaints, all_frozen }: Status): boolean =>
  qubesd === 'connected' && journal.ok && dialog.key && complaints.length === 0 && all_frozen === null;

const textOf = (status: Status, io: Io): string => {
  const { qubesd, journal, mode, dialog, questions, frozen, resting, complaints } = status;
  const good = (text: string): string => toned(text, 'good', io);
  const bad = (text: string): string => toned(printable(text), 'bad', io);
  const warn = (text: string): string => toned(printable(text), 'warn', io);
  const rows: [string, string][] = [
    ['Daemon', good(`has run for ${duration(status.uptime_s)} (process ${status.pid})`)],
    ['qubesd', qubesd === 'connected' ? good('connected') : bad('away: changes are refused. See qmcpctl doctor.')],
    [
      'Journal',
      journal.ok ? (journal.sentence ? warn(journal.sentence) : good('written')) : bad(journal.sentence ?? 'down'),
    ],
    ['Mode', modeText(mode)],
    ['Questions', `${questions.open === 0 ? 'none' : 'one'} open, ${questions.waiting} waiting`],
    ['Answers', answersText(dialog, good, bad)],
    ['Qubes', `${count(status.managed, 'managed')}, ${count(status.tombstones, 'tombstones')}`],
    ['Calls', `${status.calls} held open`],
    ['Frozen', status.all_frozen ? bad(status.all_frozen) : frozen.length === 0 ? 'nobody' : warn(frozen.join(', '))],
  ];
  if (resting.length > 0) {
    rows.push(['Resting', warn(resting.map(({ source, seconds }) => `${source} (${duration(seconds)})`).join(', '))]);
  }
  for (const complaint of complaints) rows.push(['Settings', bad(complaint)]);
  return pairs(rows);
};

const modeText = ({ tier_default, policy, enforce }: Status['mode']): string => {
  const untiered = tier_default === 'full' ? 'compat (untiered qubes: full)' : 'least-privilege (untiered qubes: ro)';
  const installed =
    policy === 'absent' ? ', no policy of ours installed' : policy === 'unknown' ? ', policy unclear' : '';
  return `${untiered}, kernel ${enforce}${installed}`;
};

const answersText = (
  { key, listens }: Status['dialog'],
  good: (text: string) => string,
  bad: (text: string) => string,
): string => {
  if (!key) return bad('none can be yes: there is no key. See qmcpctl init.');
  return listens ? good('a dialog listens') : 'no session of yours listens just now, so questions end in no';
};

const count = (number: number | null, what: string): string => `${number === null ? 'unknown' : number} ${what}`;
