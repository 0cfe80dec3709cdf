/**
 * A TCP connection on which one line is echoed 20 times a second.
 *
 *     steady-tcp.mjs server PORT
 *     steady-tcp.mjs client HOST PORT     prints "echo MS", wall clock, for each line that came back
 *
 * The client ends with an error when the connection breaks.
 */
import { connect, createServer } from 'node:net';

const PERIOD_MS = 50;
const [role, ...rest] = process.argv.slice(2);

if (role === 'server') {
  createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  }).listen(Number(rest[0]), () => console.log('listening'));
} else {
  const socket = connect({ host: rest[0], port: Number(rest[1]), noDelay: true });
  socket.on('connect', () => setInterval(() => socket.write('x'), PERIOD_MS));
  socket.on('data', () => console.log(`echo ${Date.now()}`));
  socket.on('error', (error) => {
    console.error(error.message);
    process.exit(1);
  });
  socket.on('close', () => process.exit(1));
}
