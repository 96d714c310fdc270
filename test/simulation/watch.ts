// The invariants (architecture.md), held against what the simulated world itself saw: what it answered to whom, what was
// shown and signed, what is on its disk. It hears of every effect before it happens and of every reply before it leaves.
import type { World } from '../qubesd/world.ts';
import { Births } from './births.ts';
import type { Disk } from './disk.ts';
import { Effects } from './effects.ts';
import type { Frozen } from './frozen.ts';
import type { History } from './history.ts';
import type { DurableRecord } from './record.ts';
import { Replies } from './replies.ts';
import { Screen } from './screen.ts';
import { Seals } from './seals.ts';
import type { OperatorFiles } from './settings.ts';

/** What the invariants are held against, and where it is said that one does not hold. */
export interface Seen {
  readonly world: World;
  readonly record: DurableRecord;
  readonly settings: OperatorFiles;
  readonly history: History;
  readonly frozen: Frozen;
  readonly hasSettled: () => boolean;
  readonly now: () => number;
  readonly wrong: (sentence: string) => void;
}

export class Watch {
  readonly #record: DurableRecord;
  /** Sentences; none for as long as all is well. */
  readonly violations: string[] = [];
  readonly births: Births;
  readonly effects: Effects;
  readonly replies: Replies;
  readonly screen: Screen;
  readonly seals: Seals;

  constructor(parts: Omit<Seen, 'wrong'> & { readonly disk: Disk }) {
    const seen: Seen = { ...parts, wrong: this.wrong };
    this.#record = seen.record;
    this.births = new Births(seen);
    this.effects = new Effects(seen, this.births);
    this.replies = new Replies(seen, this.births);
    this.screen = new Screen(seen);
    this.seals = new Seals(parts.disk, seen.record, this.wrong);
  }

  readonly wrong = (sentence: string): void => {
    this.violations.push(sentence);
  };

  /** I4: of intents of this life none is open when nothing is under way. */
  settled(): void {
    const record = this.#record;
    if (record.gaps > 0) return;
    for (const intent of record.open.values()) {
      const isTold = intent.steps.some(
        ({ step, qube }) => step === 'not in quarantine' || (step === 'left behind' && qube === null),
      );
      if (intent.isCurrent && !isTold) this.wrong(`I4: intent ${intent.seq} (${intent.service}) has no outcome`);
    }
  }
}
