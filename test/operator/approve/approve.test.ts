// qmcpctl approve on a real terminal, before the built daemon and a simulated qubesd.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { shownHash } from '../../../daemon/confirm/receipt.ts';
import { DEAD_MS } from '../../../daemon/dialog/deadtime.ts';
import type { Answer } from '../../../daemon/journal/record.ts';
import { ASKING, type Daemon, startDaemon } from '../../broker/daemon.ts';
import { FLEET } from '../../demo/fleet.ts';
import { enroll, startListener } from '../../end-to-end/dialog-program.ts';
import type { Qubesd } from '../../qubesd/server.ts';
import { qmcpctl } from '../stage.ts';
import { Console, type Sitting } from './person.ts';

const LIFECYCLE = 'qmcp.LifecycleAIManaged';
const REMOVE = { name: 'ai-idle', action: 'remove' };
const START = { name: 'ai-idle', action: 'start' };
const QUESTION = [
  'Remove ai-idle (gray)',
  'Asked by: mcp-control (gray), default agent',
  'Qube: AppVM, not running',
  'Its own data: 0 bytes used of 2.0 GiB',
  'It and all its files are destroyed at once. This cannot be undone.',
  'First time this agent asks this. Normal: a qube that agents made and are done with.',
];
const REFUSED = { ok: false, error: 'not found' };
const REMOVED = ['admin.vm.Remove', 'ai-idle'];

let keys: string;
let publicKey: string;
beforeAll(async () => {
  keys = mkdtempSync(join(tmpdir(), 'qmcp-key-'));
  await enroll(join(keys, 'key'), join(keys, 'confirm.pub'));
  publicKey = readFileSync(join(keys, 'confirm.pub'), 'utf8');
});
afterAll(() => rmSync(keys, { recursive: true, force: true }));

const brokerFor = (files: Record<string, string> = {}): Promise<{ daemon: Daemon; qubesd: Qubesd }> =>
  startDaemon({ operatorFiles: { ...ASKING, ...files, 'confirm.pub': publicKey } });

const sitting = async (files: Record<string, string> = {}, more: Partial<Sitting> = {}) => {
  const { daemon, qubesd } = await brokerFor(files);
  const console = new Console({ daemon, keys, ...more });
  await console.waiting();
  return { daemon, qubesd, console };
};

/** The answers in the journal, which is complete once the daemon has ended. */
const answers = async (daemon: Daemon): Promise<Answer[]> => {
  expect(await daemon.end()).toBe(0);
  return daemon.journal().filter(({ type }) => type === 'answer') as unknown as Answer[];
};

const asked = (console: Console, headline = QUESTION[0] as string): Promise<void> =>
  console.until(() => console.screen.startsWith(`${headline}\n`), `the question "${headline}"`);

test('the exact name and Enter remove the qube that was shown, once, and the receipt is over the lines on the screen', async () => {
  const { daemon, qubesd, console } = await sitting();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  const before = Date.now();
  await asked(console);
  await console.awake();
  await console.type('ai-idle');
  expect(qubesd.changes()).toEqual([]);
  console.send('\r');
  expect(await reply).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([REMOVED]);
  await console.until(() => console.screen.startsWith('Allowed: Remove ai-idle (gray)\nWaiting'), 'the outcome');

  const [answer, ...more] = await answers(daemon);
  expect(more).toEqual([]);
  expect(answer).toMatchObject({ answer: 'approved', reason: null });
  const { statement = '', signature = '' } = answer?.receipt ?? {};
  const signed = Buffer.from(`qmcp-confirm-v1\0${statement}`);
  const [of, by] = [Buffer.from(signature, 'base64'), Buffer.from(publicKey, 'base64')];
  expect(nacl.sign.detached.verify(signed, of, by)).toBe(true);
  const said = JSON.parse(statement);
  expect(said).toMatchObject({ nonce: answer?.nonce, verdict: 'approved', shown: shownHash(QUESTION) });
  expect(new Date(said.decided_at).getTime() - before).toBeGreaterThanOrEqual(DEAD_MS);
});

