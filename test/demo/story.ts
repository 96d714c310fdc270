// What happens in the demo, scene by scene.
import { DONE, type Play, REFUSED } from './play.ts';
import type { Stage } from './stage.ts';

const LIST = 'qmcp.ListAIManagedQubes';
const GET = 'qmcp.GetPropertyAIManaged';
const LIFECYCLE = 'qmcp.LifecycleAIManaged';

/** How many questions it asks. */
export const STORY_LENGTH = 3;

/** `patience`: how long, in seconds, the question that nobody answers stays open. */
export const playStory = async (play: Play, stage: Stage, patience: number): Promise<void> => {
  const { out } = play;
  const lifecycle = (name: string, action: string) => play.call(LIFECYCLE, { name, action });
  const remove = (deed: 'allow' | 'deny' | 'leave', name: string, picture: string) =>
    play.ask(LIFECYCLE, { name, action: 'remove' }, { deed, name, picture }, ['admin.vm.Remove', name]);

  out.scene('The agent looks around');
  const { qubes } = await play.call(LIST, '');
  const foreign = (qubes as { name: string }[]).filter(({ name }) => !name.startsWith('ai-'));
  out.check(foreign.length === 0, 'the list should hold nothing but managed qubes');
  out.remark('Only what you tagged ai-managed is there; vault, personal and the rest do not exist for the agent.');

  out.scene('It reads a property');
  const memory = { name: 'ai-research', property: 'memory' };
  play.expectReply(await play.call(GET, memory), { ok: true, value: 400 });
  const netvm = { name: 'ai-net-router', property: 'netvm' };
  play.expectReply(await play.call(GET, netvm), { ok: true, value: '<out-of-scope>' });
  out.remark('The router hangs on sys-firewall, which is not managed: even its name stays hidden.');

  out.scene('It tries a qube that is none of its business');
  for (const name of ['vault', 'no-such-qube']) {
    play.expectReply(await play.call(GET, { name, property: 'label' }), REFUSED);
  }
  out.remark('One of the two exists. The agent cannot tell which.');

  out.scene('It asks for more than its tier allows');
  play.expectReply(await lifecycle('ai-notes', 'start'), REFUSED);
  play.expectChanges();
  out.remark('To change a qube takes the tag ai-full, which ai-notes lacks. The agent is not told; the journal is.');

  out.scene('It starts a qube that it may change');
  play.expectReply(await lifecycle('ai-research', 'start'), DONE);
  play.expectChanges(['admin.vm.Start', 'ai-research']);
  out.remark('ai-research is tagged ai-full, and a start destroys nothing: so nobody is asked.');

  out.scene('It removes a qube, and you allow it');
  await remove('allow', 'ai-scratch', 'remove-allowed');

  out.scene('It removes another, and you deny it');
  await remove('deny', 'ai-crawler', 'remove-denied');

  out.scene('It removes a third, and nobody answers');
  stage.daemon.operatorFile('consent-timeout', `${patience}\n`);
  await remove('leave', 'ai-archive', 'remove-unanswered');
  out.remark('Denied, timed out, hidden, beyond its tier, missing: to the agent they all read the same.');
};
