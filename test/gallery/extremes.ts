// What no ordinary fleet brings about: the longest names and texts, and the states a window can be in.
import type { View } from '../../daemon/confirm/question.ts';
import type { QubeName } from '../../daemon/names.ts';
import { LABELS } from '../../daemon/qube.ts';
import type { QuestionWindow } from '../end-to-end/screen.ts';
import type { Titled } from './collect.ts';

const LONG = 'ai-quarterly-report-drafts-2026' as QubeName;
const OTHER = 'ai-supplier-price-crawler_mid.9' as QubeName;
const AGENT = 'mcp-control' as QubeName;

/** Marks every qube name of `labels` wherever it stands in the lines. */
const marked = (lines: readonly string[], labels: Readonly<Record<string, View['marks'][number]['label']>>) =>
  lines.flatMap((text, line) =>
    Object.entries(labels).flatMap(([name, label]) =>
      [...text.matchAll(new RegExp(`(?<![\\w.-])${name.replaceAll('.', '\\.')}(?![\\w.-])`, 'g'))].map(({ index }) => ({
        line,
        start: index,
        end: index + name.length,
        label,
      })),
    ),
  );

const view = (
  lines: readonly string[],
  labels: Readonly<Record<string, View['marks'][number]['label']>>,
  more: Partial<View> = {},
): View => ({ lines, marks: marked(lines, labels), type_to_confirm: null, risk: 'change', freeze: AGENT, ...more });

export const REMOVAL = view(
  [
    'Remove ai-work (red)',
    'Asked by: mcp-control (black), default agent',
    'Qube: AppVM, not running',
    'Its own data: 3.2 GiB used of 20.0 GiB',
    'It and all its files are destroyed at once. This cannot be undone.',
  ],
  { 'ai-work': 'red', 'mcp-control': 'black' },
  { type_to_confirm: 'ai-work' as QubeName, risk: 'destroy' },
);

const steps = (count: number) =>
  Array.from({ length: count }, (_, index) =>
    index === 0
      ? `Step ${count}: Remove ${OTHER} (orange); Qube: AppVM, not running; Its own data: 3.2 GiB used of 20.0 GiB; It and all its files are destroyed at once. This cannot be undone.`
      : `Step ${index}: Start ${LONG} (blue); Qube: AppVM, not running; It runs until it is shut down.`,
  );

export const EXTREMES: readonly Titled[] = [
  {
    title: 'longest names',
    view: view(
      [
        `Clone ${OTHER} (orange) as ${LONG} (blue)`,
        `Asked by: ${OTHER} (orange), principal nightly-report-builder`,
        `Template: ${LONG} (blue)`,
        `Network: ${OTHER} (orange)`,
        'Settings and firewall rules are copied, device assignments are not.',
      ],
      { [LONG]: 'blue', [OTHER]: 'orange' },
      { type_to_confirm: LONG, freeze: OTHER },
    ),
  },
  {
    title: 'every label',
    view: view(
      ['Every label colour, for comparison', ...LABELS.map((label) => `Qube: ai-${label} (${label}), running`)],
      Object.fromEntries(LABELS.map((label) => [`ai-${label}`, label])),
    ),
  },
  {
    title: 'plan of ten steps',
    view: view(
      [
        'Run a plan of 10 steps, 1 of them destructive',
        'Asked by: mcp-control (black), default agent',
        ...steps(10),
        'The steps run in the order of their numbers and stop at the first that fails.',
      ],
      { [LONG]: 'blue', [OTHER]: 'orange', 'mcp-control': 'black' },
      { type_to_confirm: OTHER, risk: 'destroy' },
    ),
  },
];

/** A window in a state that it does not open in, or on a desktop with other settings. */
export interface State extends Titled {
  readonly env: NodeJS.ProcessEnv;
  readonly acceptSynthetic: boolean;
  readonly prepare?: (window: QuestionWindow) => Promise<void>;
}

const state = (title: string, more: Partial<State> = {}): State => ({
  title,
  view: REMOVAL,
  env: { GTK_THEME: 'Adwaita' },
  acceptSynthetic: true,
  ...more,
});

export const STATES: readonly State[] = [
  state('just focused', { prepare: (window) => window.focus() }),
  state('wrong name', {
    prepare: async (window) => {
      await window.focus();
      await window.type('ai-wor');
      await new Promise((resolve) => setTimeout(resolve, 1_700));
    },
  }),
  state('ready', {
    prepare: async (window) => {
      await window.focus();
      await window.type('ai-work');
      await window.untilAllowIs('awake');
    },
  }),
  state('input from a program', {
    acceptSynthetic: false,
    prepare: async (window) => {
      await window.focus();
      await window.press('a');
    },
  }),
  state('large font', { env: { GTK_THEME: 'Adwaita', GDK_DPI_SCALE: '1.5' } }),
  state('large font dark', { env: { GTK_THEME: 'Adwaita:dark', GDK_DPI_SCALE: '1.5' } }),
  state('every pixel twice', { env: { GTK_THEME: 'Adwaita', GDK_SCALE: '2' } }),
  state('high contrast', { env: { GTK_THEME: 'HighContrast' } }),
  state('high contrast inverse', { env: { GTK_THEME: 'HighContrastInverse' } }),
];
