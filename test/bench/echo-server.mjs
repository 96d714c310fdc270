// The yardstick: a Node server that reads to the end of a call and sends it back, with the flags of whoever starts it.
// Plain JavaScript, because Node reads TypeScript with WebAssembly, which --jitless removes.
import { createServer } from 'node:net';

const [, , path] = process.argv;
createServer({ allowHalfOpen: true }, (socket) => {
  const chunks = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('end', () => socket.end(Buffer.concat(chunks)));
  socket.on('error', () => {});
}).listen(path, 1024, () => process.stdout.write('ready\n'));
