import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parseSettings, type Source } from '../../daemon/settings/files.ts';
import { POLICY_MODE_FILE } from '../../daemon/settings/mode.ts';
import { openSettings } from '../../daemon/settings/open.ts';
import { complaintText, type Settings } from '../../daemon/settings/settings.ts';
import { SHIPPED } from '../policy/ours.ts';

const PATH = '/etc/qubes/policy.d/include/qmcp-mode';
const COMPAT = '!include include/qmcp-compat\n';
const LEAST = '!include include/qmcp-least-privilege\n';

const text = (content: string): Source => ({ kind: 'text', text: content });
const settingsOf = (tierDefault: string | null, policy: Source | null): Settings =>
  parseSettings(
    new Map(tierDefault === null ? [] : [['tier-default', text(tierDefault)]]),
    policy === null ? null : { path: PATH, source: policy },
  );
const complaints = (settings: Settings): string[] =>
  settings.complaints.map((each) => complaintText('/etc/qmcp', each));

describe('the mode that the policy states', () => {
  test.each([
    ['compat', COMPAT],
    ['compat', '\n# why\n!include   include/qmcp-compat # said twice\r\n'],
    ['least-privilege', LEAST],
    ['unknown', ''],
    ['unknown', '# nothing\n'],
    ['unknown', '!include include/qmcp-other'],
    ['unknown', '!include include/qmcp-compat2'],
    ['unknown', `${LEAST}${COMPAT}`],
    ['unknown', `${COMPAT}* * @anyvm @anyvm allow`],
    ['unknown', '!include-dir include/qmcp-compat'],
  ])('is %s for %j', (mode, content) => {
    expect(settingsOf(null, text(content)).policyMode).toBe(mode);
  });

  test('is the one that the shipped include names', () => {
    expect(settingsOf(null, text(SHIPPED.get(POLICY_MODE_FILE) ?? ''))).toMatchObject({
      policyMode: 'compat',
      tierDefault: 'full',
      complaints: [],
    });
  });

  test('is absent where none of our policy is installed, or nobody looks', () => {
    expect(settingsOf(null, { kind: 'absent' }).policyMode).toBe('absent');
    expect(settingsOf(null, null).policyMode).toBe('absent');
  });
});

describe('the two places', () => {
  test.each([
    ['full', COMPAT, 'full'],
    [null, COMPAT, 'full'],
    ['ro', LEAST, 'ro'],
  ])('that agree (%s, %j) are followed without a word', (file, policy, tier) => {
    expect(settingsOf(file, text(policy))).toMatchObject({ tierDefault: tier, complaints: [] });
  });

  test.each([
    ['full', LEAST],
    [null, LEAST],
    ['ro', COMPAT],
    ['nonsense', COMPAT],
  ])('that differ (%s, %j) mean the stricter, which is said with the command that mends it', (file, policy) => {
    const settings = settingsOf(file, text(policy));
    expect(settings.tierDefault).toBe('ro');
    expect(complaints(settings).at(-1)).toMatch(
      /^\/etc\/qmcp\/tier-default: .*\/etc\/qubes\/policy\.d\/include\/qmcp-mode.*qmcpctl mode least-privilege/,
    );
  });

  test('that differ are told apart: which of them is the open one, and what that means', () => {
    const [open, closed] = [settingsOf('ro', text(COMPAT)), settingsOf('full', text(LEAST))];
    expect(complaints(open)[0]).toContain(
      `It stands for ro, but ${PATH} is in mode compat, so agents still run programs in managed qubes without a tier.`,
    );
    expect(complaints(closed)[0]).toContain(
      `It stands for full, as it does when absent, but ${PATH} is in mode least-privilege.`,
    );
  });

  test.each([
    ['full', 'compat'],
    [null, 'compat'],
    ['ro', 'least-privilege'],
  ])(
    'mean the stricter, whatever tier-default says (%s), where the policy cannot be told, which is said',
    (file, mode) => {
      for (const policy of [text('nonsense'), { kind: 'unreadable', why: 'gives EACCES' } as const]) {
        const settings = settingsOf(file, policy);
        expect(settings).toMatchObject({ tierDefault: 'ro', policyMode: 'unknown' });
        expect(complaints(settings)).toEqual([expect.stringContaining(`${PATH}: The policy's mode cannot be told: `)]);
        const why = policy.kind === 'text' ? 'it is not one of the two lines that qmcpctl writes' : 'it gives EACCES';
        expect(complaints(settings)[0]).toContain(`cannot be told: ${why}. Until it can, managed qubes`);
        expect(complaints(settings)[0]).toContain(`Run qmcpctl mode ${mode},`);
      }
    },
  );

  test('of an install without our policy mean what they always meant', () => {
    for (const file of ['full', 'ro', null]) {
      expect(settingsOf(file, { kind: 'absent' })).toMatchObject({ tierDefault: file ?? 'full', complaints: [] });
    }
  });
});

test('a mode that is changed in one place only is seen by the next look, and told once', () => {
  const root = fs.mkdtempSync(join(tmpdir(), 'qmcp-mode-'));
  onTestFinished(() => fs.rmSync(root, { recursive: true }));
  const [etc, policyDir] = [join(root, 'etc'), join(root, 'policy.d')];
  fs.mkdirSync(etc);
  fs.mkdirSync(join(policyDir, 'include'), { recursive: true });
  const told: Settings[] = [];
  const settings = openSettings(etc, Date.now, { policyDir, changed: (each) => told.push(each) });
  const policy = join(policyDir, POLICY_MODE_FILE);

  expect(settings.current()).toMatchObject({ policyMode: 'absent', tierDefault: 'full' });
  fs.writeFileSync(policy, LEAST);
  expect(settings.current()).toMatchObject({ policyMode: 'least-privilege', tierDefault: 'ro' });
  expect(settings.current()).toBe(settings.current());
  expect(told.map(({ complaints }) => complaints.length)).toEqual([1]);
  fs.writeFileSync(join(etc, 'tier-default'), 'ro\n');
  expect(settings.current()).toMatchObject({ tierDefault: 'ro', complaints: [] });
  fs.writeFileSync(policy, COMPAT);
  expect(settings.current()).toMatchObject({ tierDefault: 'ro', policyMode: 'compat' });
  fs.writeFileSync(join(etc, 'tier-default'), 'full\n');
  expect(settings.current()).toMatchObject({ tierDefault: 'full', complaints: [] });
  fs.rmSync(policy);
  fs.mkdirSync(policy);
  expect(settings.current()).toMatchObject({ tierDefault: 'ro', policyMode: 'unknown' });
  expect(told).toHaveLength(5);
});
