// qmcpctl undo: putting back what a call changed.
import { type Undoable, type Undone, undoable, undone } from '../control/answers.ts';
import { duration } from '../services/words.ts';
import { askDaemon } from './ask-daemon.ts';
import { DONE, oneOperand, printable, UsageError, verb } from './command.ts';
import { JSON_OPTION } from './places.ts';
import { pairs, tableOf } from './table.ts';

/** Longer values are cut in what a person reads; --json has all of them. */
const MAX_SHOWN = 400;

export const undo = verb(
  {
    name: 'qmcpctl undo',
    summary: 'put back what a call changed, or list what can be put back',
    operands: 'SEQ|list',
    words: [['list']],
    about: [
      'Of every change to a property, a feature, the label or the firewall of a qube, and of every removal that leaves a ' +
        'tombstone, the broker keeps what was there before, for 30 days. SEQ is the number of the intent in the journal, as ' +
        'qmcpctl undo list and qmcpctl audit show have it.',
      'It is put back only where the qube is still the same one and still as the change left it. A tombstone gets back ' +
        'exactly the tags it had. What was done is in the journal, and can itself be undone, unless it was a tombstone.',
    ],
    options: {
      'dry-run': { type: 'boolean', default: false, text: 'show what would be done, and do nothing' },
      ...JSON_OPTION,
    },
    examples: [
      ['qmcpctl undo list', 'A table of what can be put back, newest first.'],
      ['qmcpctl undo 1234 --dry-run', 'Shows what there is now, and what there would be after.'],
      ['qmcpctl undo 1234', 'Puts it back.'],
    ],
    json:
      'with SEQ: {"seq": n, "service", "source", "principal", "qube", "kind": "property" or "feature" or "firewall" or "tombstone",\n' +
      ' "name": text or null, "from": text or null, "to": text or null, "done": bool}\n' +
      'with list: {"changes": [{"seq": n, "service", "source", "principal", "qube", "kind": word, "name": text or null, "age_s": n}],\n' +
      ' "complaint": text or null}',
  },
  async (values, operands, io) => {
    if (operands.length === 0) throw new UsageError('Say which change, by its number; qmcpctl undo list shows them.');
    const operand = oneOperand(operands, 'change');
    if (operand === 'list') {
      const found = await askDaemon(values.run, 'undo-list', {}, undoable, io);
      if (found.complaint !== null) io.err(`${printable(found.complaint)}\n`);
      if (values.json) await io.out(`${JSON.stringify(found)}\n`);
      else if (found.changes.length === 0) await io.out('There is nothing to undo.\n');
      else await io.out(tableOf(['SEQ', 'AGE', 'QUBE', 'CHANGED', 'BY', 'PRINCIPAL'], found.changes.map(row), io));
      return DONE;
    }
    if (!/^[1-9][0-9]{0,14}$/.test(operand)) {
      throw new UsageError('That is no number of a record in the journal. See qmcpctl undo list.');
    }
    const args = { seq: Number(operand), dry_run: values['dry-run'] };
    const done = await askDaemon(values.run, 'undo', args, undone, io);
    await io.out(values.json ? `${JSON.stringify(done)}\n` : text(done));
    return DONE;
  },
);

const row = ({ seq, age_s, qube, source, principal, ...change }: Undoable['changes'][number]): string[] => [
  String(seq),
  duration(age_s),
  qube,
  what(change),
  source,
  principal,
];

const what = ({ kind, name }: Pick<Undone, 'kind' | 'name'>): string => {
  if (kind === 'tombstone') return 'removed';
  return name === null ? kind : kind === 'property' ? name : `${kind} ${name}`;
};

const text = (change: Undone): string => {
  const { seq, qube, kind, from, to, done } = change;
  const subject = kind === 'tombstone' ? 'tags' : what(change);
  const after = done ? 'It is put back.\n' : `Nothing was done. To put it back: qmcpctl undo ${seq}\n`;
  const rows = [
    [done ? 'it was' : 'it is', valueText(kind, from)],
    [done ? 'it is now' : 'it would be', valueText(kind, to)],
  ] as const;
  return `${qube}, ${subject}\n${pairs(rows)}${after}`;
};

const NONE = { property: '(the default)', feature: '(not set)', firewall: '(nothing)', tombstone: '(none)' } as const;

const valueText = (kind: Undone['kind'], value: string | null): string => {
  if (value === null) return NONE[kind];
  const shown = printable(value.trimEnd().replaceAll('\n', '; '));
  if (shown === '') return '(empty)';
  return shown.length > MAX_SHOWN ? `${shown.slice(0, MAX_SHOWN)}..` : shown;
};
