import { expect, test } from 'vitest';
import { commandOf } from '../../daemon/dialog/command.ts';

const PID = 4711;
const HOME = { XDG_DATA_HOME: '/data' };
const PASSED = { ...HOME, LISTEN_PID: String(PID), LISTEN_FDS: '1' };
const of = (args: string[], env: NodeJS.ProcessEnv = HOME) => commandOf(args, env, PID);

test('a connection passed by systemd to this process is answered on descriptor 3', () => {
  const key = '/data/qmcp-confirm/key';
  expect(of([], PASSED)).toEqual({ kind: 'answer', connection: 3, key, acceptSynthetic: false });
});

test.each([
  ['nothing is passed', HOME],
  ['it is meant for another process', { ...PASSED, LISTEN_PID: '1' }],
  ['there are two', { ...PASSED, LISTEN_FDS: '2' }],
])('nothing is answered when %s', (_, env) => {
  expect(of([], env)).toMatchObject({ kind: 'mistake', sentence: expect.stringContaining('no connection') });
});

test('the listener hands its key and its rule for input to its children', () => {
  expect(of(['--listen', '/s', '--key', '/k', '--accept-synthetic-input'])).toEqual({
    kind: 'listen',
    socket: '/s',
    childArguments: ['--connection-from-listener', '--key', '/k', '--accept-synthetic-input'],
  });
  expect(of(['--listen', '/s', '--key', '/k'])).toMatchObject({
    childArguments: ['--connection-from-listener', '--key', '/k'],
  });
});

test.each([
  { LISTEN_PID: '1' },
  { LISTEN_FDS: '1' },
  { LISTEN_FDNAMES: 'connection' },
  { SYSTEMD_EXEC_PID: String(PID) },
])('synthetic input is refused below an installed unit: %o', (env) => {
  for (const mode of [['--listen', '/s'], ['--connection-from-listener'], []]) {
    expect(of([...mode, '--accept-synthetic-input'], { ...HOME, ...env })).toMatchObject({
      kind: 'mistake',
      sentence: expect.stringContaining('for demos and tests'),
    });
  }
});

test('synthetic input is possible in a terminal or a CI job that systemd started', () => {
  const env = { ...HOME, INVOCATION_ID: 'x', JOURNAL_STREAM: '8:1', SYSTEMD_EXEC_PID: '1' };
  expect(of(['--listen', '/s', '--accept-synthetic-input'], env)).toMatchObject({ kind: 'listen' });
});

test('enrolment names its files', () => {
  const made = { kind: 'enroll', key: '/k', rotate: true, public: '/p' };
  expect(of(['--enroll', '--rotate', '--key', '/k', '--public', '/p'])).toEqual(made);
  expect(of(['--enroll'])).toEqual({ kind: 'enroll', key: '/data/qmcp-confirm/key', rotate: false, public: null });
});

test('a flag that does not exist is a mistake, and so is a word that is no flag', () => {
  expect(of(['--acept'])).toMatchObject({ kind: 'mistake' });
  expect(of(['yes'])).toMatchObject({ kind: 'mistake' });
});
