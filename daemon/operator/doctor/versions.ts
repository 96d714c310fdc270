// Whether what this was tested with is what is there.
import { type Check, error, type Finding, warning } from './finding.ts';

/** From the first, and up to but not including the last. */
export const TESTED: Readonly<Record<string, readonly [from: string, before: string]>> = {
  'qubes-core-dom0': ['4.3', '4.5'],
  'qubes-core-qrexec-dom0': ['4.3', '4.5'],
};
const NODE = '22';

export const versionsCheck: Check = async ({ programs }) => {
  const found: Finding[] = [];
  const [node = ''] = process.versions.node.split('.');
  if (node !== NODE)
    found.push(
      error(
        `This runs on Node ${process.versions.node}; the broker is made for ${NODE}.`,
        'sudo qubes-dom0-update nodejs',
      ),
    );
  const names = Object.keys(TESTED);
  const asked = await programs.run('rpm', ['-q', '--queryformat', '%{NAME} %{VERSION}\\n', ...names]);
  if (asked.kind !== 'ended') return found;
  for (const line of asked.out.split('\n')) {
    const [name = '', version = ''] = line.split(' ');
    const range = TESTED[name];
    if (range && /^[0-9.]+$/.test(version) && !isWithin(version, range)) {
      found.push(
        warning(
          `${name} is of version ${version}; this was tested with ${range[0]} up to ${range[1]}.`,
          'sudo qubes-dom0-update qmcp-broker',
        ),
      );
    }
  }
  return found;
};

const isWithin = (version: string, [from, before]: readonly [string, string]): boolean =>
  order(version, from) >= 0 && order(version, before) < 0;

const order = (a: string, b: string): number => {
  const [one, other] = [a, b].map((text) => text.split('.').map(Number)) as [number[], number[]];
  for (let at = 0; at < Math.max(one.length, other.length); at++) {
    const difference = (one[at] ?? 0) - (other[at] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
};
