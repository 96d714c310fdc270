// Prepare, Commit, Status and Cancel in random order, with changes of the fleet, restarts, expiry and freezes between them,
// against a simple model of what a nonce is good for. What is checked against is qubesd's own record of the effects.
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Broker } from '../../daemon/broker.ts';
import { Nonces } from '../../daemon/confirm/nonces.ts';
import { Restraint } from '../../daemon/confirm/restraint.ts';
import { FleetView } from '../../daemon/fleet/view.ts';
import { type Journal, openJournal } from '../../daemon/journal/journal.ts';
import type { QubeName } from '../../daemon/names.ts';
import { MAX_OPEN_PER_SOURCE, OPEN_MS, RESULTS_MS } from '../../daemon/plans/plan-store.ts';
import { Ledger } from '../../daemon/principals/ledger.ts';
import { Principals } from '../../daemon/principals/principals.ts';
import { Registry } from '../../daemon/principals/registry.ts';
import { adminOver } from '../../daemon/qubesadmin/admin.ts';
import { adminCallsTo } from '../../daemon/qubesadmin/client.ts';
import { type EventStream, followEvents } from '../../daemon/qubesadmin/events.ts';
import { toolsIn } from '../../daemon/qubesadmin/tool.ts';
import { Quarantine } from '../../daemon/services/quarantine.ts';
import { openSettings } from '../../daemon/settings/open.ts';
import { stateFilesIn } from '../../daemon/state-files.ts';
import { Approver, type Asked } from '../confirm/approver.ts';
import { type Qubesd, startQubesd } from '../qubesd/server.ts';

const RUNS = 60;
const SOURCES = ['mcp-control', 'mcp-other'] as const;
const QUBES = ['ai-a', 'ai-b'] as const;
const FLEET = {
  qubes: Object.fromEntries([
    ...SOURCES.map((name) => [name, { klass: 'StandaloneVM', state: 'Running' }]),
    ...QUBES.map((name) => [name, { tags: ['ai-managed'] }]),
  ]),
};
const REFUSED = { ok: false, error: 'not found' };

/** The broker with everything around it, which may be killed and started again. */
class Real {
  readonly root = mkdtempSync(join(tmpdir(), 'plans-'));
  readonly approver = new Approver();
  readonly clock = { ms: 1_000_000 };
  readonly qubesd: Qubesd;
  broker!: Broker;
  restraint!: Restraint;
  view!: FleetView;
  #journal!: Journal;
  #events!: EventStream;
  #stopping!: AbortController;

  constructor(qubesd: Qubesd) {
    this.qubesd = qubesd;
    for (const name of ['etc', 'run', 'state', 'log']) mkdirSync(join(this.root, name));
    writeFileSync(join(this.root, 'etc', 'consent-policy'), 'qmcp.SetFeatureAIManaged:*\n');
    writeFileSync(join(this.root, 'etc', 'confirm.pub'), `${this.approver.publicKey}\n`);
  }

  async start(): Promise<void> {
    const { root, clock } = this;
    const monotonicMs = (): number => clock.ms;
    const settings = openSettings(join(root, 'etc'));
    const { journal } = await openJournal({ dir: join(root, 'log'), now: Date.now, monotonicMs, bootId: 'test' });
    const call = adminCallsTo(this.qubesd.path);
    const quarantine = new Quarantine(stateFilesIn(join(root, 'state')));
    this.view = new FleetView(adminOver(call, quarantine.keeps));
    this.restraint = new Restraint(stateFilesIn(join(root, 'state')), monotonicMs);
    this.#journal = journal;
    this.#events = followEvents(this.qubesd.path, this.view);
    this.#stopping = new AbortController();
    this.broker = new Broker({
      call,
      randomBytes,
      admin: adminOver(call, quarantine.holds),
      quarantine,
      left: () => expect.unreachable(),
      tools: toolsIn(root),
      fleet: this.view,
      settings,
      journal,
      nonces: new Nonces(randomBytes, monotonicMs),
      principals: new Principals({
        registry: new Registry(join(root, 'etc')),
        ledger: new Ledger(join(root, 'state'), { complain: () => {} }),
        now: Date.now,
      }),
      restraint: this.restraint,
      undo: { keep: async () => {}, spend: () => {} },
      restrained: () => {},
      socket: join(root, 'run', 'confirm.sock'),
      key: () => settings.current().confirmKey,
      stopping: this.#stopping.signal,
      now: Date.now,
      monotonicMs,
      unplanned: (error) => {
        throw error;
      },
      notice: () => {},
    });
    await this.#events.firstTry;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#events.stop();
    await this.#journal.close();
  }

