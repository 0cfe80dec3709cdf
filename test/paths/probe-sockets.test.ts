/** Probe sockets, and sending through them over the loopback. */
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import t, { type Test } from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { ProbeSender } from '../../src/paths/probe-sender.js';
import { openProbeSockets } from '../../src/paths/probe-sockets.js';
import { packAddress } from '../support/memory-plane.js';

const shim = loadShim();
const EMSGSIZE = -90;
const EAFNOSUPPORT = -97;
const RANGE = { min: 41_000, max: 41_100 };
const SPEC = { local4: '', local6: '', scopeId: () => 0, device: '', mark: 0, sourcePorts: RANGE, ttl: 64 };

function open(t: Test, spec: Partial<typeof SPEC> = {}) {
  const sockets = openProbeSockets(shim, { ...SPEC, ...spec });
  t.teardown(() => sockets.close());
  return sockets;
}

t.test('a missing device results in no sockets and no error', async (t) => {
  const { ipv4, ipv6 } = open(t, { device: 'nosuchdevice' });
  t.ok(ipv4 < 0 && ipv6 < 0);
});

t.test('sending without a socket of the family fails with EAFNOSUPPORT', async (t) => {
  const sender = new ProbeSender(shim, { ipv4: -1, ipv6: -1 });
  t.equal(sender.send(packAddress('127.0.0.1', 4789), new Uint8Array(30)), EAFNOSUPPORT);
});

t.test('sending more than the device carries fails with EMSGSIZE', async (t) => {
  const sender = new ProbeSender(shim, open(t));
  // The loopback carries 65,536 bytes; a UDP datagram has at most 65,507.
  t.equal(sender.send(packAddress('127.0.0.1', 4789), new Uint8Array(65_508)), EMSGSIZE);
});

t.test('datagrams arrive unchanged from a port of the range, skipping busy ports', async (t) => {
  const first = open(t);
  const sender = new ProbeSender(shim, open(t));
  t.ok(first.ipv4 >= 0);
  for (const [type, address] of [
    ['udp4', '127.0.0.1'],
    ['udp6', '::1'],
  ] as const) {
    const receiver = createSocket(type);
    t.teardown(() => receiver.close());
    receiver.bind(0, address);
    await once(receiver, 'listening');
    for (const len of [24, 1472, 9000]) {
      const arrived = once(receiver, 'message');
      const datagram = Uint8Array.from({ length: len }, (_, i) => i);
      t.equal(sender.send(packAddress(address, receiver.address().port), datagram), 0);
      const [bytes, from] = (await arrived) as [Buffer, RemoteInfo];
      t.same(Uint8Array.from(bytes), datagram, `${type}: ${len} bytes`);
      t.equal(from.port, RANGE.min + 1);
    }
  }
});
