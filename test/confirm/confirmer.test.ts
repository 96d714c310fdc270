// One question from its being raised to its end, with the real nonces and restraint, before a fleet and a journal that do as told.
import { randomBytes } from 'node:crypto';
import { getEventListeners } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Acquaintance } from '../../daemon/confirm/acquaintance.ts';
import { type Approver as ApproverThere, reachApprover } from '../../daemon/confirm/approver.ts';
import { type ConfirmerParts, confirm, type Matter, MIN_QUESTION_MS } from '../../daemon/confirm/confirmer.ts';
import { Nonces } from '../../daemon/confirm/nonces.ts';
import type { View } from '../../daemon/confirm/question.ts';
import { FIRST_REST_MS, Restraint } from '../../daemon/confirm/restraint.ts';
import type { FleetView } from '../../daemon/fleet/view.ts';
import type { Journal } from '../../daemon/journal/journal.ts';
import type { JournalRecord } from '../../daemon/journal/record.ts';
import type { Digest, QubeName } from '../../daemon/names.ts';
import { AdminError } from '../../daemon/qubesadmin/wire.ts';
import { stateFilesIn } from '../../daemon/state-files.ts';
import { type Asked, startApprover } from './approver.ts';

const AGENT = 'mcp-control' as QubeName;
const OTHER = 'mcp-other' as QubeName;
const DIGEST = 'd'.repeat(64) as Digest;
const LINES = ['Remove ai-work (gray)', 'It is gone.'];
const OF_CALL: Matter['ofCall'] = {
  call: 7,
  source: AGENT,
  principal: 'default',
  service: 'qmcp.LifecycleAIManaged',
  action: 'remove',
  qubes: [{ role: 'target', name: 'ai-work', uuid: 'u' }],
  args: { name: 'ai-work' },
};
const view = (): View => ({
  lines: LINES,
  marks: [],
  type_to_confirm: 'ai-work' as QubeName,
  risk: 'destroy',
});

