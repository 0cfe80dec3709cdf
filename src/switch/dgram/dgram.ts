/**
 * Underlay port through plain `node:dgram` (engine `dgram`).
 *
 * This engine is portable, and benchmarks compare the shim with it. Each datagram costs one
 * JavaScript call, one callback and some objects. Trains and error queues are not supported (see
 * docs/interface.md for the table of differences). Forwarding behaves the same.
 *
 * Sends complete asynchronously. Each datagram is copied into its own buffer, which stays borrowed
 * until node calls back; `completions` reports the result. The number of pending sends is limited;
 * further sends fail with ENOMEM.
 *
 * Received datagrams are copied into slots. The slots are passed on when they are full or node has
 * no further datagrams.
 */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { type NetworkInterfaceInfo, type NetworkInterfaceInfoIPv6, networkInterfaces } from 'node:os';
import { type Batch, DF_SET } from '../../abi/batch.js';
import type { Shim } from '../../abi/binding.js';
import { ERRNO } from '../../abi/errno.js';
import { BATCH_CAP, MAX_VNIS, PEER_ROW_LEN, RECEIVE_SLOT_STRIDE, SOURCE_SOCKETS } from '../../abi/limits.js';
import type { PathErrors } from '../../abi/path-errors.js';
import { AF_INET, AF_INET6, PEER_HELD } from '../../abi/peer-row.js';
import { formatIpAddress, parseIpAddress } from '../../wire/ip-address.js';
import { STATUS_PENDING, type UnderlayPort } from '../port/port.js';
import { SocketDrops } from '../port/socket-drops.js';
import type { UdpFds } from '../port/udp.js';

/** Limit of pending sends. */
const MAX_PENDING = 1024;
/** Byte offset of the port in a source row, in host byte order. */
const PORT_OFF = 2;
/**
 * Limit of cached packed source addresses. The cache is cleared when full, so hostile sources
 * cannot grow it.
 */
const MAX_SOURCES = 4096;

const EIO = -ERRNO.EIO;
const ENOMEM = -ERRNO.ENOMEM;
const ENODEV = -ERRNO.ENODEV;
const ENETUNREACH = -ERRNO.ENETUNREACH;

/** A completed send, in the terms of the batch columns. */
interface Completed {
  vniIdx: number;
  peerIdx: number;
  flags: number;
  segCount: number;
  wireLen: number;
  status: number;
}

export class DgramPort implements UnderlayPort {
  readonly arena = new Uint8Array(BATCH_CAP * RECEIVE_SLOT_STRIDE).fill(1);
  readonly sources = new Uint8Array(BATCH_CAP * PEER_ROW_LEN);
  /**
   * Called when datagrams or completions wait; the owner of the port then calls `receive` and
   * `completions`.
   */
  onWork: () => void = () => {};
  readonly #shim: Shim;
  readonly #drops: SocketDrops[];
  readonly #fds: UdpFds;
  /** Adopted sockets by descriptor: a receiving socket may also send. */
  readonly #sockets = new Map<number, Socket>();
  /** Sockets of the send pools, in their order; a single source port has one socket. */
  #senders: (Socket | undefined)[] = [];
  readonly #peers: Uint8Array;
  readonly #peerWords: Int32Array;
  readonly #lengths = new Int32Array(BATCH_CAP);
  readonly #packed = new Map<string, Uint8Array>();
  readonly #hosts = new Map<number, string>();
  #held = { ipv4: false, ipv6: false };
  #waiting = 0;
  #completed: Completed[] = [];
  /**
   * Generation counter per VNI row. If a row was released after a send began, the completion of the
   * send is discarded.
   */
  readonly #generations = new Int32Array(MAX_VNIS);
  #pending = 0;
  #scheduled = false;

  /**
   * @param fds sockets as for UdpPort; duplicated, so that the process keeps its own when this
   *   thread ends
   * @param peers packed peer rows
   */
  constructor(shim: Shim, fds: UdpFds, peers: Uint8Array) {
    this.#shim = shim;
    this.#peers = peers;
    this.#peerWords = new Int32Array(peers.buffer, peers.byteOffset, peers.length >> 2);
    const receiveFds = [...fds.ipv4, ...fds.ipv6];
    this.#drops = receiveFds.map((fd) => new SocketDrops(shim, fd));
    this.#fds = fds;
  }

