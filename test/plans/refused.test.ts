// What a plan is refused for, and what is written of that.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import type { QubeName } from '../../daemon/names.ts';
import { QUIET } from '../broker/daemon.ts';
import { type InProcess, temporaryBroker } from '../broker/in-process.ts';
import { enrollIn } from '../principals/enrolling.ts';
import { unsignedFile } from '../principals/signing.ts';
import { asking, cancel, commit, life, note, prepare, REFUSED, spawn, status, step } from './planning.ts';

const READ = step('qmcp.GetPropertyAIManaged', { name: 'ai-work', property: 'label' });
const REMOVAL = [READ, life('ai-idle', 'remove')];

const limited = async (limits: Record<string, unknown>) => {
  const there = await asking();
  enrollIn(there.broker.etc, { 'anybody.json': unsignedFile(limits) });
  return there;
};

const refusals = async (broker: InProcess) => (await broker.lines()).filter(({ verdict }) => verdict === 'refuse');

/** The view forgets what it knew of the qube, as when it is told of a change. */
const touch = (broker: InProcess, name: string): void => broker.view.changed(name as QubeName);

/** Runs `work` once, when qubesd has answered a call of that method on that qube. */
const once = (broker: InProcess, method: string, dest: string, work: () => unknown): void => {
  broker.qubesd.onDone = (call) => {
    if (call.method !== method || call.name !== dest) return;
    broker.qubesd.onDone = undefined;
    work();
  };
};

describe('a Prepare is refused', () => {
  test('when it is no JSON, and told so', async () => {
    const broker = await temporaryBroker();
    expect(await broker.call('qmcp.Prepare', '{')).toEqual({ ok: false, error: 'invalid JSON input' });
  });

  test('when its steps are more calls than the quota has left, itself included, and the journal has it', async () => {
    const { broker } = await limited({ per_hour: { calls: 4 } });
    expect(await broker.call('qmcp.Prepare', { calls: Array(5).fill(READ) })).toEqual(REFUSED);
    expect(await refusals(broker)).toMatchObject([
      {
        source: 'mcp-control',
        principal: 'anybody',
        service: 'qmcp.Prepare',
        action: 'admit',
        qubes: [],
        args: { steps: 5 },
        type: 'decision',
        verdict: 'refuse',
        rule: 'principal-calls',
      },
    ]);
    await prepare(broker, [READ, READ, READ]);
    expect(await broker.call('qmcp.Prepare', { calls: [READ] })).toEqual(REFUSED);
  });

  test('when a step reads and the caller may not', async () => {
    const { broker } = await limited({ risks: ['change'] });
    expect(await broker.call('qmcp.Prepare', { calls: [READ, life('ai-idle', 'start')] })).toEqual(REFUSED);
    await prepare(broker, [life('ai-idle', 'start')]);
  });

  test('while its source is frozen, though it only reads, and what was prepared before is void after the thaw', async () => {
    const broker = await temporaryBroker();
    const nonce = await prepare(broker, [READ]);
    await broker.restraint.freeze('mcp-control' as QubeName);
    expect(await broker.call('qmcp.Prepare', { calls: [READ] })).toEqual(REFUSED);
    await broker.restraint.thawing('mcp-control' as QubeName)?.();
    expect(await status(broker, nonce)).toEqual(REFUSED);
    await prepare(broker, [READ]);
  });

  test('while nothing tells of changes', async () => {
    const broker = await temporaryBroker();
    const lost = new Promise<void>((resolve) => broker.view.watch((name) => name === null && resolve()));
    broker.qubesd.streams.closeAll();
    await lost;
    expect(await broker.call('qmcp.Prepare', { calls: [life('ai-idle', 'start')] })).toEqual(REFUSED);
  });

  test('when qubesd does not answer', async () => {
    const broker = await temporaryBroker();
    broker.qubesd.faults.inject({ times: Number.POSITIVE_INFINITY, fault: 'empty' });
    expect(await broker.call('qmcp.Prepare', { calls: [life('ai-idle', 'start')] })).toEqual(REFUSED);
  });

  test('when a qube of it changes meanwhile, and not when another does', async () => {
    const broker = await temporaryBroker();
    const preparing = async (changed: string) => {
      once(broker, 'admin.vm.volume.Info', 'ai-debian-13', () => touch(broker, changed));
      return broker.call('qmcp.Prepare', { calls: [life('ai-idle', 'start'), spawn('ai-lab')] });
    };
    expect(await preparing('ai-idle')).toEqual(REFUSED);
    expect(await preparing('ai-work')).toMatchObject({ ok: true });
  });

  test('when the places of its source were taken meanwhile', async () => {
    const broker = await temporaryBroker();
    const calls = [life('ai-idle', 'start')];
    const replies = await Promise.all(Array.from({ length: 10 }, () => broker.call('qmcp.Prepare', { calls })));
    expect(replies.filter(({ ok }) => ok)).toHaveLength(8);
  });
});

