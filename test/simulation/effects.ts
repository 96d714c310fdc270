// Every effect, before it leaves: wanted, of the qube that was looked at, within its tier, with the yes that it needs, and written
// down (I1, I2, I3, I4, I8, I10).
import type { AdminRequest } from '../../daemon/qubesadmin/wire.ts';
import type { Births } from './births.ts';
import type { Deed } from './deed.ts';
import type { Intent } from './record.ts';
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
import type { Seen } from './watch.ts';

const DISARMS = /^admin\.vm\.(?:tag\.Remove\+|property\.Set\+netvm$)/;

export class Effects {
  readonly #seen: Seen;
  readonly #births: Births;
  count = 0;

  constructor(seen: Seen, births: Births) {
    this.#seen = seen;
    this.#births = births;
  }

  /** A call that changes something is about to leave for qubesd. */
  sends(deed: Deed | undefined, { method, arg = '', dest, payload = '' }: AdminRequest): void {
    this.count += 1;
    const what = `${method}${arg ? `+${arg}` : ''}`;
    if (!deed) {
      this.#seen.wrong(`I1: ${what} on nobody's behalf`);
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
      uuid === null ? this.#named(dest) : [...this.#seen.world.qubes.values()].find((each) => each.uuid === uuid);
    // qubesd refuses what is about a qube that is gone.
    if (!qube) return;
    if (/^admin\.vm\.tag\./.test(method) && !VOCABULARY.test(arg) && !this.#isBornBy(deed, qube.uuid)) {
      this.#seen.wrong(`I10: ${about}: the tag is not the broker's to write`);
    }
    this.#isIntended(deed, about, qube);
    switch (deed.kind) {
      case 'call':
        this.#ofCall(deed, about, qube, method, arg);
        return;
      case 'operator':
        if (![...deed.rows.values()].some((row) => row.uuid === qube.uuid)) {
          this.#seen.wrong(`I10: ${about}: ${qube.name} is not the qube that was looked at`);
        }
        return;
      case 'reaper':
        this.#reaped(deed, about, qube, method);
        return;
      case 'settling': {
        const birth = this.#births.of(qube.uuid);
        if (!birth) this.#seen.wrong(`I4: ${about}: ${qube.name} was not left by a creation`);
        else if (birth.isWhole || this.#seen.record.complete.has(qube.uuid))
          this.#seen.wrong(`I4: ${about}: ${qube.name} is whole`);
        else if (birth.isSurelyReleased) this.#seen.wrong(`I4: ${about}: ${qube.name} was released by the operator`);
        else if (birth.deed.life === deed.life && !DISARMS.test(what))
          this.#seen.wrong(`I4: ${about}: ${qube.name} is for a person to clean up`);
      }
    }
  }

  #named(dest: AdminRequest['dest']) {
    return typeof dest === 'object' && 'name' in dest ? this.#seen.world.qubes.get(dest.name) : undefined;
  }

  #isBornBy(deed: Deed, uuid: string): boolean {
    return deed.children.has(uuid) || (deed.kind === 'settling' && this.#births.of(uuid) !== undefined);
  }

  #ofCall(deed: Deed, about: string, qube: { name: string; uuid: string }, method: string, arg: string): void {
    // What is whole is a qube like any other, also for later steps of the plan that created it.
    if (deed.children.has(qube.uuid) && !this.#seen.record.complete.has(qube.uuid)) {
      if (method === 'admin.vm.Start') this.#seen.wrong(`I8: ${about}: started before it was whole`);
      return;
    }
    this.#births.isUsable(about, qube.name, qube.uuid);
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
    this.#seen.wrong(`I1: ${about}: ${qube.name} is not what was asked for`);
  }

