// Stands in for the daemon in its unit and tries what the daemon must not be able to do, and what it must. Writes into the
// file that is named, for each try, `done` or the error that stopped it.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';

const STATE = '/var/lib/qmcp';
const ADDON = '/usr/lib/qmcp-broker/node_modules/node-gtk/lib/binding/node-v127-linux-x64/node_gtk.node';
const result = process.argv[2] ?? `${STATE}/probe.json`;

const connect = async (to: string | { host: string; port: number }): Promise<void> => {
  const socket = typeof to === 'string' ? createConnection(to) : createConnection(to);
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
};

/** Runs a program; what it ends with other than 0 is an error. */
const start = (program: string, ...args: string[]): void => {
  const { error, status, signal, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 10_000 });
  if (error) throw error;
  if (status !== 0) throw new Error(`${signal ?? status}: ${stderr.trim().split('\n').at(-1)}`);
};
const python = (code: string): void => start('/usr/bin/python3', '-c', code);

const write = (path: string): void => {
  const file = openSync(path, 'a');
  writeSync(file, ' ');
  closeSync(file);
};

const listen = async (place: string | { host: string; port: number }): Promise<void> => {
  const server = createServer();
  server.listen(place);
  await once(server, 'listening');
  server.close();
};

const ownProgram = (path: string) => (): void => {
  writeFileSync(path, '#!/bin/true\n');
  chmodSync(path, 0o755);
  try {
    start(path);
  } finally {
    rmSync(path);
  }
};

const FORBIDDEN: Readonly<Record<string, () => unknown>> = {
  'connect to a port of this machine': () => connect({ host: '127.0.0.1', port: 7 }),
  'connect to a port of this machine by IPv6': () => connect({ host: '::1', port: 7 }),
  'listen on a port': () => listen({ host: '127.0.0.1', port: 7_007 }),
  'ask for the interfaces of the network': networkInterfaces,
  'speak to the system bus': () => connect('/run/dbus/system_bus_socket'),
  'speak to systemd': () => connect('/run/systemd/private'),
  "speak to a user's bus": () => connect('/run/user/1000/bus'),
  'read a home directory': () => readFileSync('/home/user/secret'),
  "read root's home directory": () => readdirSync('/root'),
  'read /etc/shadow': () => readFileSync('/etc/shadow'),
  'run a shell': () => start('/bin/sh', '-c', 'true'),
  'run bash': () => start('/usr/bin/bash', '-c', 'true'),
  'run env': () => start('/usr/bin/env', 'true'),
  'run systemctl': () => start('/usr/bin/systemctl', '--version'),
  'run a program of its own making': ownProgram(`${STATE}/program`),
  'run a program made in /tmp': ownProgram('/tmp/program'),
  'map memory that can be written and executed': () => python('import mmap; mmap.mmap(-1, 4096, prot=7)'),
  'run Node with a compiler': () => start('/usr/bin/node', '-e', '0'),
  'make a namespace': () => python('import os; os.unshare(os.CLONE_NEWUSER)'),
  'become another user': () => python('import os; os.setuid(0)'),
  'change the host name': () => python('import socket; socket.sethostname("x")'),
  'see processes of others': () => readFileSync('/proc/1/cmdline'),
  'end a process of others': () => process.kill(1, 0),
  'write a setting of its own': () => write('/etc/qmcp/pool-cap'),
  'write the policy': () => write('/etc/qubes/policy.d/32-qmcp.policy'),
  'write its own program': () => write('/usr/lib/qmcp-broker/qmcpctl.mjs'),
  'put a file beside the sockets of others': () => write('/run/probe'),
  'load an addon': () => process.dlopen({ exports: {} } as NodeJS.Module, ADDON),
  'make code from text': () => new Function('return 1')(),
};

const NEEDED: Readonly<Record<string, () => unknown>> = {
  'ask qubesd': () => connect('/var/run/qubesd.sock'),
  'keep state': () => writeFileSync(`${STATE}/kept`, ''),
  'write the journal': () => writeFileSync('/var/log/qmcp/kept', ''),
  'read a setting': () => readFileSync('/etc/qmcp/pool-cap'),
  'make a socket for the operator': () => listen('/run/qmcp/probe.sock'),
  'run the tool for devices': () => start('/usr/bin/qvm-device', '--help'),
  'tell systemd': () => start('/usr/bin/systemd-notify', 'STATUS=probed'),
};

const endsOf = async (tries: Readonly<Record<string, () => unknown>>): Promise<Record<string, string>> => {
  const ends: Record<string, string> = {};
  for (const [name, work] of Object.entries(tries)) {
    try {
      await work();
      ends[name] = 'done';
    } catch (error) {
      ends[name] = String((error as NodeJS.ErrnoException).code ?? (error as Error).message);
    }
  }
  return ends;
};

const ends = { forbidden: await endsOf(FORBIDDEN), needed: await endsOf(NEEDED) };
for (const file of [`${STATE}/kept`, '/var/log/qmcp/kept']) rmSync(file, { force: true });
writeFileSync(result, JSON.stringify(ends));
// The unit waits for that word.
if (process.env.NOTIFY_SOCKET) spawnSync('/usr/bin/systemd-notify', ['--ready']);
setInterval(() => {}, 60_000);