describe('a Commit is refused', () => {
  test('when it is of another shape, and the plan stays', async () => {
    const broker = await temporaryBroker();
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    for (const request of ['{', '[]', '{"wait":1}']) expect(await commit(broker, nonce, request)).toEqual(REFUSED);
    expect(await commit(broker, nonce)).toMatchObject({ state: 'done' });
  });

  test('when qubesd does not answer, and nobody is asked', async () => {
    const { broker, approver } = await asking();
    const nonce = await prepare(broker, REMOVAL);
    broker.qubesd.faults.inject({ method: 'admin.vm.List', fault: 'empty' });
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(approver.questions).toEqual([]);
  });

  test('when qubesd does not answer once, though it would the second time', async () => {
    const broker = await temporaryBroker({ operatorFiles: QUIET });
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    broker.qubesd.faults.inject({ method: 'admin.vm.List', fault: 'empty' });
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('when the yes comes after its time', async () => {
    let ms = 0;
    const { broker, approver } = await asking({ monotonicMs: () => ms });
    const reply = commit(broker, await prepare(broker, REMOVAL));
    const asked = await approver.next();
    ms += 60_000;
    asked.approve();
    expect(await reply).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('when qubesd does not say who asks, and nobody is asked', async () => {
    const { broker, approver } = await asking();
    const nonce = await prepare(broker, REMOVAL);
    broker.qubesd.faults.inject({
      method: 'admin.vm.property.Get',
      dest: 'mcp-control',
      // The words of its step name the one who asks as well.
      skip: 1,
      fault: 'empty',
    });
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(approver.questions).toEqual([]);
  });

  test('when its question is longer than the window takes, and nobody is asked', async () => {
    const { broker, approver } = await asking();
    const many = Array.from({ length: 29 }, (_, index) => spawn(`ai-lab${index}`));
    const nonce = await prepare(broker, [...many, ...REMOVAL]);
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(approver.questions).toEqual([]);
  });

  test('when questions of its source rest, and the journal has it', async () => {
    const { broker, approver } = await asking();
    approver.reflex = (asked) => asked.deny();
    for (let denial = 0; denial < 3; denial++) {
      expect(await commit(broker, await prepare(broker, REMOVAL))).toEqual(REFUSED);
    }
    const nonce = await prepare(broker, REMOVAL);
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(approver.questions).toHaveLength(3);
    expect(await refusals(broker)).toMatchObject([
      {
        source: 'mcp-control',
        principal: 'default',
        service: 'qmcp.Commit',
        action: 'commit',
        qubes: [{ role: 'named', name: 'ai-idle', uuid: broker.world.qube('ai-idle').uuid }],
        args: { steps: 2, changes: 1 },
        plan: nonce,
        type: 'decision',
        verdict: 'refuse',
        rule: 'questions-rest',
      },
    ]);
  });

  test('when the quota of questions is used up, and the journal has it', async () => {
    const { broker, approver } = await limited({ per_hour: { questions: 1 } });
    approver.reflex = (asked) => asked.deny();
    for (let time = 0; time < 2; time++) {
      expect(await commit(broker, await prepare(broker, REMOVAL))).toEqual(REFUSED);
    }
    expect(approver.questions).toHaveLength(1);
    expect(await refusals(broker)).toMatchObject([{ service: 'qmcp.Commit', rule: 'principal-questions' }]);
  });

  test('when a qube of it changes while its question is put into words, and nobody is asked', async () => {
    const { broker, approver } = await asking();
    const nonce = await prepare(broker, REMOVAL);
    once(broker, 'admin.vm.property.Get', 'ai-idle', () => touch(broker, 'ai-idle'));
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(approver.questions).toEqual([]);
  });

  test('when the journal does not take its intent', async () => {
    const broker = await temporaryBroker();
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    await broker.journal.close();
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test.each([
    ['is cancelled', (broker: InProcess, nonce: string) => cancel(broker, nonce)],
    ['would begin while the broker stops', (broker: InProcess) => broker.abort()],
  ])('when it %s at the last moment', async (_, end) => {
    const broker = await temporaryBroker();
    const nonce = await prepare(broker, [life('ai-idle', 'start')]);
    // Its first rehearsal reads the tags once, its second once more.
    once(broker, 'admin.vm.tag.List', 'ai-idle', () =>
      once(broker, 'admin.vm.tag.List', 'ai-idle', () => end(broker, nonce)),
    );
    expect(await commit(broker, nonce)).toEqual(REFUSED);
    expect(broker.qubesd.changes()).toEqual([]);
  });

  test('for what nobody planned, which the operator is told of, and takes no place from others', async () => {
    const broker = await temporaryBroker();
    const nonces = [];
    for (let place = 0; place < 8; place++) nonces.push(await prepare(broker, [life('ai-idle', 'start')]));
    const odd = new Error('odd');
    const settings = vi.spyOn(broker.settings, 'current').mockImplementation(() => {
      throw odd;
    });
    for (const nonce of nonces) expect(await commit(broker, nonce)).toEqual(REFUSED);
    settings.mockRestore();
    expect(broker.unplanned.splice(0)).toEqual(Array(8).fill(odd));
    for (const nonce of nonces) expect(await status(broker, nonce)).toEqual(REFUSED);
    await prepare(broker, [life('ai-idle', 'start')]);
  });
});

describe('a plan whose turn to ask comes later', () => {
  const waiting = async () => {
    const { broker, approver } = await asking();
    const first = commit(broker, await prepare(broker, [life('ai-idle', 'remove')]));
    const asked = await approver.next();
    const nonce = await prepare(broker, [life('ai-full1', 'remove')], 'mcp-other');
    const second = commit(broker, nonce, {}, 'mcp-other');
    await vi.waitFor(() => expect(broker.broker.askers.waiting).toHaveLength(1));
    const next = async () => {
      asked.deny();
      expect(await first).toEqual(REFUSED);
    };
    return { broker, approver, nonce, second, next };
  };
  const tagged = async (broker: InProcess, change: () => void) => {
    const heard = new Promise<void>((resolve) => broker.view.watch((name) => name === 'ai-full1' && resolve()));
    change();
    await heard;
  };

  test('is seen with who waits for what, each qube once', async () => {
    const { broker, second, next, approver } = await waiting();
    const asker = { principal: 'default', service: 'qmcp.Commit', action: 'commit' };
    expect(broker.broker.askers).toEqual({
      current: { ...asker, source: 'mcp-control', names: ['ai-idle'] },
      waiting: [{ ...asker, source: 'mcp-other', names: ['ai-full1'] }],
    });
    await next();
    (await approver.next()).deny();
    await second;
  });

  test('is asked by what is so by then, though something had changed and changed back', async () => {
    const { broker, approver, second, next } = await waiting();
    await tagged(broker, () => broker.world.addTag('ai-full1', 'x'));
    await tagged(broker, () => broker.world.removeTag('ai-full1', 'x'));
    await next();
    (await approver.next()).approve();
    expect(await second).toMatchObject({ state: 'done' });
  });

  test('is not asked when it would come out otherwise by then', async () => {
    const { broker, approver, second, next } = await waiting();
    await tagged(broker, () => broker.world.addTag('ai-full1', 'x'));
    await next();
    expect(await second).toEqual(REFUSED);
    expect(approver.questions).toHaveLength(1);
  });

  test('is not asked when it was cancelled meanwhile, nor is it looked at again', async () => {
    const { broker, approver, nonce, second, next } = await waiting();
    expect(await cancel(broker, nonce, 'mcp-other')).toEqual({ ok: true });
    broker.qubesd.reset();
    await next();
    expect(await second).toEqual(REFUSED);
    expect(approver.questions).toHaveLength(1);
    expect(broker.qubesd.calls).toEqual([]);
  });
});

test('a question of a plan stands as long as the operator has set', async () => {
  const { broker, approver } = await asking();
  writeFileSync(join(broker.etc, 'consent-timeout'), '90\n');
  const reply = commit(broker, await prepare(broker, REMOVAL));
  const asked = await approver.next();
  expect(asked.question.expires_in).toBeGreaterThan(80);
  expect(asked.question.expires_in).toBeLessThanOrEqual(90);
  asked.deny();
  await reply;
});

test('a plan is void once somebody takes a name that it would create', async () => {
  const broker = await temporaryBroker({ operatorFiles: QUIET });
  const nonce = await prepare(broker, [spawn('ai-lab'), note('ai-lab', 'x')]);
  expect(await broker.call('qmcp.SpawnAIManagedQube', spawn('ai-lab').request)).toMatchObject({ ok: true });
  expect(await status(broker, nonce)).toEqual(REFUSED);
});
