/**
 * Captures by tcpdump on a device of a namespace, and parsers of the captured frames.
 *
 * pcap-parser reads the files. The outer headers of VXLAN are parsed here, independently of the
 * code under test.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Running } from './command.js';
import type { Namespace } from './netns.js';
import { eventually } from './wait.js';

/** The part of pcap-parser that is used; the package has no types. */
interface PcapParser {
  on(event: 'packet', listener: (packet: { data: Buffer }) => void): PcapParser;
  on(event: 'end', listener: () => void): PcapParser;
  on(event: 'error', listener: (error: Error) => void): PcapParser;
}
const { parse } = createRequire(import.meta.url)('pcap-parser') as { parse(path: string): PcapParser };

let captures = 0;

/**
 * Snapshot length, bytes: the longest superframe on a device. On a device with offloads it is also
 * the size of each slot of the kernel's ring. With tcpdump's default, 256 KiB, a ring of 16 MiB has
 * only 64 slots, and a burst overruns it.
 */
const SNAP_LEN = 66_000;
/** Size of the ring that the kernel fills while tcpdump does not run, KiB. */
const RING_KIB = 65_536;

/** Starts tcpdump on a device. Resolves when tcpdump is listening. */
export async function capture(where: Namespace, device: string, dir: string, filter = ''): Promise<Capture> {
  const file = join(dir, `${captures++}.pcap`);
  const command = `tcpdump -i ${device} -n -s ${SNAP_LEN} -U --immediate-mode -B ${RING_KIB} -Z root -w ${file} ${filter}`;
  const process = where.start(command);
  await process.untilOutput(/listening on/, 20_000);
  return new Capture(process, file);
}

export class Capture {
  readonly file: string;
  readonly #process: Running;

  constructor(process: Running, file: string) {
    this.#process = process;
    this.file = file;
  }

  /** Process id of tcpdump. */
  get pid(): number {
    return this.#process.pid;
  }

  /** Ethernet frames captured so far. */
  async frames(): Promise<Buffer[]> {
    return existsSync(this.file) ? readPcap(this.file) : [];
  }

  /**
   * Waits for a captured frame that matches.
   *
   * @param what name of the frame, for the error message
   */
  async until(what: string, wanted: (frame: Buffer) => boolean, limitMs = 10_000): Promise<Buffer> {
    return eventually(`${what} in a capture`, async () => (await this.frames()).find(wanted), limitMs);
  }

  /**
   * Ends the capture and returns all frames that have passed the device until now.
   *
   * On SIGINT, tcpdump exits without reading the rest of the ring, so `stop` first waits until
   * tcpdump sleeps. tcpdump sleeps only while the ring is empty, because `--immediate-mode` wakes
   * it for each frame. The file then contains all frames, because with `-U` tcpdump writes each
   * frame before it reads the next one.
   *
   * @throws Error when the kernel dropped frames: such a capture cannot be used for counting
   */
  async stop(): Promise<Buffer[]> {
    const { pid } = this.#process;
    await eventually('tcpdump to have read all frames', () => isAsleep(pid), 30_000);
    await this.#process.stop('SIGINT', 20_000);
    const [, dropped] = /(\d+) packets? dropped by kernel/.exec(this.#process.stderr) ?? [];
    if (dropped !== '0')
      throw new Error(`${this.#process}: ${dropped ?? 'unknown'} packets dropped by kernel`);
    return this.frames();
  }
}

/** True when the process is in an interruptible sleep (proc_pid_stat(5): state S). */
function isAsleep(pid: number): boolean {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat[stat.lastIndexOf(')') + 2] === 'S';
}

/** Frames of a capture file. An incomplete last record is left out. */
export function readPcap(file: string): Promise<Buffer[]> {
  return new Promise((resolve, reject) => {
    const frames: Buffer[] = [];
    parse(file)
      .on('packet', ({ data }) => frames.push(data))
      .on('error', reject)
      .on('end', () => resolve(frames));
  });
}

/** A VXLAN datagram as captured on the wire. */
export interface VxlanDatagram {
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
  /** First byte of the VXLAN header. */
  flags: number;
  /** All reserved bits of the header as one number; 0 when all are clear. */
  reserved: number;
  vni: number;
  /** Inner Ethernet frame. */
  inner: Buffer;
}

/** Parses a captured frame: Ethernet, IPv4 or IPv6, UDP, VXLAN. Undefined for any other frame. */
export function vxlanOf(frame: Buffer, port = 4789): VxlanDatagram | undefined {
  const outer = udpOf(frame);
  if (outer === undefined || outer.destinationPort !== port || outer.payload.length < 8) return undefined;
  const { payload, ...addresses } = outer;
  return {
    ...addresses,
    flags: payload[0],
    reserved: payload.readUIntBE(1, 3) * 256 + payload[7],
    vni: payload.readUIntBE(4, 3),
    inner: payload.subarray(8),
  };
}

/**
 * True for a path probe or an identity request (src/wire/probe.ts), which vtepd sends by itself.
 */
export function isProbe(frame: Buffer): boolean {
  const payload = udpOf(frame)?.payload;
  return payload !== undefined && payload[0] === 0 && payload.subarray(8, 12).toString() === 'vtep';
}

export interface UdpDatagram {
  source: string;
  destination: string;
  sourcePort: number;
  destinationPort: number;
  payload: Buffer;
}

/** The UDP datagram of an untagged Ethernet frame, or undefined. Fragments are not reassembled. */
export function udpOf(frame: Buffer): UdpDatagram | undefined {
  const ip = ipOf(frame);
  if (ip === undefined || ip.protocol !== 17 || ip.payload.length < 8) return undefined;
  const { payload } = ip;
  return {
    source: ip.source,
    destination: ip.destination,
    sourcePort: payload.readUInt16BE(0),
    destinationPort: payload.readUInt16BE(2),
    payload: payload.subarray(8),
  };
}

export interface IpPacket {
  source: string;
  destination: string;
  /** 1 ICMP, 6 TCP, 17 UDP, 58 ICMPv6. */
  protocol: number;
  payload: Buffer;
}

/**
 * The IPv4 or IPv6 packet (without extension headers) of an untagged Ethernet frame, or undefined.
 */
export function ipOf(frame: Buffer): IpPacket | undefined {
  if (frame.length < 34) return undefined;
  const etherType = frame.readUInt16BE(12);
  const ip = frame.subarray(14);
  if (etherType === 0x0800) {
    return {
      source: ip.subarray(12, 16).join('.'),
      destination: ip.subarray(16, 20).join('.'),
      protocol: ip[9],
      payload: ip.subarray((ip[0] & 0x0f) * 4, ip.readUInt16BE(2)),
    };
  }
  if (etherType === 0x86dd && ip.length >= 40) {
    return {
      source: ip.toString('hex', 8, 24),
      destination: ip.toString('hex', 24, 40),
      protocol: ip[6],
      payload: ip.subarray(40),
    };
  }
  return undefined;
}

/** ARP operation: 1 request, 2 reply; undefined when the frame is not ARP. */
export function arpOperation(frame: Buffer): number | undefined {
  return frame.length >= 42 && frame.readUInt16BE(12) === 0x0806 ? frame.readUInt16BE(20) : undefined;
}

export function macAt(frame: Buffer, offset: number): string {
  return frame
    .subarray(offset, offset + 6)
    .toString('hex')
    .replace(/..(?!$)/g, '$&:');
}
