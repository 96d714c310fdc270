// A screen of its own with a window manager, and a pair of hands and eyes before it: what a person does to the window of
// a question, done by xdotool. Waits for what the screen shows, never for a while.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

const run = promisify(execFile);

const PROGRAMS = ['Xvfb', 'openbox', 'xdotool', 'xprop', 'import'];
const SIZE = { width: 1280, height: 800 };
/** From the lower right corner of the window to the middle of a button, in pixels. */
const ALLOW = { right: 78, bottom: 34 };
const DENY = { right: 198, bottom: 34 };
/** Letters on a button that can be pressed are darker than this on the light theme, those on a dead one never. */
const DARK = 96;
const LOOK_AGAIN_MS = 40;
/** An empty window with its frame has no more. */
const FEW_COLOURS = 8;
const PATIENCE_MS = 10_000;
/** A property of the root window that only this file sets. */
const PROBE = '_QMCP_PROBE';

export class ScreenError extends Error {}

export class Screen {
  readonly display: string;
  /** The environment of a program that is to appear here. */
  readonly env: NodeJS.ProcessEnv;
  /** Most windows that were open at the same time, since it was last set. */
  mostOpen = 0;
  readonly #children: ChildProcess[];
  readonly #settings = mkdtempSync(join(tmpdir(), 'qmcp-screen-'));
  #windows: readonly string[] = [];
  #active = '';
  readonly #watchers = new Set<() => void>();

  private constructor(display: string, server: ChildProcess) {
    this.display = display;
    this.#children = [server];
    // Settings of its own: how the window looks depends neither on who runs this nor on the moment of looking.
    mkdirSync(join(this.#settings, 'gtk-3.0'));
    writeFileSync(join(this.#settings, 'gtk-3.0', 'settings.ini'), '[Settings]\ngtk-enable-animations=0\n');
    this.env = { ...process.env, DISPLAY: display, XDG_CONFIG_HOME: this.#settings };
    delete this.env.WAYLAND_DISPLAY;
    // Nor on the session of whoever runs this: a locker there has nothing to say about this screen.
    delete this.env.DBUS_SESSION_BUS_ADDRESS;
    delete this.env.XDG_RUNTIME_DIR;
  }

  /** Starts the display and the window manager. Rejects with a ScreenError where that cannot be. */
  static async start({ width, height } = SIZE): Promise<Screen> {
    await Promise.all(PROGRAMS.map(requireProgram));
    const args = ['-displayfd', '3', '-screen', '0', `${width}x${height}x24`, '-nolisten', 'tcp', '-noreset'];
    const server = spawn('Xvfb', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
    const number = await Promise.race([
      once(server.stdio[3] as NodeJS.ReadableStream, 'data').then(([chunk]) => String(chunk).trim()),
      once(server, 'exit').then(() => null),
    ]);
    if (number === null) throw new ScreenError('Xvfb did not start.');
    const screen = new Screen(`:${number}`, server);
    await screen.#begin().catch(async (error) => {
      await screen.stop();
      throw error;
    });
    return screen;
  }

  async #begin(): Promise<void> {
    const start = (program: string, ...args: string[]): ChildProcess => {
      const child = spawn(program, args, { env: this.env, stdio: ['ignore', 'pipe', 'ignore'] });
      this.#children.unshift(child);
      return child;
    };
    start('openbox', '--sm-disable');
    await this.look('the window manager', async () => {
      const { stdout } = await run('xprop', ['-root', '_NET_SUPPORTING_WM_CHECK'], { env: this.env });
      return stdout.includes('window id');
    });
    let value = 0;
    const probe = () => run('xprop', ['-root', '-f', PROBE, '32c', '-set', PROBE, String(++value)], { env: this.env });
    // Of a property that was never set xprop would hear nothing.
    await probe();
    const eyes = start('xprop', '-root', '-spy', '_NET_CLIENT_LIST', '_NET_ACTIVE_WINDOW', PROBE);
    const seen = createInterface({ input: eyes.stdout as NodeJS.ReadableStream });
    seen.on('line', (line) => this.#see(line));
    // xprop prints what there is, and only then begins to listen: what changes in between it would never tell. So nothing is
    // begun before it has told of a change.
    let probes = 0;
    seen.on('line', (line) => {
      if (line.startsWith(PROBE)) probes += 1;
    });
    await this.look('the eyes', async () => {
      await probe();
      return probes > 1;
    });
  }

  async stop(): Promise<void> {
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill();
      await exited;
    }
    rmSync(this.#settings, { recursive: true, force: true });
  }

  /** Resolves when `holds` does; looked at again whenever the list of windows or the active one changes. */
  until(holds: () => boolean, what: string, patienceMs = PATIENCE_MS): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (!holds()) return;
        end();
        resolve();
      };
      const expiry = setTimeout(() => {
        end();
        reject(new ScreenError(`${what} was awaited in vain for ${patienceMs} ms`));
      }, patienceMs);
      const end = (): void => {
        clearTimeout(expiry);
        this.#watchers.delete(look);
      };
      this.#watchers.add(look);
      look();
    });
  }

  get windows(): readonly string[] {
    return this.#windows;
  }

  get active(): string {
    return this.#active;
  }

