// Several operators, or scripts of theirs, who change settings at the same moment: whoever is told that it is done has done
// all of it, and nobody loses what another wrote without being told.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Daemon, QUIET, startDaemon } from '../broker/daemon.ts';
import { FLEET_F0 } from '../qubesd/fleet-f0.ts';
import { qmcpctlOf, verbsOf } from './stage.ts';

const KEY = 'A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=';
const OTHER_KEY = '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=';

const installed = async () => {
  const { daemon } = await startDaemon({ operatorFiles: QUIET, fleet: FLEET_F0 });
  const policy = join(daemon.root, 'policy.d');
  cpSync('policy', policy, { recursive: true });
  await daemon.end();
  await daemon.start(['--policy', policy]);
  return { daemon, policy, run: qmcpctlOf(daemon), here: verbsOf(daemon) };
};
const setting = ({ etc }: Daemon, name: string): string | null =>
  existsSync(join(etc, name)) ? readFileSync(join(etc, name), 'utf8') : null;
const leftovers = (...dirs: string[]): string[] =>
  dirs.flatMap((dir) => readdirSync(dir).filter((name) => name.startsWith('.')));
const TOLD = /is changing settings just now|are changing settings just now|somebody else has just changed/;

test('mode beside config set and config restore: each is whole or was told to wait, and the two places of the mode agree', async () => {
  const { daemon, policy, run } = await installed();
  await run('config', 'set', 'pool-cap', '7');
  const [{ id }] = JSON.parse((await run('config', 'restore', '--json')).out);
  let changes = 1;
  for (let round = 0; round < 3; round++) {
    const ran = await Promise.all([
      run('mode', 'least-privilege', '--yes', '--json'),
      run('mode', 'compat', '--yes', '--json'),
      run('config', 'set', 'guarded', `one-${round}`, '--json'),
      run('config', 'set', 'guarded', `two-${round}`, `three-${round}`, '--json'),
      run('config', 'restore', id, '--json'),
      run('config', 'set', 'pool-cap', String(round + 10), '--json'),
    ]);
    for (const { code, out, err } of ran) {
      if (code === 0) changes += JSON.parse(out).backup === null ? 0 : 1;
      else expect({ code, out, err }).toEqual({ code: 1, out: '', err: expect.stringMatching(TOLD) });
    }
    expect(ran.some(({ code }) => code === 0)).toBe(true);
    const { policy: include, mode } = JSON.parse((await run('mode', '--json')).out);
    expect(include).toBe(mode);
    expect([null, ...Array.from({ length: 3 }, (_, n) => [`one-${n}\n`, `two-${n}\nthree-${n}\n`]).flat()]).toContain(
      setting(daemon, 'guarded'),
    );
  }
  expect(JSON.parse((await run('config', 'restore', '--json')).out)).toHaveLength(changes);
  expect(leftovers(daemon.etc, join(daemon.etc, 'backups'), join(policy, 'include'))).toEqual([]);
}, 90_000);

test('one principal enrolled by two at once: one of them is refused, and the file is the other one’s', async () => {
  const { daemon, run } = await installed();
  const add = (key: string) =>
    run('principals', 'add', 'web', '--key', key, '--source', 'mcp-control', '--ceiling', 'ro', '--yes');
  const ran = await Promise.all([add(KEY), add(OTHER_KEY), add(KEY), add(OTHER_KEY)]);
  const done = ran.filter(({ code }) => code === 0);
  expect(done).toHaveLength(1);
  for (const { code, err } of ran) if (code !== 0) expect(err).toMatch(/just changed|just now|is enrolled already/);
  const index = ran.findIndex(({ code }) => code === 0);
  expect(JSON.parse(setting(daemon, 'principals/web.json') ?? '').key).toBe([KEY, OTHER_KEY][index % 2]);
}, 60_000);

test('what was changed while a person thought about it is not written over', async () => {
  const { daemon, policy } = await installed();
  const overtaken = (path: string, text: string, ...args: string[]) =>
    verbsOf(daemon, { whenAsked: () => writeFileSync(path, text) })(args, ['y']);
  const tierDefault = join(daemon.etc, 'tier-default');
  expect(await overtaken(tierDefault, 'full\n', 'mode', 'least-privilege')).toMatchObject({
    ...{ code: 1, err: expect.stringMatching(/somebody else has just changed .*tier-default\. Look again/) },
  });
  expect(setting(daemon, 'tier-default')).toBe('full\n');
  expect(readFileSync(join(policy, 'include/qmcp-mode'), 'utf8')).toContain('qmcp-compat');

  const web = join(daemon.etc, 'principals/web.json');
  mkdirSync(join(daemon.etc, 'principals'));
  const theirs = `{"key":"${OTHER_KEY}","sources":["vault"],"ceiling":"ro"}\n`;
  const add = ['principals', 'add', 'web', '--key', KEY, '--source', 'mcp-control', '--ceiling', 'ro'];
  expect(await overtaken(web, theirs, ...add)).toMatchObject({ code: 1, err: expect.stringMatching(TOLD) });
  expect(await overtaken(web, `${theirs}\n`, 'principals', 'remove', 'web')).toMatchObject({
    ...{ code: 1, err: expect.stringMatching(TOLD) },
  });
  expect(readFileSync(web, 'utf8')).toBe(`${theirs}\n`);
});

test('of several principals for the same unsigned calls one is enrolled, since otherwise none would have them', async () => {
  const { daemon, run } = await installed();
  const names = ['one', 'two', 'three', 'four'];
  const add = (name: string) => run('principals', 'add', name, '--unsigned', '--source', 'any', '--ceiling', 'ro');
  const ran = await Promise.all(names.map(add));
  expect(ran.filter(({ code }) => code === 0)).toHaveLength(1);
  expect(readdirSync(join(daemon.etc, 'principals'))).toHaveLength(1);
  for (const { code, err } of ran) if (code !== 0) expect(err).toMatch(/are those of \w+ already|just now/);
}, 60_000);

test('init writes nothing over a setting that appeared since it looked, nor over one that is malformed', async () => {
  const { daemon, here } = await installed();
  await here(['config', 'unset', 'pool-cap']);
  writeFileSync(join(daemon.etc, 'private-cap'), 'lots\n');
  const { code, out } = await here(['init', '--apply']);
  expect(code).toBe(0);
  expect(out.replaceAll(/\n {6}/g, ' ')).toMatch(
    /^you {3}.*private-cap, line 1: 'lots' is not understood.* \$ sudo qmcpctl config set private-cap \.\.\.$/m,
  );
  expect(setting(daemon, 'private-cap')).toBe('lots\n');
  expect(setting(daemon, 'pool-cap')).toMatch(/^\d+\n$/);
});
