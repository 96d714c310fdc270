import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Acquaintance, MAX_KINDS } from '../../daemon/confirm/acquaintance.ts';
import type { Kind } from '../../daemon/confirm/normal.ts';

const START: Kind = { source: 'mcp-control', principal: 'default', service: 'qmcp.LifecycleAIManaged', what: 'start' };

const state = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'qmcp-asked-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};
const open = (dir: string, told: string[] = []): Acquaintance => new Acquaintance(dir, (each) => told.push(each));

test('a kind is a first one until it was met, over restarts too, and for this caller alone', () => {
  const dir = state();
  const before = open(dir);
  expect(before.isFirst(START)).toBe(true);
  before.met(START);
  for (const acquaintance of [before, open(dir)]) {
    expect(acquaintance.isFirst(START)).toBe(false);
    for (const other of [{ source: 'mcp-other' }, { principal: 'bob' }, { service: 'qmcp.Commit' }, { what: 'kill' }])
      expect(acquaintance.isFirst({ ...START, ...other })).toBe(true);
  }
  expect(statSync(join(dir, 'asked')).mode & 0o777).toBe(0o600);
});

test('callers whose names could be run together stay apart', () => {
  const acquaintance = open(state());
  acquaintance.met({ ...START, source: 'a', principal: 'b-c' });
  expect(acquaintance.isFirst({ ...START, source: 'a-b', principal: 'c' })).toBe(true);
});

test('the oldest make room for the newest', () => {
  const dir = state();
  const line = (n: number) => JSON.stringify(['s', `p${n}`, 'qmcp.Commit', 'commit']);
  writeFileSync(join(dir, 'asked'), Array.from({ length: MAX_KINDS }, (_, n) => `${line(n)}\n`).join(''));
  const acquaintance = open(dir);
  const of = (n: number): Kind => ({ source: 's', principal: `p${n}`, service: 'qmcp.Commit', what: 'commit' });
  expect(acquaintance.isFirst(of(0))).toBe(false);
  acquaintance.met(of(MAX_KINDS));
  expect([of(0), of(1), of(MAX_KINDS)].map((each) => acquaintance.isFirst(each))).toEqual([true, false, false]);
  expect(readFileSync(join(dir, 'asked'), 'utf8').split('\n').filter(Boolean)).toHaveLength(MAX_KINDS);
});

test('of a file with too many lines the oldest are forgotten at once', () => {
  const dir = state();
  const lines = Array.from({ length: MAX_KINDS + 1 }, (_, n) =>
    JSON.stringify(['s', `p${n}`, 'qmcp.Commit', 'commit']),
  );
  writeFileSync(join(dir, 'asked'), `${lines.join('\n')}\n`);
  const acquaintance = open(dir);
  const isFirst = (n: number): boolean =>
    acquaintance.isFirst({ source: 's', principal: `p${n}`, service: 'qmcp.Commit', what: 'commit' });
  expect([0, 1, MAX_KINDS].map(isFirst)).toEqual([true, false, false]);
});

test('who is met again costs no write', () => {
  const dir = state();
  const acquaintance = open(dir);
  acquaintance.met(START);
  rmSync(join(dir, 'asked'));
  acquaintance.met(START);
  expect(existsSync(join(dir, 'asked'))).toBe(false);
});

const STARTS = '["mcp-control","default","qmcp.LifecycleAIManaged","start"]\n';
const KILLS = STARTS.replace('start', 'kill');

test('what is written is one line for each, and nothing else', () => {
  const dir = state();
  const acquaintance = open(dir);
  acquaintance.met(START);
  acquaintance.met({ ...START, what: 'kill' });
  expect(readFileSync(join(dir, 'asked'), 'utf8')).toBe(STARTS + KILLS);
});

test('a file of 1 MiB is read, and a longer one is forgotten whole', () => {
  for (const [size, isFirst] of [
    [1_048_576, false],
    [1_048_577, true],
  ] as const) {
    const dir = state();
    const content = STARTS.padEnd(size, 'x');
    writeFileSync(join(dir, 'asked'), content);
    expect(open(dir).isFirst(START)).toBe(isFirst);
    open(dir).met({ ...START, what: 'kill' });
    const after = readFileSync(join(dir, 'asked'), 'utf8');
    expect(after === (isFirst ? KILLS : `${content}\n${KILLS}`)).toBe(true);
  }
});

test('what cannot be read is forgotten, and what is no line of ours means nobody', () => {
  for (const content of ['\0\0\0', '{"a":1}\n[1,2]\n', 'x'.repeat(1_048_577)]) {
    const dir = state();
    writeFileSync(join(dir, 'asked'), content);
    expect(open(dir).isFirst(START)).toBe(true);
  }
  const dir = state();
  mkdirSync(join(dir, 'asked'));
  expect(open(dir).isFirst(START)).toBe(true);
});

test('what cannot be written is said once, and remembered until the restart', () => {
  const dir = state();
  mkdirSync(join(dir, 'asked.new'));
  const told: string[] = [];
  const acquaintance = open(dir, told);
  acquaintance.met(START);
  acquaintance.met({ ...START, what: 'kill' });
  expect(told).toEqual([expect.stringMatching(/asked cannot be written \(E[A-Z]+\)/)]);
  expect(acquaintance.isFirst(START)).toBe(false);
  expect(existsSync(join(dir, 'asked'))).toBe(false);
});
