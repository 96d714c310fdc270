import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { COMPLAINTS_MAX, FILE_NAMES, type FileName, parseSettings, type Source } from '../../daemon/settings/files.ts';
import { complaintText, type Settings } from '../../daemon/settings/settings.ts';

const parse = (name: FileName, text: string | null): Settings => {
  const source: Source = text === null ? { kind: 'unreadable', why: 'gives EACCES' } : { kind: 'text', text };
  return parseSettings(new Map([[name, source]]));
};
/** The value of one setting and whether the file was complained about. */
const read = <K extends keyof Settings>(name: FileName, setting: K, text: string | null) => {
  const settings = parse(name, text);
  return [settings[setting], settings.complaints.length > 0] as const;
};
const good = <T>(value: T) => [value, false] as const;
const bad = <T>(value: T) => [value, true] as const;

const KEY = Buffer.from([...Array(32).keys()]).toString('base64');

test('without any file, everything is as the contract says for absent ones', () => {
  expect(parseSettings(new Map())).toEqual({
    tierDefault: 'full',
    policyMode: 'absent',
    birthCeiling: 'none',
    birthEgress: null,
    guarded: { names: new Set(), uuids: new Set(), unreadable: false },
    poolCap: null,
    privateCap: null,
    namePrefix: 'ai-',
    enforceMode: 'shadow',
    consentPolicy: { builtIn: true, asked: new Set() },
    consentTimeoutSeconds: 300,
    tombstoneRetention: 86_400,
    tombstones: 'absent',
    featuresAllowed: { names: new Set(), prefixes: [] },
    confirmKey: null,
    complaints: [],
  });
});

test('unreadable files each take the strictest value, and each is complained about', () => {
  const unreadable = new Map(FILE_NAMES.map((name) => [name, { kind: 'unreadable', why: 'gives EACCES' } as const]));
  const { complaints, ...settings } = parseSettings(unreadable);
  expect(settings).toEqual({
    tierDefault: 'ro',
    policyMode: 'absent',
    birthCeiling: 'ro',
    birthEgress: null,
    guarded: { names: new Set(), uuids: new Set(), unreadable: true },
    poolCap: null,
    privateCap: null,
    namePrefix: 'ai-',
    enforceMode: 'strict',
    consentPolicy: { builtIn: true, asked: new Set() },
    consentTimeoutSeconds: 300,
    tombstoneRetention: null,
    tombstones: 'on',
    featuresAllowed: { names: new Set(), prefixes: [] },
    confirmKey: null,
  });
  expect(complaints.map(({ file }) => file)).toEqual([...FILE_NAMES]);
  expect(complaints.every(({ line }) => line === null)).toBe(true);
});

