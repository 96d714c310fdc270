// What a record costs, however long the journal is; and what it takes to verify a million of them.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Journal, openJournal } from '../../daemon/journal/journal.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';
import { median, ms, perSecond, quantile, type Row, ratio } from './row.ts';

const SHORTER = 100_000;
const LENGTHS = [10, 1000, SHORTER, 1_000_000];
const MEASURED = 400;
const AT_ONCE = 1000;
const VERIFY_MS = 30_000;
/** Flat: the median at the longest within this factor of the shortest. Disks are noisier than the difference looked for. */
const FLAT = 1.5;
/** Constant memory: less than so much more for ten times the records, MiB. */
const MORE_MIB = 40;

/** Rows of the result table. `progress` is told what is being done. */
export async function journalRows(progress: (text: string) => void): Promise<readonly Row[]> {
  const root = mkdtempSync(join(tmpdir(), 'bench-journal-'));
  try {
    return await measure(root, progress);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

async function measure(root: string, progress: (text: string) => void): Promise<readonly Row[]> {
  const place = { log: join(root, 'log'), state: join(root, 'state') };
  for (const dir of Object.values(place)) mkdirSync(dir);
  const { journal } = await openAt(place);
  const rows: Row[] = [];
  const medians: number[] = [];
  let records = 0;
  let filling = 0;
  let shorter: Verified | null = null;
  for (const length of LENGTHS) {
    progress(`journal: ${length} records`);
    const from = performance.now();
    await fill(journal, length - records);
    filling += performance.now() - from;
    records = length + MEASURED;
    const bare = median(await bareWrites(join(root, 'bare'), MEASURED));
    const single = await appends(journal, MEASURED);
    medians.push(median(single) / bare);
    rows.push({
      what: `append, one after the other, behind ${length.toLocaleString('en')} records`,
      measured: `p50 ${ms(median(single))}, p99 ${ms(quantile(single, 0.99))}; ${ratio(median(single) / bare)} a bare write and fdatasync`,
    });
    if (length === SHORTER) {
      progress(`journal: verifying ${length} records`);
      shorter = await verify(place);
    }
  }
  const [shortest, longest] = [medians[0] as number, medians.at(-1) as number];
  rows.push({
    what: 'append, longest against shortest, both against the bare disk',
    measured: ratio(longest / shortest),
    target: 'flat in the length of the journal',
    met: longest / shortest < FLAT,
  });
  rows.push({
    what: `append, ${AT_ONCE} at once`,
    measured: perSecond((LENGTHS.at(-1) as number) / (filling / 1000)),
  });
  await journal.close();
  const from = performance.now();
  await (await openAt(place)).journal.close();
  rows.push({ what: 'opening it again', measured: ms(performance.now() - from) });
  progress(`journal: verifying ${records} records`);
  const whole = await verify(place);
  const more = whole.peakMiB - (shorter?.peakMiB ?? 0);
  rows.push(
    {
      what: 'verify a million records, signatures included',
      measured: `${(whole.tookMs / 1000).toFixed(1)} s, exit ${whole.code}`,
      target: 'under 30 s',
      met: whole.tookMs < VERIFY_MS && whole.code === 0,
    },
    {
      what: 'memory of that, against a tenth of the records',
      measured: `${whole.peakMiB.toFixed(0)} MiB, ${more.toFixed(0)} MiB more`,
      target: 'constant',
      met: more < MORE_MIB,
    },
  );
  return rows;
}

interface Place {
  readonly log: string;
  readonly state: string;
}

const openAt = ({ log, state }: Place) =>
  openJournal({ dir: log, state, bootId: 'bench', now: Date.now, monotonicMs: () => performance.now() });

const record = (call: number): JournalRecord => ({
  ...{ type: 'decision', call, source: 'mcp-control', principal: 'mcp-control', verdict: 'allow', rule: 'tier' },
  ...{ service: 'qmcp.LifecycleAIManaged', action: 'start', args: { name: 'ai-0001', action: 'start' } },
  qubes: [{ role: 'target', name: 'ai-0001', uuid: '01234567-89ab-4def-8123-456789abcdef' }],
});

async function fill(journal: Journal, count: number): Promise<void> {
  for (let done = 0; done < count; done += AT_ONCE) {
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - done) }, (_, i) => journal.append(record(done + i))),
    );
  }
  await journal.recover();
}

async function appends(journal: Journal, count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const from = performance.now();
    await journal.append(record(i));
    times.push(performance.now() - from);
  }
  return times;
}

/** What the disk itself takes for the same: one write of as many bytes, one fdatasync. */
async function bareWrites(path: string, count: number): Promise<number[]> {
  const file = await open(path, 'a');
  const bytes = Buffer.alloc(500, 'x');
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const from = performance.now();
    await file.write(bytes);
    await file.datasync();
    times.push(performance.now() - from);
  }
  await file.close();
  return times;
}

interface Verified {
  readonly tookMs: number;
  readonly peakMiB: number;
  readonly code: number;
}

/** `qmcpctl audit verify` in a process of its own, as an operator runs it. */
async function verify({ log, state }: Place): Promise<Verified> {
  const program = fileURLToPath(new URL('../../daemon/operator/qmcpctl.ts', import.meta.url));
  const from = performance.now();
  const args = [program, 'audit', 'verify', '--log', log, '--state', state];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  let peak = 0;
  const watch = setInterval(() => {
    peak = Math.max(peak, peakMiB(child.pid as number));
  }, 50);
  const [code] = await once(child, 'exit');
  clearInterval(watch);
  return { tookMs: performance.now() - from, peakMiB: peak, code };
}

function peakMiB(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}
