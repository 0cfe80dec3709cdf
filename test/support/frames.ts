/**
 * Builders of whole frames for tests of the data plane.
 *
 * Ethernet, IPv4 and IPv6, TCP and UDP, with complete or partial checksums. The code is slow and
 * independent of `src/wire`, so that an error there is not repeated here.
 */
import { concat } from './hex.js';

export const TCP = 6;
export const UDP = 17;
export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

export interface PacketOptions {
  protocol?: number;
  sourcePort?: number;
  destinationPort?: number;
  /** Payload behind the transport header, bytes. */
  payloadLen?: number;
  /** Partial checksum: the field holds the pseudo-header sum only, as over veth. */
  postponed?: boolean;
  /** 802.1Q tags, outermost first, as TPID and TCI. */
  tags?: [number, number][];
  /** IPv4: flags and fragment offset, as one 16-bit field. */
  fragment?: number;
  /** IPv4: identification. */
  id?: number;
  /** IPv4: options, in multiples of 4 bytes. */
  ipOptions?: Uint8Array;
  /** TOS or traffic class. */
  tos?: number;
  /** TCP: flags; ACK by default. */
  flags?: number;
  /** TCP: options, in multiples of 4 bytes. */
  tcpOptions?: Uint8Array;
  /** IPv4 addresses; 10.0.0.1 and 10.0.0.2 by default. */
  from?: number[];
  to?: number[];
}

export function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (byte) => Number.parseInt(byte, 16));
}

/** The two integers by which the data plane represents a MAC. */
export function macParts(text: string): { high: number; low: number } {
  const b = Buffer.from(macBytes(text));
  return { high: b.readUInt16BE(0), low: b.readInt32BE(2) };
}

/** MAC `02:00:00:xx:xx:xx` with `n` in its last three bytes. */
export function macNumber(n: number): string {
  const digits = n.toString(16).padStart(6, '0');
  return `02:00:00:${digits.slice(0, 2)}:${digits.slice(2, 4)}:${digits.slice(4)}`;
}

export function ethernet(
  destination: string,
  source: string,
  type: number,
  payload: Uint8Array,
  tags: [number, number][] = [],
): Uint8Array {
  const tagBytes = tags.map(([tpid, tci]) => concat(word(tpid), word(tci)));
  return concat(macBytes(destination), macBytes(source), ...tagBytes, word(type), payload);
}

export function ipv4Frame(destination: string, source: string, options: PacketOptions = {}): Uint8Array {
  const protocol = options.protocol ?? UDP;
  const pseudo = Uint8Array.from([...(options.from ?? [10, 0, 0, 1]), ...(options.to ?? [10, 0, 0, 2])]);
  const l4 = transport(protocol, pseudo, options);
  const ipOptions = options.ipOptions ?? new Uint8Array(0);
  const headerLen = 20 + ipOptions.length;
  const header = concat(
    Uint8Array.of(0x40 | (headerLen / 4), options.tos ?? 0),
    word(headerLen + l4.length),
    word(options.id ?? 0),
    word(options.fragment ?? 0),
    Uint8Array.of(64, protocol, 0, 0),
    pseudo,
    ipOptions,
  );
  header.set(word(~onesSum(header) & 0xffff), 10);
  return ethernet(destination, source, 0x0800, concat(header, l4), options.tags);
}

export function ipv6Frame(
  destination: string,
  source: string,
  options: PacketOptions & { extension?: Uint8Array } = {},
): Uint8Array {
  const protocol = options.protocol ?? UDP;
  const from = Uint8Array.from([0xfd, ...Array(14).fill(0), 1]);
  const to = Uint8Array.from([0xfd, ...Array(14).fill(0), 2]);
  const l4 = transport(protocol, concat(from, to), options);
  const extension = options.extension ?? new Uint8Array(0);
  const next = extension.length > 0 ? 0 : protocol;
  const tos = options.tos ?? 0;
  const header = concat(
    Uint8Array.of(0x60 | (tos >>> 4), (tos << 4) & 0xff, 0, 0),
    word(extension.length + l4.length),
    Uint8Array.of(next, 64),
  );
  return ethernet(destination, source, 0x86dd, concat(header, from, to, extension, l4), options.tags);
}

/** An ARP request: a frame without IP. */
export function arpFrame(destination: string, source: string): Uint8Array {
  return ethernet(destination, source, 0x0806, new Uint8Array(28).fill(1));
}

/** Ones' complement sum of RFC 1071 over whole bytes: folded, not complemented. */
export function onesSum(...pieces: Uint8Array[]): number {
  let sum = 0;
  const b = concat(...pieces);
  for (let i = 0; i < b.length; i += 2) sum += b[i] * 256 + (b[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return sum;
}

function transport(protocol: number, pseudo: Uint8Array, options: PacketOptions): Uint8Array {
  const payload = Uint8Array.from({ length: options.payloadLen ?? 20 }, (_, i) => i & 0xff);
  const ports = concat(word(options.sourcePort ?? 40000), word(options.destinationPort ?? 5001));
  const isTcp = protocol === TCP;
  const tcpOptions = options.tcpOptions ?? new Uint8Array(0);
  const dataOffset = (20 + tcpOptions.length) << 2;
  const l4 = isTcp
    ? concat(
        ports,
        new Uint8Array(8),
        Uint8Array.of(dataOffset, options.flags ?? 0x10, 0xff, 0xff, 0, 0, 0, 0),
        tcpOptions,
        payload,
      )
    : concat(ports, word(8 + payload.length), word(0), payload);
  const pseudoSum = onesSum(pseudo, Uint8Array.of(0, protocol), word(l4.length));
  const whole = ~onesSum(word(pseudoSum), l4) & 0xffff;
  l4.set(word(options.postponed ? pseudoSum : whole === 0 ? 0xffff : whole), isTcp ? 16 : 6);
  return l4;
}

function word(value: number): Uint8Array {
  return Uint8Array.of((value >>> 8) & 0xff, value & 0xff);
}
