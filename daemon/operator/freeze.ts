// qmcpctl freeze and thaw: nothing from this qube until I say so.
import { frozen, thawed } from '../control/answers.ts';
import { isQubeName } from '../names.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, oneOperand, UsageError, verb } from './command.ts';
import { JSON_OPTION } from './places.ts';

export const freeze = verb(
  {
    name: 'qmcpctl freeze',
    summary: 'refuse everything that this qube asks for',
    operands: 'QUBE',
    words: ['qube'],
    about: [
      'From now on every call of the qube is refused, reads too, in the way that everything is refused. An open question of ' +
        'its is withdrawn, its prepared plans are void. It lasts until qmcpctl thaw, also over a restart.',
      'To stop the calls of all qubes at once: sudo systemctl stop qmcp-brokerd',
    ],
    options: JSON_OPTION,
    examples: [['qmcpctl freeze mcp-control', 'The agents in mcp-control get nothing any more.']],
    json: '{"source": qube, "already": bool, "lasts": bool, "exists": bool or null}',
  },
  async (values, operands, io) => {
    const source = qubeOperand(operands);
    const done = await askDaemon(values.run, 'freeze', { source }, frozen, io);
    if (!done.lasts) io.err('It holds until the next start only, because it could not be saved. Is the disk full?\n');
    if (done.exists === false) io.err(`There is no qube ${source} just now. Is the name right?\n`);
    const text = `${source} ${done.already ? 'was frozen already' : 'is frozen'}. To end that: qmcpctl thaw ${source}\n`;
    await io.out(values.json ? `${JSON.stringify(done)}\n` : text);
    return DONE;
  },
);

export const thaw = verb(
  {
    name: 'qmcpctl thaw',
    summary: 'end a freeze',
    operands: 'QUBE',
    words: ['qube'],
    about: ['The qube gets again what its tiers and limits give. Plans that it had prepared stay void.'],
    options: JSON_OPTION,
    examples: [['qmcpctl thaw mcp-control', 'The agents in mcp-control are answered again.']],
    json: '{"source": qube, "was_frozen": bool}',
  },
  async (values, operands, io) => {
    const source = qubeOperand(operands);
    const done = await askDaemon(values.run, 'thaw', { source }, thawed, io);
    const text = done.was_frozen ? `${source} is answered again.\n` : `${source} was not frozen. See qmcpctl status.\n`;
    await io.out(values.json ? `${JSON.stringify(done)}\n` : text);
    return DONE;
  },
);

const qubeOperand = (operands: readonly string[]): string => {
  const name = oneOperand(operands, 'qube');
  if (!isQubeName(name)) throw new UsageError('That cannot be the name of a qube.');
  return name;
};
