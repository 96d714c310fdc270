// Where one measurement runs: processes of their own for the daemon, the simulated qubesd and the echo server.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { FleetSpec } from '../qubesd/fleet.ts';

export const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** This many managed qubes, and the few that are always there. */
export const fleetOf = (managed: number): FleetSpec => ({
  qubes: {
    'mcp-control': { klass: 'StandaloneVM', state: 'Running' },
    vault: {},
    'debian-13': { klass: 'TemplateVM' },
    ...Object.fromEntries(
      Array.from({ length: managed }, (_, index) => [
        `ai-${String(index).padStart(4, '0')}`,
        { tags: ['ai-managed'], props: { template: 'debian-13', label: 'gray' } },
      ]),
    ),
  },
});

export class Place {
  readonly root = mkdtempSync(join(tmpdir(), 'bench-'));
  readonly qubesd = join(this.root, 'qubesd.sock');
  readonly echo = join(this.root, 'echo.sock');
  readonly door = join(this.root, 'run', 'qrexec.sock');
  readonly confirm = join(this.root, 'run', 'confirm.sock');
  readonly #children: ChildProcess[] = [];

  constructor(operatorFiles: Record<string, string> = { 'consent-policy': '# nothing is asked\n' }) {
    for (const name of ['etc', 'run', 'state', 'log', 'bin']) mkdirSync(join(this.root, name));
    for (const [name, text] of Object.entries(operatorFiles)) writeFileSync(join(this.root, 'etc', name), text);
  }

  async startQubesd(fleet: FleetSpec): Promise<void> {
    writeFileSync(join(this.root, 'fleet.json'), JSON.stringify(fleet));
    const args = ['--socket', this.qubesd, '--fleet', join(this.root, 'fleet.json')];
    await this.#start([at('test/qubesd/main.ts'), ...args], () => true);
  }

  async startEcho(flags: readonly string[]): Promise<void> {
    await this.#start([...flags, at('test/bench/echo-server.mjs'), this.echo], () => true);
  }

  /** Gives the daemon's process id. `environment`: beside this process's own. */
  async startDaemon(flags: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<number> {
    const places = ['etc', 'run', 'state', 'log'].flatMap((name) => [`--${name}`, join(this.root, name)]);
    const args = [...places, '--qubesd', this.qubesd, '--tool-path', join(this.root, 'bin')];
    const isReady = (line: string): boolean => line.includes('"msg":"ready"');
    return this.#start([...flags, at('dist/qmcp-brokerd.mjs'), ...args], isReady, environment);
  }

  async end(): Promise<void> {
    for (const child of this.#children.reverse()) {
      const gone = once(child, 'exit');
      if (child.exitCode === null && child.signalCode === null && child.kill('SIGTERM')) await gone;
    }
    rmSync(this.root, { recursive: true, force: true });
  }

  async #start(
    args: readonly string[],
    isReady: (line: string) => boolean,
    environment: NodeJS.ProcessEnv = {},
  ): Promise<number> {
    const env = { ...process.env, ...environment };
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env });
    this.#children.push(child);
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`${args.join(' ')} ended with ${code}`)));
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on(
        'line',
        (line) => isReady(line) && resolve(),
      );
    });
    return child.pid as number;
  }
}

/** Resident memory of a process, in MiB. */
export const residentMiB = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
