// What changes between two lists of firewall rules, rule by rule and in order. Pure.

export interface Changed {
  readonly kind: 'added' | 'removed' | 'kept';
  readonly line: string;
}

/** The shortest way from one list to the other, by their longest common subsequence; removals before additions. */
export const difference = (before: readonly string[], after: readonly string[]): Changed[] => {
  const common = commonLengths(before, after);
  const changes: Changed[] = [];
  let [i, j] = [0, 0];
  while (i < before.length || j < after.length) {
    const [old, fresh] = [before[i], after[j]];
    if (old !== undefined && old === fresh) {
      changes.push({ kind: 'kept', line: old });
      i += 1;
      j += 1;
    } else if (old !== undefined && (fresh === undefined || at(common, i + 1, j) >= at(common, i, j + 1))) {
      changes.push({ kind: 'removed', line: old });
      i += 1;
    } else if (fresh !== undefined) {
      changes.push({ kind: 'added', line: fresh });
      j += 1;
    }
  }
  return changes;
};

const at = (table: readonly (readonly number[])[], i: number, j: number): number => table[i]?.[j] ?? 0;

/** For every pair of tails, how much they have in common. Lists are short (MAX_RULES), so the square of that is little. */
const commonLengths = (before: readonly string[], after: readonly string[]): number[][] => {
  const table = Array.from({ length: before.length + 1 }, () => new Array<number>(after.length + 1).fill(0));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      const row = table[i] as number[];
      row[j] =
        before[i] === after[j] ? at(table, i + 1, j + 1) + 1 : Math.max(at(table, i + 1, j), at(table, i, j + 1));
    }
  }
  return table;
};
