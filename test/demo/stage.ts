// Everything that the demo starts: a simulated qubesd, the built broker, the built dialog, all in one temporary directory.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Daemon, type LogLine } from '../broker/daemon.ts';
import { enroll, startListener } from '../end-to-end/dialog-program.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import { type CallRow, type Qubesd, startQubesd } from '../qubesd/server.ts';
import { Wiretap } from './wiretap.ts';

const QMCPCTL = fileURLToPath(new URL('../../dist/qmcpctl.mjs', import.meta.url));
/** pino's number for `warn`. */
const WARN = 40;

export interface StageOptions {
  /** Where the windows are to appear. */
  readonly env: NodeJS.ProcessEnv;
  /** Whether programs may press the buttons. */
  readonly acceptSynthetic: boolean;
  readonly fleet: FleetSpec;
  readonly operatorFiles: Readonly<Record<string, string>>;
  /** The directory of a qrexec policy that is installed; none is, where it is left out. */
  readonly policy?: string;
  /** Whether the operator has made a key and told the broker already, as it is usual. */
  readonly enrolled?: boolean;
  /** What the dialog complains of, line by line. */
  readonly complain: (line: string) => void;
}

export class Stage {
  readonly daemon = new Daemon();
  readonly #undo: (() => unknown)[] = [() => rmSync(this.daemon.root, { recursive: true, force: true })];
  #qubesd: Qubesd | null = null;
  #tap: Wiretap | null = null;

  /** Starts everything. `end` must be called, also when this rejects. */
  async begin(options: StageOptions): Promise<void> {
    const { env, acceptSynthetic, fleet, operatorFiles, policy, enrolled = true, complain } = options;
    const { daemon } = this;
    this.#qubesd = await startQubesd({ path: daemon.qubesdPath, fleet });
    this.#undo.push(() => this.#qubesd?.stop());
    const key = join(daemon.root, 'key');
    await enroll(key, join(enrolled ? daemon.etc : daemon.root, 'confirm.pub'));
    for (const [name, text] of Object.entries(operatorFiles)) daemon.operatorFile(name, text);
    // Stands for dom0's own tool, which hands devices over.
    writeFileSync(join(daemon.tools, 'qvm-device'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
    const dialog = join(daemon.root, 'dialog.sock');
    const listener = await startListener({ socket: dialog, key, env, acceptSynthetic }, complain);
    this.#undo.push(listener.stop);
    this.#tap = await Wiretap.listen(join(daemon.run, 'confirm.sock'), dialog);
    this.#undo.push(() => this.#tap?.stop());
    this.#undo.push(() => daemon.end());
    await daemon.start(policy === undefined ? [] : ['--policy', policy]);
  }

  /** Ends and removes all of it, the last first. */
  async end(): Promise<void> {
    for (let undo = this.#undo.pop(); undo; undo = this.#undo.pop()) await undo();
  }

  get tap(): Wiretap {
    if (!this.#tap) throw new Error('the stage has not begun');
    return this.#tap;
  }

  /** The Admin API calls that changed something since this was last asked. */
  takeChanges(): readonly CallRow[] {
    const changes = this.#qubesd?.changes() ?? [];
    this.#qubesd?.reset();
    return changes;
  }

  /** What the broker warned of. */
  warnings(): readonly LogLine[] {
    return this.daemon.lines.filter(({ level }) => level >= WARN);
  }

  journalLines(): readonly string[] {
    return readFileSync(this.daemon.journalFile, 'utf8').trimEnd().split('\n');
  }

  /** What qmcpctl says of the journal, and whether it was content. */
  async verifyJournal(): Promise<{ readonly text: string; readonly ok: boolean }> {
    const { log, state } = this.daemon;
    const args = [QMCPCTL, 'audit', 'verify', '--log', log, '--state', state];
    try {
      return { text: (await promisify(execFile)(process.execPath, args)).stdout, ok: true };
    } catch (error) {
      const { stdout, stderr, message } = error as Error & { stdout?: string; stderr?: string };
      return { text: stdout || stderr || message, ok: false };
    }
  }
}

/** The built programs that are not there. */
export const missingPrograms = (): string[] =>
  ['qmcp-brokerd.mjs', 'qmcp-confirm.cjs', 'qmcpctl.mjs']
    .map((name) => `dist/${name}`)
    .filter((path) => !existsSync(fileURLToPath(new URL(`../../${path}`, import.meta.url))));
