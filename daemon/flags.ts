// The command line of qmcp-brokerd (architecture, "Fixed interface").
import { type ParseArgsConfig, parseArgs } from 'node:util';

export const OPTIONS = {
  etc: { type: 'string', default: '/etc/qmcp' },
  run: { type: 'string', default: '/run/qmcp' },
  state: { type: 'string', default: '/var/lib/qmcp' },
  log: { type: 'string', default: '/var/log/qmcp' },
  qubesd: { type: 'string', default: '/var/run/qubesd.sock' },
  policy: { type: 'string', default: '/etc/qubes/policy.d' },
  'tool-path': { type: 'string', default: '/usr/bin:/bin' },
} as const satisfies ParseArgsConfig['options'];

export type Flags = Record<keyof typeof OPTIONS, string>;

const NAMES = Object.keys(OPTIONS).map((name) => `--${name}`);

/** The flags in these arguments (those after the program), or the sentence that says why they make no sense. */
export const flagsOf = (args: readonly string[]): Flags | string => {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (error) {
    // parseArgs's first sentence says what it does not know; the ones after it advise on option syntax.
    const [wrong] = (error as Error).message.split('. ', 1);
    return `${wrong}. It takes ${NAMES.slice(0, -1).join(', ')} and ${NAMES.at(-1)}, each followed by a value.`;
  }
};
