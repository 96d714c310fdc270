// The journal as somebody may have left it: no change of a sealed journal passes for the journal.
import assert from 'node:assert/strict';
import { canonical } from '../../../daemon/journal/canonical.ts';
import { draft, GENESIS, type Head, link, sha256 } from '../../../daemon/journal/chain.ts';
import { publicKeyOf, readPublicKey, signerOf, type VerifyingKey } from '../../../daemon/journal/checkpoint.ts';
import { isEarlier } from '../../../daemon/journal/earlier-log.ts';
import { dumpPython, parsePython } from '../../../daemon/journal/python-json.ts';
import type { JournalRecord } from '../../../daemon/journal/record.ts';
import { rowOf } from '../../../daemon/journal/rows.ts';
import { scan } from '../../../daemon/journal/scan.ts';
import type { Source } from '../../../daemon/journal/sources.ts';
import { verifyJournal } from '../../../daemon/journal/verify.ts';
import { plain } from '../target.ts';

const SEED = Buffer.alloc(32, 7);
const KEY = readPublicKey(publicKeyOf(SEED).toString('base64')) as VerifyingKey;
const STAMP = { wallMs: 1_700_000_000_000, monoMs: 1, boot: 'b' };

const of = (call: number) => ({
  ...{ call, source: 'mcp-control', principal: 'default', service: 'qmcp.LifecycleAIManaged', action: 'start' },
  ...{
    qubes: [{ role: 'target', name: 'ai-work', uuid: 'd49d109d-f7e2-48c6-87d6-d9d126423911' }],
    args: { name: 'ai-work' },
  },
});
const RECORDS = [
  { type: 'start', version: '0.1.0', unfinished: 0 },
  { ...of(1), type: 'decision', verdict: 'allow', rule: 'x' },
  { ...of(1), type: 'intent', digest: 'a'.repeat(64), nonce: null },
  { ...of(1), type: 'outcome', ok: true, error: null, cause: null, duration_ms: 3 },
  { type: 'stop', reason: 'SIGTERM' },
] as unknown as readonly JournalRecord[];

/** A journal that was closed in good order: its text, and the head that its last checkpoint signs. */
const sealed = (): { text: string; anchor: Head } => {
  let head = GENESIS;
  let text = '';
  const add = (record: JournalRecord): void => {
    const linked = link(draft(record, STAMP), head);
    text += linked.line;
    head = linked.head;
  };
  for (const record of RECORDS) add(record);
  const anchor = head;
  add({ type: 'checkpoint', ...signerOf(SEED).signHead(head, STAMP.wallMs) } as unknown as JournalRecord);
  return { text, anchor };
};
const { text: SEALED, anchor: ANCHOR } = sealed();
/** A log of the earlier implementation, which carries no signature: anybody can make one. */
const earlierLog = (): string => {
  const bare = `{"args":{"name":"ai-work"},"prev":"${GENESIS.hash}","seq":1,"ts":1.5,"v":1}`;
  return `${bare.slice(0, -1)},"hash":"${sha256(bare)}"}\n`;
};
const EARLIER = earlierLog();

const sourceOf = (bytes: Buffer): Source => ({
  path: '/var/log/qmcp/audit.jsonl',
  old: null,
  async *chunks() {
    for (let at = 0; at < bytes.length; at += 509) yield bytes.subarray(at, at + 509);
  },
  close: async () => {},
});

export const journalTarget = plain(
  {
    name: 'journal',
    what: 'a journal file: read to its end without a throw; only the sealed journal itself passes for it',
    words: [
      '"type":"checkpoint"',
      '"type":"break"',
      '"type":"segment"',
      '"seq":',
      '"prev":"',
      '"hash":"',
      GENESIS.hash,
      '"v":1',
    ],
    seeds: [SEALED, SEALED.split('\n').slice(0, 2).join('\n'), EARLIER, ''],
  },
  async (input) => {
    const options = { knownBreaks: new Set<number>(), whole: true };
    const held = await verifyJournal([sourceOf(input)], { ...options, keys: [KEY], anchor: ANCHOR });
    if (held.ok)
      assert.equal(
        withoutCheckpoint(input.toString('utf8')),
        withoutCheckpoint(SEALED),
        'only the journal passes for it',
      );
    const alone = await verifyJournal([sourceOf(input)], { ...options, whole: false, keys: [], anchor: null });
    for (const report of [held, alone]) {
      assert.equal(report.ok, report.fault === null && report.breaks.length === 0);
      assert.ok(report.fault === null || report.fault.sentence.length < 1_000);
    }
    const lines = input.toString('utf8').split('\n');
    if (alone.ok && alone.format === 'journal') {
      for (const line of lines.slice(0, -1)) assert.equal(canonical(JSON.parse(line)), line);
    }
    const scanned = await scan({ read: async (into, from) => input.copy(into, 0, from) }, ANCHOR);
    assert.ok(scanned.size <= input.length);
    assert.equal(
      scanned.broken === null && scanned.tornBytes === 0 && alone.format !== 'earlier',
      scanned.size === input.length,
    );
    for (const line of lines) {
      const row = rowOf(line);
      if (row)
        for (const text of [row.source, row.service, row.result, row.detail]) assert.equal(typeof text, 'string');
    }
  },
);

/** What is appended after the head that is signed elsewhere, or missing there, is held by the chain alone (SECURITY.md). */
const withoutCheckpoint = (text: string): string => text.split('\n').slice(0, RECORDS.length).join('\n');

export const earlierTarget = plain(
  {
    name: 'earlier-log',
    what: 'JSON as Python has it: what JavaScript reads is read too, and what was written is read and written the same',
    words: ['NaN', 'Infinity', '-Infinity', '1e16', '1E-5', '\\ud83d', '\\ude00', '"hash":', '"v":1'],
    seeds: [
      EARLIER,
      '{"a":[1,-0,0.0,1e16,1e-5,123456789012345678901234567890,true,null],"\u00e9":"\\ud83d\\ude00\\u0000"}',
      '[NaN,Infinity,-Infinity,1.7976931348623157e308,5e-324]',
      `${'['.repeat(150)}${']'.repeat(150)}`,
    ],
  },
  (input) => {
    const text = input.toString('utf8');
    const value = parsePython(text);
    isEarlier(text);
    if (value === null) {
      if (isJson(text)) assert.ok(/[[{]/.test(text) || text.length > 4_000, 'Python reads what JavaScript does');
      return;
    }
    const written = dumpPython(value);
    assert.match(written, /^[\x20-\x7e]*$/);
    const again = parsePython(written);
    assert.ok(again);
    assert.equal(dumpPython(again), written);
  },
);

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};
