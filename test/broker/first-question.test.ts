// What is normal here, said when a caller has something asked for the first time: in the question alone, whose lines are signed.
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Approver, startApprover } from '../confirm/approver.ts';
import { ASKING, type Daemon, startDaemon } from './daemon.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const REMOVE = { name: 'ai-idle', action: 'remove' };
const KILL = { name: 'ai-work', action: 'kill' };
const HINT = /^First time this agent asks this\. Normal: /;
const REFUSED = { ok: false, error: 'not found' };

const asking = async (): Promise<{ daemon: Daemon; approver: Approver }> => {
  const { daemon } = await startDaemon({ operatorFiles: ASKING });
  const approver = await startApprover(join(daemon.run, 'confirm.sock'));
  daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
  approver.reflex = (asked) => asked.deny();
  return { daemon, approver };
};

/** How many lines of the newest question are hints, and whether such a line is the last. */
const hints = (approver: Approver): number => {
  const lines = approver.questions.at(-1)?.view.lines ?? [];
  const count = lines.filter((line) => HINT.test(line)).length;
  if (count > 0) expect(lines.at(-1)).toMatch(HINT);
  return count;
};

test('only the first question of a kind that a person has answered says what is normal, also after a restart', async () => {
  const { daemon, approver } = await asking();
  const seen: number[] = [];
  const call = async (request: object): Promise<void> => {
    expect(await daemon.call(LIFECYCLE, request)).toEqual(REFUSED);
    seen.push(hints(approver));
  };
  await call(REMOVE);
  await call(REMOVE);
  expect(await daemon.end('SIGKILL')).toBe(null);
  await daemon.start();
  await call(REMOVE);
  await call(KILL);
  await daemon.end('SIGKILL');
  await daemon.start();
  await call(KILL);
  expect(seen).toEqual([1, 0, 0, 1, 0]);
  expect(approver.questions).toHaveLength(5);
});

test('a yes with the hint counts, since the hint is among the lines that are signed', async () => {
  const { daemon, approver } = await asking();
  approver.reflex = (asked) => asked.approve();
  expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual({ ok: true });
  expect(hints(approver)).toBe(1);
});

test('a receipt over the lines without the hint is none', async () => {
  const { daemon, approver } = await asking();
  approver.reflex = (asked) => {
    const { view } = asked.question;
    const without = { ...asked.question, view: { ...view, lines: view.lines.slice(0, -1) } };
    asked.answer(`${approver.signed(approver.statement(without, 'approved'))}\n`);
  };
  expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
  expect(hints(approver)).toBe(1);
});

test('a question that nobody answered does not count as seen', async () => {
  const { daemon, approver } = await asking();
  approver.reflex = (asked) => asked.answer('');
  for (let time = 0; time < 2; time += 1) {
    expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
    expect(hints(approver)).toBe(1);
  }
});

test('a plan has one hint, whatever its steps, and its caller sees nothing of it', async () => {
  const { daemon, approver } = await asking();
  approver.reflex = (asked) => asked.deny();
  const replies: unknown[] = [];
  for (const expected of [1, 0]) {
    const calls = [{ service: LIFECYCLE, request: REMOVE }];
    const { nonce, digest, ...rest } = await daemon.call('qmcp.Prepare', { calls });
    replies.push(rest, await daemon.call('qmcp.Commit', {}, { argument: String(nonce) }));
    expect(hints(approver)).toBe(expected);
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
  }
  expect(replies.slice(0, 2)).toEqual(replies.slice(2));
});
