// qmcpctl pending: the question that is open, and who waits for theirs. It is answered elsewhere.
import { type Pending, pending as pendingShape } from '../control/answers.ts';
import { duration } from '../services/words.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, type Io, printable, verb } from './command.ts';
import { JSON_OPTION } from './places.ts';
import { tableOf, toned } from './table.ts';

export const pending = verb(
  {
    name: 'qmcpctl pending',
    summary: 'the question that is open, and those that wait',
    operands: '',
    about: [
      'Shows what the window shows, and who waits for their turn. A question is answered in the window, or ' +
        'where qmcpctl approve runs; what can be done from here is to freeze its source, which withdraws it.',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl pending', 'The lines of the open question, and a table of those that wait.']],
    json:
      '{"open": {"source", "principal", "service", "action", "names": [qube], "lines": [text] or null,\n' +
      '  "asked_s": n or null, "expires_s": n or null} or null,\n' +
      ' "waiting": [{"source", "principal", "service", "action", "names": [qube]}]}',
  },
  async (values, _, io) => {
    const pending = await askDaemon(values.run, 'pending', {}, pendingShape, io);
    await io.out(values.json ? `${JSON.stringify(pending)}\n` : textOf(pending, io));
    return DONE;
  },
);

const textOf = ({ open, waiting }: Pending, io: Io): string => {
  if (open === null) return 'No question is open.\n';
  const lines = open.lines?.map(printable) ?? [`${open.service} ${open.action}`];
  const [headline = '', ...rest] = lines;
  const times =
    open.expires_s === null || open.asked_s === null
      ? 'It is about to be shown.'
      : `Asked ${duration(open.asked_s)} ago; counts as no in ${duration(open.expires_s)}.`;
  const shown = [toned(headline, 'bold', io), ...rest, times].map((line) => `${line}\n`).join('');
  if (waiting.length === 0) return shown;
  const rows = waiting.map(({ source, principal, action, names }) => [source, principal, action, names.join(' ')]);
  return `${shown}\n${tableOf(['WAITING', 'PRINCIPAL', 'ACTION', 'QUBES'], rows, io)}`;
};
