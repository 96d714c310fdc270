// One destructive call through the built daemon, with an approver that answers rightly and wrongly. The real dialog has
// tests of its own in end-to-end/; here the answers are those that no real dialog gives.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import nacl from 'tweetnacl';
import { describe, expect, test } from 'vitest';
import { shownHash } from '../../daemon/confirm/receipt.ts';
import { type Approver, type Asked, startApprover } from '../confirm/approver.ts';
import type { Qubesd } from '../qubesd/server.ts';
import { ASKING, type Daemon, startDaemon } from './daemon.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const REMOVE = { name: 'ai-idle', action: 'remove' };
const REFUSED = { ok: false, error: 'not found' };
const REMOVED = ['admin.vm.Remove', 'ai-idle'];

const asking = async (
  files: Record<string, string> = {},
): Promise<{ daemon: Daemon; qubesd: Qubesd; approver: Approver }> => {
  const { daemon, qubesd } = await startDaemon({ operatorFiles: { ...ASKING, ...files } });
  const approver = await startApprover(join(daemon.run, 'confirm.sock'));
  daemon.operatorFile('confirm.pub', `${approver.publicKey}\n`);
  return { daemon, qubesd, approver };
};

test('an approved call is made once, on the uuid that was shown, between its intent and its outcome', async () => {
  const { daemon, qubesd, approver } = await asking();
  const { uuid } = qubesd.world.qube('ai-idle');
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const asked = await approver.next();
  expect(qubesd.changes()).toEqual([]);
  expect(asked.question.view).toMatchObject({
    type_to_confirm: 'ai-idle',
    risk: 'destroy',
    lines: [
      'Remove ai-idle (gray)',
      'Asked by: mcp-control (gray), default agent',
      'Qube: AppVM, not running',
      'Its own data: 0 bytes used of 2.0 GiB',
      'It and all its files are destroyed at once. This cannot be undone.',
      'First time this agent asks this. Normal: a qube that agents made and are done with.',
    ],
  });
  asked.approve();
  expect(await reply).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([REMOVED]);
  expect(qubesd.calls.find(({ method }) => method === 'admin.vm.Remove')?.rawDest).toBe(`uuid:${uuid}`);

  await daemon.end();
  // The key of the approver was written after the start, which is a change of settings.
  const types = daemon.journal().flatMap(({ type }) => (type === 'settings' ? [] : [type]));
  expect(types).toEqual([
    'start',
    'decision',
    'question',
    'answer',
    'decision',
    'intent',
    'outcome',
    'stop',
    'checkpoint',
  ]);
  const intent = daemon.journal().find(({ type }) => type === 'intent');
  expect(intent).toMatchObject({ nonce: asked.question.nonce, digest: asked.question.digest });
});

describe('nothing is done and the reply is the opaque one when the answer', () => {
  const stranger = nacl.sign.keyPair.fromSeed(randomBytes(32));
  const answers: [string, (asked: Asked, approver: Approver) => void][] = [
    ['is a denial', (asked) => asked.deny()],
    ['names another nonce', (asked) => asked.approve({ nonce: '0'.repeat(64) })],
    ['names another digest', (asked) => asked.approve({ digest: '0'.repeat(64) })],
    ['is for other lines', (asked) => asked.approve({ shown: shownHash(['Start ai-idle (gray)']) })],
    [
      'is signed by another key',
      (asked, approver) =>
        asked.answer(`${approver.signed(approver.statement(asked.question, 'approved'), { keys: stranger })}\n`),
    ],
    ['is garbage', (asked) => asked.answer('yes\n')],
    [
      'is a signed line without its end',
      (asked, approver) => asked.answer(approver.signed(approver.statement(asked.question, 'approved'))),
    ],
    ['never comes because the dialog died', (asked) => asked.answer('')],
    ['is longer than any answer', (asked) => asked.answer('x'.repeat(20_000))],
  ];
  test.each(answers)('%s', async (_, answer) => {
    const { daemon, qubesd, approver } = await asking();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    answer(await approver.next(), approver);
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
  });

  test('never comes at all', async () => {
    const { daemon, qubesd, approver } = await asking({ 'consent-timeout': '5\n' });
    const reply = daemon.call(LIFECYCLE, REMOVE);
    const asked = await approver.next();
    expect(asked.question.expires_in).toBeLessThanOrEqual(5);
    await asked.gone;
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
  });

  test('is an earlier approval of the same call', async () => {
    const { daemon, qubesd, approver } = await asking();
    const spec = { klass: 'AppVM', tags: ['ai-managed'], uuid: qubesd.world.qube('ai-idle').uuid };
    let line = '';
    approver.reflex = (asked) => {
      line ||= `${approver.signed(approver.statement(asked.question, 'approved'))}\n`;
      asked.answer(line);
    };
    expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual({ ok: true });
    qubesd.world.add('ai-idle', spec);
    expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([REMOVED]);
  });
});

