// The questions that are asked, as each is seen by the one whose deed it is about.
import { SimulatedApprover } from './approver.ts';
import type { Deed } from './deed.ts';
import type { Machine } from './machine.ts';

export const approverOn = (machine: Machine): SimulatedApprover => {
  const { chance, clock, deeds, watch, frozen, history } = machine;
  /** By the nonce of its question: a deed, and what it knew of its qubes then. */
  const asked = new Map<string, { readonly deed: Deed; readonly bound: string }>();
  return new SimulatedApprover({
    ...{ chance, now: clock.now, after: clock.after, wait: machine.wait },
    shown: (question) => {
      const waiting = machine.life?.broker.askers.waiting ?? [];
      watch.screen.shows(
        question,
        waiting.map(({ source }) => source),
      );
      const deed = deeds.current.getStore();
      if (deed) {
        deed.isAsked = true;
        machine.quotas.isAsked(deed);
        asked.set(question.nonce, { deed, bound: deed.bound });
      }
    },
    hidden: () => watch.screen.hides(),
    approves: ({ nonce }) => {
      const { deed, bound } = asked.get(nonce) ?? {};
      if (deed && bound !== undefined) deed.approvals.set(nonce, { step: history.step, bound });
    },
    // It holds at once, and is in the file some time later, or never.
    freezes: ({ nonce }) => frozen.isAsked('freeze', asked.get(nonce)?.deed.source ?? ''),
  });
};
