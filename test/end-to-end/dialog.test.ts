// One destructive call the whole way: the built daemon before a simulated qubesd, the built dialog on a screen of its
// own, and hands that answer. Answers that no real dialog gives are in ../broker/questions.test.ts.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { shownHash } from '../../daemon/confirm/receipt.ts';
import { DEAD_MS } from '../../daemon/dialog/deadtime.ts';
import type { Answer } from '../../daemon/journal/record.ts';
import { ASKING, type Daemon, startDaemon } from '../broker/daemon.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { enroll, startListener } from './dialog-program.ts';
import { type QuestionWindow, Screen } from './screen.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const REMOVE = { name: 'ai-idle', action: 'remove' };
const QUESTION = [
  'Remove ai-idle (gray)',
  'Asked by: mcp-control (gray), default agent',
  'Qube: AppVM, not running',
  'Its own data: 0 bytes used of 2.0 GiB',
  'It and all its files are destroyed at once. This cannot be undone.',
  'First time this agent asks this. Normal: a qube that agents made and are done with.',
];
const START = [
  'Start ai-idle (gray)',
  'Asked by: mcp-control (gray), default agent',
  'Qube: AppVM, not running',
  'It runs until it is shut down.',
  'First time this agent asks this. Normal: a qube is started when there is work for it.',
];
const REFUSED = { ok: false, error: 'not found' };
const REMOVED = ['admin.vm.Remove', 'ai-idle'];

let screen: Screen;
let keys: string;
let publicKey: string;

beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), 'qmcp-key-'));
  screen = await Screen.start();
  await enroll(join(keys, 'key'), join(keys, 'confirm.pub'));
  publicKey = readFileSync(join(keys, 'confirm.pub'), 'utf8');
});
afterAll(async () => {
  await screen?.stop();
  rmSync(keys, { recursive: true, force: true });
});

const asking = async (files: Record<string, string> = {}): Promise<{ daemon: Daemon; qubesd: Qubesd }> => {
  const { daemon, qubesd } = await startDaemon({ operatorFiles: { ...ASKING, ...files, 'confirm.pub': publicKey } });
  const listener = await startListener({
    socket: join(daemon.run, 'confirm.sock'),
    key: join(keys, 'key'),
    env: screen.env,
    acceptSynthetic: true,
  });
  onTestFinished(listener.stop);
  screen.mostOpen = 0;
  return { daemon, qubesd };
};

/** What a person does who means it. */
const allow = async (window: QuestionWindow, name: string): Promise<void> => {
  await window.focus();
  await window.type(name);
  await window.untilAllowIs('awake');
  await window.clickAllow();
};

/** The answers in the journal, which is complete once the daemon has ended. */
const answers = async (daemon: Daemon): Promise<Answer[]> => {
  expect(await daemon.end()).toBe(0);
  return daemon.journal().filter(({ type }) => type === 'answer') as unknown as Answer[];
};

/** What the person's key signed, checked here by hand: the answer, and that the window displayed exactly these lines. */
const expectReceipt = (answer: Answer | undefined, lines: readonly string[], verdict: string): Date => {
  const { statement = '', signature = '' } = answer?.receipt ?? {};
  const [signed, key] = [Buffer.from(`qmcp-confirm-v1\0${statement}`), Buffer.from(publicKey, 'base64')];
  expect(nacl.sign.detached.verify(signed, Buffer.from(signature, 'base64'), key)).toBe(true);
  const said = JSON.parse(statement);
  expect(said).toMatchObject({ nonce: answer?.nonce, verdict, shown: shownHash(lines) });
  return new Date(said.decided_at);
};

test('typing the name and pressing Allow removes the qube that the window named, once', async () => {
  const { daemon, qubesd } = await asking();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const window = await screen.window();
  const before = Date.now();
  await window.focus();
  await window.type('ai-idle');
  expect(qubesd.changes()).toEqual([]);
  await window.untilAllowIs('awake');
  await window.clickAllow();
  expect(await reply).toEqual({ ok: true });
  await window.gone();
  expect(qubesd.changes()).toEqual([REMOVED]);

  const [answer, ...more] = await answers(daemon);
  expect(more).toEqual([]);
  expect(answer).toMatchObject({ answer: 'approved', reason: null });
  const decided = expectReceipt(answer, QUESTION, 'approved');
  expect(decided.getTime() - before).toBeGreaterThanOrEqual(DEAD_MS);
});

test('Allow that is pressed again and again from the first moment on is heard only after the dead time', async () => {
  const { daemon, qubesd } = await asking({ 'consent-policy': `${LIFECYCLE}:start\n` });
  let answered = false;
  const reply = daemon.call(LIFECYCLE, { ...REMOVE, action: 'start' }).finally(() => {
    answered = true;
  });
  const window = await screen.window();
  const before = Date.now();
  let presses = 0;
  for (; !answered && window.isOpen; presses += 1) await window.clickAllow().catch(() => {});
  expect(await reply).toEqual({ ok: true });
  expect(presses).toBeGreaterThan(2);
  expect(qubesd.changes()).toEqual([['admin.vm.Start', 'ai-idle']]);
  const decided = expectReceipt((await answers(daemon))[0], START, 'approved');
  expect(decided.getTime() - before).toBeGreaterThanOrEqual(DEAD_MS);
});

