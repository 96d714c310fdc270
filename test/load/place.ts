// The built daemon and a simulated qubesd in processes of their own, and an approver that says yes after a moment.
import { join } from 'node:path';
import { Place } from '../bench/place.ts';
import { Approver } from '../confirm/approver.ts';
import { FLEET } from './floods.ts';

export interface LoadPlace {
  readonly place: Place;
  readonly pid: number;
  /** The second line of each question so far, which says who asks. */
  readonly asked: string[];
  /** The directory of the journal. */
  readonly log: string;
  end(): Promise<void>;
}

const ANSWER_MS = 5;

/** As installed, without JIT, unless other flags are wanted. */
export const startLoadPlace = async (
  consentPolicy: string,
  flags: readonly string[] = ['--jitless'],
): Promise<LoadPlace> => {
  const approver = new Approver();
  const asked: string[] = [];
  approver.reflex = ({ question, approve }) => {
    asked.push(question.view.lines[1] ?? '');
    setTimeout(approve, ANSWER_MS);
  };
  const place = new Place({ 'consent-policy': consentPolicy, 'confirm.pub': `${approver.publicKey}\n` });
  await approver.listen(place.confirm);
  await place.startQubesd(FLEET);
  const pid = await place.startDaemon(flags);
  return {
    ...{ place, pid, asked, log: join(place.root, 'log') },
    end: async () => {
      approver.close();
      await place.end();
    },
  };
};
