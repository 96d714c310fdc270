// What principals use within an hour, counted from outside over all lives: never more is granted than their files say, and
// nobody is refused for a quota that cannot be used up. Both are bounds: of what is not known here, which of two counts it was
// when the clock was set or a broker died, the one is taken that accuses nobody.
import type { StateFiles } from '../../daemon/state-files.ts';
import type { Chance } from './chance.ts';
import type { Deed } from './deed.ts';

export type Kind = 'calls' | 'questions';
export type PerHour = Readonly<Partial<Record<Kind, number>>>;

const MINUTE_MS = 60_000;
/** What surely lies within any hour of the broker's, which counts in minutes. */
const SURELY_MS = 58 * MINUTE_MS;
/** What may at the most: the minute of now and the 60 before it. */
const AT_MOST_MS = 61 * MINUTE_MS;
/** What is counted some time after its call came is counted at no known time when this has passed. */
const PROMPT_MS = MINUTE_MS;

export const anyQuota = (chance: Chance, calls: readonly number[]): PerHour => ({
  ...(chance.is(0.8) && { calls: chance.pick(calls) }),
  ...(chance.is(0.8) && { questions: chance.pick([0, 1, 2, 5]) }),
});

interface Use {
  at: number;
  readonly account: string;
  readonly kind: Kind;
  /** Of a read: lost in a crash, unless it was written down. */
  isKept: boolean;
}

/** A call, and until when it may have been counted. */
interface Tried {
  readonly account: string;
  readonly count: number;
  until: number;
}

interface Admitted {
  readonly tried: Tried;
  readonly account: string;
  readonly isRead: boolean;
  /** Wall clock and monotonic, milliseconds. */
  readonly at: number;
  readonly mono: number;
  readonly settings: number;
}

interface Parts {
  /** Limits by the name of a principal. */
  readonly limits: ReadonlyMap<string, PerHour>;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly wrong: (sentence: string) => void;
}

export class Quotas {
  readonly #parts: Parts;
  readonly #admitted = new Map<Deed, Admitted>();
  readonly #granted = new Set<Deed>();
  /** Whatever may have been counted, by the time when it came. */
  readonly #tried: Tried[] = [];
  #uses: Use[] = [];
  /** How often the clock was set. */
  #settings = 0;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** A call comes to the station that counts it, as that principal's if it is anybody's. */
  comes(deed: Deed, principal: string, isRead: boolean): void {
    const limits = this.#parts.limits.get(principal);
    if (!limits) return;
    deed.isLimited = true;
    const account = accountOf(principal, deed.source);
    const [at, mono] = [this.#parts.now(), this.#parts.monotonicMs()];
    const tried = { account, count: stepsOf(deed), until: Number.POSITIVE_INFINITY };
    this.#tried.push(tried);
    this.#admitted.set(deed, { tried, account, isRead, at, mono, settings: this.#settings });
  }

  /** Nothing more is counted for it; a plan may go on when its caller was answered. */
  isAnswered(deed: Deed): void {
    const admitted = this.#admitted.get(deed);
    if (admitted?.settings === this.#settings && deed.plan === null) admitted.tried.until = this.#parts.now();
  }

  /** It was answered well, or has an effect: so it was counted, when it came, and the further steps of a plan after that. */
  isGranted(deed: Deed): void {
    const admitted = this.#admitted.get(deed);
    if (!admitted || this.#granted.has(deed) || deed.signed === 'bad') return;
    this.#granted.add(deed);
    if (admitted.settings === this.#settings) this.#use(admitted, 'calls');
    if (!this.#isPrompt(admitted)) return;
    for (let step = 1; step < stepsOf(deed); step++) this.#use(admitted, 'calls');
  }

  /** Somebody is asked on its behalf. */
  isAsked(deed: Deed): void {
    const admitted = this.#admitted.get(deed);
    if (admitted && this.#isPrompt(admitted)) this.#use({ ...admitted, isRead: false }, 'questions');
  }

  /** The journal says that a quota was used up, at that time. */
  readonly isRefused = (kind: Kind, principal: string, source: string, at: number): void => {
    const account = accountOf(principal, source);
    const limit = this.#parts.limits.get(principal)?.[kind] ?? null;
    const tried = this.#tried.filter((each) => each.account === account && each.until > at - AT_MOST_MS);
    // A question is asked for a call, so there are no more of them.
    const count = tried.reduce((sum, each) => sum + (kind === 'calls' ? each.count : 1), 0);
    // With the one that is refused.
    if (limit === null || count <= limit)
      this.#parts.wrong(`quota: ${account} is refused for its ${kind}, with at most ${count} of ${limit} in the hour`);
  };

  /** The ledger as the broker writes it: what was counted when it began to is not lost once that is on disk. */
  writtenBy(files: StateFiles): StateFiles {
    return {
      ...files,
      write: async (name, text) => {
        const counted = this.#uses.filter(({ account }) => name === `${account}.json`);
        await files.write(name, text);
        for (const use of counted) use.isKept = true;
      },
    };
  }

  /** Of reads, what was not written down is forgotten. */
  died(): void {
    this.#uses = this.#uses.filter(({ isKept }) => isKept);
    for (const { tried, settings } of this.#admitted.values()) {
      if (settings === this.#settings) tried.until = Math.min(tried.until, this.#parts.now());
    }
    this.#admitted.clear();
    this.#granted.clear();
  }

  /** The wall clock is set. What is over by it is over for ever; what lies ahead of it is as if it were now. */
  clockIsSet(set: () => void): void {
    this.#forget();
    set();
    this.#settings += 1;
    this.#forget();
    const now = this.#parts.now();
    for (const use of this.#uses) use.at = Math.min(use.at, now);
  }

  #forget(): void {
    const over = this.#parts.now() - SURELY_MS;
    this.#uses = this.#uses.filter(({ at }) => at > over);
  }

  #isPrompt({ mono, settings }: Admitted): boolean {
    return settings === this.#settings && this.#parts.monotonicMs() - mono < PROMPT_MS;
  }

  #use({ account, at, isRead }: Admitted, kind: Kind): void {
    const limit = this.#parts.limits.get(principalOf(account))?.[kind];
    if (limit === undefined) return;
    this.#uses.push({ at, account, kind, isKept: !isRead });
    const times = this.#uses.filter((use) => use.account === account && use.kind === kind).map((use) => use.at);
    const most = Math.max(...times.map((from) => times.filter((to) => to >= from && to < from + SURELY_MS).length));
    if (most > limit)
      this.#parts.wrong(`quota: ${account} was granted ${most} ${kind} within an hour, and has ${limit}`);
  }
}

/** Each step of a plan is a call. */
const stepsOf = ({ service, request }: Deed): number => {
  const { calls } = (request ?? {}) as { readonly calls?: unknown };
  return service === 'qmcp.Prepare' && Array.isArray(calls) ? Math.max(1, calls.length) : 1;
};

/** Unsigned calls have one for each source. */
const accountOf = (principal: string, source: string): string =>
  principal === UNSIGNED ? `${principal}@${source}` : principal;
const principalOf = (account: string): string => account.split('@')[0] as string;

/** The principal of unsigned calls. */
export const UNSIGNED = 'all';
