// Many episodes of one seed, one after the other or in several threads; the first that breaks an invariant ends the run.
import { once } from 'node:events';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type EpisodeOptions, runEpisode, type Told } from './episode.ts';

export const CALLS_PER_EPISODE = 500;

export interface SimulationOptions extends Pick<EpisodeOptions, 'breaks' | 'trace' | 'hours'> {
  readonly seed: string | number;
  /** How many calls in all. */
  readonly calls: number;
  /** The number of the first episode. */
  readonly first?: number;
  /** Threads; 0 for none. What breaks parts does not go into threads. */
  readonly workers?: number;
  readonly progress?: (calls: number) => void;
}

export interface Failed extends Told {
  readonly episode: number;
}

export interface Sum {
  calls: number;
  hours: number;
  steps: number;
  effects: number;
  questions: number;
  compared: number;
  lives: number;
  records: number;
  failed: Failed | null;
}

const add = (sum: Sum, told: Told, episode: number): void => {
  for (const key of ['calls', 'hours', 'steps', 'effects', 'questions', 'compared', 'lives', 'records'] as const)
    sum[key] += told[key];
  if (told.violations.length > 0 && (sum.failed === null || episode < sum.failed.episode))
    sum.failed = { ...told, episode };
};

const nothing = (): Sum => ({
  calls: 0,
  hours: 0,
  steps: 0,
  effects: 0,
  questions: 0,
  compared: 0,
  lives: 0,
  records: 0,
  failed: null,
});

export const simulate = async (options: SimulationOptions): Promise<Sum> => {
  const { seed, calls, hours, first = 0, workers = 0, breaks, trace, progress } = options;
  const episodes = Math.ceil(calls / CALLS_PER_EPISODE);
  const sum = nothing();
  let next = first;
  const end = first + episodes;
  if (workers === 0) {
    for (; next < end && sum.failed === null; next++) {
      add(
        sum,
        await runEpisode({
          seed,
          episode: next,
          calls: CALLS_PER_EPISODE,
          ...(hours !== undefined && { hours }),
          ...(progress && { progress: (calls: number) => progress(sum.calls + calls) }),
          ...(breaks && { breaks }),
          ...(trace && { trace }),
        }),
        next,
      );
      progress?.(sum.calls);
    }
    return sum;
  }
  const work = async (worker: Worker): Promise<void> => {
    while (next < end && sum.failed === null) {
      const episode = next++;
      worker.postMessage(episode);
      const [told] = (await once(worker, 'message')) as [Told];
      add(sum, told, episode);
      progress?.(sum.calls);
    }
    await worker.terminate();
  };
  await Promise.all(
    Array.from({ length: workers }, () =>
      work(new Worker(new URL(import.meta.url), { workerData: { seed, isSimulated: true } })),
    ),
  );
  return sum;
};

/** What to say of a failure: how to see it again, and what came before it. */
export const failureText = (
  seed: string | number,
  { episode, violations, at, last }: Failed,
  hours?: string | undefined,
): string =>
  [
    `Broken in episode ${episode}, step ${at?.step}, call ${at?.call}:`,
    ...violations.map((violation) => `  ${violation}`),
    'The last steps:',
    ...last.slice(-60).map((line) => `  ${line}`),
    `Again: npm run simulate -- --seed ${seed} ${hours === undefined ? '' : `--hours ${hours} `}--episode ${episode} --trace`,
    '',
  ].join('\n');

if (!isMainThread && workerData?.isSimulated) {
  const { seed } = workerData as { seed: string };
  parentPort?.on('message', async (episode: number) => {
    parentPort?.postMessage(await runEpisode({ seed, episode, calls: CALLS_PER_EPISODE }));
  });
}
