/**
 * The underlay through plain `node:dgram` (engine `dgram`): the portable way, and the baseline that benchmarks show
 * beside the shim's. One JavaScript call, one callback and some objects a datagram; no trains, no error queues (see
 * docs/interface.md for the table of differences). The behaviour is the same.
 *
 * Sending is answered later: a datagram is copied into a buffer of its own, which stays borrowed until node calls back,
 * and its fate comes by `completions`. Their number is bounded; beyond it, sends fail with ENOMEM.
 *
 * Received datagrams are copied into slots and handed on when node has no more for now, or when the slots are full.
 */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { type NetworkInterfaceInfo, type NetworkInterfaceInfoIPv6, networkInterfaces } from 'node:os';
import { type Batch, DF_SET } from '../../abi/batch.js';
import type { Shim } from '../../abi/binding.js';
import { ERRNO } from '../../abi/errno.js';
import { BATCH_CAP, MAX_VNIS, PEER_ROW_LEN, RECEIVE_SLOT_STRIDE, SOURCE_SOCKETS } from '../../abi/limits.js';
import type { PathErrors } from '../../abi/path-errors.js';
import { AF_INET, AF_INET6 } from '../../abi/peer-row.js';
import { formatIpAddress, parseIpAddress } from '../../wire/ip-address.js';
import { STATUS_PENDING, type UnderlayPort } from '../port/port.js';
import { SocketDrops } from '../port/socket-drops.js';
import type { UdpFds } from '../port/udp.js';

/** Sends under way at most. */
const MAX_PENDING = 1024;
/** Of a source row: its port, in the byte order of this machine. */
const PORT_OFF = 2;
/** Source addresses whose packed form is remembered; hostile sources make it start over. */
const MAX_SOURCES = 4096;

const EIO = -ERRNO.EIO;
const ENOMEM = -ERRNO.ENOMEM;
const ENODEV = -ERRNO.ENODEV;