test('the page of the operator shows what a terminal does', async () => {
  const { daemon } = await startDaemon({ fleet: FLEET, operatorFiles: { ...ASKING, 'confirm.pub': publicKey } });
  const console = new Console({ daemon, keys });
  await console.waiting();
  const reply = daemon.call(LIFECYCLE, { name: 'ai-scratch', action: 'remove' });
  await console.awake();
  const screen = console.screen.replace(/^\d+ s left/m, '58 s left');
  expect(readFileSync('daemon/operator/README.md', 'utf8')).toContain(`\n\`\`\`text\n${screen} ai-scratch\n\`\`\`\n`);
  console.send('\r');
  expect(await reply).toEqual(REFUSED);
});

test('a question without a name to type wants a word', async () => {
  const { daemon, qubesd, console } = await sitting({ 'consent-policy': `${LIFECYCLE}:start\n` });
  const reply = daemon.call(LIFECYCLE, START);
  await console.awake();
  await console.type('allow');
  console.send('\r');
  expect(await reply).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([['admin.vm.Start', 'ai-idle']]);
});

test('the screen shows the lines, how to answer, and the time that is left', async () => {
  const { daemon, console } = await sitting({ 'consent-timeout': '60\n' });
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await console.awake();
  expect(console.screen.replace(/\d+ s left/, '59 s left')).toBe(
    [
      'Remove ai-idle (gray)',
      'Asked by:      mcp-control (gray), default agent',
      'Qube:          AppVM, not running',
      'Its own data:  0 bytes used of 2.0 GiB',
      'It and all its files are destroyed at once. This cannot be undone.',
      'First time this agent asks this. Normal: a qube that agents made and are done',
      'with.',
      '',
      'To allow: type ai-idle and press Enter.',
      'To deny: press Enter or Escape. Anything else that you type is a no, too.',
      'To deny and freeze mcp-control: type freeze mcp-control',
      '59 s left.',
      '>',
    ].join('\n'),
  );
  console.send('\r');
  expect(await reply).toEqual(REFUSED);
});

