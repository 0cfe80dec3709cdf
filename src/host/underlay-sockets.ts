/**
 * The UDP sockets of the underlay, for receiving and sending.
 *
 * Receiving sockets are bound to the VXLAN port. All workers send through one pool per address
 * family, in which each socket has its own source port (RFC 7348 §5). DF is a socket option, so
 * `--df inherit` needs two pools per address family. The sockets are opened on the main thread,
 * where a failure can be reported with its cause; workers get the descriptors, which belong to the
 * process.
 *
 * A worker receives through several sockets per family, which share the port by SO_REUSEPORT: the
 * *receive group*. A BPF program chooses a socket for each datagram (`receive-group.ts`). The first
 * socket is bound exclusively, so opening fails while another socket holds the port. Otherwise a
 * second daemon would silently share the port. UDP_GRO is enabled last: by then the program already
 * directs to plain sockets the sources whose datagrams must not arrive as trains.
 *
 * With a single source port, which is the VXLAN port, there is no pool: all workers send from the
 * first socket of the receive group, and probes leave from the last one, which always has DF set.
 * For an ICMP error the kernel chooses a socket of the group by a hash of addresses and ports, not
 * by the program (`reuseport_select_sock` in the kernel). Therefore every socket of the group has an
 * error queue, and `--df inherit` is refused: a socket with DF clear discards "too big".
 */

import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { PEER_ROW_LEN, RECEIVE_SHARES, RECEIVE_SOCKETS, STRANGERS_SOCKET } from '../abi/limits.js';
import { writeRowAddress } from '../abi/peer-row.js';
import type { Settings } from '../config/settings.js';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { HostError, NEEDS_RIGHTS } from './host-error.js';
import { explainPortInUse } from './port-holder.js';
import { choiceProgram } from './socket-choice.js';
import { spreadOver } from './source-ports.js';

/** Outer DF: set on every datagram, set on no datagram, or decided for each datagram. */
export type OuterDf = Settings['df'];

export interface UnderlaySpec {
  /** Local IPv4 address to bind, as text; '' any. */
  readonly local4: string;
  /** Local IPv6 address to bind, as text; '' any. */
  readonly local6: string;
  /** Returns the interface index of a scope; 0 when there is no such device. */
  readonly scopeId: (scope: string) => number;
  /**
   * Address families without which opening fails; any other family is opened if the kernel supports
   * it.
   */
  readonly needed: { readonly ipv4: boolean; readonly ipv6: boolean };
  readonly port: number;
  /** Device to bind to; '' none. */
  readonly device: string;
  /** Mark of the packets sent (SO_MARK); 0: none. */
  readonly mark: number;
  readonly sourcePorts: { readonly min: number; readonly max: number };
  readonly udpChecksum: boolean;
  /**
   * True for `node:dgram`, which supports neither trains nor error queues: it would treat a train
   * as one datagram, and spin on a pending error queue.
   */
  readonly plain: boolean;
  /** Outer DF, which determines the pools to open; default `set`. */
  readonly df?: OuterDf;
  readonly ttl: number;
  /** Number of receiving threads; each gets its own sockets. */
  readonly workers: number;
}

export interface UnderlaySockets {
  /**
   * The sockets of each worker, indexed by place in the receive group. An address family has
   * RECEIVE_SOCKETS sockets, one socket if `plain` is set or the kernel accepts no program, and
   * none if the kernel lacks the family.
   */
  readonly receiveFds: readonly ReceiveFds[];
  /**
   * Four pools of SOURCE_SOCKETS descriptors: IPv4 and IPv6 with DF set, IPv4 and IPv6 with DF
   * clear; −1: no socket.
   */
  readonly sendFds: number[];
  /**
   * With a single source port: the sockets from which probes leave, with DF set; −1: none. Undefined:
   * probes need sockets of their own.
   */
  readonly probeFds: { readonly ipv4: number; readonly ipv6: number } | undefined;
  /** Requested offloads that the kernel lacks, each with its negative errno. */
  readonly refused: ReadonlyMap<SocketOffload, number>;
  /**
   * Binds the sockets to their device again, after it was made again.
   *
   * @param families bound to this device
   * @returns 0 or a negative errno
   */
  rebind(device: string, families: readonly (4 | 6)[]): number;
  /**
   * Ends the dropping of datagrams: until then the receiving sockets hold the port, and drop what
   * arrives.
   *
   * @returns datagrams dropped so far, by worker
   */
  admit(): readonly Dropped[];
  close(): void;
}

/** Datagrams that the sockets of one worker have dropped. */
export interface Dropped {
  readonly fromPeers: number;
  readonly fromStrangers: number;
}

export interface ReceiveFds {
  readonly ipv4: readonly number[];
  readonly ipv6: readonly number[];
}

