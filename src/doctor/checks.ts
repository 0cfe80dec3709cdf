/**
 * Checks of the doctor: pure functions from facts to findings.
 *
 * The checks neither read nor change anything on the machine. `firewall.ts` has the check of the
 * packet filter. An unusual number alone is not a finding; each check states its reason.
 */
import type { Link } from '../host/netlink/links.js';
import type { DaemonFacts, MachineFacts } from './facts.js';
import type { Finding } from './finding.js';

/** Time after the start in which a silent peer is not a finding, s. */
const GRACE_S = 30;
/** UDP ports of RFC 7348 and of Linux without an explicit `dstport`. */
const VXLAN_PORTS = [4789, 8472];

/** Warnings of the daemon as findings. */
export function checkWarnings({ warnings }: DaemonFacts): Finding[] {
  return warnings.map(({ code, detail, why, cure }) => ({ code, what: detail, why, cure }));
}

/** Notices of the daemon. */
export function checkNotices({ notices }: DaemonFacts): Finding[] {
  return notices.map(({ code, detail, why, cure }) => ({ notice: true, code, what: detail, why, cure }));
}

/**
 * Frames were sent to a peer and none was ever received: a typical sign of a firewall, a wrong
 * address or a wrong port.
 */
export function checkSilentPeers({ uptimeS, port, vnis }: DaemonFacts): Finding[] {
  if (uptimeS < GRACE_S) return [];
  const other = VXLAN_PORTS.find((known) => known !== port);
  return vnis.flatMap(({ vni, peers }) =>
    peers
      .filter(({ received, txFrames }) => !received && txFrames > 0)
      .map(({ address, txFrames }) => ({
        code: 'peer_silent',
        what: `VNI ${vni}: ${txFrames} frames were sent to ${address}, and none was ever received from it`,
        why: `a firewall, a wrong address, another UDP port (vtepd uses ${port}; ${other} is also common), or no return path`,
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
      why: 'no route to the peer, a local firewall, or no VTEP on the VXLAN port of that host',
      cure: peers.map(({ address }) => `ip route get ${address.split('%')[0]}`).join('; '),
    }));
}

export function checkStrangers({ port, vnis }: DaemonFacts): Finding[] {
  return vnis
    .filter(({ fromStrangers }) => fromStrangers > 0)
    .map(({ vni, fromStrangers }) => ({
      code: 'source_not_peer',
      what: `VNI ${vni}: ${fromStrangers} frames were received from hosts that are not peers`,
      why: 'they are dropped: a peer behind NAT, a peer with a new address, or an unauthorized host',
      cure: `tcpdump -n udp port ${port} shows the senders; add a peer with: vtepctl peer add ADDR --vni ${vni}`,
    }));
}

export function checkStrayVni({ strayFrames, strayVni, vnis }: DaemonFacts): Finding[] {
  if (strayFrames === 0) return [];
  const seen = strayVni < 0 ? '' : `, the last for VNI ${strayVni}`;
  const have = vnis.map(({ vni }) => vni).join(', ') || 'none';
  return [
    {
      code: 'vni_not_found',
      what: `${strayFrames} frames were received for VNIs that are not configured${seen} (configured: ${have})`,
      why: 'one side has the wrong VNI, or a peer floods frames of a VNI that this host does not use',
      cure:
        strayVni < 0
          ? 'vtepctl vni add ID'
          : `vtepctl vni add ${strayVni}, or remove this host from that VNI on the peer`,
    },
  ];
}

export function checkFromOverlay({ port, fromOverlay, stackDevices }: DaemonFacts): Finding[] {
  if (fromOverlay === 0) return [];
  const device = stackDevices[0]?.name ?? 'DEVICE';
  return [
    {
      code: 'from_overlay',
      what: `${fromOverlay} datagrams of VXLAN were received by TAPs or bridges of the overlay instead of the underlay`,
      why: 'they are dropped: a machine of the overlay tries to put frames into a VNI, or the underlay is a device on such a bridge',
      cure: `tcpdump -e -n -i ${device} udp port ${port} shows the senders; if that is the underlay, name its device with --underlay-dev`,
    },
  ];
}

/**
 * Bridge ports with different MTUs: a bridge drops frames larger than the MTU of the outgoing port,
 * without an ICMP error. A larger MTU of a TAP of vtepd can be intended, so the other ports are not
 * compared with the TAP.
 */
export function checkBridgeMtu({ links }: MachineFacts, { vnis }: DaemonFacts): Finding[] {
  const taps = vnis.map(({ tap }) => tap);
  const bridges = new Set(taps.map((tap) => masterOf(links, tap)).filter((master) => master !== 0));
  return [...bridges].flatMap((bridge) => {
    const bridgeName = links.find(({ index }) => index === bridge)?.name;
    const ports = links.filter(({ master }) => master === bridge);
    const widest = Math.max(...ports.map(({ name, mtu }) => (taps.includes(name) ? 0 : mtu)));
    return ports
      .filter(({ mtu }) => mtu < widest)
      .map(({ name, mtu }) => ({
        code: 'bridge_mtu',
        what: `${name} in ${bridgeName} has MTU ${mtu}, others have ${widest}`,
        why: 'the bridge silently drops larger frames that leave by this port',
        cure: `ip link set dev ${name} mtu ${widest}`,
      }));
  });
}

/**
 * Strict reverse-path filtering drops packets that arrive on a device other than that of the return
 * route.
 */
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
      what: `rp_filter is strict on ${device}, and this machine has dropped ${rpFilterDrops} packets by rp_filter`,
      why: 'VXLAN that arrives on another device than the return route uses is dropped before vtepd receives it',
      cure: `sysctl -w net.ipv4.conf.${device}.rp_filter=2`,
    }));
}