describe('nothing is done although the person said yes when meanwhile the qube was', () => {
  const changes: [string, (qubesd: Qubesd) => void][] = [
    ['untagged', ({ world }) => world.removeTag('ai-idle', 'ai-managed')],
    [
      'untagged and tagged again',
      ({ world }) => {
        world.removeTag('ai-idle', 'ai-managed');
        world.addTag('ai-idle', 'ai-managed');
      },
    ],
    ['given another tag', ({ world }) => world.addTag('ai-idle', 'ai-exec')],
    ['removed', ({ world }) => world.remove('ai-idle')],
    [
      'removed and re-created under its name',
      ({ world }) => {
        world.remove('ai-idle');
        world.add('ai-idle', { tags: ['ai-managed'] });
      },
    ],
    ['started', ({ world }) => world.setState('ai-idle', 'Running', 'domain-start')],
    ['untagged without an event', ({ world }) => world.silently(() => world.removeTag('ai-idle', 'ai-managed'))],
    // What events do not tell, only the digest can.
    ['given another tag without an event', ({ world }) => world.silently(() => world.addTag('ai-idle', 'mine'))],
    [
      're-created under its name without an event',
      ({ world }) => {
        world.silently(() => {
          world.remove('ai-idle');
          world.add('ai-idle', { tags: ['ai-managed'] });
        });
      },
    ],
  ];
  test.each(changes)('%s', async (_, change) => {
    const { daemon, qubesd, approver } = await asking();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    const asked = await approver.next();
    change(qubesd);
    asked.approve();
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
  });
});

test('a question is withdrawn as soon as its qube changes', async () => {
  const { daemon, qubesd, approver } = await asking();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const asked = await approver.next();
  qubesd.world.addTag('ai-idle', 'something');
  await asked.gone;
  expect(await reply).toEqual(REFUSED);
});

test('a question is withdrawn when the event stream is lost, since nothing vouches for the qube any more', async () => {
  const { daemon, qubesd, approver } = await asking();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const asked = await approver.next();
  qubesd.streams.closeAll();
  await asked.gone;
  expect(await reply).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
});

test.each([
  ['no dialog listens', { 'confirm.pub': `${Buffer.alloc(32).toString('base64')}\n` }],
  ['there is no key', {}],
  ['the key is malformed', { 'confirm.pub': 'AAAA\n' }],
])('a call that must be asked is refused when %s', async (_, files: Record<string, string>) => {
  const { daemon, qubesd } = await startDaemon({ operatorFiles: { ...ASKING, ...files } });
  expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
});

test('a call that would be refused anyway raises no question', async () => {
  const { daemon, qubesd, approver } = await asking();
  expect(await daemon.call(LIFECYCLE, { name: 'ai-work', action: 'remove' })).toEqual({
    ok: false,
    error: 'action failed',
  });
  expect(await daemon.call(LIFECYCLE, { name: 'vault', action: 'remove' })).toEqual(REFUSED);
  expect(await daemon.call(LIFECYCLE, { name: 'ai-exec1', action: 'remove' })).toEqual(REFUSED);
  expect(approver.questions).toEqual([]);
  expect(qubesd.changes()).toEqual([]);
});

