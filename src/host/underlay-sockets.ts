/**
 * The sockets of the underlay: one that receives per address family, bound to the VXLAN port, and a pool of
 * sending sockets per family, one source port each (RFC 7348 §5). Opened on the main thread, where a failure
 * can be explained; the worker gets the descriptors, which belong to the process.
 *
 * No SO_REUSEPORT: a second daemon would silently share the port.
 */
import type { Shim } from '../native/binding.js';
import { ERRNO, errnoName } from '../native/errno.js';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { HostError, NEEDS_RIGHTS } from './host-error.js';
import { deviceIndex } from './link.js';
import { explainPortTaken } from './port-holder.js';
import { spreadOver } from './source-ports.js';

export interface UnderlaySpec {
  /** Addresses to bind, as text; '' any. */
  readonly local4: string;
  readonly local6: string;
  /** Families that must be there; the others are opened too where the kernel has them. */
  readonly needed: { readonly ipv4: boolean; readonly ipv6: boolean };
  readonly port: number;
  /** Device to bind to; '' none. */
  readonly device: string;
  readonly sourcePorts: { readonly min: number; readonly max: number };
  readonly udpChecksum: boolean;
  /** For `node:dgram`, which knows neither trains nor error queues: it would take one for one datagram, and spin on the other. */
  readonly plain: boolean;
  /** Outer DF. */
  readonly df: boolean;
  readonly ttl: number;
}

export interface UnderlaySockets {
  /** −1: the kernel lacks the family. */
  readonly receiveFds: { readonly ipv4: number; readonly ipv6: number };
  /** SOURCE_SOCKETS of IPv4, then as many of IPv6; −1: none. */
  readonly sendFds: number[];
  close(): void;
}

/** Options of `udpOpen` (native/binding). */
const RECEIVE = 1;
const SEND = 2;
const DF = 4;
const NO_CHECKSUM = 8;
const NO_GRO = 16;

/** 8 MB hold 60 ms of 1 Gb/s: the longest that a loaded machine keeps the worker waiting. */
const RECEIVE_BUFFER_LEN = 8 * 1024 * 1024;
/** Nobody reads what is sent to a source port; the error queue needs a few hundred bytes a message. */
const UNREAD_BUFFER_LEN = 4096;
/** A batch of superframes fits: 128 × 64 KB would be more than one queue ever holds. */
const SEND_BUFFER_LEN = 4 * 1024 * 1024;

const AF_INET = 2;
const AF_INET6 = 10;
const PEER_ROW_LEN = 32;

