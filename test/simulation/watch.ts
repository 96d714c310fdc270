// The invariants (architecture.md), held against what the simulated world itself saw: what it answered to whom, what was
// shown and signed, what is on its disk. It hears of every effect before it happens and of every reply before it leaves.
import type { Question } from '../../daemon/confirm/question.ts';
import type { AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import type { World } from '../qubesd/world.ts';
import type { Deed } from './deed.ts';
import { BIRTH_NAMES, OPERATORS_NAME, OPERATORS_QUBES } from './fleet.ts';
import type { Frozen } from './frozen.ts';
import type { History } from './history.ts';
import type { DurableRecord, Intent } from './record.ts';
import {
  CREATES,
  isAsked,
  isPartOf,
  isWithinTier,
  type Read,
  TOMBSTONE,
  VOCABULARY,
  type Want,
  type Wishes,
} from './rules.ts';
import type { OperatorFiles } from './settings.ts';

interface Birth {
  readonly deed: Deed;
  readonly name: string;
  isWhole: boolean;
  isTold: boolean;
  /** The operator said that agents may have it, half-made or not. */
  isReleased: boolean;
  /** The step at which its caller was told that it had failed, or NEVER. */
  leftSince: number;
}

const NEVER = Number.POSITIVE_INFINITY;
const TAKEN = ' taken';

/** Why a call must be refused like any other that names what is not there. */
type Reason = 'missing' | 'unmanaged' | 'in quarantine' | 'under tier' | 'frozen' | 'denied';

interface WatchParts {
  readonly world: World;
  readonly record: DurableRecord;
  readonly settings: OperatorFiles;
  readonly history: History;
  readonly hasSettled: () => boolean;
  readonly now: () => number;
  readonly frozen: Frozen;
}

export class Watch {
  readonly #parts: WatchParts;
  /** Sentences; none for as long as all is well. */
  readonly violations: string[] = [];
  /** Born by the broker: uuid -> by which deed, and whether that deed said that it is whole. */
  readonly born = new Map<string, Birth>();
  /** The one refusal of each request, by its words without names. */
  readonly #refusals = new Map<string, { readonly reply: string; readonly reason: Reason }>();
  effects = 0;
  compared = 0;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  wrong = (sentence: string): void => {
    this.violations.push(sentence);
  };

  // ---- effects

  /** A call that changes something is about to leave for qubesd. */
  effect(deed: Deed | undefined, { method, arg = '', dest, payload = '' }: AdminRequest): void {
    this.effects += 1;
    const what = `${method}${arg ? `+${arg}` : ''}`;
    if (!deed) {
      this.wrong(`I1: ${what} on nobody's behalf`);
      return;
    }
    deed.effects += 1;
    const about = `${what} of ${deed.kind} ${deed.number} (${deed.service})`;
    if (/^admin\.vm\.(?:Create\.|CreateDisposable)/.test(method)) {
      this.#creation(deed, about, dest, String(payload));
      return;
    }
    const uuid = dest !== 'dom0' && 'uuid' in dest ? dest.uuid : null;
    const qube =
      uuid === null ? this.#named(dest) : [...this.#parts.world.qubes.values()].find((each) => each.uuid === uuid);
    // qubesd refuses what is about a qube that is gone.
    if (!qube) return;
    if (/^admin\.vm\.tag\./.test(method) && !VOCABULARY.test(arg) && !this.#isBornBy(deed, qube.uuid)) {
      this.wrong(`I10: ${about}: the tag is not the broker's to write`);
    }
    this.#isIntended(deed, about, qube);
    switch (deed.kind) {
      case 'call':
        this.#ofCall(deed, about, qube, method, arg);
        return;
      case 'operator':
        if (![...deed.rows.values()].some((row) => row.uuid === qube.uuid)) {
          this.wrong(`I10: ${about}: ${qube.name} is not the qube that was looked at`);
        }
        return;
      case 'reaper':
        this.#reaped(deed, about, qube, method);
        return;
      case 'settling': {
        const birth = this.born.get(qube.uuid);
        if (!birth || birth.deed.life === deed.life)
          this.wrong(`I4: ${about}: ${qube.name} was not left by a creation`);
        else if (birth.isTold) this.wrong(`I4: ${about}: ${qube.name} is whole, and its caller knows it`);
      }
    }
  }

  #named(dest: AdminRequest['dest']) {
    return typeof dest === 'object' && 'name' in dest ? this.#parts.world.qubes.get(dest.name) : undefined;
  }

  #isBornBy(deed: Deed, uuid: string): boolean {
    return deed.children.has(uuid) || (deed.kind === 'settling' && this.born.has(uuid));
  }

  #ofCall(deed: Deed, about: string, qube: { name: string; uuid: string }, method: string, arg: string): void {
    // What is whole is a qube like any other, also for later steps of the plan that created it.
    if (deed.children.has(qube.uuid) && !this.#parts.record.complete.has(qube.uuid)) {
      if (method === 'admin.vm.Start') this.wrong(`I8: ${about}: started before it was whole`);
      return;
    }
    this.#isUsable(about, qube.name, qube.uuid);
    for (const [index, want] of deed.wants.entries()) {
      if (!isPartOf(want, method, arg)) continue;
      const isTarget = Object.values(want.roles).some((name) => deed.rows.get(name)?.uuid === qube.uuid);
      if (!isTarget) continue;
      if (deed.granted.has(index)) {
        if (!this.#isRepeatable(want)) continue;
        return;
      }
      deed.granted.add(index);
      this.#mayBe(deed, about, want);
      return;
    }
    if (
      deed.wants.some(
        (want, index) =>
          deed.granted.has(index) && isPartOf(want, method, arg) && Object.values(want.roles).includes(qube.name),
      )
    )
      return;
    this.wrong(`I1: ${about}: ${qube.name} is not what was asked for`);
  }

  /** Effects of several calls to qubesd. */
  #isRepeatable({ service, action }: Want): boolean {
    return service === 'qmcp.SetFirewallAIManaged' || action === 'remove';
  }

  /** A tool of the platform is about to attach or detach. */
  tool(deed: Deed | undefined, name: string, frontend: string, backend: string): void {
    this.effects += 1;
    if (!deed) {
      this.wrong(`I1: ${name} on nobody's behalf`);
      return;
    }
    const about = `${name} of ${deed.kind} ${deed.number} (${deed.service})`;
    const want = deed.wants.findIndex(({ roles }) => roles.frontend === frontend && roles.backend === backend);
    if (want < 0) {
      this.wrong(`I1: ${about}: not what was asked for`);
      return;
    }
    deed.granted.add(want);
    const uuid = deed.rows.get(frontend)?.uuid;
    if (uuid !== undefined) this.#isIntended(deed, about, { name: frontend, uuid });
    this.#mayBe(deed, about, deed.wants[want] as Want);
  }

  #creation(deed: Deed, about: string, dest: AdminRequest['dest'], payload: string): void {
    const name = /name=(\S+)/.exec(payload)?.[1];
    const index = deed.wants.findIndex(
      (want, at) => CREATES.has(want.service) && !deed.granted.has(at) && (want.creates ?? undefined) === name,
    );
    const want = deed.wants[index];
    if (deed.kind !== 'call' || !want) {
      this.wrong(`I1: ${about}: nobody asked for ${name ?? 'a disposable'}`);
      return;
    }
    deed.granted.add(index);
    const source = Object.values(want.roles)[0] ?? '';
    const uuid = deed.rows.get(source)?.uuid;
    if (name === undefined && (typeof dest !== 'object' || !('uuid' in dest) || dest.uuid !== uuid)) {
      this.wrong(`I2: ${about}: of another template than was looked at`);
    }
    const covers = this.#openIntents(deed).some(({ steps }) => steps.at(-1)?.step === 'create');
    if (!covers) this.wrong(`I4: ${about}: without its intent and its order on disk`);
    this.#mayBe(deed, about, want);
  }

  /** I1, I2: entitled to this want by what qubesd last answered it, asked after the answer where somebody was asked. */
  #mayBe(deed: Deed, about: string, want: Want): void {
    const qubes: Record<string, Read> = {};
    let since = this.#parts.history.step;
    for (const [role, name] of Object.entries(want.roles)) {
      const row = deed.rows.get(name);
      const tags = row && deed.tags.get(row.uuid);
      if (!row || !tags) {
        this.wrong(`I1: ${about}: ${name} was never looked at`);
        return;
      }
      this.#isUsable(about, name, row.uuid);
      since = Math.min(since, row.asked);
      qubes[role] = { name, uuid: row.uuid, tags: tags.tags };
    }
    // Names that a creation claims, and settings, are looked at a little before the qubes; and of one that is named twice only
    // the second look is known.
    const names = [...Object.values(want.roles), want.value];
    const isTwice = new Set(names).size < names.length;
    if (CREATES.has(want.service) || isTwice) since = Math.max(deed.arrival, this.#lastAnswer(deed));
    const wishes = this.#parts.settings.since(since);
    const before = Object.entries(qubes).map(([role, qube]) => {
      return [role, { ...qube, tags: deed.tagsBefore.get(qube.uuid) ?? qube.tags }] as const;
    });
    // Of a qube that is named twice it is decided by the first look, which may be the better one.
    const looks = isTwice ? [qubes, Object.fromEntries(before)] : [qubes];
    if (!wishes.some((each) => looks.some((look) => isWithinTier(want, look, each, deed.ceiling)))) {
      this.wrong(`I1: ${about}: not within the tier of ${JSON.stringify(tagsIn(qubes))}`);
    }
    if (this.#isFrozenSince(deed, since)) this.wrong(`I1: ${about}: its source is frozen`);
    const approval = [...deed.approvals.values()].at(-1);
    if (wishes.every((each) => isAsked(want, qubes, each)) && !approval) {
      this.wrong(`I1: ${about}: nobody was asked about ${JSON.stringify(tagsIn(qubes))}`);
    }
    if (!approval) return;
    if (since < approval.step) this.wrong(`I2: ${about}: not looked at again after the yes`);
    const nonces = [...deed.approvals.keys()];
    const intents = this.#openIntents(deed);
    const isUsed =
      deed.plan === null
        ? intents.some(({ nonce }) => nonce !== null && nonces.includes(nonce))
        : intents.some(({ nonce }) => nonce === deed.plan);
    if (!isUsed) this.wrong(`I3: ${about}: the yes is not used up on disk`);
    if (deed.plan === null && approval.bound !== this.boundOf(deed)) {
      this.wrong(`I2: ${about}: the yes was about ${approval.bound}, and now it is ${this.boundOf(deed)}`);
    }
  }

  #lastAnswer(deed: Deed): number {
    return Math.max(0, ...[...deed.approvals.values()].map(({ step }) => step));
  }

  #isFrozenSince({ source }: Deed, step: number): boolean {
    const since = this.#parts.frozen.since.get(source);
    return since !== undefined && since < step;
  }

  /** What a yes is about: the qubes that the deed names, as it last saw them. */
  boundOf(deed: Deed): string {
    const names = [...new Set(deed.wants.flatMap(({ roles }) => Object.values(roles)))].sort();
    return names
      .map((name) => {
        const uuid = deed.rows.get(name)?.uuid ?? '';
        return `${name} ${uuid} ${[...(deed.tags.get(uuid)?.tags ?? [])].sort().join(' ')}`;
      })
      .join('; ');
  }

  #openIntents({ kind, source, service, wants, life }: Deed): Intent[] {
    const isOurs = (intent: Intent): boolean => {
      if (!intent.isCurrent) return kind === 'settling' && life > 0;
      if (kind === 'operator') return intent.service === 'qmcpctl';
      if (kind === 'reaper') return intent.service === 'qmcp.TombstoneReaper';
      return (
        intent.source === source &&
        (intent.service === service || wants.some((want) => want.service === intent.service))
      );
    };
    return [...this.#parts.record.open.values()].filter(isOurs);
  }

  /** I4: at this moment an intent that names the qube is on disk, without outcome. */
  #isIntended(deed: Deed, about: string, { name, uuid }: { name: string; uuid: string }): void {
    // What it created itself may be taken away with or without a journal; what it left may be late.
    if (this.#isBornBy(deed, uuid)) return;
    const covers = this.#openIntents(deed).some(({ qubes }) => qubes.some((each) => each.uuid === uuid));
    if (!covers) this.wrong(`I4: ${about}: no intent for ${name} (${uuid}) is on disk`);
  }

  #reaped(deed: Deed, about: string, qube: { name: string; uuid: string }, method: string): void {
    const read = deed.tags.get(qube.uuid);
    const times = [...(read?.tags ?? [])].map((tag) => Number(TOMBSTONE.exec(tag)?.[1] ?? Number.NaN));
    const buried = Math.max(...times.filter((time) => !Number.isNaN(time)));
    const retention = Math.min(
      ...this.#parts.settings
        .since(read?.asked ?? 0)
        .map((wishes: Wishes) =>
          wishes.retention === 'absent' ? 86_400 : (wishes.retention ?? Number.POSITIVE_INFINITY),
        ),
    );
    const isDue = Number.isFinite(buried) && this.#parts.now() / 1000 - buried >= retention;
    if (method !== 'admin.vm.Remove' || !read || read.tags.has('ai-managed') || !isDue) {
      this.wrong(`I1: ${about}: ${qube.name} is no tombstone whose time is over`);
    }
  }

  // ---- births

  wasBorn(deed: Deed, uuid: string, name: string): void {
    deed.children.add(uuid);
    this.born.set(uuid, { deed, name, isWhole: false, isTold: false, isReleased: false, leftSince: NEVER });
  }

  /** What creations left half-made, as their callers know, and nobody has released or removed. */
  get left(): readonly string[] {
    const isTold = (uuid: string): boolean => this.#isLeft(uuid) && this.born.get(uuid)?.leftSince !== NEVER;
    return [...this.#parts.world.qubes.values()].filter(({ uuid }) => isTold(uuid)).map(({ name }) => name);
  }

  #isLeft(uuid: string): boolean {
    const birth = this.born.get(uuid);
    return birth !== undefined && !birth.isWhole && !birth.isReleased && !this.#parts.record.complete.has(uuid);
  }

  /** I8: what is not whole is used by nobody, whatever its tags say by then (contract vector S72). */
  #isUsable(about: string, name: string, uuid: string): void {
    if (this.#isLeft(uuid)) this.wrong(`I8: ${about}: ${name} was never made whole`);
  }

  /** The operator puts it on a tier that agents can use. */
  released(name: string): void {
    const birth = this.born.get(this.#parts.world.qubes.get(name)?.uuid ?? '');
    if (birth) birth.isReleased = true;
  }

  /** I8: no child that the broker starts runs on a network that is not an agents' one. */
  ranAs(uuid: string, name: string, netvm: string | null): void {
    const birth = this.born.get(uuid);
    if (!birth || birth.isWhole || birth.isReleased) return;
    if (netvm !== null && Object.hasOwn(OPERATORS_QUBES, netvm)) {
      this.wrong(`I8: ${name} ran on ${netvm} before it was whole`);
    }
  }

  // ---- questions

  #shown = 0;

  isShown(question: Question, waiting: readonly string[]): void {
    this.#shown += 1;
    if (this.#shown > 1) this.wrong(`I9: ${this.#shown} questions on the screen`);
    if (waiting.length > 16) this.wrong(`I9: ${waiting.length} questions wait`);
    for (const source of new Set(waiting)) {
      const count = waiting.filter((each) => each === source).length;
      if (count > 4) this.wrong(`I9: ${count} questions of ${source} wait`);
    }
    for (const line of question.view.lines) {
      if (!/^[\x20-\x7e]*$/.test(line) || line.includes('CANARY'))
        this.wrong(`I5: a line of the question is ${JSON.stringify(line)}`);
    }
  }

  isHidden(): void {
    this.#shown -= 1;
  }

  /** With the broker goes the connection, and the window. */
  isGone(): void {
    this.#shown = 0;
  }

  // ---- replies

  /** The reply of a call, before it is sent. */
  replied(deed: Deed, reply: Readonly<Record<string, unknown>>): void {
    const text = JSON.stringify(reply);
    if (typeof reply.ok !== 'boolean') this.wrong(`the reply to call ${deed.number} is ${text}`);
    const leak = OPERATORS_NAME.exec(text)?.[0];
    if (leak !== undefined && !JSON.stringify(deed.request ?? null).includes(leak)) {
      this.wrong(`I6: the reply to call ${deed.number} (${deed.service}) names ${leak}: ${text}`);
    }
    if (reply.ok && deed.signed === 'bad' && !deed.isLate)
      this.wrong(`I1: call ${deed.number}, whose envelope must not count, got ${text}`);
    if (reply.ok && this.#isFrozenSince(deed, deed.arrival)) {
      this.wrong(`I1: call ${deed.number} of the frozen ${deed.source} was answered ${text}`);
    }
    for (const uuid of deed.children) {
      const birth = this.born.get(uuid);
      if (!birth) continue;
      const isNamed = text.includes(`"${birth.name}"`) || text.includes(`'${birth.name}'`);
      if (reply.ok && deed.plan === null) this.#isWhole(uuid);
      if (isNamed || (reply.ok && deed.plan === null)) birth.isTold = reply.ok === true;
      if (isNamed) this.#parts.record.named.add(uuid);
      if (!reply.ok) birth.leftSince = Math.min(birth.leftSince, this.#parts.history.step);
    }
    if (deed.service === 'qmcp.ListAIManagedQubes') this.#isFreeOfLeft(deed, text);
    if (deed.wants.length === 1 && deed.plan === null) this.#isLikeOthers(deed, reply, text);
  }

  #isFreeOfLeft(deed: Deed, text: string): void {
    for (const name of this.left) {
      const birth = this.born.get(this.#parts.world.qubes.get(name)?.uuid ?? '');
      // A life that has not read what an earlier one left cannot know of what no file could take down; it changes nothing, either.
      const isKnown = birth?.deed.life === deed.life || this.#parts.hasSettled();
      // Nor of a disposable that it never saw, as it could not ask for it: from changes the order holds it all the same.
      const isSeen = this.#parts.world.qubes.get(name)?.klass !== 'DispVM' || birth?.deed.rows.has(name);
      if (birth && isKnown && isSeen && birth.leftSince < deed.arrival && text.includes(`"${name}"`)) {
        this.wrong(`I8: call ${deed.number} was shown ${name}, which was never made whole`);
      }
    }
  }

  /** I8: umbrella, owner, tier no higher than the template's, and on nobody's network but an agents' qube's. */
  #isWhole(uuid: string): void {
    const birth = this.born.get(uuid);
    const qube = [...this.#parts.world.qubes.values()].find((each) => each.uuid === uuid);
    if (!birth || !qube) return;
    birth.isWhole = true;
    const netvm = qube.props.has('netvm') ? (qube.props.get('netvm') ?? null) : undefined;
    if (netvm === undefined || (netvm !== null && Object.hasOwn(OPERATORS_QUBES, netvm))) {
      this.wrong(`I8: ${qube.name} was created on ${netvm ?? "the machine's default network"}`);
    }
    if (qube.tags.has('ai-dump') || qube.tags.has('qmcp-stray'))
      this.wrong(`I8: ${qube.name} was created with ${[...qube.tags]}`);
  }

  /** I6: whatever the reason, the words are those of a qube that is not there. */
  #isLikeOthers(deed: Deed, reply: Readonly<Record<string, unknown>>, text: string): void {
    const reason = this.#reasonToRefuse(deed);
    if (reason === null) return;
    if (reply.ok) {
      this.wrong(`I1: call ${deed.number} (${deed.service}) was answered ${text} although ${reason}`);
      return;
    }
    // A signed call is also refused where its number cannot be written down, whatever it says.
    if (deed.signed !== 'no') return;
    const key = `${deed.service} ${this.#withoutNames(deed)}`;
    // Who is frozen learns nothing of what is there, taken names included; who is not is told of those (contract 1.5).
    if (reason === 'frozen' && key.endsWith(TAKEN)) return;
    const known = this.#refusals.get(key);
    this.compared += 1;
    if (!known) this.#refusals.set(key, { reply: this.#plain(deed, text), reason });
    else if (known.reply !== this.#plain(deed, text)) {
      this.wrong(`I6: ${reason} is told from ${known.reason} (${key}): ${text} and ${known.reply}`);
    }
  }

  #withoutNames({ request, wants }: Deed): string {
    let text = JSON.stringify(request);
    for (const name of Object.values(wants[0]?.roles ?? {})) text = text.replaceAll(JSON.stringify(name), '"NAME"');
    const creates = wants[0]?.creates;
    const taken = creates !== undefined && this.#parts.world.qubes.has(creates) ? TAKEN : '';
    if (creates !== undefined) text = text.replaceAll(JSON.stringify(creates), '"NEW"');
    return text + taken;
  }

  #plain({ wants }: Deed, text: string): string {
    const creates = wants[0]?.creates;
    return creates === undefined ? text : text.replaceAll(creates, 'NEW');
  }

  /** What held from the arrival of the call to its end; null where something changed meanwhile, or nothing stands against it. */
  #reasonToRefuse(deed: Deed): Reason | null {
    const { settings, world } = this.#parts;
    const [want] = deed.wants;
    if (!want || deed.isTroubled || settings.since(deed.arrival).length > 1) return null;
    if (want.creates !== undefined) {
      // A name of another form has a reply of its own, and whether a good one is taken may change under it.
      const isGood = BIRTH_NAMES.some((name) => name === want.creates);
      if (!isGood || this.#changedSince(want.creates, deed.arrival)) return null;
    }
    if (this.#isFrozenSince(deed, deed.arrival)) return 'frozen';
    if ((this.#parts.frozen.changed.get(deed.source) ?? -1) >= deed.arrival) return null;
    const names = Object.values(want.roles);
    if (names.some((name) => this.#changedSince(name, deed.arrival))) return null;
    const qubes = Object.entries(want.roles).map(([role, name]) => [role, world.qubes.get(name)] as const);
    if (qubes.some(([, qube]) => !qube)) return 'missing';
    if (qubes.some(([, qube]) => !qube?.tags.has('ai-managed'))) return 'unmanaged';
    const births = qubes.flatMap(([, qube]) => (qube && this.#isLeft(qube.uuid) && this.born.get(qube.uuid)) || []);
    // From when on it is held is known only of what a caller was told.
    if (births.length > 0) return births.some(({ leftSince }) => leftSince < deed.arrival) ? 'in quarantine' : null;
    const reads = Object.fromEntries(qubes.flatMap(([role, qube]) => (qube ? [[role, qube]] : [])));
    if (!isWithinTier(want, reads, settings.wishes, deed.ceiling)) return 'under tier';
    return deed.isAsked && deed.approvals.size === 0 ? 'denied' : null;
  }

  /** Name -> the step of its last change. */
  readonly changes = new Map<string, number>();
  #changedSince(name: string, step: number): boolean {
    return (this.changes.get(name) ?? -1) >= step;
  }

  // ---- what is left

  /** I8, I4: whatever was created and is still there is whole, or the operator was told of it. */
  debris(): void {
    const { world, record } = this.#parts;
    const intents = [...record.open.values()];
    for (const [uuid, birth] of this.born) {
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
        this.wrong(`I4: ${birth.name} (${uuid}) of call ${birth.deed.number} was left behind and nobody told of it`);
    }
  }

  /** I4: of intents of this life none is open when nothing is under way. */
  settled(): void {
    const { record } = this.#parts;
    if (record.gaps > 0) return;
    for (const intent of record.open.values()) {
      const isTold = intent.steps.some(
        ({ step, qube }) => step === 'not in quarantine' || (step === 'left behind' && qube === null),
      );
      if (intent.isCurrent && !isTold) this.wrong(`I4: intent ${intent.seq} (${intent.service}) has no outcome`);
    }
  }
}

const tagsIn = (qubes: Readonly<Record<string, Read>>): Record<string, string> =>
  Object.fromEntries(Object.values(qubes).map(({ name, tags }) => [name, [...tags].join(' ')]));