test('of many calls at once one question is on the screen, and what is over is refused at once', async () => {
  const { daemon, qubesd, approver } = await asking();
  const names = ['ai-idle', 'ai-full1', 'ai-dvmt', 'ai-idle', 'ai-full1', 'ai-dvmt', 'ai-idle', 'ai-full1'];
  let answered = 0;
  let surplusAnswered = (): void => {};
  const surplus = new Promise<void>((resolve) => {
    surplusAnswered = resolve;
  });
  const replies = names.map((name) =>
    daemon.call(LIFECYCLE, { name, action: 'remove' }).then((reply) => {
      answered += 1;
      if (answered === names.length - 5) surplusAnswered();
      return reply;
    }),
  );
  const first = await approver.next();
  await surplus;
  expect(approver.questions).toHaveLength(1);
  approver.reflex = (asked) => asked.deny();
  first.deny();
  expect(await Promise.all(replies)).toEqual(names.map(() => REFUSED));
  expect(approver.mostOpen).toBe(1);
  expect(qubesd.changes()).toEqual([]);
});

test('at its end the broker withdraws the open question and refuses the call', async () => {
  const { daemon, qubesd, approver } = await asking();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const asked = await approver.next();
  expect(await daemon.end()).toBe(0);
  await asked.gone;
  expect(await reply).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
});

test('deny and freeze refuses every call of that source, over a restart too, and of no other', async () => {
  const { daemon, qubesd, approver } = await asking();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const asked = await approver.next();
  expect(asked.question.view.freeze).toBe('mcp-control');
  asked.deny({ freeze: true });
  expect(await reply).toEqual(REFUSED);
  const START = { name: 'ai-idle', action: 'start' };
  expect(await daemon.call(LIFECYCLE, START)).toEqual(REFUSED);
  expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toEqual(REFUSED);
  await daemon.end();
  await daemon.start();
  expect(await daemon.call(LIFECYCLE, START)).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
  expect(daemon.lines.map(({ msg }) => msg)).toContain('Frozen. To end that: qmcpctl thaw mcp-control');
  expect(await daemon.call(LIFECYCLE, START, { source: 'mcp-other' })).toEqual({ ok: true });
});

test('after three denials the questions of that source rest, those of another do not, and the operator is told', async () => {
  const { daemon, qubesd, approver } = await asking();
  approver.reflex = (asked) => asked.deny();
  for (let i = 0; i < 5; i++) expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
  expect(approver.questions).toHaveLength(3);
  approver.reflex = (asked) => asked.approve();
  expect(await daemon.call(LIFECYCLE, REMOVE, { source: 'mcp-other' })).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([REMOVED]);
  expect(daemon.lines.map(({ msg }) => msg)).toContain(
    'Three questions of mcp-control were denied or taken back in ten minutes: none is shown for 5 minutes.',
  );
});

test('killed between intent and outcome, the next start names the operation, retries nothing, and the journal verifies', async () => {
  const { daemon, qubesd, approver } = await asking();
  const { uuid } = qubesd.world.qube('ai-idle');
  qubesd.faults.inject({ method: 'admin.vm.Remove', fault: 'hang' });
  const removing = qubesd.nextCall('admin.vm.Remove');
  const reply = daemon.call(LIFECYCLE, REMOVE).catch(() => 'no reply');
  (await approver.next()).approve();
  await removing;
  await daemon.end('SIGKILL');
  expect(await reply).toBe('no reply');
  qubesd.reset();

  await daemon.start();
  const named = daemon.lines.filter((line) => JSON.stringify(line).includes(uuid));
  expect(named.map(({ msg }) => msg)).toEqual([
    expect.stringMatching(/^qmcp\.LifecycleAIManaged remove was begun at [-\d]+T[.:\d]+Z, and was not done\.$/),
  ]);
  expect(qubesd.changes()).toEqual([]);
  expect(await daemon.call('qmcp.ListAIManagedQubes', '')).toMatchObject({ ok: true });
  await daemon.end();
  expect(daemon.journal().map(({ seq }) => seq)).toEqual(daemon.journal().map((_, index) => index + 1));
});

test('an approval given before a restart is worth nothing after it', async () => {
  const { daemon, qubesd, approver } = await asking();
  const lost = daemon.call(LIFECYCLE, REMOVE).catch(() => 'no reply');
  const before = await approver.next();
  await daemon.end('SIGKILL');
  await lost;
  await daemon.start();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const after = await approver.next();
  expect(after.question.nonce).not.toBe(before.question.nonce);
  after.answer(`${approver.signed(approver.statement(before.question, 'approved'))}\n`);
  expect(await reply).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
});
