// The operator's files: wishes put into text, with what is wrong with some, and read by the broker's own parser.
import { type FileName, parseSettings, type Source } from '../../daemon/settings/files.ts';
import type { SettingsReader } from '../../daemon/settings/open.ts';
import type { Settings } from '../../daemon/settings/settings.ts';
import type { Chance } from './chance.ts';
import type { Wishes } from './rules.ts';

export const CALM: Wishes = {
  tierDefault: 'absent',
  mode: 'absent',
  consent: 'absent',
  guarded: ['ai-listed'],
  tombstones: 'absent',
  birthCeiling: 'absent',
  retention: 'absent',
  hasKey: true,
};

/** Operators of several minds, one for each episode: what they come back to after every change. */
export const OPERATORS: readonly Wishes[] = [
  CALM,
  { ...CALM, consent: [] },
  { ...CALM, consent: [], tombstones: 'on', retention: 600 },
  { ...CALM, tierDefault: 'ro', mode: 'enforce', birthCeiling: 'ai-net' },
];

const GARBAGE = ['full full\n', '\u0000\u0001', 'yes, please\n', '', '# only a comment\n'] as const;

export class OperatorFiles implements SettingsReader {
  readonly #key: string;
  readonly #parsed = new Map<string, Settings>();
  #wishes: Wishes;
  #settings: Settings;
  /** Since which step each of them holds, newest last. */
  readonly history: { readonly step: number; readonly wishes: Wishes }[] = [];

  constructor(key: string, wishes: Wishes) {
    this.#key = key;
    this.#wishes = wishes;
    this.#settings = this.#parse(wishes);
    this.history.push({ step: 0, wishes });
  }

  current = (): Settings => this.#settings;

  get wishes(): Wishes {
    return this.#wishes;
  }

  change(step: number, wishes: Wishes): void {
    this.#wishes = wishes;
    this.#settings = this.#parse(wishes);
    this.history.push({ step, wishes });
  }

  /** Those that held at any time from that step on. */
  since(step: number): readonly Wishes[] {
    const from = this.history.findLastIndex((each) => each.step <= step);
    return this.history.slice(Math.max(0, from)).map(({ wishes }) => wishes);
  }

  #parse(wishes: Wishes): Settings {
    const text = JSON.stringify(wishes);
    const known = this.#parsed.get(text);
    if (known) return known;
    const files = new Map<FileName, Source>();
    const file = (name: FileName, value: string | 'absent' | null, at: number): void => {
      if (value === 'absent') return;
      files.set(name, { kind: 'text', text: value ?? (GARBAGE[at % GARBAGE.length] as string) });
    };
    const list = (value: readonly string[] | 'absent' | null, bad: string): string | 'absent' =>
      value === 'absent' ? value : value === null ? bad : `# the operator's\n${value.join('\n')}\n`;
    file('tier-default', wishes.tierDefault, 0);
    file('enforce-mode', wishes.mode, 1);
    file('consent-policy', list(wishes.consent, 'qmcp.LifecycleAIManaged start\n'), 2);
    file('guarded', list(wishes.guarded, 'ai-a\nno name at all\n'), 3);
    file('tombstones', wishes.tombstones, 2);
    file('birth-ceiling', wishes.birthCeiling, 3);
    file('tombstone-retention', typeof wishes.retention === 'number' ? String(wishes.retention) : wishes.retention, 1);
    file('confirm.pub', wishes.hasKey ? this.#key : 'absent', 0);
    file('pool-cap', String(2 ** 41), 0);
    file('private-cap', String(2 ** 34), 0);
    file('consent-timeout', '60', 0);
    const settings = parseSettings(files);
    this.#parsed.set(text, settings);
    return settings;
  }
}

/** One setting of the operator's changed. */
export const anotherWish = (before: Wishes, chance: Chance): Wishes => {
  switch (
    chance.weighted({
      tier: 3,
      mode: 2,
      consent: 4,
      guarded: 4,
      tombstones: 3,
      ceiling: 2,
      retention: 2,
      key: 1,
      calm: 4,
    })
  ) {
    case 'tier':
      return { ...before, tierDefault: chance.pick(['full', 'ro', 'absent', null] as const) };
    case 'mode':
      return { ...before, mode: chance.pick(['shadow', 'strict', 'enforce', 'absent', null] as const) };
    case 'consent':
      return { ...before, consent: chance.pick(CONSENTS) };
    case 'guarded':
      return { ...before, guarded: chance.pick(GUARDED) };
    case 'tombstones':
      return { ...before, tombstones: chance.pick(['on', 'off', 'absent', null] as const) };
    case 'ceiling':
      return {
        ...before,
        birthCeiling: chance.pick(['ai-ro', 'ai-exec', 'ai-net', 'ai-full', 'absent', null] as const),
      };
    case 'retention':
      return { ...before, retention: chance.pick([0, 60, 3600, 'absent', null] as const) };
    case 'key':
      return { ...before, hasKey: !before.hasKey };
    case 'calm':
      return chance.pick(OPERATORS);
  }
};

const CONSENTS: readonly Wishes['consent'][] = [
  'absent',
  [],
  [],
  ['*'],
  ['qmcp.SetPropertyAIManaged:*'],
  ['*:start', 'qmcp.SpawnAIManagedQube:spawn'],
  null,
  null,
];
const GUARDED: readonly Wishes['guarded'][] = ['absent', [], ['ai-listed'], ['ai-listed', 'ai-a', 'ai-b'], null];