test('a name that is not exactly the one asked for leaves Allow dead', async () => {
  const { daemon, qubesd } = await asking();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const window = await screen.window();
  await window.focus();
  await window.type('ai-idle');
  await window.untilAllowIs('awake');
  for (const [keys, text] of [
    [[], 's'],
    [['BackSpace', 'BackSpace'], ''],
    [['BackSpace'], 'Le'],
    [['ctrl+a', 'BackSpace'], 'ai-work'],
  ] as const) {
    if (keys.length > 0) await window.press(...keys);
    if (text !== '') await window.typeOn(text);
    await window.untilAllowIs('asleep');
    await window.press('Return');
    await window.clickAllow();
  }
  expect(window.isOpen).toBe(true);
  await window.press('Escape');
  expect(await reply).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
  expect(await answers(daemon)).toMatchObject([{ answer: 'denied' }]);
});

describe('the call is refused and nothing is done when', () => {
  const denials: [string, (window: QuestionWindow) => Promise<unknown>][] = [
    ['Deny is pressed', (window) => window.clickDeny()],
    ['Escape is pressed', (window) => window.press('Escape')],
    ['Return is pressed, since Deny is the default', (window) => window.press('Return')],
    ['the window is closed', (window) => window.press('alt+F4')],
    ['Deny is pressed after the name was typed', (window) => window.type('ai-idle').then(window.clickDeny)],
    [
      'Escape is pressed after the name was typed',
      (window) => window.type('ai-idle').then(() => window.press('Escape')),
    ],
    ['the dialog is terminated', async ({ pid }) => process.kill(pid, 'SIGTERM')],
  ];
  test.each(denials)('%s', async (_, deny) => {
    const { daemon, qubesd } = await asking();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    const window = await screen.window();
    await window.focus();
    await deny(window);
    expect(await reply).toEqual(REFUSED);
    await window.gone();
    expect(qubesd.changes()).toEqual([]);
    const [answer] = await answers(daemon);
    expect(answer).toMatchObject({ answer: 'denied', reason: null });
    expectReceipt(answer, QUESTION, 'denied');
  });

  test('the dialog is killed, even with the name typed', async () => {
    const { daemon, qubesd } = await asking();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    const window = await screen.window();
    await window.focus();
    await window.type('ai-idle');
    process.kill(window.pid, 'SIGKILL');
    expect(await reply).toEqual(REFUSED);
    await window.gone();
    expect(qubesd.changes()).toEqual([]);
    expect(await answers(daemon)).toMatchObject([{ answer: 'unavailable', reason: 'no answer', receipt: null }]);
  });

  test('nobody answers in time', async () => {
    const { daemon, qubesd } = await asking({ 'consent-timeout': '5\n' });
    const asked = performance.now();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    const window = await screen.window();
    expect(await reply).toEqual(REFUSED);
    expect(performance.now() - asked).toBeGreaterThan(4_500);
    await window.gone();
    expect(qubesd.changes()).toEqual([]);
    expect(await answers(daemon)).toMatchObject([{ answer: 'timeout' }]);
  });

  test('its qube is untagged under the open window, which goes away by itself', async () => {
    const { daemon, qubesd } = await asking();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    const window = await screen.window();
    await window.focus();
    await window.type('ai-idle');
    qubesd.world.removeTag('ai-idle', 'ai-managed');
    expect(await reply).toEqual(REFUSED);
    await window.gone();
    expect(qubesd.changes()).toEqual([]);
    expect(await answers(daemon)).toMatchObject([{ answer: 'void', receipt: null }]);
  });
});

test('an agent that asks again after a denial gets a question of its own, and the denial is not undone by its answer', async () => {
  const { daemon, qubesd } = await asking();
  const first = daemon.call(LIFECYCLE, REMOVE);
  const denied = await screen.window();
  await denied.focus();
  await denied.press('Escape');
  expect(await first).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
  await denied.gone();

  const second = daemon.call(LIFECYCLE, REMOVE);
  await allow(await screen.window(), 'ai-idle');
  expect(await second).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([REMOVED]);
  const [no, yes] = await answers(daemon);
  expect([no?.answer, yes?.answer]).toEqual(['denied', 'approved']);
  expect(no?.nonce).not.toBe(yes?.nonce);
});

test('of two calls at once the second is asked only after the first was answered', async () => {
  const { daemon, qubesd } = await asking();
  const replies = ['ai-idle', 'ai-full1'].map((name) => daemon.call(LIFECYCLE, { name, action: 'remove' }));
  const first = await screen.window();
  await first.focus();
  expect(screen.windows).toEqual([first.id]);
  await first.press('Escape');
  await first.gone();
  const second = await screen.window();
  await second.focus();
  await second.press('Escape');
  expect(await Promise.all(replies)).toEqual([REFUSED, REFUSED]);
  expect(screen.mostOpen).toBe(1);
  expect(qubesd.changes()).toEqual([]);
  const asked = (await answers(daemon)).map(({ qubes }) => qubes[0]?.name);
  expect(asked.sort()).toEqual(['ai-full1', 'ai-idle']);
});
