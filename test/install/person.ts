// The person at the machine's screen: Xephyr is a display whose keyboard and mouse are another display's input, so what
// xdotool does outside comes out of real devices inside, which is what the installed dialog insists on.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { DEAD_MS } from '../../daemon/dialog/deadtime.ts';
import { Screen } from '../end-to-end/screen.ts';

const run = promisify(execFile);
const SIZE = '900x700';
/** From the lower right corner of the window to the middle of the button. */
const ALLOW = { right: 78, bottom: 34 };

export class Person {
  readonly #outside: Screen;
  readonly #children: ChildProcess[];
  readonly #env: NodeJS.ProcessEnv;
  readonly #glass: string;
  /** The number of the display before which the person sits. */
  readonly display: string;

  private constructor(outside: Screen, children: ChildProcess[], display: string, glass: string) {
    this.#outside = outside;
    this.#children = children;
    this.#env = { ...outside.env, DISPLAY: `:${display}` };
    this.#glass = glass;
    this.display = display;
  }

  static async sitDown(): Promise<Person> {
    const outside = await Screen.start();
    const xephyr = spawn('Xephyr', ['-displayfd', '3', '-screen', SIZE, '-no-host-grab'], {
      env: outside.env,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    const [number] = await once(xephyr.stdio[3] as NodeJS.ReadableStream, 'data');
    const display = String(number).trim();
    await outside.until(() => outside.windows.length === 1, 'the window of Xephyr');
    const [glass = ''] = outside.windows;
    await outside.hands('windowactivate', '--sync', glass);
    const manager = spawn('openbox', ['--sm-disable'], {
      env: { ...outside.env, DISPLAY: `:${display}` },
      stdio: 'ignore',
    });
    return new Person(outside, [manager, xephyr], display, glass);
  }

  /** Waits for the question, types the name, and presses Allow once it is awake. */
  async allow(name: string): Promise<void> {
    const id = await this.#onInside('xdotool', 'search', '--sync', '--onlyvisible', '--name', '^qmcp: your decision$');
    const shape = await this.#onInside('xdotool', 'getwindowgeometry', '--shell', id);
    const place = await this.#onInside('xwininfo', '-id', id);
    const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1]);
    const [width, height] = [number(shape, /^WIDTH=(\d+)$/m), number(shape, /^HEIGHT=(\d+)$/m)];
    const [left, top] = [number(place, /upper-left X: +(\d+)/), number(place, /upper-left Y: +(\d+)/)];
    const click = (x: number, y: number): Promise<string> =>
      this.#outside.hands('mousemove', '--window', this.#glass, `${left + x}`, `${top + y}`, 'click', '1');
    await click(40, 30);
    await this.#outside.hands('key', 'Tab');
    await this.#outside.hands('type', '--delay', '5', name);
    await new Promise((resolve) => setTimeout(resolve, DEAD_MS + 200));
    await click(width - ALLOW.right, height - ALLOW.bottom);
  }

  async #onInside(program: string, ...args: string[]): Promise<string> {
    return (await run(program, args, { env: this.#env, timeout: 20_000 })).stdout.trim();
  }

  async leave(): Promise<void> {
    for (const child of this.#children) {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    }
    await this.#outside.stop();
  }
}