describe('a file of one value', () => {
  test('is read in any case where it holds a word, with comments and blank lines anywhere', () => {
    expect(read('tier-default', 'tierDefault', 'full\n')).toEqual(good('full'));
    expect(read('tier-default', 'tierDefault', 'RO  # least privilege\n')).toEqual(good('ro'));
    expect(read('tier-default', 'tierDefault', '# heading\n\n\t Ro\r\n\n# end')).toEqual(good('ro'));
    expect(read('enforce-mode', 'enforceMode', 'Shadow # x\n')).toEqual(good('shadow'));
    expect(read('enforce-mode', 'enforceMode', 'STRICT')).toEqual(good('strict'));
    expect(read('enforce-mode', 'enforceMode', 'enforce#')).toEqual(good('enforce'));
    expect(read('tombstones', 'tombstones', 'Off\n')).toEqual(good('off'));
    expect(read('tombstones', 'tombstones', 'on\n')).toEqual(good('on'));
    for (const [word, tier] of Object.entries({
      'ai-ro': 'ro',
      'AI-exec': 'exec',
      'ai-net': 'net',
      'ai-full': 'full',
    })) {
      expect(read('birth-ceiling', 'birthCeiling', word)).toEqual(good(tier));
    }
  });

  test('falls to the strictest value if it is anything else', () => {
    for (const text of [
      'everything\n',
      '',
      '\n\n',
      '# full\n',
      'full\nfull\n',
      'full full',
      'full,',
      '"full"',
      'ro\0',
      '\ufefffull',
      'full\u2028',
      'full\vro',
      '\u017full',
    ]) {
      expect(read('tier-default', 'tierDefault', text), JSON.stringify(text)).toEqual(bad('ro'));
    }
    expect(read('enforce-mode', 'enforceMode', 'on\n')).toEqual(bad('strict'));
    expect(read('enforce-mode', 'enforceMode', 'shadow\nenforce\n')).toEqual(bad('strict'));
    expect(read('birth-ceiling', 'birthCeiling', 'full\n')).toEqual(bad('ro'));
    expect(read('birth-ceiling', 'birthCeiling', 'none\n')).toEqual(bad('ro'));
    expect(read('tombstones', 'tombstones', 'absent\n')).toEqual(bad('on'));
    expect(read('tombstones', 'tombstones', 'false\n')).toEqual(bad('on'));
    expect(read('tier-default', 'tierDefault', 'constructor')).toEqual(bad('ro'));
  });

  test('names the line and what holds instead', () => {
    expect(parse('tier-default', '# x\n\nall\n').complaints).toEqual([
      {
        file: 'tier-default',
        line: 3,
        sentence:
          "'all' is not understood; write full or ro. Until it is mended, managed qubes without a tier tag can only be read (ro).",
      },
    ]);
    expect(parse('pool-cap', '10\n# x\n20\n').complaints[0]).toMatchObject({ file: 'pool-cap', line: 3 });
    const [complaint] = parse('enforce-mode', null).complaints;
    expect(complaint && complaintText('/etc/qmcp', complaint)).toBe(
      '/etc/qmcp/enforce-mode: The file cannot be read: it gives EACCES. Until it is mended, the mode is strict.',
    );
    const [second] = parse('tombstones', 'on\noff\n').complaints;
    expect(second && complaintText('/etc/qmcp', second)).toMatch(/^\/etc\/qmcp\/tombstones, line 2: /);
  });

  test('never has its bytes drawn on the operator’s terminal', () => {
    const [complaint] = parse('tier-default', `\x1b[2J\u009b\u202e\x07${'x'.repeat(5_000)}`).complaints;
    expect(complaint?.sentence).toMatch(/^[\x20-\x7e]+$/);
    expect(complaint?.sentence.length).toBeLessThan(250);
    const quote = (length: number) =>
      parse('tier-default', 'x'.repeat(length)).complaints[0]?.sentence.split(' is ')[0];
    expect(quote(40)).toBe(`'${'x'.repeat(40)}'`);
    expect(quote(41)).toBe(`'${'x'.repeat(40)}'...`);
  });
});

