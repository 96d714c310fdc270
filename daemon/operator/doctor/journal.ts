// Whether the journal is what was written, whether there is room for more of it, and whether time goes forward.
import { statfs } from 'node:fs/promises';
import { rowsOf } from '../../journal/rows.ts';
import { bytes } from '../../services/words.ts';
import { verifyPlace } from '../audit-verify.ts';
import { Refusal } from '../command.ts';
import { withSources } from '../journal-place.ts';
import { type Check, CLOSED, error, type Finding, type Machine, warning } from './finding.ts';
import { isClosed } from './modes.ts';

const ROOM_ERROR = 64 * 2 ** 20;
const ROOM_WARNING = 512 * 2 ** 20;
/** Clocks of two readings may differ by so much, and by no more. */
const CLOCK_SLACK_MS = 120_000;
/** This program was written later. */
const LEAST_TIME = Date.UTC(2026, 0, 1);

export const journalCheck: Check = async (machine) => {
  const { log } = machine;
  if (isClosed(log)) return [CLOSED];
  return [...(await roomFindings(log)), ...(await verifyFindings(machine))];
};

const roomFindings = async (log: string): Promise<Finding[]> => {
  const stat = await statfs(log).catch(() => null);
  if (stat === null) return [];
  const room = stat.bavail * stat.bsize;
  if (room >= ROOM_WARNING) return [];
  const what = `There are ${bytes(room)} of room left for the journal in ${log}. When it is full, every change is refused.`;
  return [room < ROOM_ERROR ? error(what, `df -h ${log}`) : warning(what, `df -h ${log}`)];
};

const verifyFindings = async ({ log, state, knownBreaks, progress }: Machine): Promise<Finding[]> => {
  try {
    const { report, keyFiles } = await verifyPlace(undefined, { log, state }, knownBreaks, (records) =>
      progress(`journal: ${records} records`),
    );
    const wrong = [report.fault, ...report.breaks].flatMap((each) => (each === null ? [] : [each.sentence]));
    const found = wrong.map((sentence) => error(`The journal is not intact: ${sentence}`, 'sudo qmcpctl audit verify'));
    if (keyFiles.length === 0 && report.records > 0) {
      found.push(
        warning('The journal is not signed, so a cut end would not show.', 'sudo systemctl restart qmcp-brokerd'),
      );
    }
    return found;
  } catch (failure) {
    if (failure instanceof Refusal) return [error(failure.message, 'sudo qmcpctl audit verify')];
    throw failure;
  }
};

/** A clock that is wrong makes plans, quotas and hours of the week wrong, and tombstones too young or too old. */
export const clockCheck: Check = async ({ log, now }) => {
  const mend = 'sudo qvm-sync-clock';
  if (now() < LEAST_TIME) return [error(`The clock says ${new Date(now()).toISOString()}, which is long ago.`, mend)];
  const last = await lastTime(log);
  if (last === null || last <= now() + CLOCK_SLACK_MS) return [];
  return [
    error(
      `The newest record of the journal is of ${new Date(last).toISOString()}, which is yet to come: the clock was or is wrong.`,
      mend,
    ),
  ];
};

/** When the newest record was written; null where nobody can say. */
const lastTime = async (log: string): Promise<number | null> => {
  try {
    return await withSources(undefined, { log }, async (sources) => {
      let last: number | null = null;
      const newest = sources.at(-1);
      if (newest) for await (const rows of rowsOf([newest])) last = Date.parse(rows.at(-1)?.ts ?? '') || last;
      return last;
    });
  } catch {
    return null;
  }
};
