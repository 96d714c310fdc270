// node flooder.ts SOCKET INDEX: pours one flood over a door until its standard input ends; then says what came back.
import { FLOODS } from './floods.ts';
import { crowd } from './worker.ts';

const [, , path = '', index = '0'] = process.argv;
const flood = FLOODS[Number(index)];
if (!flood) throw new Error(`no flood ${index}`);
let flooding = true;
process.stdin.resume().on('end', () => {
  flooding = false;
});
process.stdout.write('flooding\n');
const { replies } = await crowd(path, flood.callers, () => flooding, flood.next);
process.stdout.write(`${JSON.stringify([...replies])}\n`);
process.exit(0);
