import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { QMCPCTL } from '../../daemon/operator/verbs.ts';

const page = readFileSync('packaging/INSTALL.md', 'utf8');
const commands = page
  .split('\n')
  .filter((line) => line.startsWith('    '))
  .map((line) => line.trim());
const files = readFileSync('test/packaging/rpm-files.txt', 'utf8');

const all = (pattern: RegExp): string[] => [...new Set([...page.matchAll(pattern)].map(([, what]) => what ?? ''))];

test('the install page names the package as it is built', () => {
  const version = readFileSync('packaging/version', 'utf8').trim();
  const rel = readFileSync('packaging/rel', 'utf8').trim();
  expect(all(/\b(qmcp-broker-[0-9.]+-[0-9]+\.x86_64\.rpm)/g)).toEqual([`qmcp-broker-${version}-${rel}.x86_64.rpm`]);
});

test('every unit on it is one that the package installs', () => {
  const units = all(/\b(qmcp-[a-z]+\.(?:service|socket))/g);
  expect(units.length).toBeGreaterThan(2);
  for (const unit of units) expect(files).toContain(`/${unit} `);
});

test('every program of ours on it is one that the package installs', () => {
  for (const path of all(/\.(\/usr\/lib\/qmcp-broker\/[a-z.-]+)/g)) expect(files).toContain(`${path} `);
});

test('every verb of qmcpctl on it is one that there is', () => {
  const verbs = commands.flatMap((line) => /qmcpctl(?:\.mjs)? ([a-z]+)(?: ([a-z]+))?/.exec(line)?.slice(1, 3) ?? []);
  expect(verbs.length).toBeGreaterThan(2);
  for (const line of commands) {
    const [, verb, second] = /\bqmcpctl(?:\.mjs)? ([a-z]+)(?: ([a-z]+))?/.exec(line) ?? [];
    if (verb === undefined) continue;
    const command = QMCPCTL.verbs?.[verb];
    expect(command, line).toBeDefined();
    if (second !== undefined && command?.verbs) expect(command.verbs[second], line).toBeDefined();
  }
});

test('what it says to move aside is what the package itself says', () => {
  const spec = readFileSync('packaging/rpm_spec/qmcp-broker.spec.in', 'utf8');
  const said = spec
    .replaceAll('%{version}', readFileSync('packaging/version', 'utf8').trim())
    .replaceAll('%{release}', readFileSync('packaging/rel', 'utf8').trim())
    .replaceAll('%{programs}', '/usr/lib/qmcp-broker');
  const there = commands.filter((line) => /^rpm2cpio|qmcpctl\.mjs migrate$/.test(line));
  expect(there).toHaveLength(2);
  for (const line of there) expect(said).toContain(`  ${line}\n`);
});
