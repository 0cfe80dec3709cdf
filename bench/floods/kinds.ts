/**
 * The floods: arguments of flood.c for each flood and for its baseline, without the seconds.
 */
import { ATTACKED_VNI, BRIDGE_ADDRESS, BRIDGE_BROADCAST, NEAR, VXLAN_PORT } from './place.js';

export interface FloodKind {
  readonly id: string;
  readonly title: string;
  /** Sender: a VM in the attacked VNI, or the hostile host on the underlay. */
  readonly from: 'vm' | 'host';
  /** True if the hostile host runs a vtepd; near then possibly receives its datagrams as trains. */
  readonly isVtepd?: boolean;
  /** True if the known flow has the opposite direction of the flood. */
  readonly isAgainst?: boolean;
  /** Arguments of the flood. */
  readonly flood: readonly string[];
  /** Arguments of the baseline. @param mac MAC of the host's own port on the VM's bridge */
  readonly baseline: (mac: string) => readonly string[];
}

/** UDP port of the plain socket. */
export const SINK_PORT = '4790';
const BROADCAST_MAC = 'ff:ff:ff:ff:ff:ff';
/** Payload of an ordinary VM's segments, bytes. */
const SEGMENT = '1400';

const macs = (port: string, which: 'one' | 'random') => ['peer', NEAR, port, `${ATTACKED_VNI}`, which];
const strangers = (port: string) => ['strangers', NEAR, port, `${ATTACKED_VNI}`];
const trains = (port: string) => ['trains', NEAR, port, `${ATTACKED_VNI}`];

const TRAINS = {
  from: 'host',
  isVtepd: true,
  flood: trains(VXLAN_PORT),
  baseline: () => trains(SINK_PORT),
} as const;

const STORM = {
  from: 'vm',
  flood: ['frames', 'eth0', BROADCAST_MAC, BRIDGE_BROADCAST, SINK_PORT],
  baseline: (mac: string) => ['frames', 'eth0', mac, BRIDGE_ADDRESS, SINK_PORT],
} as const;

export const FLOODS: readonly FloodKind[] = [
  {
    id: 'random-macs',
    title: 'random MACs from a peer',
    from: 'host',
    flood: macs(VXLAN_PORT, 'random'),
    baseline: () => macs(SINK_PORT, 'random'),
  },
  {
    id: 'one-mac',
    title: 'one MAC from a peer',
    from: 'host',
    flood: macs(VXLAN_PORT, 'one'),
    baseline: () => macs(SINK_PORT, 'one'),
  },
  {
    id: 'strangers',
    title: 'forged sources that are no peers',
    from: 'host',
    flood: strangers(VXLAN_PORT),
    baseline: () => strangers(SINK_PORT),
  },
  { id: 'trains', title: 'trains of tiny datagrams from a peer that is a vtepd', ...TRAINS },
  { id: 'trains-against', title: 'the same, known flow against it', isAgainst: true, ...TRAINS },
  { id: 'storm', title: 'broadcast storm of a VM to 16 peers', ...STORM },
  { id: 'storm-against', title: 'the same, known flow against it', isAgainst: true, ...STORM },
  {
    id: 'tiny-segments',
    title: 'broadcast TCP superframes of a VM, segments of 1 byte, to 16 peers',
    from: 'vm',
    flood: ['superframes', 'eth0', BROADCAST_MAC, BRIDGE_BROADCAST, SINK_PORT, 'tcp', '1'],
    baseline: (mac) => ['superframes', 'eth0', mac, BRIDGE_ADDRESS, SINK_PORT, 'udp', SEGMENT],
  },
];
