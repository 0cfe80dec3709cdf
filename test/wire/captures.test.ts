/**
 * VXLAN captures of other implementations, decoded with `wire` alone.
 *
 * The test decodes from the outer Ethernet header to the inner packet; the expected text is based
 * on the output of tcpdump. The captures are not part of the project but in a folder beside it. If
 * that folder exists, every capture must be in it; otherwise a comment reports that nothing is
 * decoded.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { pseudoHeaderSumIpv4, pseudoHeaderSumIpv6, sum16 } from '../../src/wire/checksum.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6, networkEtherType, networkOffset } from '../../src/wire/ethernet.js';
import { flowHash } from '../../src/wire/flow-hash.js';
import { formatIpAddress } from '../../src/wire/ip-address.js';
import * as ipv4 from '../../src/wire/ipv4.js';
import * as ipv6 from '../../src/wire/ipv6.js';
import { formatMac, macHigh, macLow } from '../../src/wire/mac.js';
import * as tcp from '../../src/wire/tcp.js';
import * as udp from '../../src/wire/udp.js';
import { hasReservedBits, hasVni, VXLAN_LEN, vni } from '../../src/wire/vxlan.js';
import { readPcap } from '../support/pcap.js';

const FOLDER = new URL('../../../shared/captures/', import.meta.url).pathname;

interface Packet {
  source: string;
  destination: string;
  protocol: number;
  /** Offsets of the IP header, the transport header and the end of the packet. */
  ip: number;
  transport: number;
  end: number;
}

/** IP addresses and transport of the frame at `off`; undefined if it holds no valid IP packet. */
function packetOf(b: Uint8Array, off: number, end: number): Packet | undefined {
  const ip = networkOffset(b, off, end);
  const type = ip < 0 ? -1 : networkEtherType(b, ip);
  if (type === ETHERTYPE_IPV4 && ipv4.check(b, ip, end)) {
    return {
      source: formatIpAddress(4, b.subarray(ip + ipv4.SOURCE_OFF)),
      destination: formatIpAddress(4, b.subarray(ip + ipv4.DESTINATION_OFF)),
      protocol: ipv4.protocol(b, ip),
      ip,
      transport: ip + ipv4.headerLen(b, ip),
      end: ip + ipv4.totalLen(b, ip),
    };
  }
  if (type === ETHERTYPE_IPV6 && ipv6.check(b, ip, end)) {
    const found = ipv6.transport(b, ip, end);
    return {
      source: formatIpAddress(6, b.subarray(ip + ipv6.SOURCE_OFF)),
      destination: formatIpAddress(6, b.subarray(ip + ipv6.DESTINATION_OFF)),
      protocol: ipv6.transportProtocol(found),
      ip,
      transport: ip + ipv6.transportOffset(found),
      end: ip + ipv6.IPV6_LEN + ipv6.payloadLen(b, ip),
    };
  }
  return undefined;
}

/** One line per frame, with the fields that tcpdump prints. */
function describe(b: Uint8Array): string {
  const outer = packetOf(b, 0, b.length);
  if (
    outer === undefined ||
    outer.protocol !== ipv4.PROTOCOL_UDP ||
    !udp.check(b, outer.transport, outer.end)
  ) {
    return 'not UDP';
  }
  const vxlan = outer.transport + udp.UDP_LEN;
  const frame = vxlan + VXLAN_LEN;
  const ports = `${udp.sourcePort(b, outer.transport)} > ${udp.destinationPort(b, outer.transport)}`;
  const header = `I ${hasVni(b, vxlan)} reserved ${hasReservedBits(b, vxlan)} vni ${vni(b, vxlan)}`;
  const macs = `${formatMac(macHigh(b, frame + 6), macLow(b, frame + 6))} > ${formatMac(macHigh(b, frame), macLow(b, frame))}`;
  const inner = packetOf(b, frame, outer.end);
  const network = networkOffset(b, frame, outer.end);
  const payload =
    inner === undefined
      ? `type ${networkEtherType(b, network).toString(16)}`
      : `${inner.source} > ${inner.destination} proto ${inner.protocol}`;
  return `${outer.source} > ${outer.destination}, ${ports}, ${header}, ${macs}, ${payload}, ${outer.end - frame} bytes`;
}

const A = '00:16:3e:37:f6:04';
const B = '00:30:88:01:00:02';
const HOST_A = '192.168.203.1 > 192.168.202.1';
const HOST_B = '192.168.202.1 > 192.168.203.1';
const SOUND_100 = 'I true reserved false vni 100';

