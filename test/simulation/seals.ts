// The key and the newest checkpoint on the disk, looked at whenever names there change: what a kill or a power cut would
// leave of them at that moment has to be what the next start can believe.
import type { OpeningFinding } from '../../daemon/journal/establish.ts';
import type { Disk } from './disk.ts';
import type { DurableRecord } from './record.ts';

const KEY = '/state/journal.key';
const PUBLIC_KEY = '/log/journal.pub';
const CHECKPOINT = '/state/checkpoint.json';

export class Seals {
  readonly #disk: Disk;
  readonly #record: DurableRecord;
  readonly #wrong: (sentence: string) => void;
  /** Its text, since it is durable. */
  #key = '';
  #seen = '';
  /** The record that the newest checkpoint names which no power cut takes back. */
  kept = 0;

  constructor(disk: Disk, record: DurableRecord, wrong: (sentence: string) => void) {
    this.#disk = disk;
    this.#record = record;
    this.#wrong = wrong;
    disk.named = () => this.#look();
  }

  /** What a start says of the journal that it found, and nobody but the broker was at. */
  readonly found = (findings: readonly OpeningFinding[]): void => {
    for (const finding of findings) {
      // Two checkpoints can be in the journal before the first is kept, as when the disk takes no more.
      const isTrue = finding.type === 'anchor' && finding.found === 'missing' && this.kept === 0;
      if (finding.type !== 'torn' && !isTrue)
        this.#wrong(`the journal: an honest end is told as ${JSON.stringify(finding)}`);
    }
  };

  /** Where the disk did what it was told, a stop leaves nothing that no checkpoint covers. */
  isWhole(): void {
    this.isCoveredUpTo(this.#record.last);
  }

  isCoveredUpTo(seq: number): void {
    if (this.kept < seq)
      this.#wrong(`the checkpoint of record ${this.kept} is the newest, although ${seq} is long on disk`);
  }

  #look(): void {
    const key = this.#disk.durable(KEY).toString();
    if (this.#key !== '' && key !== this.#key) this.#wrong('the key of the journal: it is another one, or gone');
    this.#key = key;
    const isUsed = this.#record.checkpoints > 0 || this.#disk.durable(PUBLIC_KEY).length > 0;
    if (isUsed && key === '') this.#wrong('the key of the journal: in use before it is surely on disk');
    const present = this.#disk.has(CHECKPOINT) ? this.#disk.text(CHECKPOINT) : '';
    // The first may be gone with the power, as long as its name was not synced.
    if (present !== this.#seen && present !== '') this.#isCovered(present);
    this.#seen = present;
    const kept = seqIn(this.#disk.durable(CHECKPOINT).toString());
    if (kept < this.kept) this.#wrong(`the checkpoint of record ${this.kept} is lost, the newest is now of ${kept}`);
    this.kept = kept;
  }

  /** Its journal is on disk, whatever happens next. */
  #isCovered(text: string): void {
    const { seq, hash } = headIn(text);
    if (this.#record.hashes.get(seq) !== hash)
      this.#wrong(`the checkpoint of record ${seq} is ahead of what is surely on disk`);
  }
}

/** The head that a checkpoint names. */
export const headIn = (text: string): { readonly seq: number; readonly hash: string } =>
  JSON.parse(JSON.parse(text).statement);

const seqIn = (text: string): number => (text === '' ? 0 : headIn(text).seq);
