// qmcpctl: what the operator does in a dom0 terminal. Each verb is a command in a table; see `--help` of each.
import { once } from 'node:events';
import { audit } from './audit.ts';
import { group, type Io, runCommand } from './command.ts';

const qmcpctl = group('qmcpctl', 'Operates the broker that lets AI agents manage qubes.', { audit });

const io: Io = {
  async out(text) {
    if (!process.stdout.write(text)) await once(process.stdout, 'drain');
  },
  err: (text) => process.stderr.write(text),
  watched: process.stderr.isTTY === true,
  now: Date.now,
};

// Whoever reads the output may have seen enough (`| head`).
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
process.exitCode = await runCommand(qmcpctl, process.argv.slice(2), io);