/** Connection tracking: each VXLAN source port counts as a connection that is never answered. */
export function checkConntrack({ conntrack }: MachineFacts, port: number): Finding[] {
  if (conntrack === undefined) return [];
  const { entries, max, ofPort } = conntrack;
  const isFull = entries * 10 >= max * 9 && ofPort * 10 >= entries;
  if (ofPort * 4 < max && !isFull) return [];
  const rule = (chain: string) => `iptables -t raw -A ${chain} -p udp --dport ${port} -j NOTRACK`;
  return [
    {
      code: 'conntrack',
      what: `${ofPort} of ${entries} tracked connections are UDP ${port}; the limit is ${max}`,
      why: 'when the table is full, packets of new connections of this host are dropped, including VXLAN',
      cure: `${rule('PREROUTING')}; ${rule('OUTPUT')}`,
    },
  ];
}

/**
 * Wrong UDP checksums: with a network card that computes tunnel checksums wrong, ping works and TCP
 * does not.
 */
export function checkChecksums(
  { udpChecksumErrors }: MachineFacts,
  { underlayDevices }: DaemonFacts,
): Finding[] {
  if (udpChecksumErrors === 0) return [];
  const device = underlayDevices[0] ?? 'DEVICE';
  return [
    {
      code: 'udp_checksum',
      what: `${udpChecksumErrors} UDP datagrams were received with a wrong checksum`,
      why: "they are dropped before vtepd receives them: a sender's network card or hypervisor computes tunnel checksums wrong",
      cure: `on the sender: ethtool -K ${device} tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off tx-checksum-ip-generic off`,
    },
  ];
}

/**
 * Mixed UDP ports: the default of Linux is 8472, so VTEPs of one overlay may use different ports.
 */
export function checkPortMix({ links }: MachineFacts, port: number): Finding[] {
  return links
    .filter(({ vxlanPort }) => VXLAN_PORTS.includes(vxlanPort) && vxlanPort !== port)
    .map(({ name, vxlanPort }) => ({
      code: 'port_mixup',
      what: `${name} (kernel vxlan) is on UDP ${vxlanPort}, vtepd on ${port}`,
      why: 'VTEPs on different ports cannot communicate; without dstport, "ip link add type vxlan" uses 8472',
      cure: `if they belong to one overlay: vtepd --port ${vxlanPort}, or recreate ${name} with dstport ${port}`,
    }));
}

/**
 * IPv4 redirects: the kernel accepts them on a device when the setting of that device or of `all` is
 * 1, so vtepd cannot refuse them for its devices alone.
 */
export function checkRedirects({ obedience }: MachineFacts): Finding[] {
  const devices = [...obedience].filter(([, { redirects }]) => redirects).map(([name]) => name);
  if (devices.length === 0) return [];
  return [
    {
      notice: true,
      code: 'redirects_accepted',
      what: `net.ipv4.conf.all.accept_redirects is 1, so this host accepts IPv4 redirects on ${namesOf(devices)}`,
      why: 'a machine of the overlay that poses as a gateway can change routes of this host',
      cure: 'sysctl -w net.ipv4.conf.all.accept_redirects=0',
    },
  ];
}

/** Devices of other programs that accept router advertisements or redirects of the overlay. */
export function checkObedience({ obedience }: MachineFacts, { stackDevices }: DaemonFacts): Finding[] {
  return stackDevices.flatMap(({ name, isOurs }) => {
    const settings = obedience.get(name)?.ipv6 ?? [];
    if (isOurs || settings.length === 0) return [];
    return [
      {
        notice: true,
        code: 'device_obeys_overlay',
        what: `${name}, which vtepd has not made and does not change, accepts router advertisements or IPv6 redirects`,
        why: 'any machine of the overlay can give this host addresses, a default route or other routes',
        cure: `sysctl -w ${settings.join(' ')}`,
      },
    ];
  });
}

/** At most three names. */
function namesOf(devices: readonly string[]): string {
  const more = devices.length > 3 ? ` and ${devices.length - 3} more` : '';
  return `${devices.slice(0, 3).join(', ')}${more}`;
}

/** Interface index of the bridge of a device; 0 none. */
function masterOf(links: readonly Link[], device: string): number {
  return links.find(({ name }) => name === device)?.master ?? 0;
}
