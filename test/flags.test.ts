import { execa } from 'execa';
import { describe, expect, it, test } from 'vitest';
import { flagsOf } from '../daemon/flags.ts';

describe('the command line of the daemon', () => {
  it('stands for an installed system where it says nothing', () => {
    expect(flagsOf([])).toEqual({
      etc: '/etc/qmcp',
      run: '/run/qmcp',
      state: '/var/lib/qmcp',
      log: '/var/log/qmcp',
      qubesd: '/var/run/qubesd.sock',
      policy: '/etc/qubes/policy.d',
      'tool-path': '/usr/bin:/bin',
    });
  });

  it('takes a value for each flag, in both spellings', () => {
    expect(flagsOf(['--etc', '/a', '--run=/b'])).toMatchObject({ etc: '/a', run: '/b' });
  });

  const takes = 'It takes --etc, --run, --state, --log, --qubesd, --policy and --tool-path, each followed by a value.';
  it.each([
    [['--no-such-flag'], `Unknown option '--no-such-flag'. ${takes}`],
    [['--etc'], `Option '--etc <value>' argument missing. ${takes}`],
    [['somewhere'], `Unexpected argument 'somewhere'. ${takes}`],
  ])('is a sentence where it makes no sense: %j', (args, sentence) => {
    expect(flagsOf(args)).toMatch(sentence.replace(takes, ''));
    expect(flagsOf(args)).toContain(takes);
  });
});

test('the daemon says that sentence, without a stack trace, and ends with status 2', async () => {
  const { exitCode, stdout, stderr } = await execa(process.execPath, ['dist/qmcp-brokerd.mjs', '--no-such-flag'], {
    reject: false,
  });
  expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
  expect(stderr.split('\n')).toEqual([
    expect.stringMatching(/^qmcp-brokerd: Unknown option '--no-such-flag'\. It takes /),
  ]);
});
