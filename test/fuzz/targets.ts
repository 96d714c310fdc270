// Every fuzz target there is.
import type { Target } from './target.ts';
import { answersTarget, deviceLinesTarget, eventsTarget, firewallTarget } from './targets/admin-api.ts';
import { doorTarget } from './targets/door.ts';
import { frameTarget } from './targets/frame.ts';
import { earlierTarget, journalTarget } from './targets/journal.ts';
import { policyTarget, principalFileTarget, settingsTarget } from './targets/operator-files.ts';
import { envelopeTarget, plansTarget, questionTarget, receiptTarget, requestsTarget } from './targets/requests.ts';

export const TARGETS: readonly Target[] = [
  ...[frameTarget, doorTarget],
  ...[answersTarget, eventsTarget, deviceLinesTarget, firewallTarget],
  ...[settingsTarget, principalFileTarget, policyTarget],
  ...[journalTarget, earlierTarget],
  ...[requestsTarget, plansTarget, envelopeTarget, receiptTarget, questionTarget],
];
