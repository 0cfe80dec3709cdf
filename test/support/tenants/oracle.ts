/**
 * Checks of a single output frame, for any content of the input.
 *
 * A written or sent frame must have the bytes of its input frame. The checksum and the segmentation
 * that a written frame requests from the kernel must be possible and limited in size.
 */
import { FRAME_NEEDS_CSUM, GSO_NONE, GSO_TCPV4, GSO_TCPV6 } from '../../../src/abi/batch.js';
import type { SentDatagram, WrittenFrame } from '../memory-ports.js';
import type { BuiltFrame } from './frame.js';
import { type Mark, markOf, tenantOf } from './marks.js';

/** VNIs, indexed by tenant number. */
export const VNIS = [100, 200, 0xabcdef];
/** Tenant number of a VNI that is not configured. */
export const STRAY = VNIS.length;
const STRAY_VNI = 999;

/** Maximum number of segments of a superframe. */
export const MOST_SEGMENTS = 256;
/** Minimum segment size of a superframe that a peer sent, bytes. */
const SHORTEST_SEGMENT = 256;
/**
 * Length of headers that may change on the way (ECN, checksums, MSS); bytes after them are
 * compared.
 */
const HEADERS_LEN = 200;
export const TPIDS = [0x8100, 0x88a8, 0x9100];
const UDP_LEN = 8;
export const VXLAN_LEN = 8;

/** An input frame and its output so far. */
export interface Known {
  readonly mark: Mark;
  readonly tenant: number;
  readonly frame: BuiltFrame;
  readonly isSuper: boolean;
  readonly fromTap: boolean;
  readonly copies: number;
  written: number;
  /** Datagrams sent, indexed by peer row. */
  readonly sent: Map<number, SentDatagram[]>;
}

/**
 * Checks that a written frame is the datagram's frame. If tags are to be removed, the written frame
 * has none.
 */
export function checkDelivery(
  { mark, frame }: Known,
  written: WrittenFrame,
  vlan: 'pass' | 'strip' | 'drop',
  where: string,
): void {
  const bytes = Buffer.from(written.bytes);
  const tagsLen = vlan === 'strip' ? tagsOf(frame.bytes) : 0;
  if (bytes.length !== frame.bytes.length - tagsLen)
    fail(`${where}: ${text(mark)} has ${bytes.length} bytes instead of ${frame.bytes.length - tagsLen}`);
  if (!bytes.subarray(HEADERS_LEN).equals(frame.bytes.subarray(HEADERS_LEN + tagsLen)))
    fail(`${where}: ${text(mark)} has a different payload`);
  if (bytes.length < 14) fail(`${where}: ${text(mark)} is shorter than an Ethernet header`);
  if (vlan !== 'pass' && TPIDS.includes(bytes.readUInt16BE(12)))
    fail(`${where}: ${text(mark)} has a tag although --vlan is ${vlan}`);
  checkColumns(written, `${where}: ${text(mark)}`);
}

/** Checks that a copy is the frame itself, or fragments that together are exactly the frame. */
export function checkCopy(known: Known, sent: SentDatagram[], where: string): void {
  const { frame, mark, isSuper } = known;
  const [first] = sent;
  if (sent.length === 1 && first.bytes.length === frame.bytes.length + VXLAN_LEN) {
    const bytes = Buffer.from(first.bytes);
    if (!bytes.subarray(VXLAN_LEN + HEADERS_LEN).equals(frame.bytes.subarray(HEADERS_LEN)))
      fail(`${text(mark)} ${where} has a different payload`);
    return;
  }
  const headerLen = (frame.bytes[frame.network] & 15) * 4;
  const begin = frame.network + headerLen + (isSuper ? UDP_LEN : 0);
  const end = isSuper ? frame.bytes.length : frame.network + frame.bytes.readUInt16BE(frame.network + 2);
  const data = Buffer.concat(
    sent.map(({ bytes }) => fragmentData(Buffer.from(bytes), frame.network, isSuper, text(mark))),
  );
  if (!data.equals(frame.bytes.subarray(begin, end)))
    fail(
      `${text(mark)} ${where}: ${data.length} bytes in ${sent.length} fragments differ from its ${end - begin}`,
    );
}

/**
 * Payload of a fragment. For the first fragment of a superframe's datagram, the UDP header is left
 * out.
 */
function fragmentData(datagram: Buffer, network: number, isSuper: boolean, what: string): Buffer {
  const ip = VXLAN_LEN + network;
  const headerLen = (datagram[ip] & 15) * 4;
  if (ip + datagram.readUInt16BE(ip + 2) !== datagram.length)
    fail(`${what}: a fragment has a wrong IP length`);
  const isFirst = (datagram.readUInt16BE(ip + 6) & 0x1fff) === 0;
  return datagram.subarray(ip + headerLen + (isSuper && isFirst ? UDP_LEN : 0));
}

/**
 * Checks what a written frame requests from the kernel: a checksum within the frame, and TCP
 * segments that are neither too short nor too many.
 */
function checkColumns(
  { flags, csumStart, csumOff, gsoType, gsoSize, bytes }: WrittenFrame,
  where: string,
): void {
  const needsCsum = (flags & FRAME_NEEDS_CSUM) !== 0;
  if (needsCsum && (csumStart < 14 || csumStart + csumOff + 2 > bytes.length))
    fail(`${where}: the checksum offset ${csumStart} + ${csumOff} is invalid in ${bytes.length} bytes`);
  if (gsoType === GSO_NONE) return;
  if (!needsCsum || (gsoType !== GSO_TCPV4 && gsoType !== GSO_TCPV6))
    fail(`${where}: a superframe of type ${gsoType} is not TCP with a partial checksum`);
  const headersLen = csumStart + 4 * (bytes[csumStart + 12] >>> 4);
  const segments = Math.ceil((bytes.length - headersLen) / gsoSize);
  if (gsoSize < SHORTEST_SEGMENT || segments > MOST_SEGMENTS)
    fail(`${where}: ${segments} segments of ${gsoSize} bytes are too many or too short`);
}

/** Length of the tags after the addresses, bytes. */
function tagsOf(frame: Buffer): number {
  let at = 12;
  while (at + 2 <= frame.length && TPIDS.includes(frame.readUInt16BE(at))) at += 4;
  return at - 12;
}

export function vxlanHeader(tenant: number, flags: number): Buffer {
  const header = Buffer.alloc(VXLAN_LEN);
  header[0] = flags;
  header.writeUIntBE(VNIS[tenant] ?? STRAY_VNI, 4, 3);
  return header;
}

/** Mark of the frame with the MAC at `off`; −1 when that MAC identifies no frame. */
export function named(frame: Buffer, off: number): Mark {
  return frame[off] === 0x06 && frame[off + 2] === 0x77
    ? markOf(frame[off + 1], frame.readUIntBE(off + 3, 3))
    : -1;
}

export function text(mark: Mark): string {
  const tenant = tenantOf(mark);
  return `frame ${mark % 2 ** 24} of ${tenant === STRAY ? 'no VNI' : `VNI ${VNIS[tenant]}`}`;
}

export function list(marks: Set<Mark>): string {
  return `marks of ${[...marks].map(text).join(', ') || 'no frame'}`;
}

export function fail(what: string): void {
  throw new Error(what);
}
