import { build } from '../packaging/build.ts';

// Tests start the programs from dist/. Bundled again before every run, so that no test ever judges an old one.
export default async (): Promise<void> => {
  await build();
};
