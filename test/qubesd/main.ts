// node test/qubesd/main.ts --socket PATH [--fleet FILE]: a simulated qubesd of its own; SIGTERM or SIGINT ends it.
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import type { FleetSpec } from './fleet.ts';
import { FLEET_F0 } from './fleet-f0.ts';
import { startQubesd } from './server.ts';

const fail = (message: string): never => {
  process.stderr.write(`${message}\n`);
  process.exit(2);
};

const readFleet = async (file: string): Promise<FleetSpec> => {
  const fleet: unknown = JSON.parse(await readFile(file, 'utf8'));
  const qubes = typeof fleet === 'object' && fleet !== null && 'qubes' in fleet ? fleet.qubes : null;
  if (typeof qubes !== 'object' || qubes === null) throw new Error('it has no "qubes"');
  return fleet as FleetSpec;
};

const { values } = parseArgs({ options: { socket: { type: 'string' }, fleet: { type: 'string' } } });
const path = values.socket ?? fail('Say where to listen: --socket PATH [--fleet FILE].');
const fleet = values.fleet
  ? await readFleet(values.fleet).catch((error: unknown) => fail(`Cannot use the fleet ${values.fleet}: ${error}`))
  : FLEET_F0;
const qubesd = await startQubesd({ path, fleet });
qubesd.recording = false;
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void qubesd.stop());
process.stdout.write(`simulated qubesd ready: ${qubesd.world.qubes.size} qubes on ${path}\n`);