describe('the call is refused and nothing is done when', () => {
  type Deed = (console: Console, daemon: Daemon) => unknown;
  const denials: [string, Deed][] = [
    ['Enter alone is pressed', (console) => console.send('\r')],
    [
      'Escape is pressed after the name was typed',
      (console) => console.type('ai-idle').then(() => console.send('\x1b')),
    ],
    ['another name is typed', (console) => console.type('ai-idl').then(() => console.send('\r'))],
    ['the name is typed with a blank behind it', (console) => console.type('ai-idle ').then(() => console.send('\r'))],
    ['the name is typed in another case', (console) => console.type('AI-idle').then(() => console.send('\r'))],
    ['the word for other questions is typed', (console) => console.type('allow').then(() => console.send('\r'))],
    [
      'Ctrl-C is pressed after the name was typed',
      (console) => console.type('ai-idle').then(() => console.send('\x03')),
    ],
    ['Ctrl-D is pressed', (console) => console.send('\x04')],
    ['Ctrl-Z is pressed', (console) => console.send('\x1a')],
    ['Ctrl-C is pressed among other keys', (console) => console.send('abc\x03\r')],
    ...(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTSTP', 'SIGCONT'] as const).map((signal): [string, Deed] => [
      `${signal} comes after the name was typed`,
      async (console) => {
        await console.type('ai-idle');
        process.kill(await console.pid, signal);
      },
    ]),
  ];
  test.each(denials)('%s', async (_, deny) => {
    const { daemon, qubesd, console } = await sitting();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    await deny(console, daemon);
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
    const [answer] = await answers(daemon);
    expect(answer).toMatchObject({ answer: 'denied', reason: null });
    expect(JSON.parse(answer?.receipt?.statement ?? '')).toMatchObject({ shown: shownHash(QUESTION) });
  });

  test('the terminal goes away', async () => {
    const { daemon, qubesd, console } = await sitting();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    await console.type('ai-idle');
    console.hangUp();
    expect(await reply).toEqual(REFUSED);
    expect(await console.exited).not.toBe(null);
    expect(qubesd.changes()).toEqual([]);
    expect(await answers(daemon)).toMatchObject([{ answer: expect.stringMatching(/denied|unavailable/) }]);
  });

  test('the program is killed, even with the name typed', async () => {
    const { daemon, qubesd, console } = await sitting();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    await console.type('ai-idle');
    process.kill(await console.pid, 'SIGKILL');
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
    expect(await answers(daemon)).toMatchObject([{ answer: 'unavailable', receipt: null }]);
  });

  test('nobody answers in time, and the next question is shown all the same', async () => {
    const { daemon, qubesd, console } = await sitting({ 'consent-timeout': '5\n' });
    expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
    await console.waiting();
    expect(qubesd.changes()).toEqual([]);
    const again = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    console.send('\r');
    expect(await again).toEqual(REFUSED);
    expect(await answers(daemon)).toMatchObject([{ answer: 'timeout' }, { answer: 'denied' }]);
  });

  test('its qube is untagged under the open question, which goes away by itself', async () => {
    const { daemon, qubesd, console } = await sitting();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    await console.type('ai-idle');
    qubesd.world.removeTag('ai-idle', 'ai-managed');
    expect(await reply).toEqual(REFUSED);
    await console.until(() => console.screen.startsWith('The question was taken back: Remove ai-idle'), 'that');
    console.send('\r');
    expect(qubesd.changes()).toEqual([]);
    expect(await answers(daemon)).toMatchObject([{ answer: 'void', receipt: null }]);
  });

  test.each([
    ['has too few rows', 12, 80, 'rows'],
    ['is too narrow', 24, 59, 'columns'],
  ])('the terminal %s for the question', async (_, rows, columns, what) => {
    const { daemon, qubesd, console } = await sitting({}, { rows, columns });
    expect(await daemon.call(LIFECYCLE, REMOVE)).toEqual(REFUSED);
    expect(console.written).not.toContain('Remove');
    await console.until(() => console.screen.includes(`${what}`) && console.screen.includes('refused unseen'), 'why');
    expect(qubesd.changes()).toEqual([]);
  });

  test('the terminal becomes too small under the open question', async () => {
    const { daemon, qubesd, console } = await sitting();
    const reply = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    console.resize(10, 80);
    expect(await reply).toEqual(REFUSED);
    expect(qubesd.changes()).toEqual([]);
  });
});

test('a terminal of just enough rows shows the question, and typing begins anew when it is resized', async () => {
  const { daemon, qubesd, console } = await sitting({}, { rows: 13 });
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await console.awake();
  await console.type('ai-');
  console.resize(14, 80);
  await console.until(() => console.screen.includes('Typing counts in a moment.'), 'the dead time');
  await console.awake();
  expect(console.typed).toBe('');
  await console.type('ai-idle');
  console.send('\r');
  expect(await reply).toEqual({ ok: true });
  expect(qubesd.changes()).toEqual([REMOVED]);
});

test('what was typed before the question could be read counts for nothing', async () => {
  const { daemon, qubesd, console } = await sitting();
  console.send('ai-idle\r');
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await asked(console);
  console.send('ai-idle\r');
  await console.awake();
  expect(console.typed).toBe('');
  expect(qubesd.changes()).toEqual([]);
  await console.type('a');
  console.send('\r');
  expect(await reply).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
});

test('keys within the dead time begin it anew', async () => {
  const { daemon, console } = await sitting();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await asked(console);
  let last = performance.now();
  while (performance.now() - last < DEAD_MS * 0.6) await new Promise((go) => setTimeout(go, 50));
  last = performance.now();
  console.send('x');
  await console.awake();
  expect(performance.now() - last).toBeGreaterThanOrEqual(DEAD_MS);
  console.send('\x1b');
  expect(await reply).toEqual(REFUSED);
});

test('what comes at once was not typed, and is dropped', async () => {
  const { daemon, qubesd, console } = await sitting();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await console.awake();
  for (const pasted of ['ai-idle', 'ai-idle\r', '\x1b[200~ai-idle\x1b[201~', '\x1b[A', 'xy']) {
    console.send(pasted);
    await console.until(() => console.screen.includes('what came at once was dropped'), 'the remark');
    expect(console.typed).toBe('');
    await console.type('a');
    console.send('\x7f');
    await console.until(() => console.typed === '', 'nothing typed');
  }
  expect(qubesd.changes()).toEqual([]);
  await console.type('ai-idle');
  console.send('\r');
  expect(await reply).toEqual({ ok: true });
});

