import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { readPublicKey, type VerifyingKey } from '../../daemon/journal/checkpoint.ts';
import { rowsOf } from '../../daemon/journal/rows.ts';
import { anchorIn } from '../../daemon/journal/seal.ts';
import { journalIn } from '../../daemon/journal/sources.ts';
import { verifyJournal } from '../../daemon/journal/verify.ts';

const WRITER = fileURLToPath(new URL('kill-writer.ts', import.meta.url));

it('holds everything it acknowledged and verifies, however often its process is killed', async () => {
  const base = await mkdtemp(join(tmpdir(), 'qmcp-kill-'));
  const [log, state] = [join(base, 'log'), join(base, 'state')];
  await mkdir(log);
  await mkdir(state);
  const acknowledged: string[] = [];
  for (const kill of [30, 200, 333, 77, 150]) {
    const child = spawn(process.execPath, ['--no-warnings', WRITER, log, state], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const gone = once(child, 'exit');
    let seen = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.startsWith('open')) expect(line).not.toContain('break');
      else acknowledged.push(line);
      seen += 1;
      if (seen === kill) child.kill('SIGKILL');
    }
    await gone;
  }

  const text = await readFile(join(state, 'journal.pub'), 'utf8');
  const anchor = anchorIn(await readFile(join(state, 'checkpoint.json'), 'utf8'), text);
  const sources = await journalIn(log);
  const report = await verifyJournal(sources, {
    keys: [readPublicKey(text) as VerifyingKey],
    anchor: anchor.kind === 'head' ? anchor.head : null,
    knownBreaks: new Set(),
    whole: true,
  });
  // The last process was killed, so its last line may be half there: the next start would cut that off.
  if (report.fault !== null) expect(report.fault.what).toBe('torn');
  const present = new Set<string>();
  for await (const rows of rowsOf(sources)) for (const { seq, detail } of rows) present.add(`${seq} ${detail}`);
  for (const source of sources) await source.close();
  expect(acknowledged.length).toBeGreaterThan(700);
  expect(acknowledged.filter((line) => !present.has(line))).toEqual([]);
  await rm(base, { recursive: true, force: true });
}, 30_000);