/** A send whose answer is known, in the words of the batch columns. */
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
  /** Called when datagrams or answers wait; whoever owns the port then calls `receive` and `completions`. */
  onWork: () => void = () => {};
  readonly #shim: Shim;
  readonly #drops: SocketDrops[];
  readonly #receivers: Socket[];
  readonly #senders: (Socket | undefined)[];
  readonly #peers: Uint8Array;
  readonly #peerWords: Int32Array;
  readonly #lengths = new Int32Array(BATCH_CAP);
  readonly #packed = new Map<string, Uint8Array>();
  readonly #hosts = new Map<number, string>();
  #waiting = 0;
  #completed: Completed[] = [];
  /** How often each VNI row has been given up: a send that began before is of no interest. */
  readonly #lives = new Int32Array(MAX_VNIS);
  #pending = 0;
  #scheduled = false;

  /**
   * @param fds as for the shim's port; duplicated, so that the process keeps its own when this thread ends
   * @param peers packed peer rows
   */
  constructor(shim: Shim, fds: UdpFds, peers: Uint8Array) {
    this.#shim = shim;
    this.#peers = peers;
    this.#peerWords = new Int32Array(peers.buffer, peers.byteOffset, peers.length >> 2);
    const receiveFds = [...fds.ipv4, ...fds.ipv6];
    this.#drops = receiveFds.map((fd) => new SocketDrops(shim, fd));
    this.#receivers = receiveFds.map((fd) => this.#adopt(fd, fds.ipv6.includes(fd)));
    for (const socket of this.#receivers) socket.on('message', (bytes, from) => this.#onMessage(bytes, from));
    this.#senders = Array.from(fds.send, (fd, i) =>
      fd < 0 ? undefined : this.#adopt(fd, Math.floor(i / SOURCE_SOCKETS) % 2 === 1),
    );
  }

  receive(batch: Batch): number {
    batch.count = this.#waiting;
    for (let i = 0; i < this.#waiting; i++) {
      batch.off[i] = i * RECEIVE_SLOT_STRIDE;
      batch.len[i] = this.#lengths[i];
      batch.tos[i] = 0;
      batch.gsoSize[i] = 0;
      batch.segCount[i] = 1;
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
    const settled = this.#completed.splice(0, BATCH_CAP);
    batch.count = settled.length;
    for (const [i, one] of settled.entries()) {
      batch.vniIdx[i] = one.vniIdx;
      batch.peerIdx[i] = one.peerIdx;
      batch.flags[i] = one.flags;
      batch.segCount[i] = one.segCount;
      batch.wireLen[i] = one.wireLen;
      batch.verdict[i] = 0;
      batch.status[i] = one.status;
    }
    return batch.count;
  }

  vniRemoved(vniIdx: number): void {
    this.#lives[vniIdx]++;
    this.#completed = this.#completed.filter((one) => one.vniIdx !== vniIdx);
  }

  /** This engine shares no time among peers. */
  delivered(): void {}

  takeOverflow(): number {
    let overflow = 0;
    for (const drops of this.#drops) overflow += drops.take();
    return overflow;
  }

  /** One socket a family, with room for strangers as for peers. */
  takeStrangersOverflow(): number {
    return 0;
  }

  /** The event loop tells of datagrams by itself. */
  markReadable(): void {}

  /** Without IP_RECVERR there is no error queue: node tells errors with the send they belong to. */
  drainErrors(): void {}

  /** What is too large is told with its send, without the size that would not be. */
  takePathErrors(report: PathErrors): number {
    report.clear();
    return 0;
  }

  peersChanged(): void {
    this.#hosts.clear();
  }

  close(): void {
    for (const socket of this.#receivers) socket.close();
    for (const socket of this.#senders) socket?.close();
  }

  #adopt(fd: number, ipv6: boolean): Socket {
    const socket = createSocket({
      type: ipv6 ? 'udp6' : 'udp4',
      // Addresses are literals: answered at once, without the resolver's detour.
      lookup: (host, _options, answer) => answer(null, host, ipv6 ? 6 : 4),
    });
    // An error that belongs to no send (an ICMP message for an earlier one) must not end the thread.
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
    if (this.#pending === MAX_PENDING) return ENOMEM;
    const host = this.#host(peerIdx, family);
    if (host === '') return ENODEV;
    const bytes = Buffer.from(arena.subarray(batch.off[i], batch.off[i] + batch.len[i]));
    const settled: Completed = {
      vniIdx: batch.vniIdx[i],
      peerIdx,
      flags: batch.flags[i],
      segCount: batch.segCount[i],
      wireLen: batch.wireLen[i],
      status: 0,
    };
    this.#pending++;
    const life = this.#lives[settled.vniIdx];
    socket.send(bytes, this.#peerWords[peerIdx << 3] >>> 16, host, (error) => {
      this.#pending--;
      settled.status = error ? ((error as NodeJS.ErrnoException).errno ?? EIO) : 0;
      if (this.#lives[settled.vniIdx] === life) this.#completed.push(settled);
      this.#schedule();
    });
    return STATUS_PENDING;
  }

  /** Text of a peer's address, remembered until peers change; '' while its link is not there. */
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

/** A source row (`struct peer_row`) without its port. */
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
 * node knows the link of a link-local address by name, and silently ignores an index; peer rows have the index. An
 * interface that such an address can be reached through has one itself, so it is in this list, whatever is mounted at
 * /sys.
 */

/** @returns 0 when there is no such interface */
function linkIndex(name: string): number {
  return networkInterfaces()[name]?.find(hasScope)?.scopeid ?? 0;
}

/** @returns '' when there is no such interface */
function linkName(index: number): string {
  const found = Object.entries(networkInterfaces()).find(([, addresses]) =>
    addresses?.some((address) => hasScope(address) && address.scopeid === index),
  );
  return found?.[0] ?? '';
}

function hasScope(address: NetworkInterfaceInfo): address is NetworkInterfaceInfoIPv6 {
  return address.family === 'IPv6' && address.scopeid > 0;
}
