/**
 * Takes TCP for a unix socket: for clients that know no unix sockets.
 *
 *     PORT SOCKET     listens on 127.0.0.1
 */
import { connect, createServer } from 'node:net';

const [port, socket] = process.argv.slice(2);
createServer((client) => {
  const server = connect(socket);
  client.pipe(server).pipe(client);
  for (const end of [client, server]) end.on('error', () => [client, server].map((each) => each.destroy()));
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
