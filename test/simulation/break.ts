// A part that is broken on purpose, and how the simulation has to say so.
import type { World } from '../qubesd/world.ts';
import type { Ground } from './life.ts';

export interface Break {
  readonly title: string;
  /** How its finding begins. */
  readonly invariant: RegExp;
  readonly of: (ground: Ground, episode: { readonly world: World }) => Ground;
}
