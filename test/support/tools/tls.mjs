/**
 * One end of an HTTPS exchange in which both sides present a certificate.
 *
 * Each end prints one line of JSON with the hash of the response and the name of the other side.
 *
 *     serve DIR PORT BYTES    answers one request with BYTES bytes
 *     fetch DIR ADDRESS PORT
 *
 * DIR contains ca.pem and {server,client}.{key,pem}.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer, get } from 'node:https';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pseudoRandom } from './bytes.mjs';

const [mode, dir, ...rest] = process.argv.slice(2);

await { serve: serveOnce, fetch: fetchOnce }[mode](...rest);

function identity(name) {
  const read = (file) => readFileSync(join(dir, file));
  return { key: read(`${name}.key`), cert: read(`${name}.pem`), ca: read('ca.pem') };
}

async function serveOnce(port, bytes) {
  const server = createServer({ ...identity('server'), requestCert: true, rejectUnauthorized: true });
  server.on('request', (request, answer) => {
    const hash = createHash('sha256');
    const clientName = request.socket.getPeerCertificate().subject.CN;
    Readable.from(pseudoRandom(Number(bytes)))
      .on('data', (chunk) => hash.update(chunk))
      .pipe(answer);
    answer.on('finish', () => {
      console.log(JSON.stringify({ sha256: hash.digest('hex'), clientName }));
      server.close();
    });
  });
  server.listen(Number(port), () => console.log('listening'));
}

async function fetchOnce(address, port) {
  const answer = await new Promise((resolve, reject) => {
    get({ ...identity('client'), host: address, port: Number(port), agent: false }, resolve).on(
      'error',
      reject,
    );
  });
  const serverName = answer.socket.getPeerCertificate().subject.CN;
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of answer) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  console.log(JSON.stringify({ bytes, sha256: hash.digest('hex'), serverName }));
}
