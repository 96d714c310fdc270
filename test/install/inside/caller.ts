// A caller in the machine, speaking through the link that qrexec would follow.
//
//   caller call SERVICE BODY       prints what came back
//   caller many FILE               makes calls one after another until FILE is there, and prints how they ended
import { existsSync } from 'node:fs';
import { exchange, frame } from '../../broker/caller.ts';

const call = (service: string, body: string): Promise<string> =>
  exchange(`/etc/qubes-rpc/${service}`, frame(service, body));

/** How calls ended: by reply, `nothing` where the connection closed without one, or the error of connecting. */
const ends: Record<string, number> = {};
const count = (end: string): void => {
  ends[end] = (ends[end] ?? 0) + 1;
};

/** Reads, and a change of one qube to and fro: who makes the latter knows how often it was done. */
const many = async (stop: string): Promise<void> => {
  const until = async (next: () => [name: string, service: string, request: object]): Promise<void> => {
    while (!existsSync(stop)) {
      const [name, service, request] = next();
      const reply = await call(service, JSON.stringify(request)).catch((error) => `${error.code}\n`);
      if (reply === '') count(`${name}: nothing`);
      else count(`${name}: ${reply.startsWith('{"ok":true') ? 'ok' : reply.trim()}`);
    }
  };
  let turn = 0;
  const change = (): [string, string, object] => {
    turn += 1;
    const action = turn % 2 === 1 ? 'pause' : 'unpause';
    return [action, 'qmcp.LifecycleAIManaged', { name: 'ai-work', action }];
  };
  const read = (): [string, string, object] => ['read', 'qmcp.ListAIManagedQubes', {}];
  await Promise.all([until(change), until(read), until(read), until(read)]);
};

const [verb = '', ...words] = process.argv.slice(2);
if (verb === 'call') process.stdout.write(await call(words[0] ?? '', words[1] ?? '{}'));
else {
  await many(words[0] ?? '');
  process.stdout.write(JSON.stringify(ends));
}