  call(service: string, json: unknown, source: string, argument = '') {
    return Promise.resolve(this.broker.handle({ service, argument, source: source as QubeName, body: { json } }));
  }

  /** What qubesd was told to do for the plan of this number. */
  executions(plan: number): number {
    return this.qubesd.changes().filter(([method]) => method === `admin.vm.feature.Set+ai-plan-${plan}`).length;
  }
}

interface ModelPlan {
  readonly number: number;
  readonly nonce: string;
  readonly source: string;
  readonly qube: string;
  state: 'open' | 'void' | 'done' | 'refused';
  endedAt: number;
  openedAt: number;
}

interface Model {
  plans: ModelPlan[];
  frozen: Set<string>;
  denials: Map<string, number>;
}

type Command = fc.AsyncCommand<Model, Real>;

/** An open plan that has outlived its time is void, and so are results. */
const settle = (model: Model, now: number): void => {
  for (const plan of model.plans) {
    if (plan.state === 'open' && now >= plan.openedAt + OPEN_MS) plan.state = 'void';
    if ((plan.state === 'done' || plan.state === 'refused') && now >= plan.endedAt + RESULTS_MS) plan.state = 'void';
  }
};

const checkNeverTwice = (model: Model, real: Real): void => {
  for (const { number, state } of model.plans) {
    const count = real.executions(number);
    expect(count).toBeLessThanOrEqual(1);
    if (state === 'open' || state === 'refused') expect(count).toBe(0);
    if (state === 'done') expect(count).toBe(1);
  }
};

const command = (name: string, run: (model: Model, real: Real) => Promise<void>): Command => ({
  check: () => true,
  run: async (model, real) => {
    settle(model, real.clock.ms);
    await run(model, real);
    checkNeverTwice(model, real);
  },
  toString: () => name,
});

let numbers = 0;

const prepare = (source: string, qube: string): Command =>
  command(`prepare(${source}, ${qube})`, async (model, real) => {
    const number = ++numbers;
    const request = { name: qube, feature: `ai-plan-${number}`, value: 1 };
    const reply = await real.call(
      'qmcp.Prepare',
      { calls: [{ service: 'qmcp.SetFeatureAIManaged', request }] },
      source,
    );
    const open = model.plans.filter((plan) => plan.source === source && plan.state === 'open').length;
    if (model.frozen.has(source) || open >= MAX_OPEN_PER_SOURCE) expect(reply).toEqual(REFUSED);
    else {
      expect(reply).toMatchObject({ ok: true });
      const { nonce } = reply as unknown as { nonce: string };
      const openedAt = real.clock.ms;
      model.plans.push({ number, nonce, source, qube, state: 'open', openedAt, endedAt: 0 });
    }
  });

const commit = (index: number, source: string, answer: 'approve' | 'deny' | 'garble'): Command =>
  command(`commit(#${index}, ${source}, ${answer})`, async (model, real) => {
    const plan = model.plans[index % Math.max(1, model.plans.length)];
    if (!plan) return;
    real.approver.reflex = (asked: Asked) => {
      if (answer === 'approve') asked.approve();
      else if (answer === 'deny') asked.deny();
      else asked.answer('yes\n');
    };
    const before = real.approver.questions.length;
    const reply = await real.call('qmcp.Commit', {}, source, plan.nonce);
    const isOwn = plan.source === source && plan.state === 'open' && !model.frozen.has(source);
    const wasAsked = real.approver.questions.length - before;
    if (!isOwn) {
      expect(reply).toEqual(REFUSED);
      expect(wasAsked).toBe(0);
      return;
    }
    plan.endedAt = real.clock.ms;
    if (wasAsked === 1 && answer === 'approve') {
      expect(reply).toMatchObject({ ok: true, state: 'done' });
      plan.state = 'done';
      // The effect changes the qube, which voids whatever else was prepared on it.
      for (const other of model.plans)
        if (other !== plan && other.qube === plan.qube && other.state === 'open') other.state = 'void';
    } else {
      expect(reply).toEqual(REFUSED);
      plan.state = 'refused';
    }
  });