/** Socket offloads: receiving trains (Linux 5.0), sending trains (4.18, with UDP checksums). */
export type SocketOffload = 'UDP_GRO' | 'UDP_SEGMENT';

/** Options of `udpOpen` (`abi/binding.ts`). */
const RECEIVE = 1;
const SEND = 2;
const DF = 4;
const NO_CHECKSUM = 8;
const NO_GRO = 16;
const SHARE = 32;
const JOIN = 64;
const TRAINS = 128;
const CLOSED = 256;
const FREEBIND = 512;

/** Errors by which kernels and sandboxes report an unsupported socket option. */
const NO_SUCH_OPTION: readonly number[] = [-ERRNO.ENOPROTOOPT, -ERRNO.EOPNOTSUPP, -ERRNO.EINVAL];

/** DF option of each pool of sending sockets. */
const POOLS: Readonly<Record<OuterDf, readonly number[]>> = { set: [DF], unset: [0], inherit: [DF, 0] };

/** 8 MB are 60 ms at 1 Gb/s, the longest time for which a loaded machine delays the worker. */
const RECEIVE_BUFFER_LEN = 8 * 1024 * 1024;
/**
 * Buffer of the socket for strangers. It is separate and small, so that many datagrams from
 * strangers do not fill the buffers of peers.
 */
const STRANGERS_BUFFER_LEN = 256 * 1024;
/**
 * Datagrams sent to a source port are not read; the error queue needs a few hundred bytes per
 * message.
 */
const UNREAD_BUFFER_LEN = 4096;
/**
 * Large enough in practice: one queue never holds a full batch (128) of superframes of 64 KB.
 */
const SEND_BUFFER_LEN = 4 * 1024 * 1024;

/** Seed of a program without sources. */
const NO_SEED = [1, 1, 1, 1];

