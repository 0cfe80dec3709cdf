/**
 * The checks beside the packet filter's, each from facts to findings: nothing is read or changed here. A number that is
 * merely unusual is no finding; each has a reason to be one.
 */
import type { Link } from '../host/link.js';
import type { DaemonFacts, MachineFacts } from './facts.js';
import type { Finding } from './finding.js';

/** Seconds that a peer has to be heard after a start. */
const GRACE_S = 30;
/** RFC 7348's, and the one that Linux takes when nobody says otherwise. */
const VXLAN_PORTS = [4789, 8472];

/** What the daemon warns of already. */
export function checkWarnings({ warnings }: DaemonFacts): Finding[] {
  return warnings.map(({ code, detail }) => ({ code, what: detail, why: '', cure: '' }));
}

/** Frames go to a peer and none ever came: the usual face of a firewall, a wrong address or a wrong port. */
export function checkSilentPeers({ uptimeS, port, vnis }: DaemonFacts): Finding[] {
  if (uptimeS < GRACE_S) return [];
  const other = VXLAN_PORTS.find((known) => known !== port);
  return vnis.flatMap(({ vni, peers }) =>
    peers
      .filter(({ received, txFrames }) => !received && txFrames > 0)
      .map(({ address, txFrames }) => ({
        code: 'peer_silent',
        what: `VNI ${vni}: ${txFrames} frames went to ${address} and none ever came from there`,
        why: `a firewall, a wrong address, another port (we use ${port}; ${other} is as common), or no way back`,
        cure: `vtepctl probe ${address} --vni ${vni}; on that host: ip -details link show type vxlan`,
      })),
  );
}

export function checkUnsendable({ vnis }: DaemonFacts): Finding[] {
  return vnis
    .filter(({ unsendable }) => unsendable > 0)
    .map(({ vni, unsendable, peers }) => ({
      code: 'no_route',
      what: `VNI ${vni}: ${unsendable} frames could not be sent to a peer`,
      why: 'no route, a local firewall, or a host that has nobody on the VXLAN port',
      cure: peers.map(({ address }) => `ip route get ${address.split('%')[0]}`).join('; '),
    }));
}

export function checkStrangers({ port, vnis }: DaemonFacts): Finding[] {
  return vnis
    .filter(({ fromStrangers }) => fromStrangers > 0)
    .map(({ vni, fromStrangers }) => ({
      code: 'source_not_peer',
      what: `VNI ${vni}: ${fromStrangers} frames came from hosts that are no peers`,
      why: 'they are dropped: a peer whose address is translated or has changed, or somebody who should not be here',
      cure: `tcpdump -n udp port ${port} shows who; then vtepctl peer add ADDR --vni ${vni}`,
    }));
}

export function checkStrayVni({ strayFrames, strayVni, vnis }: DaemonFacts): Finding[] {
  if (strayFrames === 0) return [];
  const seen = strayVni < 0 ? 'VNIs' : `VNIs, ${strayVni} the last,`;
  const have = vnis.map(({ vni }) => vni).join(', ') || 'none';
  return [
    {
      code: 'vni_not_found',
      what: `${strayFrames} frames came of ${seen} that are not configured here (${have} are)`,
      why: 'one side has the wrong VNI, or a peer floods us with what we do not carry',
      cure:
        strayVni < 0
          ? 'vtepctl vni add ID'
          : `vtepctl vni add ${strayVni}, or take this host out of that VNI on the peer`,
    },
  ];
}

/**
 * A bridge drops what is larger than the port that it leaves by, without ICMP and without a word. That a TAP of ours is
 * wider than the other ports is meant, and judges none of them.
 */
