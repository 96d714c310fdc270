// Who answers the questions of the demo: the person at this machine, or a pair of hands on a screen of its own.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { QuestionWindow, Screen } from '../end-to-end/screen.ts';

/** What is to happen to a question. */
export interface Part {
  readonly deed: 'allow' | 'deny' | 'leave';
  /** The qube name that is to be typed; null where none is asked for. */
  readonly name: string | null;
  /** Of the picture, without its ending. */
  readonly picture: string;
}

export interface Operator {
  /** Whether what it does is known beforehand. */
  readonly isObedient: boolean;
  /** The environment of the program that shows the windows. */
  readonly env: NodeJS.ProcessEnv;
  /** How long the question that is to be left alone stays open, in seconds. */
  readonly patience: number;
  /** What the person is to do next, in a sentence; null when nobody has to be told. */
  readonly instruction: (part: Part) => string | null;
  /** Plays the part; resolves with what was done, in words, and the file of the picture. */
  readonly play: (part: Part) => Promise<{ readonly done: string; readonly picture: string } | null>;
}

/** The person, on their own display. They are told, and then left alone with the window. */
export const person = (env: NodeJS.ProcessEnv): Operator => ({
  isObedient: false,
  env,
  patience: 10,
  instruction: ({ deed, name }) =>
    ({
      allow: `A window opens. Read it, click on it${name === null ? '' : `, type ${name}`} and press Allow.`,
      deny: 'A window opens. Read it and press Deny.',
      leave: 'A window opens. Leave it alone: it closes by itself after 10 seconds.',
    })[deed],
  play: async () => null,
});

/** The hands. Each question is photographed into the directory `pictures`. */
export const hands = (screen: Screen, pictures: string): Operator => {
  mkdirSync(pictures, { recursive: true });
  const deeds: Record<
    Part['deed'],
    (window: QuestionWindow, name: string | null, photograph: () => Promise<void>) => Promise<string>
  > = {
    allow: async (window, name, photograph) => {
      await window.focus();
      if (name !== null) await window.type(name);
      await window.untilAllowIs('awake');
      await photograph();
      await window.clickAllow();
      await window.gone();
      return `clicked on it${name === null ? '' : `, typed ${name}`} and pressed Allow`;
    },
    deny: async (window, _, photograph) => {
      await window.focus();
      await photograph();
      await window.clickDeny();
      await window.gone();
      return 'pressed Deny';
    },
    leave: async (window, _, photograph) => {
      await photograph();
      await window.gone();
      return 'left it alone until it closed by itself';
    },
  };
  return {
    isObedient: true,
    env: screen.env,
    patience: 5,
    instruction: () => null,
    play: async ({ deed, name, picture }) => {
      const window = await screen.window();
      const file = join(pictures, `${picture}.png`);
      const done = await deeds[deed](window, name, () => window.picture(file));
      return { done, picture: file };
    },
  };
};
