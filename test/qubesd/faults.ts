// Failures on order: what tests inject call by call, and the `fail` of a fleet description.
import type { FleetSpec, PlannedFailure } from './fleet.ts';

/**
 * What happens to a call instead of an answer.
 * - exception: not performed, this typed exception
 * - empty: not performed, closed without a byte
 * - hang: neither performed nor answered until released, then both
 * - lost: performed, closed without a byte
 * - mute: performed, not answered until released
 * - cut: performed, disconnected after that many bytes of the answer
 * - pieces: performed, answered in pieces of that many bytes with a pause between them
 */
export type Fault =
  | 'empty'
  | 'hang'
  | 'lost'
  | 'mute'
  | { readonly exception: readonly [type: string, message: string] }
  | { readonly cut: number }
  | { readonly pieces: number; readonly pauseMs?: number };

/** A call as a fault looks at it: the method without and with its argument, the name of the destination. */
export interface FaultTarget {
  readonly method: string;
  readonly key: string;
  readonly name: string;
}

export interface FaultRule {
  /** "method" or "method+arg"; absent: any. */
  readonly method?: string;
  /** Name of the destination; absent: any. */
  readonly dest?: string;
  /** Matching calls to let pass first. */
  readonly skip?: number;
  /** How many calls it hits; one unless told, Infinity for all. */
  readonly times?: number;
  readonly fault: Fault;
}

export class Faults {
  #rules: { rule: FaultRule; skip: number; left: number }[] = [];
  readonly #planned: Map<string, { skip: number; failure: PlannedFailure }>;

  constructor(fail: FleetSpec['fail'] = {}) {
    this.#planned = new Map(
      Object.entries(fail).map(([pattern, failure]) => [
        pattern,
        typeof failure === 'object' && 'then' in failure
          ? { skip: failure.skip ?? 0, failure: failure.then }
          : { skip: 0, failure },
      ]),
    );
  }

  /** Orders a fault; returns what withdraws it. */
  inject(rule: FaultRule): () => void {
    const entry = { rule, skip: rule.skip ?? 0, left: rule.times ?? 1 };
    this.#rules.push(entry);
    return () => {
      entry.left = 0;
    };
  }

  /** Withdraws everything injected; the `fail` of the fleet stays. */
  clear(): void {
    this.#rules = [];
  }

  /** The fault that hits this call, if any: the first rule in order that matches and has no more calls to let pass. */
  next(target: FaultTarget): Fault | undefined {
    this.#rules = this.#rules.filter(({ left }) => left > 0);
    for (const entry of this.#rules) {
      const { method, dest } = entry.rule;
      if (method !== undefined && method !== target.method && method !== target.key) continue;
      if (dest !== undefined && dest !== target.name) continue;
      if (entry.skip-- > 0) continue;
      entry.left--;
      return entry.rule.fault;
    }
    return this.#planned.size > 0 ? this.#plannedFor(target) : undefined;
  }

  // A planned failure of one way to read a fact fails the other ways to read it too.
  #plannedFor({ method, key, name }: FaultTarget): Fault | undefined {
    const patterns = [`${key}@${name}`, `${key}@*`, `${method}@${name}`, `${method}@*`];
    if (method === 'admin.vm.tag.List') patterns.push(`admin.vm.tag.Get+ai-managed@${name}`);
    if (method === 'admin.vm.List' && name !== 'dom0') patterns.push(`admin.vm.CurrentState@${name}`);
    if (method === 'admin.vm.property.GetAll') {
      const single = [...this.#planned.keys()].filter((pattern) => pattern.startsWith('admin.vm.property.Get+'));
      patterns.push(...single.filter((pattern) => pattern.endsWith(`@${name}`)));
    }
    // A call without argument matches the same pattern twice; it counts once.
    for (const pattern of new Set(patterns)) {
      const plan = this.#planned.get(pattern);
      if (plan === undefined || plan.skip-- > 0) continue;
      return plan.failure === 'empty' ? 'empty' : { exception: plan.failure };
    }
    return undefined;
  }
}
