// Every reply, before it leaves: no name of the operator's in it, and of what must be refused, word for word what is said of a qube
// that does not exist (I1, I6).
import type { Births } from './births.ts';
import type { Deed } from './deed.ts';
import { BIRTH_NAMES, OPERATORS_NAME } from './fleet.ts';
import { isWithinTier } from './rules.ts';
import type { Seen } from './watch.ts';

const TAKEN = ' taken';

/** Why a call must be refused like any other that names what is not there. */
type Reason = 'missing' | 'unmanaged' | 'in quarantine' | 'under tier' | 'frozen' | 'denied';

export class Replies {
  readonly #seen: Seen;
  readonly #births: Births;
  /** The one refusal of each request, by its words without names. */
  readonly #refusals = new Map<string, { readonly reply: string; readonly reason: Reason }>();
  /** Name of a qube -> the step of its last change. */
  readonly changes = new Map<string, number>();
  /** How many refusals were held against that of a qube that is not there. */
  compared = 0;

  constructor(seen: Seen, births: Births) {
    this.#seen = seen;
    this.#births = births;
  }

  /** The reply of a call, before it is sent. */
  leaves(deed: Deed, reply: Readonly<Record<string, unknown>>): void {
    const text = JSON.stringify(reply);
    if (typeof reply.ok !== 'boolean') this.#seen.wrong(`the reply to call ${deed.number} is ${text}`);
    const leak = OPERATORS_NAME.exec(text)?.[0];
    if (leak !== undefined && !JSON.stringify(deed.request ?? null).includes(leak)) {
      this.#seen.wrong(`I6: the reply to call ${deed.number} (${deed.service}) names ${leak}: ${text}`);
    }
    if (reply.ok && deed.signed === 'bad' && !deed.isLate)
      this.#seen.wrong(`I1: call ${deed.number}, whose envelope must not count, got ${text}`);
    if (reply.ok && this.#seen.frozen.isSince(deed.source, deed.arrival)) {
      this.#seen.wrong(`I1: call ${deed.number} of the frozen ${deed.source} was answered ${text}`);
    }
    this.#births.areTold(deed, reply.ok === true, text);
    if (deed.service === 'qmcp.ListAIManagedQubes') this.#births.isFreeOfLeft(deed, text);
    if (deed.wants.length === 1 && deed.plan === null) this.#isLikeOthers(deed, reply, text);
  }

  /** I6: whatever the reason, the words are those of a qube that is not there. */
  #isLikeOthers(deed: Deed, reply: Readonly<Record<string, unknown>>, text: string): void {
    const reason = this.#reasonToRefuse(deed);
    if (reason === null) return;
    if (reply.ok) {
      this.#seen.wrong(`I1: call ${deed.number} (${deed.service}) was answered ${text} although ${reason}`);
      return;
    }
    // A signed call is also refused where its number cannot be written down, and any for its quota, whatever it says.
    if (deed.signed !== 'no' || deed.isLimited) return;
    const key = `${deed.service} ${this.#withoutNames(deed)}`;
    // Who is frozen learns nothing of what is there, taken names included; who is not is told of those (contract 1.5).
    if (reason === 'frozen' && key.endsWith(TAKEN)) return;
    const known = this.#refusals.get(key);
    this.compared += 1;
    if (!known) this.#refusals.set(key, { reply: this.#plain(deed, text), reason });
    else if (known.reply !== this.#plain(deed, text)) {
      this.#seen.wrong(`I6: ${reason} is told from ${known.reason} (${key}): ${text} and ${known.reply}`);
    }
  }

  #withoutNames({ request, wants }: Deed): string {
    let text = JSON.stringify(request);
    for (const name of Object.values(wants[0]?.roles ?? {})) text = text.replaceAll(JSON.stringify(name), '"NAME"');
    const creates = wants[0]?.creates;
    const taken = creates !== undefined && this.#seen.world.qubes.has(creates) ? TAKEN : '';
    if (creates !== undefined) text = text.replaceAll(JSON.stringify(creates), '"NEW"');
    return text + taken;
  }

  #plain({ wants }: Deed, text: string): string {
    const creates = wants[0]?.creates;
    return creates === undefined ? text : text.replaceAll(creates, 'NEW');
  }

  /** What held from the arrival of the call to its end; null where something changed meanwhile, or nothing stands against it. */
  #reasonToRefuse(deed: Deed): Reason | null {
    const { settings, world } = this.#seen;
    const [want] = deed.wants;
    if (!want || deed.isTroubled || settings.since(deed.arrival).length > 1) return null;
    if (want.creates !== undefined) {
      // A name of another form has a reply of its own, and whether a good one is taken may change under it.
      const isGood = BIRTH_NAMES.some((name) => name === want.creates);
      if (!isGood || this.#changedSince(want.creates, deed.arrival)) return null;
    }
    if (this.#seen.frozen.isSince(deed.source, deed.arrival)) return 'frozen';
    if ((this.#seen.frozen.changed.get(deed.source) ?? -1) >= deed.arrival) return null;
    const names = Object.values(want.roles);
    if (names.some((name) => this.#changedSince(name, deed.arrival))) return null;
    const qubes = Object.entries(want.roles).map(([role, name]) => [role, world.qubes.get(name)] as const);
    if (qubes.some(([, qube]) => !qube)) return 'missing';
    if (qubes.some(([, qube]) => !qube?.tags.has('ai-managed'))) return 'unmanaged';
    const births = qubes.flatMap(([, qube]) => (qube && this.#births.ofLeft(qube.uuid)) ?? []);
    // From when on it is held is known only of what a caller was told.
    if (births.length > 0) return births.some(({ leftSince }) => leftSince < deed.arrival) ? 'in quarantine' : null;
    const reads = Object.fromEntries(qubes.flatMap(([role, qube]) => (qube ? [[role, qube]] : [])));
    if (!isWithinTier(want, reads, settings.wishes, deed.ceiling)) return 'under tier';
    return deed.isAsked && deed.approvals.size === 0 ? 'denied' : null;
  }

  #changedSince(name: string, step: number): boolean {
    return (this.changes.get(name) ?? -1) >= step;
  }
}
