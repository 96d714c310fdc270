import { appendFile, copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openJournal } from '../../daemon/journal/journal.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';
import { ROTATION } from '../../daemon/journal/rotation.ts';
import type { Row } from '../../daemon/journal/rows.ts';
import { audit } from '../../daemon/operator/audit.ts';
import { MAX_TAIL } from '../../daemon/operator/audit-show.ts';
import { runCommand } from '../../daemon/operator/command.ts';
import { CSV_HEAD } from '../../daemon/operator/row-csv.ts';
import { TABLE, WIDTH } from '../../daemon/operator/row-table.ts';

const NOW = Date.UTC(2026, 0, 10);
const HOUR = 3600_000;
const UUID = '01234567-89ab-4def-8123-456789abcdef';
const EARLIER = fileURLToPath(new URL('../journal/earlier/sample.jsonl', import.meta.url));

let base: string;
let log: string;
let state: string;

const ofCall = (call: number, source: string, action: string, name: string) => ({
  ...{ call, source, principal: source === 'agent' ? 'agent' : 'claude', action, args: { name } },
  service: action === 'spawn' ? 'qmcp.SpawnAIManagedQube' : 'qmcp.LifecycleAIManaged',
  qubes: [{ role: 'target', name, uuid: UUID.replace('0', name === 'work' ? '0' : '1') }],
});
const RECORDS: readonly JournalRecord[] = [
  { type: 'start', version: '1.0', unfinished: 0 },
  { type: 'decision', ...ofCall(1, 'agent', 'start', 'work'), verdict: 'allow', rule: 'tier' },
  { type: 'intent', ...ofCall(1, 'agent', 'start', 'work'), digest: 'd', nonce: null },
  { type: 'outcome', ...ofCall(1, 'agent', 'start', 'work'), ok: true, error: null, cause: null, duration_ms: 12 },
  { type: 'decision', ...ofCall(2, 'agent', 'kill', 'bank'), verdict: 'refuse', rule: 'unmanaged' },
  {
    type: 'decision',
    ...ofCall(3, 'other', 'spawn', 'a-name-of-thirty-one-characters'),
    verdict: 'ask',
    rule: 'destructive',
  },
  { type: 'operator', verb: '=cmd', args: { path: 'a,"b"' } },
  { type: 'settings', complaints: ['tier-default: \u001b[31mred'] },
];

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'qmcp-audit-'));
  log = join(base, 'log');
  state = join(base, 'state');
  await mkdir(log);
  await mkdir(state);
  let hours = 0;
  const now = () => NOW - 24 * HOUR + hours * HOUR;
  const { journal } = await openJournal({
    ...{ dir: log, state, bootId: 'b', now, monotonicMs: () => 1, rotation: { ...ROTATION, bytes: 1500 } },
  });
  for (const record of RECORDS) {
    await journal.append(record);
    hours += 1;
  }
  await journal.close();
});
afterAll(() => rm(base, { recursive: true, force: true }));

const run = async (...args: string[]) => {
  let [out, err] = ['', ''];
  const io = {
    out: async (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    watched: false,
    colour: false,
    ask: async () => null,
    input: async () => '',
    now: () => NOW,
  };
  const code = await runCommand(audit, args, io);
  return { code, out, err };
};
const shown = async (...args: string[]) => {
  const { out } = await run('show', '--json', '--log', log, ...args);
  const records = out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));
  return records
    .filter(({ type }) => type !== 'checkpoint' && type !== 'segment')
    .map((record) => `${record.type} ${record.call ?? ''}`.trim());
};

