import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type Command,
  DONE,
  distance,
  group,
  type Io,
  runCommand,
  USAGE,
  verb,
} from '../../daemon/operator/command.ts';
import { WIDTH, wrapped } from '../../daemon/operator/help.ts';
import { digitsOf } from '../../daemon/operator/quantities.ts';
import { pairs, tableOf } from '../../daemon/operator/table.ts';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';
import { allVerbs } from './stage.ts';

const run = async (command: Command, ...args: string[]) => {
  let [out, err] = ['', ''];
  const io: Io = {
    out: async (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    ...{ watched: false, colour: false, ask: async () => null, input: async () => '', now: () => 0 },
  };
  return { code: await runCommand(command, args, io), out, err };
};

test.each(allVerbs().map(({ path, command }) => [path.join(' '), command] as const))(
  '%s has help with an example, says what --json prints, and fits the terminal',
  async (name, command) => {
    const { code, out } = await run(QMCPCTL, ...name.split(' '), '--help');
    expect({ code, out }).toEqual({ code: DONE, out: command.help });
    expect(out.startsWith(`Usage: qmcpctl ${name}`)).toBe(true);
    expect(out).toMatch(/^Example: .*qmcpctl /m);
    const { definition } = command;
    expect(definition?.name).toBe(`qmcpctl ${name}`);
    expect(definition?.json !== null).toBe(definition !== undefined && 'json' in definition.options);
    const long = out.split('\n').filter((line) => line.length > WIDTH && !line.startsWith('Example: '));
    expect(long).toEqual([]);
  },
);

test('the list of verbs fits the terminal', () => {
  for (const line of QMCPCTL.help.split('\n')) expect(line.length).toBeLessThanOrEqual(WIDTH);
});

test.each([
  [['frezee', 'x'], /There is no verb "frezee"\. Did you mean freeze\? See "qmcpctl --help"\./],
  [['config', 'sett'], /Did you mean set\? See "qmcpctl config --help"\./],
  [['zzzzzzzzz'], /^There is no verb "zzzzzzzzz"\. See "qmcpctl --help"\.\n$/],
  [['status', '--loud'], /^Unknown option '--loud'\. See --help\.\n$/],
  [['status', 'now'], /^qmcpctl status takes no "now"\. See its --help\.\n$/],
  [['status', '--run'], /--run/],
  [['\u001b[2J'], /^There is no verb "\?\[2J"/],
])('%j makes no sense, which is said in a sentence, with exit code 2', async (args, sentence) => {
  const { code, out, err } = await run(QMCPCTL, ...args);
  expect({ code, out }).toEqual({ code: USAGE, out: '' });
  expect(err).toMatch(sentence);
});

test('without a verb it shows which there are, and exits 2', async () => {
  expect(await run(QMCPCTL)).toEqual({ code: USAGE, out: QMCPCTL.help, err: '' });
  expect(await run(QMCPCTL, '--help')).toEqual({ code: DONE, out: QMCPCTL.help, err: '' });
});

test('options reach the verb by their names and with their defaults, operands as they are', async () => {
  const seen: unknown[] = [];
  const probe = verb(
    {
      name: 'x y',
      summary: 's',
      operands: 'A...',
      about: ['about'],
      options: {
        loud: { type: 'boolean', short: 'l', default: false, text: 't' },
        to: { type: 'string', value: 'T', text: 't' },
      },
      examples: [['x y', 'does']],
      json: null,
    },
    async (values, operands) => {
      seen.push(values.loud, values.to, values.run, operands);
      return DONE;
    },
  );
  await run(group('x', 's', { y: probe }), 'y', 'a', '-l', '--to', 'b', '--', '--c');
  expect(seen).toEqual([true, 'b', '/run/qmcp', ['a', '--c']]);
});

test('a table never exceeds the terminal, keeps every row on a line, and lets nothing through to it', () => {
  const cell = fc.string({ maxLength: 60, unit: 'binary' });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.array(cell, { minLength: 6, maxLength: 6 }), { maxLength: 5 }),
      (columns, rows) => {
        const heads = Array.from({ length: columns }, (_, n) => `HEAD${n}`);
        const text = tableOf(
          heads,
          rows.map((row) => row.slice(0, columns)),
          { colour: false },
        );
        const lines = text.split('\n').slice(0, -1);
        expect(lines).toHaveLength(rows.length + 1);
        for (const line of lines) {
          expect(line.length).toBeLessThanOrEqual(WIDTH);
          expect(line).toMatch(/^[\x20-\x7e\u00a0-\u02ff]*$/);
        }
      },
    ),
  );
});

test('colours go only to an output that takes them, and change no width', () => {
  const rows = [[{ text: 'bad', tone: 'bad' as const }, 'x']];
  const plain = tableOf(['A', 'B'], rows, { colour: false });
  expect(plain).toBe('A    B\nbad  x\n');
  const coloured = tableOf(['A', 'B'], rows, { colour: true });
  expect(coloured).toContain('\x1b[31mbad\x1b[0m');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken away.
  expect(coloured.replace(/\x1b\[[0-9]+m/g, '')).toBe(plain);
});

test('text is wrapped at blanks, and no word is lost', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[!-~]{1,30}$/)), fc.integer({ min: 10, max: 80 }), (words, width) => {
      const lines = wrapped(words.join(' '), width);
      expect(lines.join(' ').split(' ').filter(Boolean)).toEqual(words);
      for (const line of lines) expect(line.length <= width || !line.includes(' ')).toBe(true);
    }),
  );
});

test('names and values are aligned', () => {
  expect(
    pairs([
      ['a', '1'],
      ['long', '2'],
    ]),
  ).toBe('a     1\nlong  2\n');
});

test.each([
  ['freeze', 'freeze', 0],
  ['freeze', 'frezee', 2],
  ['a', '', 1],
  ['abc', 'abd', 1],
  ['a'.repeat(41), 'b', Number.POSITIVE_INFINITY],
])('between %s and %s are %s changes', (a, b, changes) => {
  expect(distance(a, b)).toBe(changes);
});

test.each([
  ['50GiB', 'bytes', '53687091200'],
  ['50 gib', 'bytes', '53687091200'],
  ['1TiB', 'bytes', '1099511627776'],
  ['12h', 'seconds', '43200'],
  ['7d', 'seconds', '604800'],
  ['12', 'seconds', '12'],
  ['12h', 'bytes', '12h'],
  ['50GB', 'bytes', '50GB'],
  ['999999999999TiB', 'bytes', '999999999999TiB'],
  ['-1h', 'seconds', '-1h'],
  ['', 'bytes', ''],
] as const)('%s as %s is %s', (text, unit, digits) => {
  expect(digitsOf(text, unit)).toBe(digits);
});