  /**
   * The window on the screen, as soon as there is one, other than `besides` (an id). Once it has gone, X may give its
   * number to the next.
   */
  async window(besides = ''): Promise<QuestionWindow> {
    const isNew = (id: string): boolean => id !== besides;
    await this.until(() => this.#windows.some(isNew), 'a window');
    const id = this.#windows.find(isNew) as string;
    const pid = Number(await this.hands('getwindowpid', id));
    const shape = await this.hands('getwindowgeometry', '--shell', id);
    const number = (name: string): number => Number(new RegExp(`^${name}=(-?\\d+)$`, 'm').exec(shape)?.[1]);
    return new QuestionWindow(this, id, pid, { width: number('WIDTH'), height: number('HEIGHT') });
  }

  /** Looks again and again until `holds` does, for what no event tells. */
  async look(what: string, holds: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!(await holds())) {
      if (performance.now() > deadline) throw new ScreenError(`${what} was awaited in vain for ${PATIENCE_MS} ms`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    }
  }

  /** Runs xdotool; gives what it says. */
  async hands(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('xdotool', args, { env: this.env });
    return stdout.trim();
  }

  /** Runs ImageMagick's import; gives what it writes to its standard output, if told so. */
  async eyes(...args: readonly string[]): Promise<Buffer> {
    const { stdout } = await run('import', args, { env: this.env, encoding: 'buffer', maxBuffer: 2 ** 26 });
    return stdout;
  }

  #see(line: string): void {
    const ids = line.match(/0x[0-9a-f]+/g)?.map((id) => String(Number(id))) ?? [];
    if (line.startsWith('_NET_ACTIVE_WINDOW')) this.#active = ids[0] ?? '';
    else if (line.startsWith('_NET_CLIENT_LIST')) {
      this.#windows = ids;
      this.mostOpen = Math.max(this.mostOpen, ids.length);
    }
    for (const look of [...this.#watchers]) look();
  }
}

const requireProgram = async (program: string): Promise<void> => {
  await run('which', [program]).catch(() => {
    throw new ScreenError(`${program} is not installed. Run npm test or npm run demo: they install what is missing.`);
  });
};

/** The one window of a question. */
export class QuestionWindow {
  readonly id: string;
  /** The process that shows it. */
  readonly pid: number;
  readonly #screen: Screen;
  readonly #size: { readonly width: number; readonly height: number };

  constructor(screen: Screen, id: string, pid: number, size: { readonly width: number; readonly height: number }) {
    this.#screen = screen;
    this.id = id;
    this.pid = pid;
    this.#size = size;
  }

  get isOpen(): boolean {
    return this.#screen.windows.includes(this.id);
  }

  /** Resolves when it is no longer on the screen. */
  gone(patienceMs?: number): Promise<void> {
    return this.#screen.until(() => !this.isOpen, `the end of window ${this.id}`, patienceMs);
  }

  /** Clicks on its headline, as the window asks for; resolves when it has the focus. */
  async focus(): Promise<void> {
    await this.#click({ right: this.#size.width - 40, bottom: this.#size.height - 30 });
    await this.#screen.until(() => this.#screen.active === this.id, `the focus on window ${this.id}`);
  }

  /** Types into the entry. Needs the focus, with Allow still dead: then the entry comes next after Deny. */
  async type(text: string): Promise<void> {
    await this.#screen.hands('key', 'Tab');
    await this.typeOn(text);
  }

  /** Types where the cursor is. */
  async typeOn(text: string): Promise<void> {
    await this.#screen.hands('type', '--delay', '5', text);
  }

  async press(...keys: readonly string[]): Promise<void> {
    await this.#screen.hands('key', ...keys);
  }

  clickAllow = (): Promise<void> => this.#click(ALLOW);
  clickDeny = (): Promise<void> => this.#click(DENY);

  /** Whether Allow looks as if it can be pressed. */
  async allowLooksAwake(): Promise<boolean> {
    const [width, height] = [100, 26];
    const left = this.#size.width - ALLOW.right - width / 2;
    const top = this.#size.height - ALLOW.bottom - height / 2;
    const pixels = await this.#screen.eyes(
      ...['-silent', '-window', this.id, '-crop', `${width}x${height}+${left}+${top}`, '-colorspace', 'Gray'],
      ...['-depth', '8', 'gray:-'],
    );
    return pixels.some((pixel) => pixel < DARK);
  }

  /** Looks at Allow until it is awake, or is not any more. */
  untilAllowIs(state: 'awake' | 'asleep'): Promise<void> {
    return this.#screen.look(`Allow ${state}`, async () => (await this.allowLooksAwake()) === (state === 'awake'));
  }

  /** A picture of it with its frame, as PNG. It is mapped before it is painted: two looks have to agree that something is there. */
  async picture(file: string): Promise<void> {
    let before = '';
    await this.#screen.look('a painted window', async () => {
      await this.#screen.eyes('-silent', '-window', this.id, '-frame', '-strip', file);
      const { stdout: now } = await run('identify', ['-format', '%# %k', file]);
      const isPainted = now === before && Number(now.split(' ')[1]) > FEW_COLOURS;
      before = now;
      return isPainted;
    });
  }

  async #click({ right, bottom }: { right: number; bottom: number }): Promise<void> {
    const [x, y] = [this.#size.width - right, this.#size.height - bottom];
    await this.#screen.hands('mousemove', '--window', this.id, String(x), String(y), 'click', '1');
  }
}