export function checkBridgeMtu({ links }: MachineFacts, { vnis }: DaemonFacts): Finding[] {
  const taps = vnis.map(({ tap }) => tap);
  const bridges = new Set(taps.map((tap) => masterOf(links, tap)).filter((master) => master !== ''));
  return [...bridges].flatMap((bridge) => {
    const ports = links.filter(({ master }) => master === bridge);
    const widest = Math.max(...ports.map(({ name, mtu }) => (taps.includes(name) ? 0 : mtu)));
    return ports
      .filter(({ mtu }) => mtu < widest)
      .map(({ name, mtu }) => ({
        code: 'bridge_mtu',
        what: `${name} in ${bridge} has MTU ${mtu}, others have ${widest}`,
        why: 'the bridge drops larger frames on their way there, without a word to anybody',
        cure: `ip link set dev ${name} mtu ${widest}`,
      }));
  });
}

/** Strict reverse-path filtering drops what comes by another way than the answer would take. */
export function checkRpFilter(
  { rpFilter, rpFilterDrops }: MachineFacts,
  { underlayDevices }: DaemonFacts,
): Finding[] {
  if (rpFilterDrops === 0) return [];
  const all = rpFilter.get('all') ?? 0;
  return underlayDevices
    .filter((device) => Math.max(all, rpFilter.get(device) ?? 0) === 1)
    .map((device) => ({
      code: 'rp_filter',
      what: `rp_filter is strict on ${device}, and this machine's has dropped ${rpFilterDrops} packets`,
      why: 'VXLAN that comes by another way than the answer would take is dropped before vtepd sees it',
      cure: `sysctl -w net.ipv4.conf.${device}.rp_filter=2`,
    }));
}

/** Each source port is a connection of its own, and none is ever answered. */
export function checkConntrack({ conntrack }: MachineFacts, port: number): Finding[] {
  if (conntrack === undefined) return [];
  const { entries, max, ofPort } = conntrack;
  const isFull = entries * 10 >= max * 9 && ofPort * 10 >= entries;
  if (ofPort * 4 < max && !isFull) return [];
  const rule = (chain: string) => `iptables -t raw -A ${chain} -p udp --dport ${port} -j NOTRACK`;
  return [
    {
      code: 'conntrack',
      what: `${ofPort} of ${entries} tracked connections are UDP ${port}, of ${max} that there may be`,
      why: 'when the table is full, new connections of this host are dropped, VXLAN among them',
      cure: `${rule('PREROUTING')}; ${rule('OUTPUT')}`,
    },
  ];
}

/** Ping works and TCP does not: the sign of a network card that computes checksums of tunnels wrong. */
export function checkChecksums(
  { udpChecksumErrors }: MachineFacts,
  { underlayDevices }: DaemonFacts,
): Finding[] {
  if (udpChecksumErrors === 0) return [];
  const device = underlayDevices[0] ?? 'DEVICE';
  return [
    {
      code: 'udp_checksum',
      what: `${udpChecksumErrors} UDP datagrams came with a wrong checksum`,
      why: "they are dropped before vtepd sees them: a sender's network card or hypervisor fills in tunnel checksums wrong",
      cure: `on the sender: ethtool -K ${device} tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off tx-checksum-ip-generic off`,
    },
  ];
}

/** Linux's own default port is 8472: half of an overlay on it is an overlay of halves. */
export function checkPortMix({ links }: MachineFacts, port: number): Finding[] {
  return links
    .filter(({ kind, data }) => kind === 'vxlan' && VXLAN_PORTS.includes(Number(data.port)))
    .filter(({ data }) => data.port !== port)
    .map(({ name, data }) => ({
      code: 'port_mixup',
      what: `${name} (kernel vxlan) is on UDP ${data.port}, vtepd on ${port}`,
      why: 'VTEPs on different ports do not hear each other; without dstport, "ip link add type vxlan" takes 8472',
      cure: `if they belong to one overlay: vtepd --port ${data.port}, or make ${name} anew with dstport ${port}`,
    }));
}

function masterOf(links: readonly Link[], device: string): string {
  return links.find(({ name }) => name === device)?.master ?? '';
}
