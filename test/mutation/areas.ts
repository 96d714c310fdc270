// What `npm run mutation` changes, and the tests that its changes are held against: those that need no daemon of their own.

export interface Area {
  /** Globs of the code to change. */
  readonly code: readonly string[];
  readonly tests: readonly string[];
  readonly withoutTests: readonly string[];
  /** The share of mutants that a test must notice where not every survivor is explained. */
  readonly wanted: number;
  /** After so many milliseconds a test has noticed a mutant that waits for ever. */
  readonly patience: number;
}

const area = (
  name: string,
  wanted: number,
  but: { tests?: string[]; without?: string[]; code?: string[]; patience?: number } = {},
): Area => ({
  code: [`daemon/${name}/**/*.ts`, ...(but.code ?? [])],
  tests: [`test/${name}/*.test.ts`, ...(but.tests ?? [])],
  withoutTests: (but.without ?? []).map((test) => `test/${name}/${test}.test.ts`),
  wanted,
  patience: but.patience ?? 20_000,
});

export const AREAS: Readonly<Record<string, Area>> = {
  authority: area('authority', 0.95),
  // callers/ is no code of the broker's: it is copied into the agents' qube. The accounts stand on the state files.
  principals: area('principals', 0.95, {
    code: ['!daemon/principals/callers/**', 'daemon/state-files.ts'],
    tests: ['test/state-files.test.ts'],
    without: ['socket', 'callers', 'limits-at-work'],
  }),
  settings: area('settings', 0.9),
  qrexec: area('qrexec', 0.9, { patience: 5_000 }),
  confirm: area('confirm', 0.9, { patience: 5_000 }),
  plans: area('plans', 0.9),
  journal: area('journal', 0.9, { without: ['kill'], patience: 5_000 }),
};

/** The area of this run, from the environment. */
export const chosenArea = (): Area => {
  const chosen = AREAS[process.env.QMCP_MUTATED_AREA ?? ''];
  if (!chosen) throw new Error(`QMCP_MUTATED_AREA must be one of: ${Object.keys(AREAS).join(', ')}`);
  return chosen;
};