test('to freeze takes its words, and is not the name of any qube', async () => {
  const { daemon, qubesd, console } = await sitting();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await console.awake();
  await console.type('freeze mcp-control');
  console.send('\r');
  expect(await reply).toEqual(REFUSED);
  await console.until(() => console.screen.startsWith('Denied, and mcp-control frozen: Remove'), 'the outcome');
  expect(await daemon.call('qmcp.ListAIManagedQubes', {})).toEqual(REFUSED);
  expect(qubesd.changes()).toEqual([]);
  const [answer] = await answers(daemon);
  expect(JSON.parse(answer?.receipt?.statement ?? '')).toMatchObject({ verdict: 'denied', freeze: true });
});

test('Ctrl-C between questions ends it, the socket goes, and the terminal is as before', async () => {
  const { daemon, console } = await sitting(
    {},
    { shell: '$APPROVE; echo "code $?"; stty -a | grep -o " icanon.* isig"; stty -a | grep -o " -*echo "' },
  );
  const socket = statSync(join(daemon.run, 'confirm.sock'));
  expect(socket.mode & 0o777).toBe(0o660);
  console.send('x');
  console.send('\x03');
  expect(await console.exited).toBe(0);
  expect(console.screen).toMatch(/Nobody is asked here any more\. .*\ncode 0\n/);
  expect(console.screen).not.toContain('-echo');
  expect(existsSync(join(daemon.run, 'confirm.sock'))).toBe(false);
});

