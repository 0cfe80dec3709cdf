import t from 'tap';
import { ArpMeans } from '../../src/paths/arp.js';
import { MeansUnavailable, type ProbedPeer } from '../../src/paths/means.js';
import { ARP_FRAME_LEN, PROBE_MAC_HIGH } from '../../src/wire/arp.js';
import { macHigh, macLow } from '../../src/wire/mac.js';
import { hasVni, vni } from '../../src/wire/vxlan.js';
import { macParts } from '../support/frames.js';
import { packAddress } from '../support/memory-plane.js';

const PEER: ProbedPeer = { vni: 100, peerIdx: 5, text: '192.0.2.1', ...packAddress('192.0.2.1', 4789) };
const NO_HOST = new MeansUnavailable('no host behind the peer is known by MAC and IPv4 address');
const HOST = { mac: macParts('02:00:00:00:00:0a'), ip: Uint8Array.of(10, 10, 10, 2) };

t.test('the means is unavailable without a known host', async (t) => {
  const none = new ArpMeans(
    () => 0,
    async () => undefined,
  );
  await t.rejects(none.open(PEER), NO_HOST);
  const failing = new ArpMeans(
    () => 0,
    () => Promise.reject(new Error('the data plane is being restarted')),
  );
  await t.rejects(failing.open(PEER), NO_HOST);
});

t.test('accepts only a reply that the probed peer sent to the MAC of the request', async (t) => {
  const asked: number[] = [];
  let answer = (_means: ArpMeans, _low: number) => {};
  const means: ArpMeans = new ArpMeans(
    (_peer, datagram) => {
      t.ok(hasVni(datagram, 0) && vni(datagram, 0) === 100);
      t.equal(datagram.length, 600 - 28);
      t.equal(macHigh(datagram, 8 + 6), PROBE_MAC_HIGH);
      t.ok(datagram.subarray(8 + ARP_FRAME_LEN).every((byte) => byte === 0));
      const low = macLow(datagram, 8 + 6);
      asked.push(low);
      setImmediate(() => answer(means, low));
      return 0;
    },
    async () => HOST,
  );
  const open = await means.open(PEER);
  const rows: [string, (means: ArpMeans, low: number) => void, string][] = [
    ['another peer', (means, low) => means.replied(6, { high: PROBE_MAC_HIGH, low }), 'silent'],
    ['another MAC', (means, low) => means.replied(5, { high: PROBE_MAC_HIGH, low: low ^ 1 }), 'silent'],
    ['not a probe MAC', (means, low) => means.replied(5, { high: 0x0200, low }), 'silent'],
    ['the matching reply', (means, low) => means.replied(5, { high: PROBE_MAC_HIGH, low }), 'arrived'],
  ];
  for (const [name, how, outcome] of rows) {
    answer = how;
    t.match(await open.probe(600, false), { kind: outcome }, name);
  }
  t.equal(new Set(asked).size, rows.length, 'each request has a unique MAC');
  open.close();
});
