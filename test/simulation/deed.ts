// Who does what: everything that the broker asks of others, it asks on behalf of one of these.
import { AsyncLocalStorage } from 'node:async_hooks';
import type { History } from './history.ts';
import { type Tier, type Want, wantOf } from './rules.ts';

/** Somebody's doing, from its beginning to its end: a call, a verb of the operator's, a pass of the reaper, a start. */
export class Deed {
  readonly number: number;
  readonly kind: 'call' | 'operator' | 'reaper' | 'settling';
  readonly source: string;
  readonly service: string;
  readonly request: unknown;
  /** What it wants; of a plan, step by step. */
  readonly wants: readonly Want[];
  readonly plan: string | null;
  readonly arrival: number;
  readonly life: number;
  /** As far as its caller may go at the most. */
  readonly ceiling: Tier;
  /** Whether it is signed; `bad` where it only looks so, and must come to nothing. */
  readonly signed: 'no' | 'good' | 'bad';
  /** Name -> what it was told of it, and in which step that was asked. */
  readonly rows = new Map<string, { readonly uuid: string; readonly asked: number }>();
  readonly tags = new Map<string, { readonly tags: ReadonlySet<string>; readonly asked: number }>();
  /** What it was told the time before. */
  readonly tagsBefore = new Map<string, ReadonlySet<string>>();
  /** Nonces of this deed's questions that were answered yes, and when, with what it knew of its qubes before. */
  readonly approvals = new Map<string, { readonly step: number; readonly bound: string }>();
  /** What it was found to be entitled to already: the wants by number. */
  readonly granted = new Set<number>();
  readonly children = new Set<string>();
  /** Something failed that it asked, so what it answers is not to be compared. */
  isTroubled = false;
  /** Its bytes came so late that what is in them counts for nothing, an envelope included. */
  isLate = false;
  isAsked = false;
  /** It may be refused for a quota, whatever it says. */
  isLimited = false;
  effects = 0;

  constructor(
    about: Pick<
      Deed,
      | 'number'
      | 'kind'
      | 'source'
      | 'service'
      | 'request'
      | 'wants'
      | 'plan'
      | 'arrival'
      | 'life'
      | 'ceiling'
      | 'signed'
    >,
  ) {
    this.number = about.number;
    this.kind = about.kind;
    this.source = about.source;
    this.service = about.service;
    this.request = about.request;
    this.wants = about.wants;
    this.plan = about.plan;
    this.arrival = about.arrival;
    this.life = about.life;
    this.ceiling = about.ceiling;
    this.signed = about.signed;
  }

  /** What a yes is about: the qubes that it names, as it last saw them. */
  get bound(): string {
    const names = [...new Set(this.wants.flatMap(({ roles }) => Object.values(roles)))].sort();
    return names
      .map((name) => {
        const uuid = this.rows.get(name)?.uuid ?? '';
        return `${name} ${uuid} ${[...(this.tags.get(uuid)?.tags ?? [])].sort().join(' ')}`;
      })
      .join('; ');
  }
}

/** One call of a plan. */
export interface Step {
  readonly service: string;
  readonly request: unknown;
}

interface Beginning extends Pick<Deed, 'kind' | 'source' | 'service' | 'request' | 'life'> {
  readonly plan?: string | null;
  /** What a plan consists of. */
  readonly steps?: readonly Step[];
  readonly ceiling?: Tier;
  readonly signed?: Deed['signed'];
}

export class Deeds {
  /** On whose behalf the running code runs. */
  readonly current = new AsyncLocalStorage<Deed>();
  readonly #history: History;
  #count = 0;

  constructor(history: History) {
    this.#history = history;
  }

  begin({ kind, source, service, request, life, ...more }: Beginning): Deed {
    const { plan = null, steps = [{ service, request }], ceiling = 'full', signed = 'no' } = more;
    const calls = signed === 'bad' ? [] : steps;
    const wants = calls.flatMap((each) => wantOf(each.service, each.request) ?? []);
    this.#count += 1;
    return new Deed({
      ...{ number: this.#count, kind, source, service, request, wants, plan, ceiling, signed, life },
      arrival: this.#history.step,
    });
  }
}
