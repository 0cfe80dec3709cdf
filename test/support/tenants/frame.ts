/**
 * Valid and invalid frames of tenants: fast-check specifications and their bytes.
 *
 * A tenant is the user of one VNI; its number is the row of that VNI. A frame has exactly the
 * requested length, its payload consists of marks (marks.ts), and its source MAC identifies it.
 * Length fields, protocol fields and checksums may be wrong: a lie is a wrong value of one field.
 */
import fc from 'fast-check';
import { fillMarks, type Mark } from './marks.js';

export const UDP4 = 0;
export const TCP4 = 1;
export const UDP6 = 2;
export const TCP6 = 3;
export const ARP = 4;
export const RAW = 5;
export const UDP4_WITH_OPTIONS = 6;

/** Destination: broadcast. */
export const TO_ALL = 0;
/** Destination: a multicast group. */
export const TO_GROUP = 1;
/** Destination: the station behind peer 0; add 1 or 2 for the station behind peer 1 or 2. */
export const TO_STATION = 2;
/** Destination: a MAC that no station has. */
export const TO_UNKNOWN = 5;

export type Field =
  | 'ipLen'
  | 'headerLen'
  | 'fragment'
  | 'l4Len'
  | 'dataOffset'
  | 'version'
  | 'protocol'
  | 'type';

export interface Lie {
  readonly field: Field;
  readonly how: 'more' | 'less' | 'none' | 'most' | 'rest' | 'segment' | 'headers' | 'value';
  readonly value: number;
}

export interface FrameSpec {
  /** Row of the frame's VNI; the last row is for a VNI that is not configured. */
  readonly tenant: number;
  readonly kind: number;
  readonly to: number;
  readonly tags: readonly number[];
  readonly dontFragment: boolean;
  readonly tos: number;
  readonly syn: boolean;
  /** Partial checksum: the field is the pseudo-header sum, computed from the stated lengths. */
  readonly postponed: boolean;
  /** The payload contains VXLAN headers of another VNI, each followed by a frame. */
  readonly nested: boolean;
  readonly lies: readonly Lie[];
}

/** Distances in the train of a frame. A lie can be a length plus one of these distances. */
export interface Surroundings {
  /** Bytes from one datagram of the train to the next. */
  readonly segment: number;
  /** Bytes from the end of this frame to the end of the train. */
  readonly rest: number;
}

export interface BuiltFrame {
  readonly bytes: Buffer;
  /** True offset of the network header. */
  readonly network: number;
  /** True offset of the transport header. */
  readonly transport: number;
  /** True offset of the payload. */
  readonly payload: number;
  readonly isTcp: boolean;
  readonly isIp: boolean;
}

const TPIDS = [0x8100, 0x88a8, 0x9100];
const IPV4_OPTIONS_LEN = 8;

/** @param tenants number of tenants to choose from */
export function frameSpec(tenants: number): fc.Arbitrary<FrameSpec> {
  return fc.record({
    tenant: fc.nat(tenants - 1),
    kind: fc.oneof(
      { weight: 5, arbitrary: fc.nat(3) },
      { weight: 1, arbitrary: fc.integer({ min: 4, max: 6 }) },
    ),
    to: fc.nat(TO_UNKNOWN),
    tags: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: fc.array(fc.constantFrom(...TPIDS), { minLength: 1, maxLength: 5 }) },
    ),
    dontFragment: fc.boolean(),
    tos: fc.constantFrom(0, 1, 2, 3, 0xb8),
    syn: fc.nat(7).map((n) => n === 7),
    postponed: fc.boolean(),
    nested: fc.nat(7).map((n) => n === 7),
    lies: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      { weight: 2, arbitrary: fc.array(lie, { minLength: 1, maxLength: 2 }) },
    ),
  });
}