/** The same ping in both files, on the VXLAN port and on the earlier port of Linux. */
function pingOn(port: number): string[] {
  const request = `${HOST_A}, 45149 > ${port}, ${SOUND_100}, ${A} > ${B}, 192.168.203.3 > 192.168.203.5 proto 1, 98 bytes`;
  const reply = `${HOST_B}, 32894 > ${port}, ${SOUND_100}, ${B} > ${A}, 192.168.203.5 > 192.168.203.3 proto 1, 98 bytes`;
  return [
    request,
    `${HOST_B}, 42710 > ${port}, ${SOUND_100}, ${B} > ff:ff:ff:ff:ff:ff, type 806, 42 bytes`,
    `${HOST_A}, 52102 > ${port}, ${SOUND_100}, ${A} > ${B}, type 806, 42 bytes`,
    ...[reply, request, reply, request, reply, request, reply],
  ];
}

const GSO = 'I true reserved false vni 5001, 76:bd:91:4a:21:f9 > fe:36:a5:67:e0:ac';

const EXPECTED: Record<string, string[]> = {
  'nsh-over-vxlan-gpe.pcap': [],
  'vxlan.pcap': pingOn(4789),
  'vxlan_port_8472.pcap': pingOn(8472),
  'gso-ipv4-vxlan-ipv4.pcap': [
    `10.25.132.11 > 10.25.132.13, 60345 > 4789, ${GSO}, 192.168.1.2 > 192.168.1.1 proto 6, 7056 bytes`,
  ],
  'gso-ipv4-vxlan-ipv6.pcap': [
    `10.25.132.11 > 10.25.132.13, 55123 > 4789, ${GSO}, fd00::2 > fd00::1 proto 6, 4220 bytes`,
  ],
  'gso-ipv6-vxlan-ipv4.pcap': [
    `2604:1380:4091:ce00::b > 2604:1380:4091:ce00::d, 35971 > 4789, ${GSO}, 192.168.1.2 > 192.168.1.1 proto 6, 6956 bytes`,
  ],
  'gso-ipv6-vxlan-ipv6.pcap': [
    `2604:1380:4091:ce00::b > 2604:1380:4091:ce00::d, 39902 > 4789, ${GSO}, fd00::2 > fd00::1 proto 6, 4160 bytes`,
  ],
};

t.test('captures decode to the text of tcpdump', async (t) => {
  if (!existsSync(FOLDER)) t.comment('no folder of captures beside the project: nothing decoded');
  else for (const file of Object.keys(EXPECTED)) await t.test(file, (t) => decodes(t, file));
});

async function decodes(t: Test, file: string): Promise<void> {
  const frames = await readPcap(join(FOLDER, file));
  if (file === 'nsh-over-vxlan-gpe.pcap') return gpe(t, frames);
  t.same(frames.map(describe), EXPECTED[file], 'the text agrees with tcpdump');
  for (const frame of frames) innerIsWhole(t, frame);
}

/**
 * GPE (flags 0x0c) sets a bit that RFC 7348 reserves; an NSH header follows, which is not an
 * Ethernet frame.
 */
function gpe(t: Test, frames: Uint8Array[]): void {
  t.equal(frames.length, 1);
  const outer = packetOf(frames[0], 0, frames[0].length);
  t.ok(outer, 'IPv4');
  if (outer === undefined) return;
  const vxlan = outer.transport + udp.UDP_LEN;
  t.equal(udp.destinationPort(frames[0], outer.transport), 4790);
  t.equal(frames[0][vxlan], 0x0c);
  t.equal(hasVni(frames[0], vxlan), true);
  t.equal(hasReservedBits(frames[0], vxlan), true);
  t.equal(vni(frames[0], vxlan), 0xffffff);
}

/**
 * Asserts the inner checksums: those of header and ICMP are complete; a postponed TCP checksum
 * holds the pseudo-header sum.
 */
function innerIsWhole(t: Test, b: Uint8Array): void {
  const outer = packetOf(b, 0, b.length);
  t.ok(outer, 'outer IP');
  if (outer === undefined) return;
  const frame = outer.transport + udp.UDP_LEN + VXLAN_LEN;
  const inner = packetOf(b, frame, outer.end);
  if (inner === undefined) return;
  const l4Len = inner.end - inner.transport;
  const isIpv4 = b[inner.ip] >>> 4 === 4;
  if (isIpv4) t.equal(sum16(b, inner.ip, ipv4.headerLen(b, inner.ip), 0), 0xffff, 'inner header checksum');
  if (inner.protocol === 1) t.equal(sum16(b, inner.transport, l4Len, 0), 0xffff, 'ICMP checksum');
  if (inner.protocol === ipv4.PROTOCOL_TCP) {
    t.equal(tcp.check(b, inner.transport, inner.end), true, 'TCP header is complete');
    const pseudo = (isIpv4 ? pseudoHeaderSumIpv4 : pseudoHeaderSumIpv6)(b, inner.ip, inner.protocol, l4Len);
    t.equal(
      tcp.checksum(b, inner.transport),
      pseudo,
      'superframe: the postponed checksum is the pseudo-header sum (NEEDS_CSUM)',
    );
  }
  t.not(flowHash(b, frame, networkOffset(b, frame, outer.end), outer.end, 0), 0);
}