describe('a number', () => {
  test('is digits alone', () => {
    expect(read('pool-cap', 'poolCap', '10737418240 # 10 GiB\n')).toEqual(good(10_737_418_240));
    expect(read('pool-cap', 'poolCap', '0\n')).toEqual(good(0));
    expect(read('pool-cap', 'poolCap', '0010\n')).toEqual(good(10));
    for (const text of [
      '+1_000\n',
      '1_000',
      '-1',
      '1e9',
      '0x10',
      '1.0',
      '10 GiB',
      'x\n',
      '# none\n',
      '10\n20\n',
      '\u0661',
      '1\u00a0',
    ]) {
      expect(read('pool-cap', 'poolCap', text), JSON.stringify(text)).toEqual(bad(null));
      expect(read('private-cap', 'privateCap', text), JSON.stringify(text)).toEqual(bad(null));
      expect(read('tombstone-retention', 'tombstoneRetention', text), JSON.stringify(text)).toEqual(bad(null));
      expect(read('consent-timeout', 'consentTimeoutSeconds', text), JSON.stringify(text)).toEqual(bad(300));
    }
  });

  test('of bytes or seconds is exact or nothing', () => {
    for (const name of ['pool-cap', 'private-cap', 'tombstone-retention'] as const) {
      const setting = (
        { 'pool-cap': 'poolCap', 'private-cap': 'privateCap', 'tombstone-retention': 'tombstoneRetention' } as const
      )[name];
      expect(read(name, setting, String(Number.MAX_SAFE_INTEGER))).toEqual(good(Number.MAX_SAFE_INTEGER));
      expect(read(name, setting, '9007199254740992')).toEqual(bad(null));
      expect(read(name, setting, '9'.repeat(400))).toEqual(bad(null));
    }
    expect(read('tombstone-retention', 'tombstoneRetention', '9999999999\n')).toEqual(good(9_999_999_999));
  });

  test('of seconds for a question is clamped to 5 and 340', () => {
    const clamped = { '0': 5, '4': 5, '5': 5, '6': 6, '339': 339, '340': 340, '341': 340, ['9'.repeat(400)]: 340 };
    for (const [text, seconds] of Object.entries(clamped)) {
      expect(read('consent-timeout', 'consentTimeoutSeconds', text)).toEqual(good(seconds));
    }
  });
});

describe('a name', () => {
  test('of the birth network is one qube, comment or not', () => {
    expect(read('birth-egress', 'birthEgress', 'ai-tor # default\n')).toEqual(good('ai-tor'));
    expect(read('birth-egress', 'birthEgress', `a${'b'.repeat(30)}`)).toEqual(good(`a${'b'.repeat(30)}`));
    for (const text of [`a${'b'.repeat(31)}`, 'ai-tor sys-firewall', '@default', '1a', '../x']) {
      expect(read('birth-egress', 'birthEgress', text)).toEqual(bad(null));
    }
  });

  test('prefix is up to 16 letters, digits and dashes', () => {
    expect(read('name-prefix', 'namePrefix', 'bot-  # agents\n')).toEqual(good('bot-'));
    expect(read('name-prefix', 'namePrefix', '0\n')).toEqual(good('0'));
    expect(read('name-prefix', 'namePrefix', 'abcdefghijklmnop\n')).toEqual(good('abcdefghijklmnop'));
    for (const text of ['abcdefghijklmnopq\n', '-bad-\n', 'a_b', 'a.b', '\n']) {
      expect(read('name-prefix', 'namePrefix', text)).toEqual(bad('ai-'));
    }
  });
});

describe('the guarded list', () => {
  const uuid = '01234567-89ab-cdef-0123-456789abcdef';

  test('takes names and uuids with comments anywhere', () => {
    const text = `# wallets\nai-full1 # wallet\n\n  ${uuid.toUpperCase()}\nuuid:11111111-1111-1111-1111-111111111111#x\n`;
    expect(read('guarded', 'guarded', text)).toEqual(
      good({
        names: new Set(['ai-full1']),
        uuids: new Set([uuid, '11111111-1111-1111-1111-111111111111']),
        unreadable: false,
      }),
    );
    expect(read('guarded', 'guarded', '# nobody\n')).toEqual(
      good({ names: new Set(), uuids: new Set(), unreadable: false }),
    );
  });

  test('guards everything for one line that is not a qube, and still knows the others', () => {
    for (const line of [
      'ai full1',
      'ai-full1,',
      '@tag:x',
      'uuid:x',
      `${uuid}0`,
      'a'.repeat(32),
      'uuid:ai-full1',
      uuid.replace('-', '-uuid:'),
    ]) {
      expect(read('guarded', 'guarded', `ai-work\n${line}\n`), line).toEqual(
        bad({ names: new Set(['ai-work']), uuids: new Set(), unreadable: true }),
      );
    }
  });
});

