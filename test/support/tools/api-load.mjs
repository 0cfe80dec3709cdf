/**
 * Load on the API: adds VNIs and their peers, changes and removes them, one call after another.
 *
 *     api-load.mjs PLACE ROUNDS [TOKEN]
 *
 * PLACE is http://HOST:PORT or the path of a unix socket; a round is 20 calls. Prints the number of
 * calls; exits with 1 at the first unexpected answer.
 */
import { Client } from 'undici';

const [place, rounds, token] = process.argv.slice(2);
const client = place.startsWith('/')
  ? new Client('http://localhost', { connect: { socketPath: place } })
  : new Client(place);
const VNI = 777;
let calls = 0;

for (let round = 0; round < Number(rounds); round++) {
  await call('POST', '/v1/vnis', 201, {
    vni: VNI,
    tap: 'vtload',
    mtu: 1400,
    accept: round % 2 ? 'any' : 'peers',
  });
  for (let peer = 0; peer < 6; peer++)
    await call('POST', `/v1/vnis/${VNI}/peers`, 201, {
      address: `192.168.80.${100 + peer}`,
      flood: peer % 2 === 0,
    });
  await call('PUT', `/v1/vnis/${VNI}/fdb/02:00:00:00:77:01`, 204, { peer: '192.168.80.100' });
  for (const changed of [{ ageing: 60 }, { learning: 'off' }, { fdbLimit: 10, mtu: 1300 }, { vlan: 'strip' }])
    await call('PATCH', `/v1/vnis/${VNI}`, 200, changed);
  for (let peer = 0; peer < 5; peer++)
    await call('DELETE', `/v1/vnis/${VNI}/peers/192.168.80.${100 + peer}`, 204);
  // A peer of the VNI whose traffic is measured: the flood list of this VNI changes meanwhile.
  await call('POST', '/v1/vnis/100/peers', 201, { address: '192.168.80.99' });
  await call('DELETE', '/v1/vnis/100/peers/192.168.80.99', 204);
  await call('DELETE', `/v1/vnis/${VNI}`, 204);
}
console.log(calls);
await client.close();

async function call(method, path, expected, body) {
  const headers = {
    ...(body && { 'content-type': 'application/json' }),
    ...(token && { authorization: `Bearer ${token}` }),
  };
  const answer = await client.request({ method, path, headers, body: body && JSON.stringify(body) });
  const text = await answer.body.text();
  calls++;
  if (answer.statusCode === expected) return;
  console.error(`${method} ${path}: ${answer.statusCode} ${text}`);
  process.exit(1);
}
