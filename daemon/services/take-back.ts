// Taking a change back (product, "Undo"): what is there now is held against what the change made and what was there before.
import { isControlled } from '../authority/birth.ts';
import { isTombstoneMarker } from '../authority/tombstone.ts';
import type { Change, Value } from '../journal/undo-entry.ts';
import type { Uuid } from '../names.ts';
import { UMBRELLA } from '../qube.ts';
import type { Admin } from '../qubesadmin/admin.ts';
import { parseRules, ruleLine } from './firewall-rule.ts';

/** Whether the present value is the one the change made, the one before it, one on the way between them, or none of these. */
export type Standing = 'made' | 'before' | 'between' | 'other';

/** What a change was made to, on the qube with this uuid. Values are texts; tags are joined by blanks. */
export interface Changed {
  /** undefined where nobody knows it. */
  readonly before: Value | undefined;
  readonly after: Value;
  /** The value there is now. Rejects with `AdminError`. */
  read(): Promise<Value>;
  /** Puts a value there. Rejects with `AdminError`, and may then have done a part of it. */
  write(value: Value): Promise<void>;
  readonly isSame: (a: Value, b: Value) => boolean;
  /** Where a change or its undo takes several steps: whether a value is one that it could have stopped at. */
  readonly isBetween?: (now: Value) => boolean;
}

export const changedBy = (change: Change, uuid: Uuid, admin: Admin): Changed => {
  const dest = { uuid };
  switch (change.kind) {
    case 'property': {
      const { name, before, after } = change;
      return {
        before: before?.value,
        after,
        read: async () => {
          const { isDefault, text } = await admin.property(dest, name);
          return isDefault ? null : text;
        },
        write: (value) => (value === null ? admin.resetProperty(dest, name) : admin.setProperty(dest, name, value)),
        isSame: isSameValue,
      };
    }
    case 'feature': {
      const { name, before, after } = change;
      return {
        before: before?.value,
        after,
        read: () => admin.feature(dest, name),
        write: (value) => (value === null ? admin.removeFeature(dest, name) : admin.setFeature(dest, name, value)),
        isSame: (a, b) => a === b,
      };
    }
    case 'firewall':
      return {
        before: change.before,
        after: change.after,
        read: () => admin.firewall(dest),
        write: async (value) => {
          await admin.setFirewall(dest, value ?? '');
          await admin.reloadFirewall(dest);
        },
        isSame: (a, b) => a === b || isSameFirewall(a ?? '', b ?? ''),
      };
    case 'tombstone':
      return {
        before: textOfTags(change.before),
        after: textOfTags(change.after),
        read: async () => textOfTags([...(await admin.tags(dest))].filter(isControlled)),
        write: (value) => writeTags(tagsOfText(value ?? ''), uuid, admin),
        isSame: (a, b) => a === b,
        isBetween: (now) => isBetween(new Set(tagsOfText(now ?? '')), new Set(change.before), new Set(change.after)),
      };
  }
};

export const standingOf = ({ before, after, isSame, isBetween }: Changed, now: Value): Standing => {
  if (isSame(now, after)) return 'made';
  if (before !== undefined && isSame(now, before)) return 'before';
  return isBetween?.(now) ? 'between' : 'other';
};

/** qubesd writes numbers its own way: 0400 becomes 400. */
const isSameValue = (a: Value, b: Value): boolean =>
  a === b || (a !== null && b !== null && NUMBER.test(a) && NUMBER.test(b) && Number(a) === Number(b));

const NUMBER = /^[0-9]{1,15}$/;

const isSameFirewall = (a: string, b: string): boolean => {
  const [rules, others] = [parseRules(a), parseRules(b)];
  return rules !== null && others !== null && rules.map(ruleLine).join('\n') === others.map(ruleLine).join('\n');
};

/** The marker is the first that an entombment sets and the last that its undo takes away, so all of a tombstone is there. */
const isBetween = (now: ReadonlySet<string>, before: ReadonlySet<string>, after: ReadonlySet<string>): boolean =>
  [...now].every((tag) => before.has(tag) || after.has(tag)) && [...after].every((tag) => now.has(tag));

const textOfTags = (tags: readonly string[]): string => [...new Set(tags)].sort().join(' ');
const tagsOfText = (text: string): string[] => text.split(' ').filter(Boolean);

/**
 * Makes the tags of our vocabulary exactly these (I10). The umbrella comes after what belongs under it, and a tombstone's marker
 * goes last: until then the reaper leaves the qube alone, and it is known as half-way back.
 */
const writeTags = async (wanted: readonly string[], uuid: Uuid, admin: Admin): Promise<void> => {
  const dest = { uuid };
  const present = await admin.tags(dest);
  const added = wanted.filter((tag) => !present.has(tag));
  const surplus = [...present].filter((tag) => isControlled(tag) && !wanted.includes(tag)).sort();
  for (const tag of last(added, (tag) => tag === UMBRELLA)) await admin.setTag(dest, tag);
  for (const tag of last(surplus, isTombstoneMarker)) await admin.removeTag(dest, tag);
};

const last = (tags: readonly string[], isLast: (tag: string) => boolean): string[] => [
  ...tags.filter((tag) => !isLast(tag)),
  ...tags.filter(isLast),
];
