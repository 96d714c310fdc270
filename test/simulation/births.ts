// What the broker created: whole, or left behind, and then used by nobody, shown to nobody, and known to the operator (I4, I8).
import type { Deed } from './deed.ts';
import { OPERATORS_QUBES } from './fleet.ts';
import type { Seen } from './watch.ts';

export interface Birth {
  readonly deed: Deed;
  readonly name: string;
  isWhole: boolean;
  /** The broker was told in time that it was created, and so how it is called. */
  isAnswered: boolean;
  /** Its caller knows it, and that it is whole. */
  isTold: boolean;
  /** The operator said that agents may have it, half-made or not. */
  isReleased: boolean;
  /** And the broker said that it was done. */
  isSurelyReleased: boolean;
  /** The step at which its caller was told that it had failed, or NEVER. */
  leftSince: number;
}

const NEVER = Number.POSITIVE_INFINITY;

export class Births {
  readonly #seen: Seen;
  /** By uuid. */
  readonly #born = new Map<string, Birth>();

  constructor(seen: Seen) {
    this.#seen = seen;
  }

  of(uuid: string): Birth | undefined {
    return this.#born.get(uuid);
  }

  /** The birth of a qube that was never made whole, nor released. */
  ofLeft(uuid: string): Birth | undefined {
    return this.#isLeft(uuid) ? this.#born.get(uuid) : undefined;
  }

  wasBorn(deed: Deed, uuid: string, name: string): void {
    deed.children.add(uuid);
    this.#born.set(uuid, {
      deed,
      name,
      isWhole: false,
      isAnswered: false,
      isTold: false,
      isReleased: false,
      isSurelyReleased: false,
      leftSince: NEVER,
    });
  }

  /** The answer to the creating call arrives, in time. */
  isAnswered(name: string): void {
    const birth = this.#born.get(this.#seen.world.qubes.get(name)?.uuid ?? '');
    if (birth) birth.isAnswered = true;
  }

  /** What a caller is told of what its deed created. */
  areTold(deed: Deed, isOk: boolean, text: string): void {
    for (const uuid of deed.children) {
      const birth = this.#born.get(uuid);
      if (!birth) continue;
      const isNamed = text.includes(`"${birth.name}"`) || text.includes(`'${birth.name}'`);
      if (isOk && deed.plan === null) this.#isWhole(uuid);
      if (isNamed || (isOk && deed.plan === null)) birth.isTold = isOk;
      if (isNamed) this.#seen.record.named.add(uuid);
      if (!isOk) birth.leftSince = Math.min(birth.leftSince, this.#seen.history.step);
    }
  }

  /** What creations left half-made, as their callers know, and nobody has released or removed. */
  get left(): readonly string[] {
    const isTold = (uuid: string): boolean => this.#isLeft(uuid) && this.#born.get(uuid)?.leftSince !== NEVER;
    return [...this.#seen.world.qubes.values()].filter(({ uuid }) => isTold(uuid)).map(({ name }) => name);
  }

  #isLeft(uuid: string): boolean {
    const birth = this.#born.get(uuid);
    return birth !== undefined && !birth.isWhole && !birth.isReleased && !this.#seen.record.complete.has(uuid);
  }

  /** I8: what is not whole is used by nobody, whatever its tags say by then (contract vector S72). */
  isUsable(about: string, name: string, uuid: string): void {
    if (this.#isLeft(uuid)) this.#seen.wrong(`I8: ${about}: ${name} was never made whole`);
  }

  /** The operator puts it on a tier that agents can use. */
  released(name: string): void {
    const birth = this.#born.get(this.#seen.world.qubes.get(name)?.uuid ?? '');
    if (birth) birth.isReleased = true;
  }

  /** That is done. */
  surelyReleased(uuid: string): void {
    const birth = this.#born.get(uuid);
    if (birth) birth.isSurelyReleased = true;
  }

  /** I8: no child that the broker starts runs on a network that is not an agents' one. */
  ranAs(uuid: string, name: string, netvm: string | null): void {
    const birth = this.#born.get(uuid);
    if (!birth || birth.isWhole || birth.isReleased) return;
    if (netvm !== null && Object.hasOwn(OPERATORS_QUBES, netvm)) {
      this.#seen.wrong(`I8: ${name} ran on ${netvm} before it was whole`);
    }
  }

  /** I8: umbrella, owner, tier no higher than the template's, and on nobody's network but an agents' qube's. */
  #isWhole(uuid: string): void {
    const birth = this.#born.get(uuid);
    const qube = [...this.#seen.world.qubes.values()].find((each) => each.uuid === uuid);
    if (!birth || !qube) return;
    birth.isWhole = true;
    const netvm = qube.props.has('netvm') ? (qube.props.get('netvm') ?? null) : undefined;
    if (netvm === undefined || (netvm !== null && Object.hasOwn(OPERATORS_QUBES, netvm))) {
      this.#seen.wrong(`I8: ${qube.name} was created on ${netvm ?? "the machine's default network"}`);
    }
    if (qube.tags.has('ai-dump') || qube.tags.has('qmcp-stray'))
      this.#seen.wrong(`I8: ${qube.name} was created with ${[...qube.tags]}`);
  }

  /** I8: a list does not show what its broker knows to be left behind. */
  isFreeOfLeft(deed: Deed, text: string): void {
    for (const name of this.left) {
      const birth = this.#born.get(this.#seen.world.qubes.get(name)?.uuid ?? '');
      // A life that has not read what an earlier one left cannot know of what no file could take down; it changes nothing, either.
      const isKnown = birth?.deed.life === deed.life || this.#seen.hasSettled();
      // Nor of a disposable of which it never heard: from changes the order holds it all the same.
      const isDisposable = this.#seen.world.qubes.get(name)?.klass === 'DispVM';
      const isSeen = !isDisposable || birth?.isAnswered || birth?.deed.rows.has(name);
      if (birth && isKnown && isSeen && birth.leftSince < deed.arrival && text.includes(`"${name}"`)) {
        this.#seen.wrong(`I8: call ${deed.number} was shown ${name}, which was never made whole`);
      }
    }
  }

  /** I8: what was left half-made, and nobody has released, has no umbrella after a while, whatever the broker and qubesd went through. */
  areDisarmed(): void {
    for (const { name, uuid, tags } of this.#seen.world.qubes.values()) {
      if (this.#isLeft(uuid) && tags.has('ai-managed'))
        this.#seen.wrong(`I8: ${name} was left half-made, with the umbrella`);
    }
  }

  /** I8, I4: whatever was created and is still there is whole, or the operator was told of it. */
  debris(): void {
    const { world, record } = this.#seen;
    const intents = [...record.open.values()];
    for (const [uuid, birth] of this.#born) {
      const qube = [...world.qubes.values()].find((each) => each.uuid === uuid);
      if (!qube || birth.isWhole || birth.isTold) continue;
      const isNamed =
        record.named.has(uuid) ||
        record.namedOrders.has(birth.name) ||
        record.complete.has(uuid) ||
        intents.some(({ steps, args }) => args.name === birth.name || steps.some((each) => each.qube?.uuid === uuid)) ||
        (qube.klass === 'DispVM' &&
          (record.leftUnnamed || intents.some(({ service }) => service === 'qmcp.SpawnDisposableAIManaged')));
      if (!isNamed)
        this.#seen.wrong(
          `I4: ${birth.name} (${uuid}) of call ${birth.deed.number} was left behind and nobody told of it`,
        );
    }
  }
}
