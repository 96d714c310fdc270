// qmcpctl approve: the question on a terminal, for a session without a display. Same question, same checks, same key and
// same signed answer as the window's; the broker cannot tell them apart.
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { defaultKeyFile, loadSeed } from '../dialog/key.ts';
import { keyOf } from './approve/keys.ts';
import { listenAlone } from './approve/listening.ts';
import type { Room } from './approve/sheet.ts';
import { reasonNotHere, standingOf } from './approve/standing.ts';
import { openTerminal } from './approve/terminal.ts';
import { type Turn, takeTurn } from './approve/turn.ts';
import { DONE, FAILED, Refusal, verb } from './command.ts';

/** How often it is looked whether questions still come here. */
const LOOK_MS = 2_000;

export const approve = verb(
  {
    name: 'qmcpctl approve',
    summary: 'answer questions on this terminal, where there is no display',
    operands: '',
    about: [
      'Waits for questions and shows each as the window does: the same lines, the same name to type, 1.5 seconds in which ' +
        'nothing that is typed counts, the same signature. Whatever is not the exact word is a no, and so are Enter, Escape, ' +
        'Ctrl-C, the end of the time, of this program or of the terminal. A question that does not fit the terminal is refused.',
      'It is for a login on a text console of this machine, as the user whose key the broker knows, without sudo. It refuses ' +
        'pipes and files, sessions over ssh or qrexec, terminals of a desktop, tmux and screen: other programs can type there.',
      'The socket of the desktop must not listen at the same time: systemctl --user stop qmcp-confirm.socket',
    ],
    options: {
      key: {
        type: 'string',
        value: 'FILE',
        text: 'the key that qmcp-confirm --enroll made (default $XDG_DATA_HOME/qmcp-confirm/key)',
        words: 'file',
      },
    },
    examples: [['qmcpctl approve', 'Waits, shows what is asked, takes the answers. Ctrl-C ends it.']],
    json: null,
    exits: ['when you end it', 'when it may not or can no longer ask here'],
  },
  async ({ run, key }, _, { colour, err }) => {
    const reason = reasonNotHere(standingOf(process.env));
    if (reason !== null) throw new Refusal(reason);
    const seed = loadSeed(key ?? defaultKeyFile(process.env));
    let turn: Turn | null = null;
    let leave: (problem: string | null) => void = () => {};
    const left = new Promise<string | null>((resolve) => {
      leave = resolve;
    });

    const terminal = openTerminal({
      heard: (chunk) => {
        const pressed = keyOf(chunk);
        turn?.press(pressed);
        if (pressed.kind === 'leave') leave(null);
      },
      resized: () => turn?.resized(),
      ended: () => leave(null),
    });
    const room = (): Room => ({ ...terminal.size(), colour, unicode: isUnicode(process.env) });
    const visit = (socket: Socket): void => {
      // One question at a time (I9).
      if (turn !== null) {
        socket.destroy();
        return;
      }
      turn = takeTurn({ socket, seed, room, write: terminal.write, now: () => performance.now() });
      void turn.over.then((sentence) => {
        turn = null;
        if (sentence !== null) terminal.write(`${CLEAR}${sentence}\r\n${WAITING}`);
      });
    };

    let problem: string | null;
    try {
      const listening = await listenAlone(join(run, 'confirm.sock'), visit);
      terminal.write(`${CLEAR}${WAITING}`);
      const looking = setInterval(() => {
        if (!listening.isOurs()) leave('Another program has taken the place of this one, and is asked from now on.');
      }, LOOK_MS);
      problem = await left;
      clearInterval(looking);
      listening.leave();
      const last = turn as Turn | null;
      last?.stop();
      await last?.over;
    } finally {
      terminal.close();
    }
    err(`${problem ?? 'Nobody is asked here any more. In a desktop: systemctl --user start qmcp-confirm.socket'}\n`);
    return problem === null ? DONE : FAILED;
  },
);

/** locale(7): the first of these that is set says which characters there are. */
const isUnicode = ({ LC_ALL, LC_CTYPE, LANG }: NodeJS.ProcessEnv): boolean =>
  /\.utf-?8\b/i.test(LC_ALL || LC_CTYPE || LANG || '');

const CLEAR = '\x1b[H\x1b[J';
const WAITING = 'Waiting for questions. Each is shown here as it comes. Ctrl-C ends this.\r\n';