describe('qmcpctl audit verify', () => {
  it('says that a journal is intact and how far it is signed, and exits 0', async () => {
    const { code, out, err } = await run('verify', '--log', log, '--state', state);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^All \d+ records are intact\.\nSigned up to record \d+ \(checked with .*journal\.pub\)\.\n$/);
  });

  it('prints what the verifier before it printed, and more, with --json', async () => {
    const { code, out } = await run('verify', '--log', log, '--state', state, '--json');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ ok: true, error: null, format: 'journal' });
    expect(JSON.parse(out).entries).toBeGreaterThan(RECORDS.length);
  });

  it('verifies a copied file on another machine by the public key and checkpoint beside it, or those it is given', async () => {
    const copy = await mkdtemp(join(base, 'copy-'));
    const file = join(copy, 'audit.jsonl');
    await copyFile(join(log, 'audit.jsonl'), file);
    expect((await run('verify', file)).out).toContain('Signatures were not checked');
    expect((await run('verify', file, '--key', join(state, 'journal.pub'))).out).toContain('Signed up to');
    await copyFile(join(state, 'checkpoint.json'), join(copy, 'checkpoint.json'));
    await copyFile(join(state, 'journal.pub'), join(copy, 'journal.pub'));
    expect(await run('verify', file)).toMatchObject({ code: 0, out: expect.stringContaining('Signed up to') });
    const lines = (await readFile(file, 'utf8')).split('\n');
    await writeFile(file, `${lines.slice(0, -2).join('\n')}\n`);
    expect(await run('verify', file)).toMatchObject({
      code: 1,
      out: expect.stringContaining('records after it are missing'),
    });
    expect((await run('verify', file, '--state', base)).code).toBe(1);
  });

  it('names file, line and record of what is wrong, and exits 1', async () => {
    const copy = await mkdtemp(join(base, 'bad-'));
    const file = join(copy, 'audit.jsonl');
    const text = await readFile(join(log, 'audit.jsonl'), 'utf8');
    await writeFile(file, text.replace('"type":"segment"', '"type":"sagment"'));
    const { code, out } = await run('verify', file);
    expect(code).toBe(1);
    expect(out).toMatch(/NOT INTACT: .*audit\.jsonl: line 1 \(record \d+\) was changed after it was written/);
    await writeFile(file, text.slice(0, -3));
    expect(await run('verify', file, '--json')).toMatchObject({
      code: 1,
      out: expect.stringContaining('"what":"torn"'),
    });
    await appendFile(file, '\u0000\u001b[31m\n');
    expect((await run('verify', file)).code).toBe(1);
  });

  it('verifies the log of the implementation before it, and says what that cannot show', async () => {
    const { code, out } = await run('verify', EARLIER);
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining('All 12 records are intact. It is the log of the earlier'),
    });
  });

  it('says what to do where there is no such file, no key, or no sense in the arguments', async () => {
    expect(await run('verify', join(base, 'none'))).toEqual({
      code: 1,
      out: '',
      err: expect.stringContaining('Name the file'),
    });
    expect(await run('verify', '--log', join(base, 'none'))).toMatchObject({ code: 1 });
    expect(await run('verify', '--log', log, '--key', EARLIER)).toMatchObject({
      code: 1,
      err: expect.stringContaining('no public key'),
    });
    expect(await run('verify', '--log', log, '--key', join(base, 'none'))).toMatchObject({ code: 1 });
    expect((await run('verify', 'a', 'b')).code).toBe(2);
    expect((await run('verify', '--nonsense')).code).toBe(2);
    expect((await run('verify', '--known-break', 'x')).code).toBe(2);
    expect((await run('nonsense')).code).toBe(2);
    expect((await run()).code).toBe(2);
  });

  it('explains itself', async () => {
    for (const args of [['--help'], ['verify', '--help'], ['show', '-h'], ['tail', '--help'], ['export', '--help']]) {
      const { code, out } = await run(...args);
      expect(code).toBe(0);
      expect(out).toMatch(/^Usage: qmcpctl audit/);
      // The line that names all columns of the CSV is as long as it is.
      for (const line of out.split('\n')) if (!line.startsWith('seq,')) expect(line.length).toBeLessThanOrEqual(WIDTH);
    }
  });
});

