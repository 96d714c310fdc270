// Every kind of question as the broker asks it: the calls of the demo's tour, made to the built broker, with a stand-in
// for the person that says yes and keeps what it was asked.
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import nacl from 'tweetnacl';
import type { Question, View } from '../../daemon/confirm/question.ts';
import { shownDigest, signedAnswer } from '../../daemon/dialog/statement.ts';
import { Daemon } from '../broker/daemon.ts';
import { AGENT, TOUR_FILES, TOUR_FLEET } from '../demo/fleet.ts';
import { STOPS, type Stop } from '../demo/tour.ts';
import { startQubesd } from '../qubesd/server.ts';

export interface Titled {
  readonly title: string;
  readonly view: View;
}

/** In the order of the tour. Rejects when a call raised no question. */
export const collectQuestions = async (): Promise<Titled[]> => {
  const daemon = new Daemon();
  const qubesd = await startQubesd({ path: daemon.qubesdPath, fleet: TOUR_FLEET });
  const { publicKey, secretKey } = nacl.sign.keyPair();
  const views: View[] = [];
  const approver = createServer({ allowHalfOpen: true }, (socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk;
      if (!text.endsWith('\n')) return;
      const question: Question = JSON.parse(text);
      views.push(question.view);
      socket.end(yesTo(question, secretKey));
    });
  });
  try {
    const files = { ...TOUR_FILES, 'confirm.pub': `${Buffer.from(publicKey).toString('base64')}\n` };
    for (const [name, content] of Object.entries(files)) daemon.operatorFile(name, content);
    // Stands for dom0's own tool, which hands devices over.
    writeFileSync(join(daemon.tools, 'qvm-device'), '#!/bin/sh\nexit 0\n', { mode: 0o755 });
    approver.listen(join(daemon.run, 'confirm.sock'));
    await daemon.start();
    const titled: Titled[] = [];
    for (const stop of STOPS) {
      await callFor(daemon, stop);
      const view = views.pop();
      if (view === undefined || views.length > 0)
        throw new Error(`the call "${stop.title}" did not raise one question`);
      titled.push({ title: stop.title, view });
    }
    return titled;
  } finally {
    await daemon.end();
    approver.close();
    await qubesd.stop();
    rmSync(daemon.root, { recursive: true, force: true });
  }
};

const callFor = async (daemon: Daemon, { service, request, prepared, files = {} }: Stop): Promise<void> => {
  for (const [name, text] of Object.entries(files)) daemon.operatorFile(name, text);
  const ask = (name: string, body: unknown, argument = '') => daemon.call(name, body, { source: AGENT, argument });
  const { nonce = '' } = prepared ? await ask('qmcp.Prepare', { calls: prepared }) : {};
  await ask(service, request, String(nonce));
};

const yesTo = ({ nonce, digest, view }: Question, secretKey: Uint8Array): string => {
  const decided = { verdict: 'approved', decided_at: new Date().toISOString() } as const;
  return signedAnswer({ v: 1, nonce, digest, shown: shownDigest(view.lines), ...decided }, secretKey);
};