/** @throws HostError; the sockets opened before the failure are closed */
export async function openUnderlaySockets(shim: Shim, spec: UnderlaySpec): Promise<UnderlaySockets> {
  const opened: number[] = [];
  const refused = new Map<SocketOffload, number>();
  const close = () => {
    for (const fd of opened.splice(0)) shim.close(fd);
  };
  try {
    const ipv4 = await openFamily(shim, spec, 4, opened, refused);
    const ipv6 = await openFamily(shim, spec, 6, opened, refused);
    const receiveFds = ipv4.receive.map((fds, worker) => ({ ipv4: fds, ipv6: ipv6.receive[worker] }));
    return {
      receiveFds,
      sendFds: [...ipv4.set, ...ipv6.set, ...ipv4.clear, ...ipv6.clear],
      probeFds: hasOnePort(spec) ? { ipv4: ipv4.probe, ipv6: ipv6.probe } : undefined,
      refused,
      rebind: (device, families) => {
        const fds = families.flatMap((family) => (family === 4 ? all(ipv4) : all(ipv6)));
        return fds.reduce((error, fd) => error || shim.udpBindDevice(fd, device), 0);
      },
      admit: () => receiveFds.map((fds) => admit(shim, fds)),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Each socket once: with a single source port, a receiving socket is in a pool too. */
function all({ receive, set, clear }: FamilySockets): number[] {
  return [...new Set([...receive.flat(), ...set, ...clear])].filter((fd) => fd >= 0);
}

function admit(shim: Shim, { ipv4, ipv6 }: ReceiveFds): Dropped {
  for (const fd of [...ipv4, ...ipv6]) shim.udpAdmit(fd);
  const strangers = [ipv4, ipv6].flatMap((fds) => fds[STRANGERS_SOCKET] ?? []);
  const dropped = (fds: readonly number[]) =>
    fds.reduce((sum, fd) => sum + Math.max(0, shim.udpDrops(fd)), 0);
  const fromStrangers = dropped(strangers);
  return { fromPeers: dropped([...ipv4, ...ipv6]) - fromStrangers, fromStrangers };
}

interface FamilySockets {
  /** The sockets of each worker, indexed by place. */
  receive: number[][];
  /** The pool with DF set. */
  set: number[];
  /** The pool with DF clear. */
  clear: number[];
  /** A socket of the receive group with DF set that can send; −1: none. */
  probe: number;
}

/**
 * @param opened collects each fd as soon as it is opened
 * @param refused collects offloads that the kernel lacks; they are not requested again
 */
async function openFamily(
  shim: Shim,
  spec: UnderlaySpec,
  family: 4 | 6,
  opened: number[],
  refused: Map<SocketOffload, number>,
): Promise<FamilySockets> {
  const poolLen = shim.layout.SOURCE_SOCKETS;
  const open = (port: number, options: number, receiveLen: number, sendLen: number): number => {
    const fd = openSocket(shim, spec, family, port, options, receiveLen, sendLen);
    if (fd >= 0) opened.push(fd);
    return fd;
  };
  const closeOne = (fd: number) => {
    opened.splice(opened.indexOf(fd), 1);
    shim.close(fd);
  };

  const pools = POOLS[spec.df ?? 'set'];
  const pool = (df: number, fds: () => number[]) => (pools.includes(df) ? fds() : noPool(poolLen));
  const receive: number[][] = [];
  const places = spec.plain ? 1 : RECEIVE_SOCKETS;
  for (let k = 0; k < spec.workers * places; k++) {
    const bufferLen = k % places === STRANGERS_SOCKET ? STRANGERS_BUFFER_LEN : RECEIVE_BUFFER_LEN;
    const options = receiveOptions(k, spec.workers * places);
    const fd = hasOnePort(spec)
      ? openOffloaded('UDP_SEGMENT', refused, (trains) => {
          const df = k % places === STRANGERS_SOCKET ? DF : pools[0];
          return open(spec.port, options | sendOptions(spec, df, trains), bufferLen, SEND_BUFFER_LEN);
        })
      : open(spec.port, options, bufferLen, UNREAD_BUFFER_LEN);
    if (fd === -ERRNO.EAFNOSUPPORT && !isNeeded(spec, family)) return noSockets(spec.workers, poolLen);
    if (fd === -ERRNO.EADDRINUSE) throw new HostError(await explainPortInUse(spec.port));
    if (fd < 0) throw new HostError(explainOpen(spec, family, spec.port, fd));
    if (k % places === 0) receive.push([]);
    receive.at(-1)?.push(fd);
  }
  if (!spec.plain) receiveTrains(shim, family, receive, refused, closeOne);

  if (hasOnePort(spec)) {
    const fds = () => new Array<number>(poolLen).fill(receive[0][0]);
    const last = receive[0].length - 1;
    const probe = last === STRANGERS_SOCKET || pools.includes(DF) ? receive[0][last] : -1;
    return { receive, set: pool(DF, fds), clear: pool(0, fds), probe };
  }

  const wanted = pools.length * poolLen;
  let next = 0;
  const send = spreadOver(spec.sourcePorts, wanted, (port) => {
    const fd = openOffloaded('UDP_SEGMENT', refused, (trains) =>
      open(port, sendOptions(spec, poolOf(next), trains), UNREAD_BUFFER_LEN, SEND_BUFFER_LEN),
    );
    if (fd === -ERRNO.EADDRINUSE) return undefined;
    if (fd < 0) throw new HostError(explainOpen(spec, family, port, fd));
    next++;
    return fd;
  });
  if (send.length < wanted) throw new HostError(tooFewPorts(spec, family, send.length, wanted));
  const ofPool = (df: number) => pool(df, () => send.filter((_, k) => poolOf(k) === df));
  return { receive, set: ofPool(DF), clear: ofPool(0), probe: -1 };

  /** Alternates between the pools, so that the ports of each pool are spread over the range. */
  function poolOf(k: number): number {
    return pools[k % pools.length];
  }
}

/**
 * Opens a socket of the underlay, on its local address, which need not exist yet; the other
 * parameters are those of `udpOpen`.
 *
 * @returns fd or negative errno
 * @throws HostError when the scope of the local address does not exist
 */
export function openSocket(
  shim: Shim,
  spec: Pick<UnderlaySpec, 'local4' | 'local6' | 'scopeId' | 'device' | 'ttl' | 'mark'>,
  family: 4 | 6,
  port: number,
  options: number,
  receiveLen: number,
  sendLen: number,
): number {
  const local = localAddress(spec, family);
  const row = packRow(family, local, port, spec.scopeId);
  const freebind = local === undefined ? 0 : FREEBIND;
  const fd = shim.udpOpen(row, spec.device, options | freebind, receiveLen, sendLen, spec.ttl);
  if (fd < 0 || spec.mark === 0) return fd;
  const error = shim.udpSetMark(fd, spec.mark);
  if (error < 0) shim.close(fd);
  return error < 0 ? error : fd;
}

/**
 * Opens a socket with an offload. If the kernel lacks the offload, opens the socket without it and
 * records the errno in `refused`.
 *
 * @returns fd or negative errno
 */
function openOffloaded(
  offload: SocketOffload,
  refused: Map<SocketOffload, number>,
  open: (offloaded: boolean) => number,
): number {
  if (refused.has(offload)) return open(false);
  const fd = open(true);
  if (!NO_SUCH_OPTION.includes(fd)) return fd;
  const without = open(false);
  if (without >= 0) refused.set(offload, fd);
  return without;
}

function receiveOptions(k: number, count: number): number {
  return RECEIVE | CLOSED | NO_GRO | (count === 1 ? 0 : k === 0 ? SHARE : JOIN);
}

/**
 * Attaches the first program and enables UDP_GRO on the sockets for trains. Until peers are known,
 * the program chooses plain sockets for all sources. If the kernel accepts no program, one plain
 * socket per worker is kept, and no datagrams arrive as trains.
 */
function receiveTrains(
  shim: Shim,
  family: 4 | 6,
  receive: number[][],
  refused: Map<SocketOffload, number>,
  close: (fd: number) => void,
): void {
  const program = choiceProgram({
    family,
    workers: receive.length,
    sockets: RECEIVE_SOCKETS,
    others: 0,
    sources: [],
    seed: NO_SEED,
  })!;
  let error = refused.get('UDP_GRO') ?? shim.udpSelect(receive[0][0], program);
  for (let place = RECEIVE_SHARES; place < STRANGERS_SOCKET; place++)
    for (const fds of receive) if (error === 0) error = shim.udpSetGro(fds[place], true);
  if (error === 0) return;
  refused.set('UDP_GRO', error);
  for (const fds of receive) for (const fd of fds.splice(1)) close(fd);
}

/** @param df DF or 0 */
function sendOptions({ plain, udpChecksum }: UnderlaySpec, df: number, trains: boolean): number {
  const engine = plain ? 0 : SEND | (trains && udpChecksum ? TRAINS : 0);
  return engine | df | (udpChecksum ? 0 : NO_CHECKSUM);
}

function noSockets(workers: number, poolLen: number): FamilySockets {
  const none = noPool(poolLen);
  return { receive: Array.from({ length: workers }, () => []), set: none, clear: none, probe: -1 };
}

function hasOnePort({ sourcePorts: { min, max } }: UnderlaySpec): boolean {
  return min === max;
}

function noPool(poolLen: number): number[] {
  return new Array<number>(poolLen).fill(-1);
}

function isNeeded({ needed, local4, local6 }: UnderlaySpec, family: 4 | 6): boolean {
  return family === 4 ? needed.ipv4 || local4 !== '' : needed.ipv6 || local6 !== '';
}

/** @returns undefined for any local address */
function localAddress(
  { local4, local6 }: Pick<UnderlaySpec, 'local4' | 'local6'>,
  family: 4 | 6,
): IpAddress | undefined {
  const text = family === 4 ? local4 : local6;
  if (text === '') return undefined;
  const address = parseIpAddress(text);
  if (address?.family !== family) throw new HostError(`--local ${text} is not an IPv${family} address`);
  return address;
}

/**
 * Packs a `struct peer_row`: family, port in host order, 16 address bytes, scope id
 * (native-shims/shim.h).
 */
export function packRow(
  family: 4 | 6,
  address: IpAddress | undefined,
  port: number,
  scopeIdOf: (scope: string) => number,
): Uint8Array {
  const row = new Uint8Array(PEER_ROW_LEN);
  const { bytes, scope } = address ?? { bytes: new Uint8Array(16), scope: '' };
  const scopeId = scope === '' ? 0 : scopeIdOf(scope);
  if (scope !== '' && scopeId === 0)
    throw new HostError(`network device ${scope} does not exist: check the name after "%"`);
  writeRowAddress(row, { family, bytes, port, scopeId });
  return row;
}

function tooFewPorts({ sourcePorts }: UnderlaySpec, family: 4 | 6, found: number, wanted: number): string {
  const range = `${sourcePorts.min}-${sourcePorts.max}`;
  return `--source-ports ${range} has ${found} free ports for IPv${family}, ${wanted} are needed: use a wider range`;
}

/** @param answer negative errno of `udpOpen` */
function explainOpen(spec: UnderlaySpec, family: 4 | 6, port: number, answer: number): string {
  const local = (family === 4 ? spec.local4 : spec.local6) || 'any address';
  switch (-answer) {
    case ERRNO.EINVAL:
      return `--local ${local} is rejected (EINVAL): a link-local address needs its device, ${local}%eth0`;
    case ERRNO.ENODEV:
      return `--underlay-dev ${spec.device}: network device does not exist`;
    case ERRNO.EAFNOSUPPORT:
      return `this machine has no IPv${family}, but a peer or --local requires it: enable IPv${family}, or remove those settings`;
    case ERRNO.EPERM:
    case ERRNO.EACCES:
      return `not permitted to open UDP port ${port} (${errnoName(answer)}): ${NEEDS_RIGHTS}`;
    case ERRNO.EMFILE:
      return `too many open files for the pool of source ports: raise the limit (ulimit -n, LimitNOFILE=)`;
    default:
      return `cannot open UDP port ${port} on ${local}, IPv${family}: ${errnoName(answer)}`;
  }
}
