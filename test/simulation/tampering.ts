// Somebody at the journal between two lives: on a copy of the disk it is cut, changed, rewritten or replaced by what it was
// once, and a start on that copy has to tell it. A start on a copy that nobody touched has to tell nothing.
import { canonicalMembers } from '../../daemon/journal/canonical.ts';
import { GENESIS, type Head, link } from '../../daemon/journal/chain.ts';
import { type JournalOptions, openJournal } from '../../daemon/journal/journal.ts';
import type { Chance } from './chance.ts';
import type { Disk } from './disk.ts';
import { headIn } from './seals.ts';
import { faultOf } from './verified.ts';

const JOURNAL = '/log/audit.jsonl';
const CHECKPOINT = '/state/checkpoint.json';
const COPIES_MAX = 3;

const KINDS = {
  'cut off': 3,
  'changed a byte of': 3,
  'put an older copy in the place of': 3,
  rewrote: 3,
  'changed a byte of a closed file of': 1,
  'removed a closed file of': 1,
  'took the newest checkpoint of': 1,
  'changed a byte of the newest checkpoint of': 1,
} as const;
type Kind = keyof typeof KINDS;

export class Tampering {
  readonly #chance: Chance;
  readonly #disk: Disk;
  readonly #open: (disk: Disk) => JournalOptions;
  readonly #wrong: (sentence: string) => void;
  readonly #tell: (sentence: string) => void;
  /** The file as earlier lives left it. */
  readonly #earlier: Buffer[] = [];

  constructor(parts: {
    readonly chance: Chance;
    readonly disk: Disk;
    readonly open: (disk: Disk) => JournalOptions;
    readonly wrong: (sentence: string) => void;
    readonly tell: (sentence: string) => void;
  }) {
    this.#chance = parts.chance;
    this.#disk = parts.disk;
    this.#open = parts.open;
    this.#wrong = parts.wrong;
    this.#tell = parts.tell;
  }

  /** Between two lives. `kinds`: one by chance, unless said otherwise. */
  async look(kinds: readonly Kind[] = [this.#chance.weighted(KINDS)]): Promise<void> {
    if (!this.#disk.has(JOURNAL) || !this.#disk.has(CHECKPOINT)) return;
    const honest = await this.#toldOf(this.#disk.copy());
    if (honest.byStart || honest.byVerification)
      this.#wrong(`the journal: nobody was at it, and yet it is told as tampering: ${JSON.stringify(honest)}`);
    for (const kind of kinds) {
      const copy = this.#disk.copy();
      if (!this.#tamper(kind, copy)) continue;
      this.#tell(`somebody ${kind} the journal`);
      const told = await this.#toldOf(copy);
      // Closed files are not read by a start, but by the verification.
      const isTold = kind.includes('closed') ? told.byVerification : told.byStart;
      if (!isTold) this.#wrong(`tampering: somebody ${kind} the journal, and nothing tells it`);
    }
    this.#earlier.push(Buffer.from(this.#disk.bytes(JOURNAL)));
    if (this.#earlier.length > COPIES_MAX) this.#earlier.shift();
  }

  /** At the end: a copy of the disk is what a kill at this moment would leave. */
  lookAtAll = (): Promise<void> => this.look(Object.keys(KINDS) as Kind[]);

  async #toldOf(disk: Disk): Promise<{ readonly byStart: string; readonly byVerification: string }> {
    const { journal, findings } = await openJournal(this.#open(disk));
    const byStart = findings.flatMap((finding) => (finding.type === 'torn' ? [] : JSON.stringify(finding))).join(' ');
    const byVerification = (await faultOf(disk)) ?? '';
    await journal.close();
    return { byStart, byVerification };
  }

  /** Whether it could: what nobody can tell (nothing signed is touched) is not done. */
  #tamper(kind: Kind, disk: Disk): boolean {
    const chance = this.#chance;
    const bytes = disk.bytes(JOURNAL);
    const text = bytes.toString();
    const lines = text.split('\n').slice(0, -1);
    const { seq: signed } = headIn(disk.text(CHECKPOINT));
    // What a crash in the middle of a rotation left under two names is not closed.
    const closed = disk
      .names('/log')
      .filter((name) => /^audit-\d/.test(name) && !disk.bytes(`/log/${name}`).equals(bytes));
    switch (kind) {
      case 'cut off': {
        // As many as leave the signed one out; none where that is in a closed file.
        const most = Math.max(0, signed - (seqOf(lines[0]) ?? signed));
        const kept = lines.slice(0, chance.below(most + 1)).map((line) => `${line}\n`);
        // In the middle of a line, or between two.
        const more = lines[kept.length]?.slice(0, chance.is(0.3) ? chance.below(100) : 0) ?? '';
        disk.put(JOURNAL, kept.join('') + more);
        return true;
      }
      case 'changed a byte of':
        return flip(disk, JOURNAL, chance, bytes.lastIndexOf(0x0a));
      case 'put an older copy in the place of': {
        const older = this.#earlier.filter((copy) => (lastSeqOf(copy) ?? 0) < signed);
        const copy = chance.pick(older);
        if (!copy) return false;
        disk.put(JOURNAL, copy);
        return true;
      }
      case 'rewrote': {
        const upTo = lines.findIndex((line) => seqOf(line) === signed);
        if (upTo < 0) return false;
        disk.put(JOURNAL, rewritten(lines, chance.below(upTo + 1)));
        return true;
      }
      case 'changed a byte of a closed file of': {
        const name = chance.pick(closed);
        return name !== undefined && flip(disk, `/log/${name}`, chance);
      }
      case 'removed a closed file of': {
        const name = chance.pick(closed);
        if (name !== undefined) disk.remove(`/log/${name}`);
        return name !== undefined;
      }
      case 'took the newest checkpoint of': {
        const checkpoints = lines.filter((line) => line.includes('"type":"checkpoint"')).length;
        disk.remove(CHECKPOINT);
        return checkpoints > 1 || (seqOf(lines[0]) ?? 1) > 1;
      }
      case 'changed a byte of the newest checkpoint of':
        return flip(disk, CHECKPOINT, chance);
    }
  }
}

const seqOf = (line: string | undefined): number | null => (line === undefined ? null : JSON.parse(line).seq);
const lastSeqOf = (bytes: Buffer): number | null => seqOf(bytes.toString().split('\n').slice(0, -1).at(-1));

const flip = (disk: Disk, path: string, chance: Chance, end = disk.bytes(path).length): boolean => {
  if (end <= 0) return false;
  const bytes = Buffer.from(disk.bytes(path));
  const at = chance.below(end);
  bytes[at] = (bytes[at] as number) ^ (1 << chance.below(8));
  disk.put(path, bytes);
  return true;
};

/** One record says something else, and all after it are chained anew, as who has no key can do it. */
const rewritten = (lines: readonly string[], changed: number): string => {
  const first = JSON.parse(lines[0] as string) as Head & { readonly prev: string };
  let head: Head = first.seq === 1 ? GENESIS : { seq: first.seq - 1, hash: first.prev };
  return lines
    .map((line, at) => {
      const { prev: _, hash: __, seq: ___, ...record } = JSON.parse(line) as Record<string, unknown>;
      const linked = link(canonicalMembers(at === changed ? { ...record, mono_ms: 1 } : record), head);
      head = linked.head;
      return linked.line;
    })
    .join('');
};
