// `npm run demo -- --terminal`: a shell that stands for a dom0 terminal on the machine of the demo, to try qmcpctl in. Its
// programs are the built ones, told where that machine's places are; sudo has nothing to do there, and is left out.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { OUR_SERVICES } from '../../daemon/operator/doctor/sockets.ts';
import { AGENT, FLEET } from './fleet.ts';
import type { Stage } from './stage.ts';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const POLICY = at('../../policy');
const QMCPCTL = at('../../dist/qmcpctl.mjs');
const CALLER = at('agent.ts');

const INTRODUCTION = `This is a terminal of dom0 on the machine of the demo: real broker, real qmcpctl, simulated qubes.

  qmcpctl init                       where to begin; daemon/operator/README.md is a first day
  agent SERVICE [REQUEST]            makes a call as the agent in ${AGENT}, for example
  agent qmcp.LifecycleAIManaged '{"name":"ai-notes","action":"start"}'
  exit                               ends and removes all of it
`;

/** Sets the machine up as one on which the package was just installed, and nothing set. */
export const beginMachine = async (
  stage: Stage,
  env: NodeJS.ProcessEnv,
  complain: (line: string) => void,
): Promise<void> => {
  const { daemon } = stage;
  const policy = join(daemon.root, 'policy.d');
  cpSync(POLICY, policy, { recursive: true });
  await stage.begin({
    env,
    acceptSynthetic: false,
    fleet: FLEET,
    operatorFiles: {},
    policy,
    enrolled: false,
    complain,
  });
  chmodSync(daemon.run, 0o2770);
  chmodSync(daemon.etc, 0o755);
  const system = join(daemon.root, 'system/etc');
  mkdirSync(join(system, 'qubes-rpc'), { recursive: true });
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  writeFileSync(join(system, 'passwd'), `qmcp:x:${uid}:${gid}::/:/sbin/nologin\n`);
  writeFileSync(join(system, 'group'), `qubes:x:${gid}:user\n`);
  for (const name of OUR_SERVICES) symlinkSync(daemon.path, join(system, 'qubes-rpc', name));
};

/** Gives the person the shell, or runs what is on standard input in it; resolves with its exit code. */
export const playTerminal = async (stage: Stage): Promise<number> => {
  const { daemon } = stage;
  const programs = join(daemon.root, 'programs');
  mkdirSync(programs);
  const program = (name: string, script: string): void =>
    writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const places = [
    ...['--etc', daemon.etc, '--run', daemon.run, '--state', daemon.state, '--log', daemon.log],
    ...['--qubesd', daemon.qubesdPath, '--policy', join(daemon.root, 'policy.d'), '--tool-path', daemon.tools],
  ];
  const node = process.execPath;
  program(
    'qmcpctl',
    [
      // The words of the verb come first; without any, it is asked which there are.
      `case "$1" in '' | -*) exec ${node} ${QMCPCTL} "$@" ;; doctor | migrate) set -- "$@" --root ${daemon.root}/system ;; esac`,
      `case "$#$1" in 1tier | 1config | 1principals | 1tombstones | 1audit) exec ${node} ${QMCPCTL} "$@" ;; esac`,
      `exec ${node} ${QMCPCTL} "$@" ${places.join(' ')}`,
    ].join('\n'),
  );
  program('sudo', 'exec "$@"');
  program('agent', `exec ${node} ${CALLER} ${daemon.path} "$@"`);
  // Made when the machine was; the window signs with it.
  program('qmcp-confirm', `cat ${daemon.root}/confirm.pub`);
  const isTerminal = process.stdin.isTTY === true;
  if (isTerminal) process.stdout.write(INTRODUCTION);
  const shell = spawn('bash', ['--norc', '--noprofile', ...(isTerminal ? ['-i'] : [])], {
    stdio: 'inherit',
    cwd: daemon.root,
    env: {
      ...process.env,
      PATH: `${programs}:${process.env.PATH ?? '/usr/bin:/bin'}`,
      PS1: '[user@dom0 ~]$ ',
      NODE_NO_WARNINGS: '1',
    },
  });
  const [code] = await once(shell, 'exit');
  return code ?? 1;
};