const temporary = (): string => {
  const dir = mkdtempSync(join(tmpdir(), 'confirmer-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
};

const place = async () => {
  const dir = temporary();
  const approver = await startApprover(join(dir, 's'));
  const clock = { ms: 50_000 };
  const monotonicMs = (): number => clock.ms;
  const fleet = { revision: 'r1' as string | null, watchers: new Set<(name: string | null) => void>() };
  const records: JournalRecord[] = [];
  const journal = { fails: false, takes: 0 };
  const told: [string, QubeName][] = [];
  const onScreen: unknown[] = [];
  const stopping = new AbortController();
  const withdrawn = new AbortController();
  const nonces = new Nonces(randomBytes, monotonicMs);
  const restraint = new Restraint(stateFilesIn(dir), monotonicMs);
  const parts: ConfirmerParts = {
    socket: join(dir, 's'),
    key: () => approver.keys.publicKey,
    nonces,
    restraint,
    restrained: (sentence, source) => told.push([sentence, source]),
    fleet: {
      revision: () => fleet.revision,
      watch: (watcher: (name: string | null) => void) => {
        fleet.watchers.add(watcher);
        return () => fleet.watchers.delete(watcher);
      },
    } as unknown as FleetView,
    journal: {
      append: async (record: JournalRecord) => {
        if (journal.fails) throw new Error('full');
        clock.ms += journal.takes;
        records.push(record);
        return { seq: records.length };
      },
      note: (record: JournalRecord) => records.push(record),
    } as unknown as Journal,
    monotonicMs,
    stopping: stopping.signal,
    onScreen: (shown) => onScreen.push(shown),
  };
  const matter = (changes: Partial<Matter> = {}): Matter => ({
    source: AGENT,
    ofCall: OF_CALL,
    digest: DIGEST,
    words: async () => view(),
    deadline: clock.ms + 60_000,
    withdrawn: withdrawn.signal,
    ...changes,
  });
  const ask = (changes: Partial<Matter> = {}, others: Partial<ConfirmerParts> = {}) =>
    confirm({ ...parts, ...others }, matter(changes));
  const tell = (name: string | null): void => {
    for (const watcher of fleet.watchers) watcher(name);
  };
  const answer = (): JournalRecord | undefined => records.findLast(({ type }) => type === 'answer');
  return {
    ...{ dir, approver, clock, fleet, records, journal, told, onScreen, stopping, withdrawn, nonces, restraint },
    ...{ parts, matter, ask, tell, answer },
  };
};
type Place = Awaited<ReturnType<typeof place>>;

/** A question that is on the screen. */
const raised = async (at: Place, changes: Partial<Matter> = {}) => {
  const approval = at.ask(changes);
  return { approval, asked: await at.approver.next() };
};

const NO = { kind: 'no' };

describe('a question', () => {
  test('is what was resolved, for as long as there is time, and is on the record before it is shown', async () => {
    const at = await place();
    at.approver.reflex = (asked) => {
      expect(at.records).toEqual([{ ...OF_CALL, type: 'question', nonce: asked.question.nonce, digest: DIGEST }]);
      expect(at.onScreen).toEqual([
        { ofCall: OF_CALL, view: asked.question.view, asked: 50_000, deadline: 50_000 + 59_960 },
      ]);
      asked.approve();
    };
    await at.ask({ deadline: at.clock.ms + 59_960 });
    expect(at.approver.questions).toEqual([
      { v: 1, nonce: expect.any(String), digest: DIGEST, expires_in: 60, view: { ...view(), freeze: AGENT } },
    ]);
    expect(at.onScreen.at(-1)).toBeNull();
  });

  test('says how many others were not shown meanwhile', async () => {
    const at = await place();
    at.approver.reflex = (asked) => asked.answer('\n');
    for (const unasked of [1, 2, 0]) {
      for (let i = 0; i < 3; i++) at.restraint.denied(AGENT);
      for (let i = 0; i < unasked; i++) at.restraint.mayAsk(AGENT);
      await at.ask();
    }
    expect(at.approver.questions.map(({ view }) => view.lines.slice(2))).toEqual([
      ["Not shown to you meanwhile: 1 other question of this agent's qube."],
      ["Not shown to you meanwhile: 2 other questions of this agent's qube."],
      [],
    ]);
  });

  test.each<[string, (at: Place) => ReturnType<Place['ask']>]>([
    ["without the operator's key", (at) => at.ask({}, { key: () => null })],
    [
      'without the event stream',
      (at) => {
        at.fleet.revision = null;
        return at.ask();
      },
    ],
    ['with too little time left', (at) => at.ask({ deadline: at.clock.ms + MIN_QUESTION_MS - 1 })],
    [
      'of a source that is frozen',
      (at) => {
        at.restraint.freeze(AGENT);
        return at.ask();
      },
    ],
    ['while the broker stops', (at) => at.ask({}, { stopping: AbortSignal.abort() })],
    ['that was taken back before', (at) => at.ask({ withdrawn: AbortSignal.abort() })],
  ])('%s is not raised, and is a no', async (_, ask) => {
    const at = await place();
    expect(await ask(at)).toEqual(NO);
    expect([at.approver.questions, at.records, at.nonces.open]).toEqual([[], [], 0]);
  });

  test('with just enough time left is raised', async () => {
    const at = await place();
    at.approver.reflex = (asked) => asked.approve();
    expect(await at.ask({ deadline: at.clock.ms + MIN_QUESTION_MS })).toMatchObject({ kind: 'approved' });
  });

  test('that the journal does not take is not asked, and is a no', async () => {
    const at = await place();
    at.journal.fails = true;
    expect(await at.ask()).toEqual(NO);
    expect([at.approver.questions, at.records, at.nonces.open, at.onScreen]).toEqual([[], [], 0, [null]]);
  });

  test('has the time that is left once the disk took the record of it, and no more', async () => {
    const at = await place();
    at.journal.takes = 30_000;
    const waited: number[] = [];
    const reach = async (): Promise<ApproverThere> => ({
      ask: async ({ expires_in }, timeoutMs) => {
        waited.push(expires_in, timeoutMs);
        return { silence: 'timeout' };
      },
      isThere: () => true,
      leave: () => {},
    });
    expect(await at.ask({}, { reach })).toEqual(NO);
    expect(waited).toEqual([30, 30_000]);
  });

  test('goes to a second dialog where the first has gone before there were words', async () => {
    const at = await place();
    const reached: ApproverThere[] = [];
    const reach = async (path: string): Promise<ApproverThere | null> => {
      const approver = await reachApprover(path);
      if (approver) reached.push(approver);
      return approver;
    };
    const words = async (): Promise<View> => {
      await vi.waitFor(() => expect(at.approver.open).toBe(1));
      at.approver.hangUp();
      await vi.waitFor(() => expect(reached[0]?.isThere()).toBe(false));
      return view();
    };
    at.approver.reflex = (asked) => asked.approve();
    expect(await at.ask({ words }, { reach })).toMatchObject({ kind: 'approved' });
    expect([reached.length, at.approver.questions.length]).toEqual([2, 1]);
  });

  test('leaves nothing behind that watches', async () => {
    const at = await place();
    at.approver.reflex = (asked) => asked.approve();
    await at.ask();
    at.journal.fails = true;
    await at.ask();
    expect(at.fleet.watchers.size).toBe(0);
    for (const { signal } of [at.stopping, at.withdrawn]) expect(getEventListeners(signal, 'abort')).toEqual([]);
  });
});

test('nobody needs to see the screen, nor be able to take the question back', async () => {
  const at = await place();
  const { withdrawn: _, ...matter } = { ...at.matter() };
  const { onScreen: __, ...parts } = at.parts;
  at.approver.reflex = (asked) => asked.approve();
  expect(await confirm(parts, matter)).toMatchObject({ kind: 'approved' });
});

test('who was answered, yes or no, is met, and who was not answered is not', async () => {
  const at = await place();
  const met: unknown[] = [];
  const acquaintance = { isFirst: () => false, met: (kind: unknown) => met.push(kind) } as unknown as Acquaintance;
  const answers: [(asked: Asked) => void, number][] = [
    [(asked) => asked.approve(), 1],
    [(asked) => asked.deny(), 2],
    [(asked) => asked.answer(`${at.approver.signed(at.approver.statement(asked.question, 'timeout'))}\n`), 2],
    [(asked) => asked.answer('{}\n'), 2],
    [(asked) => asked.answer(''), 2],
  ];
  for (const [reflex, count] of answers) {
    at.approver.reflex = reflex;
    await at.ask({}, { acquaintance });
    expect(met).toHaveLength(count);
  }
});

test('a question that is over hears of no freeze any more', async () => {
  const at = await place();
  let listening = 0;
  const restraint = Object.create(at.restraint, {
    onFreeze: {
      value: () => {
        listening += 1;
        return () => {
          listening -= 1;
        };
      },
    },
  }) as Restraint;
  const quiet = { ...at.parts, restraint };
  Object.assign(restraint, { isFrozen: () => false, takeUnasked: () => 0, approved: () => {} });
  at.approver.reflex = (asked) => {
    expect(listening).toBe(1);
    asked.approve();
  };
  await confirm(quiet, at.matter());
  expect(listening).toBe(0);
});

describe('a yes', () => {
  test('gives a nonce that is good once, and is on the record with its receipt', async () => {
    const at = await place();
    const { approval, asked } = await raised(at);
    at.clock.ms += 1_234.4;
    asked.approve();
    const got = await approval;
    expect(got).toMatchObject({ kind: 'approved', nonce: asked.question.nonce });
    expect(at.answer()).toEqual({
      ...OF_CALL,
      type: 'answer',
      nonce: asked.question.nonce,
      answer: 'approved',
      reason: null,
      receipt: { statement: expect.any(String), signature: expect.any(String) },
      duration_ms: 1_234,
    });
    expect(at.nonces.consume(asked.question.nonce, DIGEST)).toBe(true);
  });

  test('is good until the deadline of its question and not at it', async () => {
    for (const [left, isGood] of [
      [1, true],
      [0, false],
    ] as const) {
      const at = await place();
      at.approver.reflex = (asked) => asked.approve();
      const deadline = at.clock.ms + 60_000;
      const approval = await at.ask({ deadline });
      if (approval.kind === 'no') throw new Error('no');
      at.clock.ms = deadline - left;
      expect(at.nonces.consume(approval.nonce, DIGEST)).toBe(isGood);
    }
  });

  test('ends what denials had begun', async () => {
    const at = await place();
    at.restraint.denied(AGENT);
    at.restraint.denied(AGENT);
    at.approver.reflex = (asked) => asked.approve();
    await at.ask();
    expect(at.restraint.denied(AGENT)).toBeNull();
  });

  test('can be asked later whether the qubes are still untouched', async () => {
    const at = await place();
    at.approver.reflex = (asked) => asked.approve();
    const approval = await at.ask();
    if (approval.kind === 'no') throw new Error('no');
    expect(approval.untouched()).toBe(true);
    at.fleet.revision = 'r2';
    expect(approval.untouched()).toBe(false);
  });

  test('to qubes that changed meanwhile is void', async () => {
    const at = await place();
    const { approval, asked } = await raised(at);
    at.fleet.revision = 'r2';
    asked.approve();
    expect(await approval).toEqual(NO);
    expect(at.answer()).toMatchObject({
      answer: 'void',
      reason: 'a qube changed',
      receipt: { statement: expect.any(String) },
    });
    expect(at.nonces.open).toBe(0);
  });
});

describe('a no', () => {
  const ways: [string, (asked: Asked, at: Place) => void, string, string | null][] = [
    ['in words', (asked) => asked.deny(), 'denied', null],
    [
      'by time in the window',
      (asked, at) => asked.answer(`${at.approver.signed(at.approver.statement(asked.question, 'timeout'))}\n`),
      'timeout',
      null,
    ],
    ['by nonsense', (asked) => asked.answer('{}\n'), 'unavailable', 'garbled answer'],
    ['by a dialog that goes', (asked) => asked.answer(''), 'unavailable', 'no answer'],
  ];
  test.each(ways)('%s is on the record, and ends the nonce', async (_, way, answer, reason) => {
    const at = await place();
    at.approver.reflex = (asked) => way(asked, at);
    expect(await at.ask()).toEqual(NO);
    const receipt = reason === null ? { statement: expect.any(String), signature: expect.any(String) } : null;
    expect(at.answer()).toMatchObject({ answer, reason, receipt });
    expect(at.nonces.open).toBe(0);
    expect(at.restraint.denied(AGENT)).toBeNull();
    expect(at.restraint.denied(AGENT) !== null).toBe(answer === 'denied');
  });

  test('where no dialog listens, with no words made that nobody would see', async () => {
    const at = await place();
    const words = async (): Promise<View> => {
      throw new Error('made');
    };
    expect(await at.ask({ words }, { socket: join(at.dir, 'nobody') })).toEqual(NO);
    expect(at.answer()).toMatchObject({ answer: 'unavailable', reason: 'no dialog', receipt: null });
    expect(at.nonces.open).toBe(0);
  });

  test.each<[string, (at: Place) => void]>([
    [
      'its qube changed',
      (at) => {
        at.fleet.revision = 'r2';
      },
    ],
    ['the broker was told to end', (at) => at.stopping.abort()],
    ['it was taken back', (at) => at.withdrawn.abort()],
    ['its source was frozen', (at) => at.restraint.freeze(AGENT)],
    [
      'its time went by',
      (at) => {
        at.clock.ms += 60_000 - MIN_QUESTION_MS + 1;
      },
    ],
  ])('where %s while the words were made: nothing is shown, and who was reached is left', async (_, happens) => {
    const at = await place();
    const words = async (): Promise<View> => {
      happens(at);
      return view();
    };
    expect(await at.ask({ words })).toEqual(NO);
    expect(at.records).toEqual([]);
    expect(at.onScreen).toEqual([]);
    await at.approver.left();
    expect(at.approver.questions).toEqual([]);
  });

  test('where the words cannot be made is the failure of the words, and who was reached is left', async () => {
    const at = await place();
    const words = async (): Promise<View> => {
      throw new AdminError('unreachable');
    };
    await expect(at.ask({ words })).rejects.toThrow(AdminError);
    await at.approver.left();
    expect(at.approver.questions).toEqual([]);
  });

  test('where the time is over', async () => {
    const at = await place();
    // The clock of the question is the test's; the time that is waited is what the disk left of it.
    at.journal.takes = 60_000 - 20;
    expect(await at.ask()).toEqual(NO);
    expect(at.answer()).toMatchObject({ answer: 'timeout', reason: 'timeout', receipt: null });
  });

  test('for the third time lets the questions of that source rest, which the operator is told', async () => {
    const at = await place();
    at.approver.reflex = (asked) => asked.deny();
    for (let i = 0; i < 2; i++) await at.ask();
    expect(at.told).toEqual([]);
    await at.ask();
    expect(at.told).toEqual([[expect.stringMatching(/of mcp-control .*: none is shown for 5 minutes\.$/), AGENT]]);
    expect(at.restraint.mayAsk(AGENT)).toBe(false);
    at.clock.ms += FIRST_REST_MS;
    expect(at.restraint.mayAsk(AGENT)).toBe(true);
  });

  test('that freezes the source does so, on the record, and tells how to thaw it', async () => {
    const at = await place();
    at.approver.reflex = (asked) => asked.deny({ freeze: true });
    expect(await at.ask()).toEqual(NO);
    expect(at.restraint.frozen).toEqual([AGENT]);
    expect(at.records.slice(1)).toEqual([
      { type: 'operator', verb: 'freeze', args: { source: AGENT, by: 'dialog' } },
      expect.objectContaining({ answer: 'denied' }),
    ]);
    await vi.waitFor(() => expect(at.told).toEqual([[expect.stringContaining('qmcpctl thaw mcp-control'), AGENT]]));
  });

  test('that freezes the source says so where that cannot be saved', async () => {
    const at = await place();
    mkdirSync(join(at.dir, '.frozen.new'));
    at.approver.reflex = (asked) => asked.deny({ freeze: true });
    expect(await at.ask()).toEqual(NO);
    expect(at.restraint.isFrozen(AGENT)).toBe(true);
    await vi.waitFor(() => expect(at.told).toEqual([[expect.stringContaining('until the next restart only'), AGENT]]));
    expect(at.answer()).toMatchObject({ answer: 'denied' });
  });
});

test('a yes to an earlier question, sent before this one was, is none to this one', async () => {
  const at = await place();
  const { approval, asked } = await raised(at);
  asked.approve();
  await approval;
  const yes = at.approver.signed(at.approver.statement(asked.question, 'approved'));
  at.approver.greeting = `${yes}\n`;
  at.approver.reflex = () => {};
  expect(await at.ask()).toEqual(NO);
  expect(at.answer()).toMatchObject({ answer: 'unavailable', reason: 'wrong nonce', receipt: null });
});

describe('an open question is withdrawn', () => {
  test.each<[string, (at: Place) => void]>([
    ['when something is heard of one of its qubes', (at) => at.tell('ai-work')],
    ['when the event stream is lost', (at) => at.tell(null)],
    ['when the broker stops', (at) => at.stopping.abort()],
    ['when the one who asks takes it back', (at) => at.withdrawn.abort()],
    ['when its source is frozen', (at) => at.restraint.freeze(AGENT)],
  ])('%s', async (_, happen) => {
    const at = await place();
    const { approval, asked } = await raised(at);
    happen(at);
    expect(await approval).toEqual(NO);
    await asked.gone;
    expect(at.answer()).toMatchObject({ answer: 'void', reason: 'withdrawn', receipt: null });
    expect([at.nonces.open, at.onScreen.at(-1)]).toEqual([0, null]);
  });

  const takeBack: [string, (at: Place) => void, boolean][] = [
    ['by the one who asks', (at) => at.withdrawn.abort(), true],
    ['by a change of its qubes', (at) => at.tell('ai-work'), true],
    ['by the loss of the event stream', (at) => at.tell(null), false],
    ['by a freeze of its source', (at) => at.restraint.freeze(AGENT), false],
  ];
  test.each(takeBack)(
    '%s, and that counts as a denial where the source can bring it about',
    async (_, happen, counts) => {
      const at = await place();
      at.restraint.denied(AGENT);
      at.restraint.denied(AGENT);
      const { approval } = await raised(at);
      happen(at);
      await approval;
      expect(at.restraint.mayAsk(AGENT)).toBe(!counts);
      expect(at.told).toHaveLength(counts ? 1 : 0);
      expect(at.restraint.frozen.length > 0).toBe(_ === 'by a freeze of its source');
    },
  );

  test.each(takeBack)(
    '%s while its words are made, and that counts the same, or its dialogs would start without end',
    async (_, happen, counts) => {
      const at = await place();
      at.restraint.denied(AGENT);
      at.restraint.denied(AGENT);
      const words = async (): Promise<View> => {
        happen(at);
        return view();
      };
      expect(await at.ask({ words })).toEqual(NO);
      expect(at.restraint.mayAsk(AGENT)).toBe(!counts);
      expect(at.told).toHaveLength(counts ? 1 : 0);
    },
  );

  test('not when something is heard of another qube, or another source is frozen', async () => {
    const at = await place();
    const { approval, asked } = await raised(at);
    at.tell('ai-idle');
    at.restraint.freeze(OTHER);
    asked.approve();
    expect(await approval).toMatchObject({ kind: 'approved' });
  });
});
