import { expect, test } from 'vitest';
import { adviceOf, JournalUnavailable, reasonOf } from '../../daemon/journal/unavailable.ts';

const failure = (code: string) => Object.assign(new Error(`${code}: of the system`), { code });

test.each([
  ['ENOSPC', 'free some space'],
  ['EDQUOT', 'free some space'],
  ['EROFS', 'remount it'],
  ['EACCES', 'belong to the user of the broker'],
  ['EPERM', 'not be immutable'],
  ['EIO', 'check it'],
  ['EFBIG', 'LimitFSIZE'],
  ['ENOENT', 'create it again'],
  ['ELOOP', 'remove it'],
  ['EMFILE', 'too many files open'],
])('of %s the operator reads what to do, and the name to look for', (code, advice) => {
  expect(adviceOf(failure(code))).toContain(advice);
  expect(adviceOf(failure(code))).toMatch(new RegExp(` \\(${code}\\)$`));
  expect(adviceOf(failure(code))).not.toContain('of the system');
});

test('of a failure that nobody described the operator reads what the system says', () => {
  expect(adviceOf(failure('EXDEV'))).toBe('EXDEV: of the system (EXDEV)');
  expect(adviceOf(new JournalUnavailable('the file was deleted'))).toBe('the file was deleted');
  expect(adviceOf('odd')).toBe('odd');
  expect(adviceOf(null)).toBe('null');
  expect(adviceOf(undefined)).toBe('undefined');
});

test('what is wrong with the journal is a sentence with its path, and says what follows', () => {
  expect(reasonOf('/log/audit.jsonl', failure('EIO'))).toBe(
    'The journal /log/audit.jsonl cannot be written: the disk reports an error; check it (EIO). ' +
      'Changes are refused until it can; no restart is needed.',
  );
});

test('a refusal is known by its name in a log', () => {
  expect(String(new JournalUnavailable('it is closed'))).toBe('JournalUnavailable: it is closed');
});
