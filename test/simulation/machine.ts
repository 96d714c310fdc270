// The machine on which an episode plays, as one seed makes it, and the broker that runs on it at this moment.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RotationLimits } from '../../daemon/journal/rotation.ts';
import { World } from '../qubesd/world.ts';
import { OPERATOR } from './approver.ts';
import { Chance } from './chance.ts';
import { Clock, HOUR_MS } from './clock.ts';
import { Deeds } from './deed.ts';
import { Disk } from './disk.ts';
import { FLEET } from './fleet.ts';
import { Frozen } from './frozen.ts';
import { History } from './history.ts';
import type { Life } from './life.ts';
import { Outside } from './outside.ts';
import { Quotas } from './quotas.ts';
import { DurableRecord } from './record.ts';
import type { Wishes } from './rules.ts';
import { OPERATORS, OperatorFiles } from './settings.ts';
import { Signers } from './signers.ts';
import { Watch } from './watch.ts';
import { A_DAY, anyWeather, type Weather } from './weather.ts';

const START_MS = 1_800_000_000_000;

interface MachineOptions {
  readonly seed: string | number;
  readonly episode: number;
  readonly isDay: boolean;
  readonly trace: ((line: string) => void) | undefined;
}

export class Machine {
  readonly isDay: boolean;
  readonly chance: Chance;
  readonly history: History;
  readonly clock = new Clock(START_MS);
  readonly disk: Disk;
  readonly world = new World(FLEET);
  /** What the operator comes back to. */
  readonly calm: Wishes;
  readonly settings: OperatorFiles;
  readonly weather: Weather;
  readonly deeds: Deeds;
  readonly frozen: Frozen;
  readonly record: DurableRecord;
  readonly watch: Watch;
  readonly rotation: RotationLimits;
  /** Where somebody is enrolled. */
  readonly signers: Signers | null;
  readonly quotas: Quotas;
  readonly #root = mkdtempSync(join(tmpdir(), 'qmcp-simulated-'));
  readonly etc = join(this.#root, 'etc');

  /** What the broker of this life waits for. */
  outside: Outside;
  /** The broker, once it has started. */
  life: Life | null = null;
  isStarting = false;
  isStopping = false;
  /** How many lives there were, with this one. */
  lives = 0;

  /** The order in which chance is asked here is part of what a seed means. */
  constructor({ seed, episode, isDay, trace }: MachineOptions) {
    const chance = new Chance(seed, episode);
    this.isDay = isDay;
    this.chance = chance;
    this.history = new History(trace);
    this.deeds = new Deeds(this.history);
    this.disk = new Disk(chance);
    this.calm = chance.pick(OPERATORS);
    this.settings = new OperatorFiles(OPERATOR.text, this.calm);
    this.weather = isDay ? A_DAY : anyWeather(chance);
    this.outside = this.anotherOutside();
    mkdirSync(this.etc);
    const stateFiles = this.disk.stateFilesOver(this.wait, '/state');
    this.frozen = new Frozen(() => stateFiles.read('frozen'), this.history);
    this.record = new DurableRecord(this.disk, '/log/audit.jsonl', (sentence) => this.watch.wrong(sentence));
    this.watch = new Watch({
      ...{ world: this.world, disk: this.disk, record: this.record, settings: this.settings, frozen: this.frozen },
      ...{ history: this.history, now: this.clock.now, hasSettled: () => this.life?.hasSettled() ?? false },
    });
    this.rotation = { bytes: chance.pick([24, 96, 192]) * 1024, ageMs: 30 * 24 * HOUR_MS, keep: 1_000 };
    this.signers = chance.is(0.5) ? new Signers(chance, this.clock.now) : null;
    this.signers?.enroll(this.etc);
    this.quotas = new Quotas({
      limits: this.signers?.limits ?? new Map(),
      ...{ now: this.clock.now, monotonicMs: this.clock.monotonicMs, wrong: this.watch.wrong },
    });
    this.record.refused = this.quotas.isRefused;
  }

  /** Of a life that begins. */
  anotherOutside(): Outside {
    return new Outside(this.chance, this.weather.quick, this.history.tell);
  }

  /** Waits as the broker does, in whichever life it is. */
  readonly wait: Outside['wait'] = (what, work) => this.outside.wait(what, work);

  close(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }
}
