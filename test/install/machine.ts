// A Debian 13 of its own, booted by systemd-nspawn: the nearest to dom0's rpm 4.20 and systemd 256 that packages give.
// Its disk is a layer over a base that is made once; nothing of it is left after it has been switched off.
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';

const PACKAGES = [
  ...['systemd', 'systemd-sysv', 'dbus', 'dbus-user-session', 'libpam-systemd', 'rpm', 'cpio', 'python3'],
  // What GTK 3 needs to draw the dialog; dom0 has it by its desktop.
  ...['libgtk-3-0t64', 'gir1.2-gtk-3.0', 'gir1.2-girepository-2.0', 'libgirepository-1.0-1', 'libharfbuzz-gobject0'],
  ...['fonts-dejavu-core', 'adwaita-icon-theme'],
];
const BOOT_MS = 60_000;
const COMMAND_MS = 60_000;
const LOOK_AGAIN_MS = 50;

/** The root of the base, made below `cache` if it is not there. `mirror` is where Debian's packages come from. */
export const makeBase = async (cache: string, mirror: string): Promise<string> => {
  const name = createHash('sha256').update(PACKAGES.join(' ')).digest('hex').slice(0, 12);
  const base = join(cache, `debian-13-${name}`);
  if (existsSync(base)) return base;
  rmSync(cache, { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  const unfinished = join(cache, 'unfinished');
  await make('debootstrap', ['--variant=minbase', 'trixie', unfinished, mirror]);
  copyFileSync('/etc/resolv.conf', join(unfinished, 'etc/resolv.conf'));
  // Not by debootstrap, which knows nothing of packages that stand in for others.
  await make('chroot', [unfinished, 'apt-get', 'install', '-y', '--no-install-recommends', ...PACKAGES]);
  await make('chroot', [unfinished, 'apt-get', 'clean']);
  renameSync(unfinished, base);
  return base;
};

const make = async (program: string, words: readonly string[]): Promise<void> => {
  const env = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' };
  const { failed, all } = await execa(program, words, { env, all: true, reject: false });
  if (failed) throw new Error(`${program} failed: ${all.split('\n').slice(-20).join('\n')}`);
};

/** Where this machine gets its packages from. */
export const mirrorOfHost = (): string => {
  const places = ['/etc/apt/sources.list', ...filesIn('/etc/apt/sources.list.d')].filter((file) => existsSync(file));
  const text = places.map((file) => readFileSync(file, 'utf8')).join('\n');
  const found = /^(?:URIs: |deb (?:\[.*\] )?)(\S+\/debian)\/?(?:\s|$)/m.exec(text)?.[1];
  if (found === undefined) throw new Error('apt names no mirror of Debian here.');
  return found;
};

const filesIn = (directory: string): string[] =>
  existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];

export interface Ran {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  /** Who runs it; root by default. */
  readonly user?: string;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

// Private mounts and a group of processes of its own, so that nothing of either outlives nspawn.
const START = `set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$PLACE/upper,workdir=$PLACE/work" "$PLACE/root"
echo $$ >"$GROUP/cgroup.procs"
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --console=passive \\
  --bind=/tmp/.X11-unix:/x11 --directory="$PLACE/root" --boot`;

const startNspawn = (base: string, place: string, group: string) =>
  execa('unshare', ['--mount', 'sh', '-c', START], {
    // systemd 256 and later run on the unified hierarchy alone; on a host with both this is the one to hand on.
    env: { BASE: base, PLACE: place, GROUP: group, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    stdin: 'ignore',
    all: true,
    reject: false,
  });

export class Machine {
  readonly #place: string;
  readonly #group: string;
  readonly #nspawn: ReturnType<typeof startNspawn>;
  #init = 0;

  private constructor(place: string, group: string, nspawn: ReturnType<typeof startNspawn>) {
    this.#place = place;
    this.#group = group;
    this.#nspawn = nspawn;
  }

  /** Boots; `prepare` gets the directory whose files lie over those of the base. */
  static async boot(base: string, prepare: (layer: string) => void): Promise<Machine> {
    const place = mkdtempSync(join(tmpdir(), 'qmcp-machine-'));
    for (const name of ['upper', 'work', 'root']) mkdirSync(join(place, name));
    prepare(join(place, 'upper'));
    mkdirSync('/tmp/.X11-unix', { recursive: true, mode: 0o1777 });
    const group = join(unifiedHierarchy(), `qmcp-install-${process.pid}`);
    mkdirSync(group, { recursive: true });
    const machine = new Machine(place, group, startNspawn(base, place, group));
    try {
      await machine.#untilUp();
    } catch (error) {
      await machine.off();
      throw error;
    }
    return machine;
  }

  async #untilUp(): Promise<void> {
    const deadline = performance.now() + BOOT_MS;
    let ended = false;
    void this.#nspawn.then(() => {
      ended = true;
    });
    for (;;) {
      if (ended) throw new Error(`The machine did not boot: ${(await this.#nspawn).all}`);
      if (performance.now() > deadline) throw new Error(`The machine was not up after ${BOOT_MS} ms.`);
      this.#init ||= firstProcessBelow(this.#nspawn.pid ?? 0);
      if (this.#init > 0) {
        const { stdout } = await this.#enter(['systemctl', 'is-system-running'], {});
        if (/running|degraded/.test(`${stdout}`)) return;
      }
      await sleep(LOOK_AGAIN_MS);
    }
  }

  #enter(words: readonly string[], { input = '' }: RunOptions) {
    const spaces = ['--mount', '--uts', '--ipc', '--net', '--pid'];
    return execa('nsenter', [`--target=${this.#init}`, ...spaces, '--wd=/', '--', ...words], {
      input,
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', HOME: '/root' },
      extendEnv: false,
      reject: false,
      timeout: COMMAND_MS,
    });
  }

  /** Runs a program on the machine, as a unit of its own so that it is where that machine's processes are. */
  async try(words: readonly string[], options: RunOptions = {}): Promise<Ran> {
    const who = options.user === undefined ? [] : [`--uid=${options.user}`, `--gid=${options.user}`];
    const env = Object.entries(options.env ?? {}).map(([name, value]) => `--setenv=${name}=${value}`);
    const unit = ['systemd-run', '--quiet', '--pipe', '--wait', '--collect', '--working-directory=/', ...who, ...env];
    const { exitCode, stdout, stderr } = await this.#enter([...unit, '--', ...words], options);
    return { status: exitCode ?? -1, out: `${stdout}`, err: `${stderr}` };
  }

  /** The same, where it has to succeed; gives its output. */
  async run(words: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, out, err } = await this.try(words, options);
    if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${out}${err}`);
    return out;
  }

  /** Looks again and again until `holds` does. */
  async until(what: string, holds: () => Promise<boolean>, patienceMs = 15_000): Promise<void> {
    const deadline = performance.now() + patienceMs;
    while (!(await holds())) {
      if (performance.now() > deadline) throw new Error(`${what} was awaited in vain for ${patienceMs} ms`);
      await sleep(LOOK_AGAIN_MS);
    }
  }

  /** A path of the machine as this process sees it. Absolute links on the way lead out of the machine. */
  path(path: string): string {
    return `/proc/${this.#init}/root${path}`;
  }

  async off(): Promise<void> {
    // nspawn hands this on as an order to power off.
    this.#nspawn.kill('SIGTERM');
    const ended = await Promise.race([this.#nspawn.then(() => true), sleep(20_000, false, { ref: false })]);
    if (!ended) {
      this.#nspawn.kill('SIGKILL');
      await this.#nspawn;
    }
    rmSync(this.#place, { recursive: true, force: true });
    // nspawn makes one of the same name in systemd's own hierarchy, where there is one.
    const name = basename(this.#group);
    for (const group of hierarchies().map((place) => join(place, name))) {
      for (const each of [...groupsBelow(group), group]) if (existsSync(each)) rmdirSync(each);
    }
  }
}

const mounts = (): string[] => readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
const placesOf = (kind: RegExp): string[] =>
  mounts()
    .filter((row) => kind.test(row))
    .map((row) => row.split(' ')[4] ?? '');
const hierarchies = (): string[] => placesOf(/ - cgroup2? /);

const unifiedHierarchy = (): string => {
  const [place] = placesOf(/ - cgroup2 /);
  if (place === undefined) throw new Error('There is no unified hierarchy of control groups here.');
  return place;
};

/** Deepest first. */
const groupsBelow = (group: string): string[] =>
  existsSync(group)
    ? readdirSync(group, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .flatMap(({ name }) => [...groupsBelow(join(group, name)), join(group, name)])
    : [];

/** The descendant of a process that is number 1 in a space of its own; 0 while there is none. */
const firstProcessBelow = (pid: number): number => {
  for (const child of childrenOf(pid)) {
    const status = readFileSync(`/proc/${child}/status`, 'utf8');
    if (/^NSpid:\t\d+\t1$/m.test(status)) return child;
    const below = firstProcessBelow(child);
    if (below > 0) return below;
  }
  return 0;
};

const childrenOf = (pid: number): number[] => {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
  } catch {
    return [];
  }
};
