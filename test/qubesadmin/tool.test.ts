import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { MAX_OUTPUT_BYTES, type ToolEnd, type Tools, toolsIn } from '../../daemon/qubesadmin/tool.ts';

const DEADLINE_MS = 400;

let root: string;
let reports: [string, ToolEnd, string][];
let tools: Tools;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'qmcp-tool-'));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  reports = [];
  tools = toolsIn(root, { deadlineMs: DEADLINE_MS, report: (...all) => reports.push(all) });
});

/** A program of the given name; `body` is Node code with `out` as the path of its own result file. */
const program = async (name: string, body: string, directory = root): Promise<string> => {
  const file = join(directory, name);
  const out = join(root, `${name}.out`);
  await writeFile(
    file,
    `#!${process.execPath}\nconst fs = require('node:fs');\nconst out = ${JSON.stringify(out)};\n${body}\n`,
  );
  await chmod(file, 0o755);
  return out;
};

/** Running, and not merely waiting for somebody to ask how it ended. */
const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
};

describe('a run', () => {
  test('hands over each argument as it is, with no shell between', async () => {
    const args = ['attach', 'a b', '$(id)', '; true', '*', "'", '"', '\\', '-o', ''];
    const out = await program('tool', 'fs.writeFileSync(out, JSON.stringify(process.argv.slice(2)));');
    expect(await tools.run('tool', args)).toEqual({ kind: 'done' });
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual(args);
    expect(reports).toEqual([]);
  });

  test('has a constant environment, no input, and the root as its directory', async () => {
    process.env.QMCP_TEST_SECRET = 'x';
    onTestFinished(() => {
      delete process.env.QMCP_TEST_SECRET;
    });
    const out = await program(
      'tool',
      'fs.writeFileSync(out, JSON.stringify([process.env, process.cwd(), fs.readFileSync(0, "utf8")]));',
    );
    await tools.run('tool', []);
    const env = { PATH: root, LC_ALL: 'C.UTF-8', PYTHONNOUSERSITE: '1' };
    expect(JSON.parse(await readFile(out, 'utf8'))).toEqual([env, '/', '']);
  });

  test('that ends with another status has failed, and what it said is for the log', async () => {
    await program('tool', 'process.stderr.write("boom\\n"); process.exitCode = 3;');
    expect(await tools.run('tool', [])).toEqual({ kind: 'failed', why: 'status 3' });
    expect(reports).toEqual([['tool', { kind: 'failed', why: 'status 3' }, 'boom']]);
  });

  test('that ends by a signal has failed', async () => {
    await program('tool', 'process.kill(process.pid, "SIGTERM"); setInterval(() => {}, 1000);');
    expect(await tools.run('tool', [])).toEqual({ kind: 'failed', why: 'signal SIGTERM' });
  });

  test('of something that is no program has failed', async () => {
    await writeFile(join(root, 'tool'), '#!/nonexistent/interpreter\n', { mode: 0o755 });
    expect(await tools.run('tool', [])).toEqual({ kind: 'failed', why: 'not started' });
  });

  test('that takes too long is late, and killed with everything it started', async () => {
    const out = await program(
      'tool',
      `const { spawn } = require('node:child_process');
       const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
       fs.writeFileSync(out, JSON.stringify([process.pid, child.pid]));
       process.on('SIGTERM', () => {});
       setInterval(() => {}, 1000);`,
    );
    const began = performance.now();
    const slow = toolsIn(root, { deadlineMs: 1_000 });
    expect(await slow.run('tool', [])).toEqual({ kind: 'late' });
    expect(performance.now() - began).toBeLessThan(3_000);
    const pids = JSON.parse(await readFile(out, 'utf8')) as number[];
    for (let tries = 0; pids.some(isAlive) && tries < 100; tries++) await sleep(10);
    expect(pids.map(isAlive)).toEqual([false, false]);
  });

  test('that is under way when the daemon stops may end, and is cut off if it does not', async () => {
    await program('quick', 'setTimeout(() => {}, 100);');
    await program('endless', 'setInterval(() => {}, 1000);');
    const stopping = new AbortController();
    const patient = toolsIn(root, { stopping: stopping.signal, graceMs: 600 });
    const runs = [patient.run('quick', []), patient.run('endless', [])];
    stopping.abort();
    expect(await Promise.all(runs)).toEqual([{ kind: 'done' }, { kind: 'late' }]);
  });

  test('leaves no listener behind', async () => {
    await program('tool', '');
    const before = process.listenerCount('exit');
    const signals = process.listenerCount('SIGTERM');
    await tools.run('tool', []);
    expect([process.listenerCount('exit'), process.listenerCount('SIGTERM')]).toEqual([before, signals]);
  });

  test('may say as much as the limit', async () => {
    await program('tool', `process.stderr.write('x'.repeat(${MAX_OUTPUT_BYTES}));`);
    expect(await tools.run('tool', [])).toEqual({ kind: 'done' });
  });

  test('that says more is killed', async () => {
    await program('tool', `process.stderr.write('x'.repeat(${MAX_OUTPUT_BYTES + 1})); setInterval(() => {}, 1000);`);
    expect(await tools.run('tool', [])).toEqual({ kind: 'failed', why: 'too much output' });
    expect(reports[0]?.[2].length).toBeLessThanOrEqual(MAX_OUTPUT_BYTES);
  });

  test('does not listen to what is printed', async () => {
    await program('tool', `process.stdout.write('x'.repeat(${8 * MAX_OUTPUT_BYTES}));`);
    expect(await tools.run('tool', [])).toEqual({ kind: 'done' });
  });
});

describe('a tool', () => {
  test('that is nowhere is missing', async () => {
    expect(await tools.has('tool')).toBe(false);
    expect(await tools.run('tool', [])).toEqual({ kind: 'missing' });
  });

  test('is looked for in every directory in turn, and nowhere else', async () => {
    const second = join(root, 'second');
    await mkdir(second);
    const both = toolsIn(`relative::${root}:${second}`);
    await program('late', '', second);
    expect(await both.has('late')).toBe(true);
    expect(await both.has('sh')).toBe(false);
    expect(await toolsIn('').has('late')).toBe(false);
    expect(await toolsIn('second').has('late')).toBe(false);
  });

  test('is a file that can be executed', async () => {
    await mkdir(join(root, 'directory'));
    await writeFile(join(root, 'text'), '#!/bin/sh\n', { mode: 0o644 });
    expect(await tools.has('directory')).toBe(false);
    expect(await tools.has('text')).toBe(false);
  });
});
