/**
 * The outer datagrams of this host as packets at the hooks of netfilter.
 *
 * Datagrams are described apart by family and connection state. All peers, local addresses and
 * devices can be described together, which is fast, or apart while there are few: rules that accept
 * one peer each accept all of them only if each is followed by itself.
 */
import type { IpAddress } from '../../wire/ip-address.js';
import { type Intervals, point, points } from './intervals.js';
import { addressKey } from './operand.js';
import {
  ANY_DEVICE,
  ANY_PORT,
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  NO_DEVICE,
  type Packet,
  PEER_TYPE,
  STATES,
  TYPE_LOCAL,
} from './packet.js';
import type { Chain } from './ruleset.js';

/** Outer datagrams that would use a shortcut. */
export interface OuterTraffic {
  readonly families: readonly (4 | 6)[];
  /** Source addresses of this host. */
  readonly locals: readonly IpAddress[] | 'any';
  readonly peers: readonly IpAddress[] | 'any';
  /** UDP port of VXLAN, here and at the peers. */
  readonly port: number;
  readonly sourcePorts: { readonly min: number; readonly max: number };
  /** Devices through which the peers are reached. */
  readonly devices: readonly string[] | 'any';
  /** SO_MARK of the sockets; 0: none. */
  readonly mark: number;
  /** The sockets are bound to no address: the kernel looks up routes without a source address. */
  readonly isUnbound?: boolean;
}

/** superframes: superframes that leave whole; flows: TCP flows through the kernel. */
export type Shortcut = 'superframes' | 'flows';

/** Hooks of sent and received datagrams, in the order in which a datagram passes them. */
const SENT = ['output', 'postrouting', 'egress'];
const RECEIVED = ['ingress', 'prerouting', 'input'];

/**
 * Hooks that the shortcut passes by. A superframe leaves its outer TAP by a redirect, behind the
 * hooks of sent datagrams; hook egress is not called for redirected packets either
 * (include/linux/netfilter_netdev.h, nf_skip_egress). The programs of flows run before ingress.
 */
export function hooksOf(shortcut: Shortcut): readonly string[] {
  return shortcut === 'superframes' ? SENT : [...RECEIVED, ...SENT];
}

/** @returns whether datagrams of the traffic pass the base chain */
export function passes({ family, devices }: Chain, traffic: OuterTraffic): boolean {
  const { devices: used } = traffic;
  const isOurs = devices.length === 0 || used === 'any' || devices.some((device) => used.includes(device));
  return isOurs && familiesOf(family).some((number) => traffic.families.includes(number));
}

/** Address families of a table; tables of other families see no IP packets of this host. */
function familiesOf(family: string): readonly (4 | 6)[] {
  if (family === 'ip') return [4];
  if (family === 'ip6') return [6];
  return family === 'inet' || family === 'netdev' ? [4, 6] : [];
}

/** Priority of connection tracking (NF_IP_PRI_CONNTRACK). */
const CONNTRACK = -200;

/**
 * @param isApart true: peers, addresses and devices are described apart, if there are few
 * @returns packets that together are all datagrams of the traffic that pass the base chain
 */
export function packetsAt(chain: Chain, traffic: OuterTraffic, isApart: boolean): Packet[] {
  const isSent = SENT.includes(chain.hook);
  return familiesOf(chain.family)
    .filter((family) => traffic.families.includes(family))
    .flatMap((family) => packetsOf(family, traffic, isApart ? MAX_APART : 1))
    .map((packet) => (isSent ? packet : reversed(packet)))
    .flatMap((packet) => statesAt(chain).map((states) => ({ ...packet, states })));
}

/** Only the first packet of a connection passes chains of type nat. */
function statesAt({ hook, type, priority }: Chain): Packet['states'][] {
  if (hook === 'ingress') return [STATES.invalid];
  const isTracked = priority >= CONNTRACK || hook === 'input' || hook === 'postrouting' || hook === 'egress';
  if (!isTracked) return [STATES.invalid];
  return type === 'nat' ? [STATES.new] : [STATES.new, STATES.established];
}

/** Maximum number of packets of one family and state that are described apart. */
const MAX_APART = 64;

/** @param max number of packets */
function packetsOf(family: 4 | 6, traffic: OuterTraffic, max: number): Packet[] {
  const sources = addressesOf(traffic.locals, family);
  const destinations = addressesOf(traffic.peers, family);
  const devices = traffic.devices === 'any' ? ANY_DEVICE : points([...new Set(traffic.devices)].sort());
  if (sources.length === 0 || destinations.length === 0) return [];
  let number = 1;
  const apart = (values: Intervals): Intervals[] => {
    if (number * values.length > max) return [values];
    number *= values.length;
    return values.map((value) => [value]);
  };
  const [bySource, byDevice, byPeer] = [apart(sources), apart(devices), apart(destinations)];
  return bySource.flatMap((source) =>
    byDevice.flatMap((outputDevice) =>
      byPeer.map((destination) => sentPacket(family, traffic, { source, destination, outputDevice })),
    ),
  );
}

type Ends = Pick<Packet, 'source' | 'destination' | 'outputDevice'>;

function sentPacket(family: 4 | 6, { port, sourcePorts, mark }: OuterTraffic, ends: Ends): Packet {
  const { min, max } = sourcePorts;
  // A datagram from the listening port may answer one that the peer has sent from its own.
  const mayReply = min <= port && port <= max;
  return {
    ...ends,
    family,
    sourcePort: [{ lo: min, hi: max }],
    destinationPort: [point(port)],
    inputDevice: NO_DEVICE,
    mark: [point(mark)],
    states: STATES.new,
    direction: points(mayReply ? [DIRECTION_ORIGINAL, DIRECTION_REPLY] : [DIRECTION_ORIGINAL]),
    sourceType: [point(TYPE_LOCAL)],
    destinationType: PEER_TYPE,
  };
}

/** The datagram that a peer sends; its source port is the peer's choice. */
function reversed(sent: Packet): Packet {
  return {
    ...sent,
    source: sent.destination,
    destination: sent.source,
    sourcePort: ANY_PORT,
    inputDevice: sent.outputDevice,
    outputDevice: NO_DEVICE,
    mark: [point(0)],
    direction: points([DIRECTION_ORIGINAL, DIRECTION_REPLY]),
    sourceType: PEER_TYPE,
    destinationType: [point(TYPE_LOCAL)],
  };
}

/** @returns keys of the addresses of a family */
export function addressesOf(addresses: readonly IpAddress[] | 'any', family: 4 | 6): Intervals {
  const digits = family === 4 ? 8 : 32;
  if (addresses === 'any') return [{ lo: '0'.repeat(digits), hi: 'f'.repeat(digits) }];
  return points([...new Set(addresses.filter((address) => address.family === family).map(addressKey))]);
}
