// The events of qubesd on their way to the broker: late, and where the weather has it in another order, or not at all.
import type { AdminEvent } from '../../daemon/qubesadmin/wire.ts';
import type { Life } from './life.ts';
import type { Machine } from './machine.ts';

export class Events {
  readonly #machine: Machine;
  #sink: Life['fleet'] | null = null;
  #events: AdminEvent[] = [];
  #isPumping = false;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Whether anybody hears of them. */
  get isFollowed(): boolean {
    return this.#sink !== null;
  }

  follow(fleet: Life['fleet']): void {
    this.#sink = fleet;
    fleet.established();
  }

  lose(): void {
    const sink = this.#sink;
    this.#sink = null;
    this.#events = [];
    sink?.lost();
  }

  /** Whoever followed them is gone. */
  forget(): void {
    this.#sink = null;
    this.#events = [];
    this.#isPumping = false;
  }

  happened(event: AdminEvent): void {
    if (!this.#sink) return;
    this.#events.push(event);
    if (this.#isPumping) return;
    this.#isPumping = true;
    // What is read because of an event is nobody's call's doing.
    void this.#machine.deeds.current.exit(() =>
      this.#machine.wait('events', () => {
        this.#isPumping = false;
        this.deliver(1 + this.#machine.chance.below(4));
        if (this.#events.length > 0) this.#happenedMore();
      }),
    );
  }

  #happenedMore(): void {
    this.#isPumping = true;
    void this.#machine.wait('more events', () => {
      this.#isPumping = false;
      this.deliver(Number.POSITIVE_INFINITY);
    });
  }

  /** In their order, but where the weather has it: there some come too soon, and some never. */
  deliver(count: number): void {
    const { reorders } = this.#machine.weather;
    for (let left = count; left > 0 && this.#events.length > 0; left--) {
      const at = reorders && this.#machine.chance.is(0.2) ? this.#machine.chance.below(this.#events.length) : 0;
      const [event] = this.#events.splice(at, 1);
      if (!event || !this.#sink || (reorders && this.#machine.chance.is(0.02))) continue;
      // Whoever follows events reads what it reads for itself, and not for the deed that an event tells of.
      const sink = this.#sink;
      this.#machine.deeds.current.exit(() => sink.event(event));
    }
  }
}