describe('qmcpctl audit show', () => {
  it('shows a table within 80 columns from which nothing can drive the terminal', async () => {
    const { code, out } = await run('show', '--log', log);
    expect(code).toBe(0);
    const lines = out.split('\n').slice(0, -1);
    expect(lines[0]).toMatch(/^RECORD +UTC +SOURCE +WHAT +RESULT$/);
    for (const line of lines) expect(line).toMatch(/^[\x20-\x7e]{1,80}$/);
    expect(out).toContain('2      01-09 01:00:00 agent        start work          allow: tier\n');
    expect(out).toContain('claude@other');
    expect(out).toContain('tier-default: ?[31mred');
  });

  it.each(['show', 'tail'])(
    'cuts nothing with %s --wide, and lets nothing drive the terminal then either',
    async (verb) => {
      const { code, out } = await run(verb, '--log', log, '--wide');
      expect(code).toBe(0);
      expect(out).toMatch(
        / 2026-01-09T05:00:00\.000Z claude@other +spawn a-name-of-thirty-one-characters +ask: destructive$/m,
      );
      expect(out).not.toContain('..');
      for (const line of out.split('\n')) expect(line).toMatch(/^[\x20-\x7e]*$/);
      expect((await run(verb, '--log', log)).out).toContain('spawn a-name-of-t.. ask: destructive\n');
    },
  );

  it('never cuts the number of a record', () => {
    const row = { seq: 123_456_789, ts: '', type: '', source: '', principal: '', service: '', action: '', qubes: [] };
    expect(TABLE.line({ ...row, result: '', detail: '' } as unknown as Row)).toMatch(/^123456789\b/);
  });

  it('shows the records themselves with --json', async () => {
    expect(await shown()).toEqual([
      ...['start', 'decision 1', 'intent 1', 'outcome 1', 'decision 2', 'decision 3', 'operator', 'settings'],
    ]);
  });

  it.each([
    [
      ['--source', 'agent'],
      ['decision 1', 'intent 1', 'outcome 1', 'decision 2'],
    ],
    [['--principal', 'claude'], ['decision 3']],
    [['--qube', 'bank'], ['decision 2']],
    [
      ['--qube', UUID],
      ['decision 1', 'intent 1', 'outcome 1'],
    ],
    [['--service', 'qmcp.SpawnAIManagedQube'], ['decision 3']],
    [['--service', 'kill'], ['decision 2']],
    [['--verdict', 'refuse'], ['decision 2']],
    [['--verdict', 'done'], ['outcome 1']],
    [
      ['--type', 'decision', '--source', 'agent'],
      ['decision 1', 'decision 2'],
    ],
    [
      ['--since', '2026-01-09T05:00'],
      ['decision 3', 'operator', 'settings'],
    ],
    [
      ['--since', '19h'],
      ['decision 3', 'operator', 'settings'],
    ],
    [['--until', '2026-01-09T01:00:00.000Z'], ['start']],
    [
      ['--since', '2026-01-09T03:00+02:00', '--until', '2026-01-09 02:00:01'],
      ['decision 1', 'intent 1'],
    ],
    [['--since', '2026-01-11'], []],
  ])('filters by %j', async (options, wanted) => {
    expect(await shown(...options)).toEqual(wanted);
  });

  it.each(['yesterday', '7', '2026-13-01', '2026-01-01T1:00', ''])('does not take %j for a time', async (time) => {
    expect(await run('show', '--log', log, '--since', time)).toMatchObject({
      code: 2,
      err: expect.stringContaining('is no time'),
    });
  });

  it('shows the log of the implementation before it', async () => {
    const { out } = await run('show', EARLIER);
    expect(out).toContain('1      01-02 03:04:01              Lifecycle work');
    expect(out.split('\n')).toHaveLength(14);
    expect((await run('show', EARLIER, '--verdict', 'denied', '--json')).out.split('\n')).toHaveLength(4);
  });

  it('shows a record that is nested too deep to be shown as unreadable', async () => {
    const file = join(base, 'deep.jsonl');
    await writeFile(file, `{"type":"decision","args":${'['.repeat(200_000)}${']'.repeat(200_000)}}\n`);
    expect(await run('show', file)).toMatchObject({ code: 0, out: expect.stringContaining('unreadable') });
  });

  it('shows that a line is unreadable instead of passing it over', async () => {
    const file = join(base, 'garbage.jsonl');
    await writeFile(file, 'garbage\n[1]\n');
    expect((await run('show', file)).out.match(/unreadable/g)).toHaveLength(2);
    expect((await run('show', file, '--json')).out).toBe('');
  });
});

describe('qmcpctl audit tail', () => {
  it('shows the last records, over the files, oldest first', async () => {
    const { out } = await run('tail', '--log', log, '-n', '3', '--json', '--source', 'agent');
    expect(
      out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line).type),
    ).toEqual(['intent', 'outcome', 'decision']);
    expect((await run('tail', '--log', log, '-n', '1', '--type', 'start')).out).toContain('version 1.0');
  });

  it('takes numbers from 1 to its limit', async () => {
    expect((await run('tail', '--log', log, '-n', String(MAX_TAIL))).code).toBe(0);
    for (const number of ['0', '-1', 'x', String(MAX_TAIL + 1)]) {
      expect((await run('tail', '--log', log, '-n', number)).code).toBe(2);
    }
  });
});