const status = (index: number, source: string): Command =>
  command(`status(#${index}, ${source})`, async (model, real) => {
    const plan = model.plans[index % Math.max(1, model.plans.length)];
    if (!plan) return;
    const reply = await real.call('qmcp.Status', {}, source, plan.nonce);
    const isVisible = plan.source === source && !model.frozen.has(source);
    if (!isVisible || plan.state === 'void' || plan.state === 'refused') expect(reply).toEqual(REFUSED);
    else if (plan.state === 'open') expect(reply).toEqual({ ok: true, state: 'pending' });
    // Results may have made room for newer ones; a wrong caller's they never become.
    else expect([{ ok: true, state: 'done' }, REFUSED]).toContainEqual(withoutResults(reply));
  });

const withoutResults = (reply: object) =>
  Object.fromEntries(Object.entries(reply).filter(([key]) => key !== 'results'));

const cancel = (index: number, source: string): Command =>
  command(`cancel(#${index}, ${source})`, async (model, real) => {
    const plan = model.plans[index % Math.max(1, model.plans.length)];
    if (!plan) return;
    const reply = await real.call('qmcp.Cancel', {}, source, plan.nonce);
    if (plan.source === source && plan.state === 'open' && !model.frozen.has(source)) {
      expect(reply).toEqual({ ok: true });
      plan.state = 'void';
    } else expect(reply).toEqual(REFUSED);
  });

const touch = (qube: string): Command =>
  command(`touch(${qube})`, async (model, real) => {
    const heard = new Promise<void>((resolve) => {
      const stop = real.view.watch((name) => {
        if (name !== qube) return;
        stop();
        resolve();
      });
    });
    real.qubesd.world.addTag(qube, `operator-${randomBytes(4).toString('hex')}`);
    await heard;
    for (const plan of model.plans) if (plan.qube === qube && plan.state === 'open') plan.state = 'void';
  });

const restart: Command = command('restart', async (model, real) => {
  await real.stop();
  await real.start();
  for (const plan of model.plans) plan.state = plan.state === 'done' ? 'done' : 'void';
  // What is remembered of an ended plan is in memory too.
  for (const plan of model.plans) plan.endedAt = Number.NEGATIVE_INFINITY;
});

const wait = (ms: number): Command =>
  command(`wait(${ms})`, async (model, real) => {
    real.clock.ms += ms;
    settle(model, real.clock.ms);
  });

const freeze = (source: string): Command =>
  command(`freeze(${source})`, async (model, real) => {
    await real.restraint.freeze(source as QubeName);
    model.frozen.add(source);
    for (const plan of model.plans) if (plan.source === source && plan.state === 'open') plan.state = 'void';
  });

const thaw = (source: string): Command =>
  command(`thaw(${source})`, async (model, real) => {
    await real.restraint.thawing(source as QubeName)?.();
    model.frozen.delete(source);
  });

const sources = fc.constantFrom(...SOURCES);
const qubes = fc.constantFrom(...QUBES);
const commands = fc.commands(
  [
    fc.tuple(sources, qubes).map(([source, qube]) => prepare(source, qube)),
    fc.tuple(sources, qubes).map(([source, qube]) => prepare(source, qube)),
    fc
      .tuple(
        fc.nat(20),
        sources,
        fc.constantFrom('approve' as const, 'approve' as const, 'deny' as const, 'garble' as const),
      )
      .map(([index, source, answer]) => commit(index, source, answer)),
    fc.tuple(fc.nat(20), sources).map(([index, source]) => status(index, source)),
    fc.tuple(fc.nat(20), sources).map(([index, source]) => cancel(index, source)),
    qubes.map(touch),
    fc.constant(restart),
    fc.constantFrom(1_000, OPEN_MS - 1, OPEN_MS, RESULTS_MS).map(wait),
    sources.map(freeze),
    sources.map(thaw),
  ],
  { maxCommands: 40 },
);

test('in any order of calls, changes, restarts, expiry and freezes a plan runs once at the most, after its yes, for its owner', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (sequence) => {
      const path = join(mkdtempSync(join(tmpdir(), 'qubesd-')), 's');
      const qubesd = await startQubesd({ path, fleet: FLEET });
      const real = new Real(qubesd);
      await real.approver.listen(join(real.root, 'run', 'confirm.sock'));
      await real.start();
      try {
        const model: Model = { plans: [], frozen: new Set(), denials: new Map() };
        await fc.asyncModelRun(() => ({ model, real }), sequence);
        expect(qubesd.errors).toEqual([]);
      } finally {
        await real.stop();
        real.approver.close();
        await qubesd.stop();
        rmSync(real.root, { recursive: true, force: true });
      }
    }),
    { numRuns: RUNS },
  );
}, 120_000);
