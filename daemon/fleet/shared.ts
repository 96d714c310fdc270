// Readings of one fact that many ask for at once.

/**
 * Makes `read` shared: for one key at most one reading runs, and whoever asks meanwhile gets the one that begins after it.
 * So no answer is older than its question, and a flood of questions costs no more than one reading after the other.
 */
export const shared = <K, T>(read: (key: K) => Promise<T>): ((key: K) => Promise<T>) => {
  const running = new Map<K, Promise<T>>();
  const following = new Map<K, Promise<T>>();

  const begin = (key: K): Promise<T> => {
    const reading = read(key).finally(() => {
      if (running.get(key) === reading) running.delete(key);
    });
    running.set(key, reading);
    return reading;
  };

  return (key) => {
    const next = following.get(key);
    if (next) return next;
    const current = running.get(key);
    if (!current) return begin(key);
    const later = after(current, () => {
      following.delete(key);
      return begin(key);
    });
    following.set(key, later);
    return later;
  };
};

const after = <T>(earlier: Promise<unknown>, begin: () => Promise<T>): Promise<T> => earlier.then(begin, begin);