describe('qmcpctl audit export', () => {
  it('writes JSON lines as they are, so that they can be verified again', async () => {
    const { out } = await run('export', '--log', log);
    const file = join(base, 'exported.jsonl');
    await writeFile(file, out);
    expect(await run('verify', file, '--key', join(state, 'journal.pub'))).toMatchObject({ code: 0 });
  });

  it('writes CSV that no spreadsheet takes for formulas', async () => {
    const { out } = await run('export', '--format', 'csv', '--log', log);
    const lines = out.split('\r\n').slice(0, -1);
    expect(`${lines[0]}\r\n`).toBe(CSV_HEAD);
    expect(lines[2]).toBe(
      `2,2026-01-09T01:00:00.000Z,decision,1,agent,agent,qmcp.LifecycleAIManaged,start,work,${UUID},allow,tier,,,"{""name"":""work""}"`,
    );
    expect(lines.find((line) => line.includes(',operator,'))).toContain(
      `,operator,'=cmd,,,"{""path"":""a,\\""b\\""""}"`,
    );
  });

  it('exports the log of the implementation before it', async () => {
    expect((await run('export', EARLIER)).out).toBe(await readFile(EARLIER, 'utf8'));
    expect((await run('export', EARLIER, '--format', 'csv')).out.split('\r\n')).toHaveLength(14);
  });

  it('knows two formats', async () => {
    expect((await run('export', '--log', log, '--format', 'constructor')).code).toBe(2);
  });
});

describe('qmcpctl audit report', () => {
  it('writes a page once, and never over another file', async () => {
    const out = join(base, 'report.html');
    expect(await run('report', '--log', log, '--state', state, '--out', out)).toEqual({ code: 0, out: '', err: '' });
    const page = await readFile(out, 'utf8');
    expect(page).toContain('The journal is intact');
    expect(page).toContain('agent · kill · unmanaged');
    expect(await run('report', '--log', log, '--out', out)).toMatchObject({
      code: 1,
      err: expect.stringContaining('exists already'),
    });
    expect(await readFile(out, 'utf8')).toBe(page);
  });

  it('is about the records that pass the filters, and says so', async () => {
    const { out } = await run('report', '--log', log, '--out', '-', '--source', 'other');
    expect(out).toContain('1 records of');
    expect(out).toContain('Only those with source other.');
  });

  it('writes the page and exits 1 where the journal is not intact', async () => {
    const file = join(base, 'not-intact.jsonl');
    await writeFile(file, 'garbage\n');
    expect(await run('report', file, '--out', '-')).toMatchObject({
      code: 1,
      out: expect.stringContaining('NOT intact'),
    });
  });

  it('reads the log of the implementation before it', async () => {
    expect(await run('report', EARLIER, '--out', '-')).toMatchObject({
      code: 0,
      out: expect.stringContaining('12 records'),
    });
  });

  it('and verify take a break that the operator knows of for none', async () => {
    const [brokenLog, brokenState] = [join(base, 'broken-log'), join(base, 'broken-state')];
    await cp(log, brokenLog, { recursive: true });
    await cp(state, brokenState, { recursive: true });
    await writeFile(join(brokenLog, 'audit.jsonl'), 'garbage\n');
    const { journal } = await openJournal({
      ...{ dir: brokenLog, state: brokenState, bootId: 'b', now: () => NOW, monotonicMs: () => 1 },
    });
    await journal.append({ type: 'operator', verb: 'x', args: {} });
    await journal.close();
    const places = ['--log', brokenLog, '--state', brokenState];
    const [{ seq }] = JSON.parse((await run('verify', ...places, '--json')).out).breaks;
    for (const [verb, ...more] of [['verify'], ['report', '--out', '-']] as const) {
      expect((await run(verb, ...places, ...more)).code, verb).toBe(1);
      expect((await run(verb, ...places, ...more, '--known-break', '1')).code, verb).toBe(1);
      expect((await run(verb, ...places, ...more, '--known-break', 'x')).code, verb).toBe(2);
      expect((await run(verb, ...places, ...more, '--known-break', String(seq))).code, verb).toBe(0);
    }
  });

  it('has to be told where to write', async () => {
    expect((await run('report', '--log', log)).code).toBe(2);
  });
});