/** @throws HostError; every socket opened until then is closed */
export async function openUnderlaySockets(shim: Shim, spec: UnderlaySpec): Promise<UnderlaySockets> {
  const opened: number[] = [];
  const close = () => {
    for (const fd of opened.splice(0)) shim.close(fd);
  };
  try {
    const ipv4 = await openFamily(shim, spec, 4, opened);
    const ipv6 = await openFamily(shim, spec, 6, opened);
    return {
      receiveFds: { ipv4: ipv4.receive, ipv6: ipv6.receive },
      sendFds: [...ipv4.send, ...ipv6.send],
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

interface FamilySockets {
  receive: number;
  send: number[];
}

/** @param opened takes every fd, at once */
async function openFamily(
  shim: Shim,
  spec: UnderlaySpec,
  family: 4 | 6,
  opened: number[],
): Promise<FamilySockets> {
  const poolLen = shim.layout.SOURCE_SOCKETS;
  const local = localAddress(spec, family);
  const open = (port: number, options: number, receiveLen: number, sendLen: number): number => {
    const fd = shim.udpOpen(
      packRow(family, local, port),
      spec.device,
      options,
      receiveLen,
      sendLen,
      spec.ttl,
    );
    if (fd >= 0) opened.push(fd);
    return fd;
  };

  const receiveOptions = RECEIVE | (spec.plain ? NO_GRO : 0);
  const receive = open(spec.port, receiveOptions, RECEIVE_BUFFER_LEN, UNREAD_BUFFER_LEN);
  if (receive === -ERRNO.EAFNOSUPPORT && !isNeeded(spec, family)) {
    return { receive: -1, send: new Array<number>(poolLen).fill(-1) };
  }
  if (receive === -ERRNO.EADDRINUSE) throw new HostError(await explainPortTaken(spec.port));
  if (receive < 0) throw new HostError(explainOpen(spec, family, spec.port, receive));

  const options = (spec.plain ? 0 : SEND) | (spec.df ? DF : 0) | (spec.udpChecksum ? 0 : NO_CHECKSUM);
  const send = spreadOver(spec.sourcePorts, poolLen, (port) => {
    const fd = open(port, options, UNREAD_BUFFER_LEN, SEND_BUFFER_LEN);
    if (fd === -ERRNO.EADDRINUSE) return undefined;
    if (fd < 0) throw new HostError(explainOpen(spec, family, port, fd));
    return fd;
  });
  if (send.length < poolLen) throw new HostError(tooFewPorts(spec, family, send.length, poolLen));
  return { receive, send };
}

function isNeeded({ needed, local4, local6 }: UnderlaySpec, family: 4 | 6): boolean {
  return family === 4 ? needed.ipv4 || local4 !== '' : needed.ipv6 || local6 !== '';
}

/** @returns undefined for any */
function localAddress({ local4, local6 }: UnderlaySpec, family: 4 | 6): IpAddress | undefined {
  const text = family === 4 ? local4 : local6;
  if (text === '') return undefined;
  const address = parseIpAddress(text);
  if (address?.family !== family) throw new HostError(`--local ${text} is no IPv${family} address`);
  return address;
}

/** `struct peer_row`: family, port in host order, 16 address bytes, scope id (native-shims/shim.h). */
function packRow(family: 4 | 6, address: IpAddress | undefined, port: number): Uint8Array {
  const row = new Uint8Array(PEER_ROW_LEN);
  new Uint16Array(row.buffer, 0, 2).set([family === 4 ? AF_INET : AF_INET6, port]);
  if (!address) return row;
  row.set(address.bytes, 4);
  if (address.scope !== '') new Uint32Array(row.buffer, 20, 1)[0] = deviceIndex(address.scope);
  return row;
}

function tooFewPorts({ sourcePorts }: UnderlaySpec, family: 4 | 6, found: number, wanted: number): string {
  const range = `${sourcePorts.min}-${sourcePorts.max}`;
  return `--source-ports ${range} has ${found} free ports for IPv${family}, ${wanted} are needed: give a wider range`;
}

/** @param answer negative errno of udpOpen */
function explainOpen(spec: UnderlaySpec, family: 4 | 6, port: number, answer: number): string {
  const local = (family === 4 ? spec.local4 : spec.local6) || 'any address';
  switch (-answer) {
    case ERRNO.EADDRNOTAVAIL:
      return `--local ${local} is not an address of this machine: see "ip address", or leave --local out`;
    case ERRNO.EINVAL:
      return `--local ${local} is refused (EINVAL): a link-local address needs its device, ${local}%eth0`;
    case ERRNO.ENODEV:
      return `--underlay-dev ${spec.device}: there is no network device of that name`;
    case ERRNO.EAFNOSUPPORT:
      return `this machine has no IPv${family}, which a peer or --local asks for: enable it, or leave those out`;
    case ERRNO.EPERM:
    case ERRNO.EACCES:
      return `not permitted to open UDP port ${port} (${errnoName(answer)}): ${NEEDS_RIGHTS}`;
    case ERRNO.EMFILE:
      return `too many open files for the pool of source ports: raise the limit (ulimit -n, LimitNOFILE=)`;
    default:
      return `cannot open UDP port ${port} on ${local}, IPv${family}: ${errnoName(answer)}`;
  }
}