const lie: fc.Arbitrary<Lie> = fc.record({
  field: fc.constantFrom<Field>(
    'ipLen',
    'ipLen',
    'ipLen',
    'headerLen',
    'fragment',
    'l4Len',
    'dataOffset',
    'version',
    'protocol',
    'type',
  ),
  how: fc.constantFrom<Lie['how']>('more', 'less', 'none', 'most', 'rest', 'segment', 'headers', 'value'),
  value: fc.nat(0xffff),
});

/** Source MAC of a frame, which identifies the frame. */
export function sourceMac(tenant: number, number: number): Buffer {
  return Buffer.of(0x06, tenant, 0x77, (number >>> 16) & 0xff, (number >>> 8) & 0xff, number & 0xff);
}

/** MAC of the station that a tenant has behind each peer. */
export function stationMac(tenant: number, peer: number): Buffer {
  return Buffer.of(0x02, 0x50, 0, 0, tenant, peer);
}

/**
 * @param len length of the frame, bytes; longer content is cut off
 * @param foreignVni VNI that a nested header contains
 */
export function buildFrame(
  spec: FrameSpec,
  len: number,
  source: Buffer,
  mark: Mark,
  around: Surroundings,
  foreignVni: number,
): BuiltFrame {
  const { kind } = spec;
  const isIp = kind !== ARP && kind !== RAW;
  const isIpv6 = kind === UDP6 || kind === TCP6;
  const isTcp = kind === TCP4 || kind === TCP6;
  const network = 14 + 4 * spec.tags.length;
  const ipLen = !isIp ? 0 : isIpv6 ? 40 : kind === UDP4_WITH_OPTIONS ? 20 + IPV4_OPTIONS_LEN : 20;
  const transport = network + ipLen;
  const payload = !isIp ? network + (kind === ARP ? 28 : 0) : transport + (isTcp ? 20 : 8);
  const b = Buffer.alloc(Math.max(len, payload));
  destinationMac(spec).copy(b);
  source.copy(b, 6);
  let at = 12;
  for (const tpid of spec.tags) at = b.writeUInt16BE(1, b.writeUInt16BE(tpid, at));
  b.writeUInt16BE(kind === ARP ? 0x0806 : kind === RAW ? 0x88b5 : isIpv6 ? 0x86dd : 0x0800, at);
  fillMarks(b, payload, b.length, mark);
  if (spec.nested) nest(b, payload, around.segment, source, foreignVni);
  if (isIp) {
    const l4Len = b.length - transport;
    if (isIpv6) writeIpv6(b, network, l4Len, isTcp, spec.tos);
    else writeIpv4(b, network, ipLen, l4Len, isTcp, spec);
    writeTransport(b, transport, l4Len, isTcp, spec.syn);
    for (const each of spec.lies) applyLie(b, each, network, transport, isIpv6, isTcp, around);
    if (!isIpv6) writeSum(b, network, ipLen);
    const stated = isIpv6 ? b.readUInt16BE(network + 4) : (b.readUInt16BE(network + 2) - ipLen) & 0xffff;
    if (spec.postponed) writePseudoSum(b, network, transport, stated, isIpv6, isTcp);
  }
  return { bytes: b.subarray(0, len), network, transport, payload, isTcp, isIp };
}

function destinationMac(spec: FrameSpec): Buffer {
  if (spec.to === TO_ALL) return Buffer.alloc(6, 0xff);
  if (spec.to === TO_GROUP) return Buffer.of(0x33, 0x33, 0, 0, 0, 1);
  if (spec.to === TO_UNKNOWN) return Buffer.of(0x02, 0x99, 0, 0, 0, 9);
  return stationMac(spec.tenant, spec.to - TO_STATION);
}

/**
 * Writes VXLAN headers where the next segments would begin, each followed by the start of a frame.
 */
function nest(b: Buffer, payload: number, segment: number, source: Buffer, vni: number): void {
  const header = Buffer.alloc(8 + 14);
  header[0] = 0x08;
  header.writeUIntBE(vni, 4, 3);
  Buffer.alloc(6, 0xff).copy(header, 8);
  source.copy(header, 14);
  header.writeUInt16BE(0x88b5, 20);
  // The frame begins 8 bytes after the start of its datagram.
  for (let at = segment - 8; at + header.length <= b.length; at += segment)
    if (at >= payload) header.copy(b, at);
}

