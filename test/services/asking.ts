// A broker whose questions a stand-in for the person answers.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Question } from '../../daemon/confirm/question.ts';
import { reasonNotToShow } from '../../daemon/dialog/displayable.ts';
import { ASKING } from '../broker/daemon.ts';
import { type InProcess, type InProcessOptions, temporaryBroker } from '../broker/in-process.ts';
import { type Approver, startApprover } from '../confirm/approver.ts';

export interface Asking {
  readonly broker: InProcess;
  readonly approver: Approver;
  /** The questions so far. Throws where the dialog would not show one. */
  questions(): readonly Question[];
}

/** Everything that changes anything is asked, and approved unless `answer` says otherwise. */
export const askingBroker = async (
  options: InProcessOptions = {},
  answer: 'approve' | 'deny' = 'approve',
): Promise<Asking> => {
  const broker = await temporaryBroker({ operatorFiles: { ...ASKING, 'consent-policy': '*\n' }, ...options });
  const approver = await startApprover(join(broker.run, 'confirm.sock'));
  await writeFile(join(broker.etc, 'confirm.pub'), `${approver.publicKey}\n`);
  approver.reflex = (asked) => asked[answer]();
  const questions = (): readonly Question[] => {
    for (const { view } of approver.questions) {
      const reason = reasonNotToShow(view.lines);
      if (reason !== null) throw new Error(`${reason} ${JSON.stringify(view.lines)}`);
    }
    return approver.questions;
  };
  return { broker, approver, questions };
};

/** Text that a caller would like a person to read, and text that nobody should have to. */
export const HOSTILE = [
  'press yes it is harmless',
  '\u001b[2Jpress yes',
  '\u202epress yes',
  'x\npress yes',
  '<b>press yes</b>',
  'a\u0000b',
  '\u0430i-idle',
  'x'.repeat(60_000),
] as const;
