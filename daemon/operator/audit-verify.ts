// qmcpctl audit verify: is the journal what the broker wrote?
import { setTimeout as sleep } from 'node:timers/promises';
import { type Report, verifyJournal } from '../journal/verify.ts';
import { oneFile } from './audit-show.ts';
import { DONE, FAILED, type Io, type Options, printable, UsageError, verb } from './command.ts';
import { DEFAULT_LOG, PLACE_OPTIONS, type PlaceFlags, trustOf, withSources } from './journal-place.ts';
import { JSON_OPTION } from './places.ts';

/** Of every verb that verifies. */
export const KNOWN_BREAK_OPTION = {
  'known-break': {
    type: 'string',
    multiple: true,
    default: [],
    value: 'NUMBER',
    text: 'the break that this record tells of is known; may be repeated',
  },
} as const satisfies Options;

export const auditVerify = verb(
  {
    name: 'qmcpctl audit verify',
    summary: 'check that no record was changed, removed or put in',
    operands: '[FILE]',
    words: ['file'],
    about: [
      'Checks every record of the journal: its hash, that it follows the one before it, and the signed checkpoints; and ' +
        'that the newest checkpoint is in it, so that a cut end shows. Without FILE it reads all files in ' +
        `${DEFAULT_LOG}. Also reads the log of the implementation that was in use before.`,
      'It cannot show that journal and newest checkpoint were rolled back together; keep a copy of checkpoint.json on ' +
        'another machine to be able to.',
    ],
    options: {
      ...PLACE_OPTIONS,
      ...KNOWN_BREAK_OPTION,
      ...JSON_OPTION,
    },
    examples: [['sudo qmcpctl audit verify', 'Says in a few lines whether the journal of this machine is intact.']],
    json:
      '{"ok": bool, "entries": n, "error": text or null, "format": "journal" or "earlier" or "empty",\n' +
      ' "fault": {"what": word, "file": path, "line": n or null, "seq": n or null, "sentence": text} or null,\n' +
      ' "breaks": [{"type": word, "seq": n, "ts": text, "sentence": text}],\n' +
      ' "remarks": [{"type": word, "seq": n, "ts": text, "sentence": text}], "signed_up_to": n or null, "last": n or null}',
    exits: ['if all is well', 'if not'],
  },
  async (values, operands, io) => {
    const file = oneFile(operands);
    const { report, keyFiles } = await verifyPlace(file, values, knownBreaks(values), (records) => {
      if (io.watched) io.err(`\r${records} records`);
    });
    if (io.watched) io.err('\r\x1b[K');
    await (values.json ? printJson(report, io) : printText(report, keyFiles, io));
    return report.ok ? DONE : FAILED;
  },
);

/** Verifies what the arguments name against what there is to hold it against. Also for the report. */
export async function verifyPlace(
  file: string | undefined,
  flags: PlaceFlags,
  knownBreaks: ReadonlySet<number>,
  progress: (records: number) => void,
): Promise<{ report: Report; keyFiles: readonly string[] }> {
  for (let attempt = 1; ; attempt += 1) {
    const { keys, keyFiles, anchor } = await trustOf(file, flags);
    const report = await withSources(file, flags, (sources) => {
      // A file that was closed is not held against the newest checkpoint, which is in a later one.
      const isOld = file !== undefined && sources[0]?.old !== null;
      const options = { keys, anchor: isOld ? null : anchor, knownBreaks, whole: file === undefined, progress };
      return verifyJournal(sources, options);
    });
    // Half a line at the end is mostly a write that goes on at this moment.
    if (report.fault?.what !== 'torn' || attempt === 2) return { report, keyFiles };
    await sleep(TORN_WAIT_MS);
  }
}

const TORN_WAIT_MS = 300;

/** The records that tell of a break which the operator knows of. Throws UsageError. */
export const knownBreaks = (flags: { readonly 'known-break': readonly string[] }): ReadonlySet<number> =>
  new Set(
    flags['known-break'].map((text) => {
      if (!/^[1-9][0-9]{0,14}$/.test(text)) throw new UsageError('--known-break takes the number of a record.');
      return Number(text);
    }),
  );

const printJson = ({ ok, records, fault, breaks, remarks, format, signedUpTo, last }: Report, io: Io): Promise<void> =>
  io.out(
    `${JSON.stringify({
      ok,
      entries: records,
      error: fault?.sentence ?? breaks[0]?.sentence ?? null,
      format,
      fault,
      breaks,
      remarks,
      signed_up_to: signedUpTo,
      last,
    })}\n`,
  );

async function printText(report: Report, keyFiles: readonly string[], io: Io): Promise<void> {
  const say = (text: string) => io.out(`${printable(text)}\n`);
  for (const { seq, ts, sentence, type } of report.remarks) {
    if (type !== 'break') await say(`Note: record ${seq} of ${ts}: ${sentence}`);
  }
  for (const { seq, ts, sentence } of report.breaks) await say(`BREAK: record ${seq} of ${ts}: ${sentence}`);
  if (report.fault !== null) await say(`NOT INTACT: ${report.fault.sentence}`);
  await say(SUMMARY[report.format](report));
  if (report.format === 'journal') await say(signatures(report, keyFiles));
}

const SUMMARY: Readonly<Record<Report['format'], (report: Report) => string>> = {
  empty: () => 'There are no records.',
  earlier: ({ records, fault }) =>
    `${fault === null ? 'All' : 'The first'} ${records} records are intact. ` +
    'It is the log of the earlier implementation, in which a cut end does not show.',
  journal: ({ records, fault, breaks }) =>
    fault !== null
      ? `The ${records} records before that are intact.`
      : breaks.length > 0
        ? `The ${records} records that are there are intact, but see the breaks above.`
        : `All ${records} records are intact.`,
};

function signatures({ signedUpTo, last, fault }: Report, keyFiles: readonly string[]): string {
  if (keyFiles.length === 0) return 'Signatures were not checked: give the public key (journal.pub) with --key.';
  const by = `checked with ${keyFiles.join(', ')}`;
  if (signedUpTo === null) return `No checkpoint was found yet (${by}).`;
  const newer = (last ?? 0) - signedUpTo;
  if (fault !== null || newer <= 0) return `Signed up to record ${signedUpTo} (${by}).`;
  return `Signed up to record ${signedUpTo} (${by}); the last ${newer} are newer than the newest checkpoint.`;
}
