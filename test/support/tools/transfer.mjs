/**
 * One end of a TCP transfer. The last line that each end prints is `BYTES SHA256`.
 *
 *     receive PORT
 *     send ADDRESS PORT BYTES          fewer bytes after a SIGUSR2
 */
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pseudoRandom } from './bytes.mjs';

const [mode, ...rest] = process.argv.slice(2);
await { receive, send }[mode](...rest);

async function receive(port) {
  const server = createServer();
  server.listen(Number(port), () => console.log('listening'));
  const socket = await new Promise((resolve) => server.once('connection', resolve));
  server.close();
  report(await pipeline(socket, digest));
}

async function send(address, port, bytes) {
  const hash = createHash('sha256');
  let sent = 0;
  const hashing = new Transform({
    transform(chunk, _encoding, done) {
      hash.update(chunk);
      sent += chunk.length;
      done(null, chunk);
    },
  });
  let isEnough = false;
  process.on('SIGUSR2', () => (isEnough = true));
  const chunks = function* () {
    for (const chunk of pseudoRandom(Number(bytes))) {
      if (isEnough) return;
      yield chunk;
    }
  };
  await pipeline(Readable.from(chunks()), hashing, connect(Number(port), address));
  report({ bytes: sent, sha256: hash.digest('hex') });
}

async function digest(chunks) {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of chunks) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest('hex') };
}

function report({ bytes, sha256 }) {
  console.log(`${bytes} ${sha256}`);
}
