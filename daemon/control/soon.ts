// What qubesd is asked on the side: an operator who wants to know how things stand must not wait for what does not stand.

const PATIENCE_MS = 1_000;

/** The outcome where there is one within a second, and `otherwise` where there is none, or it failed. */
export const soon = async <T, S>(work: Promise<T>, otherwise: S): Promise<T | S> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<S>((resolve) => {
    timer = setTimeout(() => resolve(otherwise), PATIENCE_MS);
  });
  try {
    return await Promise.race([work.catch(() => otherwise), late]);
  } finally {
    clearTimeout(timer);
  }
};
