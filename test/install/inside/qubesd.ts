// The simulated qubesd as a service of the machine. Each call that changed something is a line of the file that is named.
import { appendFileSync } from 'node:fs';
import { FLEET_F0 } from '../../qubesd/fleet-f0.ts';
import { startQubesd } from '../../qubesd/server.ts';

const [path = '', log = ''] = process.argv.slice(2);
const qubesd = await startQubesd({ path, fleet: FLEET_F0 });
qubesd.onDone = () => {
  for (const row of qubesd.changes()) appendFileSync(log, `${JSON.stringify(row)}\n`);
  qubesd.calls = [];
};
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void qubesd.stop());