describe('the consent policy', () => {
  const policy = (text: string | null) => {
    const [{ builtIn, asked }, complained] = read('consent-policy', 'consentPolicy', text);
    return [builtIn, [...asked], complained];
  };

  test('replaces the built-in set by what it lists', () => {
    expect(policy('# empty\n')).toEqual([false, [], false]);
    expect(policy('')).toEqual([false, [], false]);
    expect(policy('qmcp.LifecycleAIManaged:kill # dangerous\n\nqmcp.LifecycleAIManaged : *\n')).toEqual([
      false,
      ['qmcp.LifecycleAIManaged:kill', 'qmcp.LifecycleAIManaged:*'],
      false,
    ]);
    expect(policy('*')).toEqual([false, ['*:*'], false]);
    expect(policy('*:kill')).toEqual([false, ['*:kill'], false]);
  });

  test('with one bad line asks the built-in set and what it lists', () => {
    for (const line of [
      'qmcp.CloneAIManagedQube',
      'a:b:c',
      ':kill',
      'a:',
      'a b:c',
      '**',
      'a:b c',
      `${'a'.repeat(65)}:b`,
      `a:${'b'.repeat(65)}`,
    ]) {
      expect(policy(`qmcp.SetPropertyAIManaged:*\n${line}\n`), line).toEqual([
        true,
        ['qmcp.SetPropertyAIManaged:*'],
        true,
      ]);
    }
    expect(policy(`${'a'.repeat(64)}:${'b'.repeat(64)}`)[2]).toBe(false);
    expect(policy(null)).toEqual([true, [], true]);
  });
});

describe('the allowed features', () => {
  test('are names, and beginnings of names', () => {
    expect(read('features-allowed', 'featuresAllowed', 'gui-max # x\nnet.*\nmy_*\n')).toEqual(
      good({ names: new Set(['gui-max']), prefixes: ['net.', 'my_'] }),
    );
  });

  test('are none at all if one line is not understood', () => {
    for (const line of ['*', '**', 'a*b', 'a b', 'a*,', '\u00e9', 'x'.repeat(129), `${'x'.repeat(129)}*`]) {
      expect(read('features-allowed', 'featuresAllowed', `gui-max\n${line}\n`), line).toEqual(
        bad({ names: new Set(), prefixes: [] }),
      );
    }
    expect(read('features-allowed', 'featuresAllowed', 'x'.repeat(128))[1]).toBe(false);
    expect(read('features-allowed', 'featuresAllowed', `${'x'.repeat(128)}*`)[1]).toBe(false);
  });
});

describe('the approver’s key', () => {
  test('is exactly 32 bytes in canonical base64', () => {
    expect(read('confirm.pub', 'confirmKey', `${KEY} # mine\n`)).toEqual(good(new Uint8Array(Array(32).keys())));
    const bytes = (length: number) => Buffer.alloc(length, 1).toString('base64');
    const loose = KEY.replace(/8=$/, '9='); // the same 32 bytes, with a stray bit in the last character
    expect(Buffer.from(loose, 'base64').toString('base64')).toBe(KEY);
    for (const text of [
      bytes(31),
      bytes(33),
      bytes(35),
      KEY.slice(0, -1),
      `${KEY}=`,
      `${KEY}\n${KEY}`,
      loose,
      KEY.replace('A', '-'),
      '',
    ]) {
      expect(read('confirm.pub', 'confirmKey', text), text).toEqual(bad(null));
    }
  });
});

describe('a bad line', () => {
  const sentence = (line: string): string => parse('tier-default', line).complaints[0]?.sentence ?? '';
  test('is shown as far as it can do no harm on a terminal, and to forty characters', () => {
    expect(sentence('a\u001b[31m\u00e9')).toMatch(/^'a\?\[31m\?' is not understood;/);
    expect(sentence('x'.repeat(40))).toContain(`'${'x'.repeat(40)}' is not`);
    expect(sentence('x'.repeat(41))).toContain(`'${'x'.repeat(40)}'... is not`);
  });
});

