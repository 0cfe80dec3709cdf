import t from 'tap';
import type { VniSettings } from '../../src/config/settings.js';
import type { Report } from '../../src/exchange/report.js';
import { OwnPeers } from '../../src/vtep/own-peers.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const vni = (number: number, ...hosts: string[]) =>
  ({
    vni: number,
    peers: hosts.map((host) => ({ host, port: 4789, flood: true })),
  }) as unknown as VniSettings;

function makeOwnPeers() {
  const own = new Set(['192.0.2.1', '2001:db8::1']);
  const current = new Map<string, Omit<Report, 'code'>>();
  const zone: Record<string, string[]> = { 'all.example': ['192.0.2.1', '192.0.2.2'], 'lost.example': [] };
  const ownPeers = new OwnPeers({
    isOwn: ({ text }) => own.has(text),
    addresses: (host) => (zone[host] ?? [host]).map((text) => parseIpAddress(text)!),
    reports: {
      set: (code, subject, texts) => {
        t.equal(code, 'own_address_is_peer');
        if (texts) current.set(subject, texts);
        else current.delete(subject);
      },
    },
  });
  const details = () => Array.from(current.values(), ({ detail }) => detail);
  return { ownPeers, own, details };
}

t.test('an own address is named with the VNIs that have it, until it is gone', async (t) => {
  const { ownPeers, own, details } = makeOwnPeers();
  const vnis = [vni(300, '192.0.2.1'), vni(100, '192.0.2.1', '192.0.2.7'), vni(200, '2001:db8::1')];
  ownPeers.report(vnis);
  t.same(details(), [
    '192.0.2.1 is an address of this host; it is left out of the peers of VNI 100, 300',
    '2001:db8::1 is an address of this host; it is left out of the peers of VNI 200',
  ]);
  own.delete('192.0.2.1');
  ownPeers.report(vnis);
  t.same(details(), ['2001:db8::1 is an address of this host; it is left out of the peers of VNI 200']);
  ownPeers.report([]);
  t.same(details(), []);
});

t.test('a name with an own address is named too', async (t) => {
  const { ownPeers, details } = makeOwnPeers();
  ownPeers.report([vni(100, 'all.example', 'lost.example')]);
  t.same(details(), [
    '192.0.2.1, which all.example resolves to, is an address of this host; it is left out of the peers of VNI 100',
  ]);
});

t.test('of many VNIs the first are named', async (t) => {
  const { ownPeers, details } = makeOwnPeers();
  ownPeers.report(Array.from({ length: 20 }, (_, i) => vni(i, '192.0.2.1')));
  t.match(details(), [/VNI 0, 1, 2, 3, 4, 5, 6, 7 and 12 more$/]);
});
