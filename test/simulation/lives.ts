// The broker's lives, one after the other: each starts on what the one before left, and ends by itself, killed, or without power.
import type { Agents } from './agents.ts';
import type { SimulatedApprover } from './approver.ts';
import { idle } from './clock.ts';
import type { Disk } from './disk.ts';
import { begin, type Ground, journalOf } from './life.ts';
import type { Machine } from './machine.ts';
import type { Outside } from './outside.ts';
import type { Qubesd } from './qubesd.ts';
import { Tampering } from './tampering.ts';

interface Around {
  readonly qubesd: Qubesd;
  readonly agents: Agents;
  readonly approver: SimulatedApprover;
  readonly breaks: ((ground: Ground) => Ground) | undefined;
}

export class Lives {
  readonly #machine: Machine;
  readonly #around: Around;
  readonly tampering: Tampering;
  /** Whether one has started since the journal was verified. */
  isUnverified = false;

  constructor(machine: Machine, around: Around) {
    this.#machine = machine;
    this.#around = around;
    const { chance, disk, watch, history } = machine;
    this.tampering = new Tampering({
      ...{ chance, disk, wrong: watch.wrong, tell: history.tell },
      open: (copy) => journalOf(this.#ground(copy, async (_, work) => work())),
    });
  }

  start(): void {
    const machine = this.#machine;
    const { chance, watch, weather, frozen, history } = machine;
    machine.lives += 1;
    machine.isStarting = true;
    machine.outside = machine.anotherOutside();
    const { outside, disk, lives: number } = machine;
    // Half a start is the one after it's to cope with.
    outside.deadly = chance.is(0.2) ? weather.deadly * 10 : 0;
    void begin(
      this.#ground(disk, (what, work) => outside.wait(what, work)),
      (fleet) => this.#around.qubesd.connect(fleet),
    ).then(
      (life) => {
        if (outside.isDead || number !== machine.lives) return;
        machine.life = life;
        machine.isStarting = false;
        outside.deadly = weather.deadly;
        this.isUnverified = true;
        frozen.look();
        history.tell(`life ${number}`);
      },
      (error: unknown) => watch.wrong(`the start failed: ${stackOf(error)}`),
    );
  }

  /** It was killed, or stopped: what is left is found, and the next one begun. */
  async died(): Promise<void> {
    const machine = this.#machine;
    const { chance, clock, disk, frozen, history, quotas, record, watch, weather } = machine;
    history.tell('the broker is dead');
    machine.outside.kill();
    await idle();
    this.#around.qubesd.events.forget();
    machine.life = null;
    machine.isStarting = false;
    machine.isStopping = false;
    this.#around.agents.forget();
    frozen.isUnsaid();
    quotas.died();
    clock.forget();
    watch.screen.isGone();
    if (chance.is(0.5)) disk.powerCut();
    else disk.killed();
    record.read();
    if (weather.tampers) await this.tampering.look();
    this.start();
  }

  stop(): void {
    const machine = this.#machine;
    const { life, outside, clock, disk, history, watch } = machine;
    if (!life || machine.isStopping) return;
    machine.isStopping = true;
    const { failures } = disk;
    void life.stop().then(() => {
      history.tell('stopped');
      if (disk.failures === failures) watch.seals.isWhole();
      outside.kill();
    });
    // As systemd does it, in the end.
    clock.after(4_000, () => outside.kill());
  }

  #ground(disk: Disk, wait: Outside['wait']): Ground {
    const { outside, chance, clock, deeds, settings, watch, quotas, etc, lives: life } = this.#machine;
    const { qubesd, approver, breaks } = this.#around;
    const ground: Ground = {
      files: disk.filesOver(wait),
      rotation: this.#machine.rotation,
      found: watch.seals.found,
      ledger: quotas.writtenBy(disk.stateFilesOver(wait, '/state/principals')),
      stateFiles: disk.stateFilesOver(wait, '/state'),
      settings,
      call: qubesd.adminOver(outside),
      tools: qubesd.toolsOver(outside),
      reach: approver.reach,
      now: clock.now,
      monotonicMs: clock.monotonicMs,
      after: clock.after,
      randomBytes: chance.bytes,
      random: chance.fraction,
      etc,
      unplanned: (error) => watch.wrong(`nobody planned: ${stackOf(error)}`),
      deeds: deeds.current,
      deed: (kind) => deeds.begin({ kind, source: 'dom0', service: kind, request: null, life }),
    };
    return breaks?.(ground) ?? ground;
  }
}

const stackOf = (error: unknown): string => `${error instanceof Error ? error.stack : error}`;
