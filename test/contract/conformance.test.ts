// Every vector of the contract, each with a broker and a simulated qubesd of its own in this process.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'vitest';
import { openBroker } from '../broker/in-process.ts';
import { Approver, type Asked } from '../confirm/approver.ts';
import type { FleetSpec } from '../qubesd/fleet.ts';
import {
  checkVector,
  DEFAULT_SOURCE,
  type Outcome,
  readVectors,
  UNREADABLE,
  type Vector,
  type VectorEnvironment,
} from './vectors.ts';

const LAST_MS = 60_000;

describe('the broker answers as the contract has it', { concurrent: true, timeout: LAST_MS }, () => {
  for (const vector of readVectors()) {
    it(`${vector.id}: ${vector.why}`, async ({ expect }) => {
      expect(await checkVector(vector, answer)).toEqual([]);
    });
  }
});

const answer = async ({ service, request, env = {}, operator_files }: Vector, fleet: FleetSpec): Promise<Outcome> => {
  const approver = new Approver();
  const broker = await openBroker({
    fleet,
    operatorFiles: {
      ...Object.fromEntries(
        Object.entries(operator_files).map(([name, text]) => [name, text === UNREADABLE ? null : text]),
      ),
      ...(env.consent_daemon_reply ? { 'confirm.pub': `${approver.publicKey}\n` } : {}),
    },
    qubesd: !env.admin_client_unavailable,
  });
  try {
    const toolRuns = await putTools(broker.tools, env);
    if (env.consent_daemon_reply) {
      approver.reflex = reflexOf(env.consent_daemon_reply, approver);
      await approver.listen(join(broker.run, 'confirm.sock'));
    }
    const { qubesd, world, unplanned } = broker;
    if (env.event_stream) void qubesd.playWhenQuiet(env.event_stream);
    const reply = await broker.call(service, request, env.principal ?? DEFAULT_SOURCE);
    return {
      reply,
      calls: qubesd.calls.map(({ row }) => row),
      deviceCalls: await toolRuns(),
      world,
      errors: [...qubesd.errors, ...unplanned],
    };
  } finally {
    approver.close();
    await broker.stop();
  }
};

/** How the person, or what stands in for one, answers. */
const reflexOf = (reply: string, approver: Approver): ((asked: Asked) => void) => {
  const other = 'f'.repeat(64);
  const reflexes: Record<string, (asked: Asked) => void> = {
    approved: (asked) => asked.approve(),
    denied: (asked) => asked.deny(),
    timeout: ({ question, answer }) => answer(`${approver.signed(approver.statement(question, 'timeout'))}\n`),
    badnonce: (asked) => asked.approve({ nonce: other }),
    wrongdigest: (asked) => asked.approve({ digest: other }),
    wrongshown: (asked) => asked.approve({ shown: other }),
    otherkey: ({ question, answer }) => {
      const { keys } = new Approver();
      answer(`${approver.signed(approver.statement(question, 'approved'), { keys })}\n`);
    },
    nocontext: ({ question, answer }) =>
      answer(`${approver.signed(approver.statement(question, 'approved'), { context: '' })}\n`),
    garbage: ({ answer }) => answer('not json\n'),
    close: ({ answer }) => answer(''),
  };
  const reflex = reflexes[reply];
  if (!reflex) throw new Error(`nobody knows how to answer ${reply}`);
  return reflex;
};

/** Tools that note how they are run; gives what reads the notes of the device tool. */
const putTools = async (directory: string, env: VectorEnvironment) => {
  const notes = join(directory, 'runs');
  const deviceTool = [
    '#!/bin/sh',
    `for word in "\${0##*/}" "$@"; do printf '%s\\n' "$word"; done >> '${notes}'`,
    `printf '\\0' >> '${notes}'`,
    ...(env.qvm_device_hangs ? ['sleep 120'] : []),
    'echo boom sys-usb >&2',
    `exit ${env.qvm_device_exit ?? 0}`,
  ];
  const put = (name: string, lines: readonly string[]) =>
    writeFile(join(directory, name), `${lines.join('\n')}\n`, { mode: 0o755 });
  await put('qvm-appmenus', ['#!/bin/sh', 'exit 0']);
  if (!env.qvm_device_missing) await put('qvm-device', deviceTool);
  return async (): Promise<string[][]> => {
    const text = await readFile(notes, 'utf8').catch(() => '');
    return text
      .split('\0')
      .filter(Boolean)
      .map((run) => run.split('\n').slice(0, -1));
  };
};
