// What an agent in its qube would do: one call, and its reply on a line.
import { call } from '../broker/caller.ts';
import { AGENT } from './fleet.ts';

const [socket = '', service = '', request = ''] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(await call(socket, service, request, { source: AGENT }))}\n`);
