// What the simulated world itself knows of the journal: the records that are on its disk at this moment, read line by line
// as they get there, by a reader of its own.
import type { Disk } from './disk.ts';
import type { Kind } from './quotas.ts';

export interface Qube {
  readonly name: string;
  readonly uuid: string;
}

export interface Intent {
  readonly seq: number;
  readonly call: number;
  readonly source: string;
  readonly service: string;
  readonly nonce: string | null;
  readonly plan: string | null;
  readonly qubes: readonly Qube[];
  readonly args: Readonly<Record<string, unknown>>;
  readonly steps: { readonly step: string; readonly qube: Qube | null }[];
  /** Belongs to the start that is writing. */
  isCurrent: boolean;
}

type Line = Readonly<Record<string, unknown>> & { readonly type: string; readonly seq: number };

export class DurableRecord {
  readonly #disk: Disk;
  readonly #path: string;
  readonly #wrong: (sentence: string) => void;
  #inode = 0;
  #position = 0;
  /** Without an outcome or a finding, by number. */
  readonly open = new Map<number, Intent>();
  /** Of every question's or plan's nonce, the number of the intent that used it up. */
  readonly used = new Map<string, number>();
  /** Qubes that a finding, or a step that something is left behind, told the operator of. */
  readonly named = new Set<string>();
  readonly namedOrders = new Set<string>();
  /** Qubes whose creation was complete by its own record. */
  readonly complete = new Set<string>();
  /** Whether some disposable may be left that nobody could name. */
  leftUnnamed = false;
  /** Effects refused and notes lost while the journal was down, as it says itself. */
  gaps = 0;
  /** The nonces of questions that were answered yes. */
  readonly approved = new Set<string>();
  /** Told of a principal that had used up a quota, and when. */
  refused: (kind: Kind, principal: string, source: string, at: number) => void = () => {};
  records = 0;
  /** The number of the newest. */
  last = 0;
  checkpoints = 0;
  /** Number -> hash. */
  readonly hashes = new Map<number, unknown>();
  breaks = 0;

  constructor(disk: Disk, path: string, wrong: (sentence: string) => void) {
    this.#disk = disk;
    this.#path = path;
    this.#wrong = wrong;
    disk.synced = () => this.read();
  }

  /** Reads what came to the disk since. */
  read(): void {
    const inode = this.#disk.durableInode(this.#path);
    if (inode !== this.#inode) {
      this.#inode = inode;
      this.#position = 0;
    }
    const bytes = this.#disk.durable(this.#path);
    if (this.#position > bytes.length) this.#position = 0;
    for (;;) {
      const end = bytes.indexOf(0x0a, this.#position);
      if (end < 0) break;
      const line = JSON.parse(bytes.toString('utf8', this.#position, end)) as Line;
      this.#position = end + 1;
      // A file that goes on after a break or a torn line is read from its beginning once more.
      if (line.seq <= this.last) continue;
      this.last = line.seq;
      this.records += 1;
      this.hashes.set(line.seq, line.hash);
      this.#see(line);
    }
  }

  #see(line: Line): void {
    switch (line.type) {
      case 'start':
        for (const intent of this.open.values()) intent.isCurrent = false;
        return;
      case 'intent':
        this.#intent(line);
        return;
      case 'step': {
        const intent = this.#currentOf(line.call);
        const { step, qube } = line as unknown as Intent['steps'][number];
        intent?.steps.push({ step, qube });
        if (step === 'complete' && qube) this.complete.add(qube.uuid);
        if (step === 'left behind' || step === 'not in quarantine') {
          if (qube) this.named.add(qube.uuid);
          else this.leftUnnamed = true;
        }
        return;
      }
      case 'outcome': {
        const intent = this.#currentOf(line.call);
        if (intent) this.open.delete(intent.seq);
        // All there is of it where the journal was down when the step should have said so.
        if (String(line.cause).endsWith('rollback failed')) this.leftUnnamed = true;
        return;
      }
      case 'finding': {
        // What nobody saw, the operator is told of by the name it was ordered under.
        const ordered = this.open.get(line.intent_seq as number)?.args.name;
        if (line.finding === 'unknown' && typeof ordered === 'string') this.namedOrders.add(ordered);
        this.open.delete(line.intent_seq as number);
        for (const { uuid } of line.qubes as readonly Qube[]) this.named.add(uuid);
        return;
      }
      case 'decision': {
        const kind = /^principal-(calls|questions)$/.exec(line.rule as string)?.[1];
        if (kind)
          this.refused(kind as Kind, line.principal as string, line.source as string, Date.parse(line.ts as string));
        return;
      }
      case 'answer':
        if (line.answer === 'approved') this.approved.add(line.nonce as string);
        return;
      case 'gap':
        this.gaps += (line.refused as number) + (line.lost as number);
        return;
      case 'checkpoint':
        this.checkpoints += 1;
        return;
      case 'break':
        this.breaks += 1;
    }
  }

  #intent(line: Line): void {
    const { seq, call, source, service, nonce, plan, qubes, args } = line as unknown as Intent;
    this.open.set(seq, {
      seq,
      call,
      source,
      service,
      nonce,
      plan: plan ?? null,
      qubes,
      args,
      steps: [],
      isCurrent: true,
    });
    if (nonce === null) return;
    const before = this.used.get(nonce);
    if (before !== undefined) this.#wrong(`I3: the nonce of intent ${before} is used again by intent ${seq}`);
    this.used.set(nonce, seq);
  }

  /** As the journal numbers calls from each start on, and a call has one intent at a time. */
  #currentOf(call: unknown): Intent | undefined {
    let newest: Intent | undefined;
    for (const intent of this.open.values()) if (intent.isCurrent && intent.call === call) newest = intent;
    return newest;
  }
}
