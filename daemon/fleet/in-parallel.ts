// Readings of many qubes, a bounded number at a time.

/** How many are read at once; qubesd answers one call at a time anyway. */
const READERS = 8;

/** The results of `work` on each item, in the order of the items. Rejects with the first failure. */
export const inParallel = async <T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> => {
  const results = new Array<R>(items.length);
  let next = 0;
  const reader = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) results[at] = await work(items[at] as T);
  };
  await Promise.all(Array.from({ length: Math.min(READERS, items.length) }, reader));
  return results;
};