test('a complaint names its file below the directory, or from the root, and its line', () => {
  const complaint = { file: 'guarded', line: 3, sentence: 'It is bad.' };
  expect(complaintText('/etc/qmcp', complaint)).toBe('/etc/qmcp/guarded, line 3: It is bad.');
  expect(complaintText('/etc/qmcp', { ...complaint, file: '/x/y', line: null })).toBe('/x/y: It is bad.');
});

describe('many bad lines', () => {
  test('are complained about up to a limit and then counted', () => {
    const lines = (count: number) => parse('guarded', '?\n'.repeat(count)).complaints;
    expect(lines(COMPLAINTS_MAX)).toHaveLength(COMPLAINTS_MAX);
    expect(lines(COMPLAINTS_MAX).at(-1)?.line).toBe(COMPLAINTS_MAX);
    expect(lines(COMPLAINTS_MAX + 3)).toHaveLength(COMPLAINTS_MAX + 1);
    expect(lines(COMPLAINTS_MAX + 3).at(-1)).toMatchObject({
      line: null,
      sentence: expect.stringMatching(/^3 more lines/),
    });
  });
});

// ---- properties

const WORDS = [
  'full',
  'ro',
  'ai-net',
  'ai-work',
  'strict',
  'on',
  '300',
  'a:b',
  'x*',
  '*',
  '#',
  ' ',
  '\t',
  '\n',
  '\r',
  '?',
  KEY,
  '\0',
];
const anyText = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  fc.array(fc.constantFrom(...WORDS), { maxLength: 12 }).map((words) => words.join('')),
);
const anyName = fc.constantFrom(...FILE_NAMES);

describe('any text', () => {
  test('is parsed without an exception, and bad means both complained about and closed', () => {
    const unreadable = (name: FileName) => parse(name, null);
    fc.assert(
      fc.property(anyName, anyText, (name, text) => {
        const settings = parse(name, text);
        for (const complaint of settings.complaints) {
          expect(complaint.file).toBe(name);
          expect(complaint.sentence).toMatch(/^[\x20-\x7e]+ Until it is mended, [\x20-\x7e]+\.$/);
          expect(complaint.line === null || text.split('\n').length >= complaint.line).toBe(true);
        }
        if (settings.complaints.length === 0 || name === 'guarded' || name === 'consent-policy') return;
        expect({ ...settings, complaints: [] }).toEqual({ ...unreadable(name), complaints: [] });
      }),
      { numRuns: 5_000 },
    );
  });

  test('says the same with comments and blank lines added', () => {
    const filler = fc.constantFrom('', ' ', '\t', '\r', '# x', '  # full', '#', '# \u00ff\x1b');
    const tail = fc.constantFrom('', ' ', '\t\t', '\r', ' # x', '#');
    fc.assert(
      fc.property(
        anyName,
        anyText,
        fc.infiniteStream(fc.tuple(fc.array(filler, { maxLength: 2 }), tail)),
        (name, text, stream) => {
          const lines = text.split('\n').flatMap((line) => {
            const [before, end] = stream.next().value;
            return [...before, `${line}${end}`];
          });
          const without = ({ complaints, ...rest }: Settings) => ({
            ...rest,
            sentences: complaints.map(({ sentence }) => sentence),
          });
          expect(without(parse(name, lines.join('\n')))).toEqual(without(parse(name, text)));
        },
      ),
      { numRuns: 5_000 },
    );
  });

  test('of the largest size is parsed in no time', () => {
    for (const text of [
      ' '.repeat(65_536),
      `x${' '.repeat(65_534)}x`,
      '\n'.repeat(65_536),
      '?\n'.repeat(32_768),
      '9'.repeat(65_536),
    ]) {
      // The processor's time, which a busy machine does not lengthen; a quadratic one would be many times more.
      const start = process.cpuUsage();
      for (const name of FILE_NAMES) parse(name, text);
      expect(process.cpuUsage(start).user / 1_000).toBeLessThan(2_000);
    }
  });
});