  /** Effects of several calls to qubesd. */
  #isRepeatable({ service, action }: Want): boolean {
    return service === 'qmcp.SetFirewallAIManaged' || action === 'remove';
  }

  /** A tool of the platform is about to attach or detach. */
  runs(deed: Deed | undefined, name: string, frontend: string, backend: string): void {
    this.count += 1;
    if (!deed) {
      this.#seen.wrong(`I1: ${name} on nobody's behalf`);
      return;
    }
    const about = `${name} of ${deed.kind} ${deed.number} (${deed.service})`;
    const want = deed.wants.findIndex(({ roles }) => roles.frontend === frontend && roles.backend === backend);
    if (want < 0) {
      this.#seen.wrong(`I1: ${about}: not what was asked for`);
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
      this.#seen.wrong(`I1: ${about}: nobody asked for ${name ?? 'a disposable'}`);
      return;
    }
    deed.granted.add(index);
    const source = Object.values(want.roles)[0] ?? '';
    const uuid = deed.rows.get(source)?.uuid;
    if (name === undefined && (typeof dest !== 'object' || !('uuid' in dest) || dest.uuid !== uuid)) {
      this.#seen.wrong(`I2: ${about}: of another template than was looked at`);
    }
    const covers = this.#openIntents(deed).some(({ steps }) => steps.at(-1)?.step === 'create');
    if (!covers) this.#seen.wrong(`I4: ${about}: without its intent and its order on disk`);
    this.#mayBe(deed, about, want);
  }

  /** I1, I2: entitled to this want by what qubesd last answered it, asked after the answer where somebody was asked. */
  #mayBe(deed: Deed, about: string, want: Want): void {
    const qubes: Record<string, Read> = {};
    let since = this.#seen.history.step;
    for (const [role, name] of Object.entries(want.roles)) {
      const row = deed.rows.get(name);
      const tags = row && deed.tags.get(row.uuid);
      if (!row || !tags) {
        this.#seen.wrong(`I1: ${about}: ${name} was never looked at`);
        return;
      }
      this.#births.isUsable(about, name, row.uuid);
      since = Math.min(since, row.asked);
      qubes[role] = { name, uuid: row.uuid, tags: tags.tags };
    }
    // Names that a creation claims, and settings, are looked at a little before the qubes; and of one that is named twice only
    // the second look is known.
    const names = [...Object.values(want.roles), want.value];
    const isTwice = new Set(names).size < names.length;
    if (CREATES.has(want.service) || isTwice) since = Math.max(deed.arrival, this.#lastAnswer(deed));
    const wishes = this.#seen.settings.since(since);
    const before = Object.entries(qubes).map(([role, qube]) => {
      return [role, { ...qube, tags: deed.tagsBefore.get(qube.uuid) ?? qube.tags }] as const;
    });
    // Of a qube that is named twice it is decided by the first look, which may be the better one.
    const looks = isTwice ? [qubes, Object.fromEntries(before)] : [qubes];
    if (!wishes.some((each) => looks.some((look) => isWithinTier(want, look, each, deed.ceiling)))) {
      this.#seen.wrong(`I1: ${about}: not within the tier of ${JSON.stringify(tagsIn(qubes))}`);
    }
    if (this.#seen.frozen.isSince(deed.source, since)) this.#seen.wrong(`I1: ${about}: its source is frozen`);
    const approval = [...deed.approvals.values()].at(-1);
    // Whether a removal leaves a tombstone is settled when the call is read, for the verdict and the effect alike.
    const read = this.#seen.settings.since(deed.arrival);
    const asks = (each: Wishes): boolean =>
      read.every(({ tombstones, mode }) => isAsked(want, qubes, { ...each, tombstones, mode }));
    if (wishes.every(asks) && !approval) {
      this.#seen.wrong(`I1: ${about}: nobody was asked about ${JSON.stringify(tagsIn(qubes))}`);
    }
    if (!approval) return;
    if (since < approval.step) this.#seen.wrong(`I2: ${about}: not looked at again after the yes`);
    const nonces = [...deed.approvals.keys()];
    const intents = this.#openIntents(deed);
    const isUsed =
      deed.plan === null
        ? intents.some(({ nonce }) => nonce !== null && nonces.includes(nonce))
        : intents.some(({ nonce }) => nonce === deed.plan);
    if (!isUsed) this.#seen.wrong(`I3: ${about}: the yes is not used up on disk`);
    if (deed.plan === null && approval.bound !== deed.bound) {
      this.#seen.wrong(`I2: ${about}: the yes was about ${approval.bound}, and now it is ${deed.bound}`);
    }
  }

  #lastAnswer(deed: Deed): number {
    return Math.max(0, ...[...deed.approvals.values()].map(({ step }) => step));
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
    return [...this.#seen.record.open.values()].filter(isOurs);
  }

  /** I4: at this moment an intent that names the qube is on disk, without outcome. */
  #isIntended(deed: Deed, about: string, { name, uuid }: { name: string; uuid: string }): void {
    // What it created itself may be taken away with or without a journal; what it left may be late.
    if (this.#isBornBy(deed, uuid)) return;
    const covers = this.#openIntents(deed).some(({ qubes }) => qubes.some((each) => each.uuid === uuid));
    if (!covers) this.#seen.wrong(`I4: ${about}: no intent for ${name} (${uuid}) is on disk`);
  }

  #reaped(deed: Deed, about: string, qube: { name: string; uuid: string }, method: string): void {
    const read = deed.tags.get(qube.uuid);
    const times = [...(read?.tags ?? [])].map((tag) => Number(TOMBSTONE.exec(tag)?.[1] ?? Number.NaN));
    const buried = Math.max(...times.filter((time) => !Number.isNaN(time)));
    const retention = Math.min(
      ...this.#seen.settings
        .since(read?.asked ?? 0)
        .map((wishes: Wishes) =>
          wishes.retention === 'absent' ? 86_400 : (wishes.retention ?? Number.POSITIVE_INFINITY),
        ),
    );
    const isDue = Number.isFinite(buried) && this.#seen.now() / 1000 - buried >= retention;
    if (method !== 'admin.vm.Remove' || !read || read.tags.has('ai-managed') || !isDue) {
      this.#seen.wrong(`I1: ${about}: ${qube.name} is no tombstone whose time is over`);
    }
  }
}

const tagsIn = (qubes: Readonly<Record<string, Read>>): Record<string, string> =>
  Object.fromEntries(Object.values(qubes).map(({ name, tags }) => [name, [...tags].join(' ')]));