function writeIpv4(b: Buffer, at: number, len: number, l4Len: number, isTcp: boolean, spec: FrameSpec): void {
  b[at] = 0x40 | (len >>> 2);
  b[at + 1] = spec.tos;
  b.writeUInt16BE((len + l4Len) & 0xffff, at + 2);
  b.writeUInt16BE(spec.dontFragment ? 0x4000 : 0, at + 6);
  b[at + 8] = 64;
  b[at + 9] = isTcp ? 6 : 17;
  b.set([10, 0, 0, 1, 10, 0, 0, 2], at + 12);
  b.fill(1, at + 20, at + len);
}

function writeIpv6(b: Buffer, at: number, l4Len: number, isTcp: boolean, tos: number): void {
  b.writeUInt32BE(((0x60000000 | (tos << 20)) >>> 0) + 5, at);
  b.writeUInt16BE(l4Len & 0xffff, at + 4);
  b[at + 6] = isTcp ? 6 : 17;
  b[at + 7] = 64;
  b[at + 8] = 0xfd;
  b[at + 23] = 1;
  b[at + 24] = 0xfd;
  b[at + 39] = 2;
}

function writeTransport(b: Buffer, at: number, len: number, isTcp: boolean, syn: boolean): void {
  b.writeUInt16BE(40000, at);
  b.writeUInt16BE(5001, at + 2);
  if (isTcp) {
    b[at + 12] = 0x50;
    b[at + 13] = syn ? 0x12 : 0x10;
    b.writeUInt16BE(0x1234, at + 16);
  } else {
    b.writeUInt16BE(len & 0xffff, at + 4);
    b.writeUInt16BE(0x1234, at + 6);
  }
}

function applyLie(
  b: Buffer,
  { field, how, value }: Lie,
  network: number,
  transport: number,
  isIpv6: boolean,
  isTcp: boolean,
  around: Surroundings,
): void {
  const stated = (off: number) => {
    const correct = b.readUInt16BE(off);
    const lies = {
      more: correct + 1,
      less: correct - 1,
      none: 0,
      most: 0xffff,
      rest: correct + around.rest,
      segment: correct + around.segment,
      headers: transport - network + 9,
      value,
    };
    b.writeUInt16BE(Math.max(0, lies[how]) & 0xffff, off);
  };
  switch (field) {
    case 'ipLen':
      stated(network + (isIpv6 ? 4 : 2));
      return;
    case 'l4Len':
      if (!isTcp) stated(transport + 4);
      return;
    case 'headerLen':
      if (!isIpv6) b[network] = 0x40 | (value & 15);
      return;
    case 'fragment':
      if (!isIpv6) b.writeUInt16BE(value, network + 6);
      return;
    case 'dataOffset':
      if (isTcp) b[transport + 12] = value & 0xf0;
      return;
    case 'version':
      b[network] = (b[network] & 0x0f) | (value & 0xf0);
      return;
    case 'protocol':
      b[network + (isIpv6 ? 6 : 9)] = value & 0xff;
      return;
    case 'type':
      b.writeUInt16BE(value, network - 2);
  }
}

function writeSum(b: Buffer, at: number, len: number): void {
  b.writeUInt16BE(0, at + 10);
  b.writeUInt16BE(~fold(words(b, at, at + len)) & 0xffff, at + 10);
}

function writePseudoSum(
  b: Buffer,
  network: number,
  transport: number,
  l4Len: number,
  isIpv6: boolean,
  isTcp: boolean,
): void {
  const addresses = isIpv6 ? words(b, network + 8, network + 40) : words(b, network + 12, network + 20);
  b.writeUInt16BE(fold(addresses + l4Len + (isTcp ? 6 : 17)), transport + (isTcp ? 16 : 6));
}

function words(b: Buffer, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at + 1 < to; at += 2) sum += b.readUInt16BE(at);
  return sum;
}

function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
