// qmcpctl migrate: from the implementation that was in use before to this one, and back. Also runs on its own, out of the
// package that cannot be installed before it has run (packaging/INSTALL.md).
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { toolsIn } from '../qubesadmin/tool.ts';
import { openSettings } from '../settings/open.ts';
import { complaintText } from '../settings/settings.ts';
import { DONE, FAILED, type Io, Refusal, verb } from './command.ts';
import { type Migration, moveAside, moveBack, type Parts } from './migrate/move.ts';
import { type Remain, remainsBelow } from './migrate/remains.ts';
import { JSON_OPTION, YES_OPTION } from './places.ts';

export const migrate = verb(
  {
    name: 'qmcpctl migrate',
    summary: 'move the implementation that was in use before aside, or back',
    operands: '',
    about: [
      'Looks for the scripts of qubes-mcp in /etc/qubes-rpc, their libraries, policy, units and programs, shows them, asks, ' +
        'stops the units and moves everything to /var/lib/qmcp-migration. No qube is touched, and the settings in /etc/qmcp ' +
        'stay where they are: both read the same files. They are copied all the same, and what this broker reads differently ' +
        'is said.',
      'From then on nothing answers qmcp.* services until the package qmcp-broker is installed and started. With --back ' +
        'everything is put where it was, and the units that ran are started.',
      'The log in use before stays at /var/log/qmcp-audit.log; "qmcpctl audit verify /var/log/qmcp-audit.log" reads it.',
    ],
    options: {
      back: { type: 'boolean', default: false, text: 'put back what the last migration moved' },
      'dry-run': { type: 'boolean', default: false, text: 'only show what would be moved' },
      root: {
        type: 'string',
        default: '/',
        value: 'DIR',
        text: 'the machine is below DIR, and does not run (default /)',
        words: 'directory',
      },
      ...YES_OPTION,
      ...JSON_OPTION,
    },
    examples: [
      ['sudo qmcpctl migrate --dry-run', 'Shows what there is of the implementation in use before.'],
      ['sudo qmcpctl migrate', 'Moves it aside, after asking.'],
      ['sudo qmcpctl migrate --back', 'Puts it back, once the package is removed.'],
    ],
    json: '{"moved": [path], "directory": path or null, "settings": [text]}',
    exits: ['if it is done, or there is nothing to do', 'if nothing was moved'],
  },
  async (values, _, io) => {
    const runs = values.root === '/';
    const parts: Parts = { root: values.root, tools: runs ? toolsIn(values['tool-path']) : null, now: io.now };
    const settings = join(values.root, values.etc);
    if (values.back) {
      const migration = await moveBack(parts);
      if (values.json)
        await printJson(
          migration.moved.map(({ from }) => from),
          migration,
          [],
          io,
        );
      else
        await io.out(
          `Moved back what ${migration.directory} held. The settings in ${values.etc} stay as they are now.\n`,
        );
      return DONE;
    }
    const remains = await remainsBelow(values.root).catch((error) => {
      throw new Refusal(`It cannot be looked at: ${error.message}. Use sudo.`);
    });
    const notes = await notesOn(settings);
    if (remains.length === 0 || values['dry-run']) {
      if (values.json)
        await printJson(
          remains.map(({ path }) => path),
          null,
          notes,
          io,
        );
      else await io.out(remains.length === 0 ? NOTHING : listOf(remains) + textOf(notes));
      return DONE;
    }
    if (!values.json) await io.out(listOf(remains));
    if (!values.yes && !(await agrees(io))) {
      io.err('Nothing was moved.\n');
      return FAILED;
    }
    const migration = await moveAside(remains, parts);
    if (values.json)
      await printJson(
        remains.map(({ path }) => path),
        migration,
        notes,
        io,
      );
    else
      await io.out(`Moved to ${migration.directory}. "qmcpctl migrate --back" undoes that.\n${textOf(notes)}${NEXT}`);
    return DONE;
  },
);

const NOTHING = 'There is nothing of another implementation here.\n';
const NEXT = 'Nothing answers qmcp.* services now. Install qmcp-broker next.\n';

const agrees = async (io: Io): Promise<boolean> => {
  const answer = await io.ask('Move all of this aside? Agents get no answer until qmcp-broker is installed. [y/N] ');
  if (answer === null) throw new Refusal('Nobody is there to ask. Add --yes to do it without asking.');
  return /^y(?:es)?$/i.test(answer.trim());
};

const listOf = (remains: readonly Remain[]): string => {
  const width = Math.max(...remains.map(({ path }) => path.length));
  return remains.map(({ path, what }) => `${path.padEnd(width)}  ${what}\n`).join('');
};

/** What of these settings the broker reads differently than they were read before, in sentences. */
const notesOn = async (etc: string): Promise<string[]> => {
  const there = await access(etc).then(
    () => true,
    () => false,
  );
  if (!there) return [];
  const { complaints, consentPolicy } = openSettings(etc).current();
  const notes = complaints.map((complaint) => complaintText(etc, complaint));
  if (!consentPolicy.builtIn && consentPolicy.asked.size === 0) {
    notes.push(
      `${etc}/consent-policy: It asks for nothing, so nothing is asked, not even before a qube is destroyed. ` +
        'Remove the file to be asked before everything destructive.',
    );
  }
  return notes;
};

const textOf = (notes: readonly string[]): string => notes.map((note) => `${note}\n`).join('');

const printJson = (moved: string[], migration: Migration | null, settings: string[], io: Io): Promise<void> =>
  io.out(`${JSON.stringify({ moved, directory: migration?.directory ?? null, settings })}\n`);
