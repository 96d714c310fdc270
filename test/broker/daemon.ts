// The built daemon in directories of its own, before a simulated qubesd in this process. All of it goes when the test ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { type Qubesd, startQubesd } from '../qubesd/server.ts';
import { type CallOptions, call } from './caller.ts';

const PROGRAM = fileURLToPath(new URL('../../dist/qmcp-brokerd.mjs', import.meta.url));

/** Caps that let creations through, and nothing asked, as most of the contract's vectors have it. */
export const QUIET: Record<string, string> = {
  'consent-policy': '# nothing is asked\n',
  'pool-cap': '1099511627776\n',
  'private-cap': '53687091200\n',
};
/** The built-in destructive set is asked. */
export const ASKING: Record<string, string> = {
  'pool-cap': '1099511627776\n',
  'private-cap': '53687091200\n',
  'consent-timeout': '60\n',
};

export interface DaemonOptions {
  readonly fleet?: FleetSpec;
  readonly operatorFiles?: Record<string, string>;
  readonly flags?: readonly string[];
}

export interface LogLine {
  readonly msg: string;
  readonly level: number;
  readonly [key: string]: unknown;
}

export class Daemon {
  readonly root = mkdtempSync(join(tmpdir(), 'qmcp-'));
  readonly etc = this.#directory('etc');
  readonly run = this.#directory('run');
  readonly state = this.#directory('state');
  readonly log = this.#directory('log');
  readonly tools = this.#directory('bin');
  readonly path = join(this.run, 'qrexec.sock');
  readonly journalFile = join(this.log, 'audit.jsonl');
  readonly qubesdPath = join(this.root, 'qubesd.sock');
  readonly lines: LogLine[] = [];
  process: ChildProcess | null = null;

  #directory(name: string): string {
    const path = join(this.root, name);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** Starts (or starts again) and waits for `"msg":"ready"`. */
  async start(flags: readonly string[] = []): Promise<void> {
    const { etc, run, state, log, qubesdPath, tools } = this;
    const args = [
      '--etc',
      etc,
      '--run',
      run,
      '--state',
      state,
      '--log',
      log,
      '--qubesd',
      qubesdPath,
      '--tool-path',
      tools,
    ];
    const child = spawn(process.execPath, [PROGRAM, ...args, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.process = child;
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the daemon ended with ${code}: ${JSON.stringify(this.lines)}`)));
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
        const parsed = JSON.parse(line) as LogLine;
        this.lines.push(parsed);
        if (parsed.msg === 'ready') resolve();
      });
    });
  }

  /** Sends the signal and resolves with the exit code, null when the signal ended it. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    const child = this.process;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const exited = once(child, 'exit');
    child.kill(signal);
    const [code] = await exited;
    return code;
  }

  call(service: string, body: unknown, options?: CallOptions): Promise<Record<string, unknown>> {
    return call(this.path, service, body, options);
  }

  journal(): Record<string, unknown>[] {
    return readFileSync(this.journalFile, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  operatorFile(name: string, text: string): void {
    writeFileSync(join(this.etc, name), text);
  }
}

/** A daemon that is ready, and its qubesd. Operator files default to QUIET, the fleet to F0. */
export const startDaemon = async (options: DaemonOptions = {}): Promise<{ daemon: Daemon; qubesd: Qubesd }> => {
  const daemon = new Daemon();
  const qubesd = await startQubesd({ path: daemon.qubesdPath, fleet: options.fleet ?? FLEET_F0 });
  onTestFinished(async () => {
    await daemon.end('SIGKILL');
    await qubesd.stop();
    rmSync(daemon.root, { recursive: true, force: true });
  });
  for (const [name, text] of Object.entries(options.operatorFiles ?? QUIET)) daemon.operatorFile(name, text);
  await daemon.start(options.flags);
  return { daemon, qubesd };
};