describe('it does not begin', () => {
  const expectRefusal = async (console: Console, sentence: RegExp, daemon: Daemon): Promise<void> => {
    await console.until(() => sentence.test(console.screen.replaceAll('\n', ' ')), String(sentence));
    expect(existsSync(join(daemon.run, 'confirm.sock'))).toBe(false);
  };

  test.each<[string, string, RegExp]>([
    ['with an answer from a pipe', 'echo ai-idle | $APPROVE', /must both be the terminal/],
    ['with its screen in a pipe', '$APPROVE | cat', /must both be the terminal/],
    ['with its screen in a file', '$APPROVE >/dev/null', /must both be the terminal/],
    ['in the background', 'set -m; $APPROVE & wait', /in the foreground/],
    ['away from its terminal', 'setsid -w $APPROVE', /must both be the terminal/],
  ])('%s', async (_, shell, sentence) => {
    const { daemon } = await brokerFor();
    const console = new Console({ daemon, keys, shell });
    await expectRefusal(console, sentence, daemon);
    await console.exited;
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['through qrexec', { QREXEC_REMOTE_DOMAIN: 'mcp-control' }, /started through qrexec/],
    ['over ssh', { SSH_CONNECTION: '1 2 3 4' }, /over ssh/],
    ['in a desktop', { DISPLAY: ':0' }, /part of a desktop/],
    ['in tmux', { TMUX: '/tmp/x' }, /tmux or screen/],
    ['with sudo', { SUDO_UID: '1000' }, /without sudo/],
    ['on a terminal that cannot be cleared', { TERM: 'dumb' }, /cannot be cleared/],
  ])('%s', async (_, env, sentence) => {
    const { daemon } = await brokerFor();
    const console = new Console({ daemon, keys, env });
    await expectRefusal(console, sentence, daemon);
    expect(await console.exited).toBe(1);
  });

  test('without any terminal, in one sentence', async () => {
    const { daemon } = await brokerFor();
    const { code, out, err } = await qmcpctl(['approve', '--run', daemon.run, '--key', join(keys, 'key')], 'ai-idle\n');
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  test('without a key', async () => {
    const { daemon } = await brokerFor();
    const console = new Console({ daemon, keys: join(keys, 'none') });
    await expectRefusal(console, /There is no key at .* qmcp-confirm --enroll/, daemon);
    expect(await console.exited).toBe(1);
  });

  test('while another terminal or the dialog listens, which goes on being asked', async () => {
    const { daemon, console } = await sitting();
    const second = new Console({ daemon, keys });
    await second.until(() => second.screen.includes('Somebody already listens'), 'the refusal');
    expect(await second.exited).toBe(1);
    const reply = daemon.call(LIFECYCLE, REMOVE);
    await console.awake();
    await console.type('ai-idle');
    console.send('\r');
    expect(await reply).toEqual({ ok: true });
    console.send('\x03');
    await console.exited;

    const listener = await startListener({
      ...{ socket: join(daemon.run, 'confirm.sock'), key: join(keys, 'key'), env: {}, acceptSynthetic: false },
    });
    onTestFinished(listener.stop);
    const third = new Console({ daemon, keys });
    await third.until(() => third.screen.includes('systemctl --user stop qmcp-confirm.socket'), 'the refusal');
    expect(await third.exited).toBe(1);
  });
});

test('a socket that nobody listens on any more is replaced', async () => {
  const { daemon, console } = await sitting();
  process.kill(await console.pid, 'SIGKILL');
  await console.exited;
  expect(existsSync(join(daemon.run, 'confirm.sock'))).toBe(true);
  const next = new Console({ daemon, keys });
  await next.waiting();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await next.awake();
  next.send('\r');
  expect(await reply).toEqual(REFUSED);
  expect(await answers(daemon)).toMatchObject([{ answer: 'denied' }]);
});

test('it says so and ends when another takes its place, and leaves that one alone', async () => {
  const { daemon, console } = await sitting();
  const path = join(daemon.run, 'confirm.sock');
  rmSync(path);
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(path, resolve));
  onTestFinished(() => void other.close());
  expect(await console.exited).toBe(1);
  expect(console.screen).toContain('Another program has taken the place of this one');
  expect(existsSync(path)).toBe(true);
});

test('one question at a time: a second connection is closed unheard', async () => {
  const { daemon, console } = await sitting();
  const reply = daemon.call(LIFECYCLE, REMOVE);
  await asked(console);
  const second = connect(join(daemon.run, 'confirm.sock'));
  second.on('error', () => {});
  await new Promise((closed) => second.once('close', closed));
  expect(console.screen).toContain('Remove ai-idle');
  await console.awake();
  console.send('\r');
  expect(await reply).toEqual(REFUSED);
});

test('text that may not be shown reaches no terminal, and the question is refused', async () => {
  const { daemon, console } = await sitting();
  for (const bad of ['\x1b[2JNothing is removed', 'x\ry', '\u202egnp', 'a\u009b31mb', '\u0430i-idle']) {
    const before = console.written.length;
    const socket = connect(join(daemon.run, 'confirm.sock'));
    let heard = '';
    socket.on('data', (chunk) => {
      heard += chunk;
    });
    socket.on('error', () => {});
    const view = { lines: ['Start ai-idle (gray)', bad], marks: [], type_to_confirm: null, risk: 'change' };
    socket.write(`${JSON.stringify({ v: 1, nonce: 'a'.repeat(64), digest: 'b'.repeat(64), expires_in: 60, view })}\n`);
    await new Promise((closed) => socket.once('close', closed));
    expect(heard).toBe('');
    await console.until(() => console.written.slice(before).includes('A question was refused unseen.'), 'the refusal');
    expect(console.written.slice(before)).not.toContain(bad);
  }
});

test('names are in the colour of their label where colours are wanted, and there is no escape sequence without', async () => {
  const plain = await sitting();
  const one = plain.daemon.call(LIFECYCLE, REMOVE);
  await plain.console.awake();
  expect(plain.console.written).not.toMatch(/\[[0-9;]*m/);
  plain.console.send('\r');
  await one;
  const coloured = await sitting({}, { env: { NO_COLOR: '' } });
  const two = coloured.daemon.call(LIFECYCLE, REMOVE);
  await coloured.console.awake();
  expect(coloured.console.written).toContain('\x1b[30;47mai-idle\x1b[0m (gray)');
  expect(coloured.console.screen).toContain('Remove ai-idle (gray)');
  coloured.console.send('\r');
  await two;
});
