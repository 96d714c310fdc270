import { expect, test } from 'vitest';
import { reasonNotHere, type Standing, standingOf } from '../../../daemon/operator/approve/standing.ts';

const CONSOLE: Standing = {
  ...{ input: 1025, output: 1025, controlling: 1025, inForeground: true },
  env: { TERM: 'linux', HOME: '/home/user' },
};

test('a text console is a place to answer from, and so is a pseudo-terminal of no desktop', () => {
  expect(reasonNotHere(CONSOLE)).toBeNull();
  expect(reasonNotHere({ ...CONSOLE, input: 34816, output: 34816, controlling: 34816 })).toBeNull();
});

test.each<[string, Partial<Standing>, RegExp]>([
  ['input is no terminal', { input: null }, /must both be the terminal/],
  ['output is no terminal', { output: null }, /must both be the terminal/],
  ['input is another terminal', { input: 34817 }, /must both be the terminal/],
  ['output is another terminal', { output: 34817 }, /must both be the terminal/],
  ['both are a terminal that is not the session’s', { controlling: 34817 }, /must both be the terminal/],
  ['the session has no terminal', { controlling: 0 }, /must both be the terminal/],
  ['the keys go to another job', { inForeground: false }, /foreground/],
])('not where %s', (_, change, sentence) => {
  expect(reasonNotHere({ ...CONSOLE, ...change })).toMatch(sentence);
});

test.each([
  ['QREXEC_REMOTE_DOMAIN', /qrexec/],
  ['QREXEC_SERVICE_FULL_NAME', /qrexec/],
  ['SSH_CONNECTION', /ssh/],
  ['SSH_CLIENT', /ssh/],
  ['SSH_TTY', /ssh/],
  ['SUDO_UID', /without sudo/],
  ['SUDO_USER', /without sudo/],
  ['DISPLAY', /desktop/],
  ['WAYLAND_DISPLAY', /desktop/],
  ['TMUX', /tmux/],
  ['STY', /tmux/],
])('not with %s', (name, sentence) => {
  expect(reasonNotHere({ ...CONSOLE, env: { ...CONSOLE.env, [name]: 'x' } })).toMatch(sentence);
  expect(reasonNotHere({ ...CONSOLE, env: { ...CONSOLE.env, [name]: '' } })).toBeNull();
});

test.each(['SUDO_EDITOR', 'SUDO_ASKPASS', 'TMUX_TMPDIR', 'SSH_AUTH_SOCK', 'DISPLAYS'])(
  '%s says nothing of the place',
  (name) => {
    expect(reasonNotHere({ ...CONSOLE, env: { ...CONSOLE.env, [name]: 'x' } })).toBeNull();
  },
);

test.each([undefined, '', 'dumb'])('not on a terminal of type %s', (type) => {
  expect(reasonNotHere({ ...CONSOLE, env: { TERM: type } })).toMatch(/cannot be cleared/);
});

test('a test is no place to answer from', () => {
  expect(reasonNotHere({ ...standingOf({ TERM: 'linux' }) })).toMatch(/must both be the terminal/);
});