  hold(ipv4: boolean, ipv6: boolean): void {
    this.#held = { ipv4, ipv6 };
  }

  /** Adopts the sockets, which node reads from this moment on. */
  open(): void {
    const { ipv4, ipv6, send } = this.#fds;
    this.#senders = Array.from(send, (fd, i) =>
      fd < 0 ? undefined : this.#adopted(fd, Math.floor(i / SOURCE_SOCKETS) % 2 === 1),
    );
    for (const fd of [...ipv4, ...ipv6])
      this.#adopted(fd, ipv6.includes(fd)).on('message', (bytes, from) => this.#onMessage(bytes, from));
  }

  receive(batch: Batch): number {
    batch.count = this.#waiting;
    for (let i = 0; i < this.#waiting; i++) {
      batch.off[i] = i * RECEIVE_SLOT_STRIDE;
      batch.len[i] = this.#lengths[i];
      batch.tos[i] = 0;
      batch.gsoSize[i] = 0;
      batch.segCount[i] = 1;
      // node:dgram does not report the device.
      batch.ifindex[i] = 0;
    }
    this.#waiting = 0;
    return batch.count;
  }

  send(batch: Batch, arena: Uint8Array): number {
    let failed = 0;
    for (let i = 0; i < batch.count; i++) {
      batch.status[i] = batch.verdict[i] === 0 ? this.#sendOne(batch, i, arena) : 0;
      if (batch.status[i] !== 0) failed++;
    }
    return failed;
  }

  completions(batch: Batch): number {
    const completed = this.#completed.splice(0, BATCH_CAP);
    batch.count = completed.length;
    for (const [i, entry] of completed.entries()) {
      batch.vniIdx[i] = entry.vniIdx;
      batch.peerIdx[i] = entry.peerIdx;
      batch.flags[i] = entry.flags;
      batch.segCount[i] = entry.segCount;
      batch.wireLen[i] = entry.wireLen;
      batch.verdict[i] = 0;
      batch.status[i] = entry.status;
    }
    return batch.count;
  }

  vniRemoved(vniIdx: number): void {
    this.#generations[vniIdx]++;
    this.#completed = this.#completed.filter((entry) => entry.vniIdx !== vniIdx);
  }

  /** Nothing to do: this engine gives peers no shares of a round. */
  delivered(): void {}

  takeOverflow(): number {
    let overflow = 0;
    for (const drops of this.#drops) overflow += drops.take();
    return overflow;
  }

  /** 0: each address family has one socket, so drops of strangers are not counted separately. */
  takeStrangersOverflow(): number {
    return 0;
  }

  /** Nothing to do: the event loop reports datagrams itself. */
  markReadable(): void {}

  /**
   * Nothing to do: without IP_RECVERR there is no error queue. Node reports each error with its
   * send.
   */
  drainErrors(): void {}

  /** None: the send of an oversized datagram fails, and its error does not contain the path MTU. */
  takePathErrors(report: PathErrors): number {
    report.clear();
    return 0;
  }

  peersChanged(): void {
    this.#hosts.clear();
    // Packed rows have interface indexes, which change when a device is made again.
    this.#packed.clear();
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
  }

  #adopted(fd: number, ipv6: boolean): Socket {
    const socket = this.#sockets.get(fd) ?? this.#adopt(fd, ipv6);
    this.#sockets.set(fd, socket);
    return socket;
  }

  #adopt(fd: number, ipv6: boolean): Socket {
    const socket = createSocket({
      type: ipv6 ? 'udp6' : 'udp4',
      // Addresses are literals, so the lookup returns them without the resolver.
      lookup: (host, _options, answer) => answer(null, host, ipv6 ? 6 : 4),
    });
    // An error that belongs to no send must not end the thread. Node emits such an error for an
    // ICMP message about an earlier datagram.
    socket.on('error', () => {});
    socket.bind({ fd: this.#shim.dup(fd) });
    return socket;
  }

  #sendOne(batch: Batch, i: number, arena: Uint8Array): number {
    const peerIdx = batch.peerIdx[i];
    const family = this.#peerWords[peerIdx << 3] & 0xffff;
    const pool = (family === AF_INET6 ? 1 : 0) + (batch.df[i] === DF_SET ? 0 : 2);
    const socket = this.#senders[pool * SOURCE_SOCKETS + batch.srcPortIdx[i]];
    if (family === 0 || socket === undefined) return EIO;
    if (family === AF_INET6 ? this.#held.ipv6 : this.#held.ipv4) return ENETUNREACH;
    if ((this.#peerWords[(peerIdx << 3) + 7] & PEER_HELD) !== 0) return ENETUNREACH;
    if (this.#pending === MAX_PENDING) return ENOMEM;
    const host = this.#host(peerIdx, family);
    if (host === '') return ENODEV;
    const bytes = Buffer.from(arena.subarray(batch.off[i], batch.off[i] + batch.len[i]));
    const completed: Completed = {
      vniIdx: batch.vniIdx[i],
      peerIdx,
      flags: batch.flags[i],
      segCount: batch.segCount[i],
      wireLen: batch.wireLen[i],
      status: 0,
    };
    this.#pending++;
    const generation = this.#generations[completed.vniIdx];
    socket.send(bytes, this.#peerWords[peerIdx << 3] >>> 16, host, (error) => {
      this.#pending--;
      completed.status = error ? ((error as NodeJS.ErrnoException).errno ?? EIO) : 0;
      if (this.#generations[completed.vniIdx] === generation) this.#completed.push(completed);
      this.#schedule();
    });
    return STATUS_PENDING;
  }

  /** Text form of a peer's address, cached until peers change; '' while its link does not exist. */
  #host(peerIdx: number, family: number): string {
    const known = this.#hosts.get(peerIdx);
    if (known !== undefined) return known;
    const row = this.#peers.subarray(peerIdx * PEER_ROW_LEN, (peerIdx + 1) * PEER_ROW_LEN);
    const scope = this.#peerWords[(peerIdx << 3) + 5];
    const link = scope > 0 ? linkName(scope) : '';
    if (scope > 0 && link === '') return '';
    const host = formatIpAddress(family === AF_INET ? 4 : 6, row.slice(4, 20), link);
    this.#hosts.set(peerIdx, host);
    return host;
  }

  #onMessage(bytes: Buffer, from: RemoteInfo): void {
    const i = this.#waiting++;
    this.arena.set(bytes, i * RECEIVE_SLOT_STRIDE);
    this.#lengths[i] = bytes.length;
    const row = i * PEER_ROW_LEN;
    this.sources.set(this.#pack(from), row);
    this.sources[row + PORT_OFF] = from.port & 0xff;
    this.sources[row + PORT_OFF + 1] = from.port >> 8;
    if (this.#waiting === BATCH_CAP) this.onWork();
    else this.#schedule();
  }

  #pack(from: RemoteInfo): Uint8Array {
    const known = this.#packed.get(from.address);
    if (known) return known;
    if (this.#packed.size === MAX_SOURCES) this.#packed.clear();
    const row = packSource(from.address);
    this.#packed.set(from.address, row);
    return row;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.onWork();
    });
  }
}

/** Builds a source row (`struct peer_row`) without its port. */
function packSource(text: string): Uint8Array {
  const row = new Uint8Array(PEER_ROW_LEN);
  const address = parseIpAddress(text);
  if (!address) return row;
  const view = new DataView(row.buffer);
  view.setUint16(0, address.family === 4 ? AF_INET : AF_INET6, true);
  row.set(address.bytes, 4);
  if (address.scope !== '') view.setUint32(20, linkIndex(address.scope), true);
  return row;
}

/*
 * Node identifies the link of a link-local address by name and silently ignores an index, whereas
 * peer rows hold the index. An interface over which a link-local address is reachable has such an
 * address itself, so `networkInterfaces` lists that interface, even if /sys is not mounted.
 */

/**
 * Interface index by name.
 *
 * @returns 0 when the interface does not exist
 */
function linkIndex(name: string): number {
  return networkInterfaces()[name]?.find(hasScope)?.scopeid ?? 0;
}

/**
 * Interface name by index.
 *
 * @returns '' when the interface does not exist
 */
function linkName(index: number): string {
  const found = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((address) => hasScope(address) && address.scopeid === index),
  );
  return found?.[0] ?? '';
}

function hasScope(address: NetworkInterfaceInfo): address is NetworkInterfaceInfoIPv6 {
  return address.family === 'IPv6' && address.scopeid > 0;
}
