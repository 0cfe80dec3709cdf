/**
 * Both engines of the underlay on loopback, behind one interface.
 *
 * The shim opens the sockets; a port runs over them. Requires no root.
 */

import { readFile, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Test } from 'tap';
import { Batch, DF_SET } from '../../src/abi/batch.js';
import { loadShim } from '../../src/abi/binding.js';
import { PEER_ROW_LEN, SEND_SOCKETS, SOURCE_SOCKETS } from '../../src/abi/limits.js';
import { makeTunnelRow } from '../../src/abi/tunnel-row.js';
import { DgramPort } from '../../src/switch/dgram/dgram.js';
import { STATUS_PENDING, type UnderlayPort } from '../../src/switch/port/port.js';
import { type UdpFds, UdpPort } from '../../src/switch/port/udp.js';
import { sourceRow } from './memory-plane.js';

export type EngineName = 'batch' | 'dgram';
export const ENGINES: EngineName[] = ['batch', 'dgram'];

const RECEIVE = 1;
const RECVERR = 2;
const DF = 4;
const NO_GRO = 16;
const LIMIT_MS = 5000;
const NO_TUNNEL = new Uint8Array(makeTunnelRow().buffer);

export interface Received {
  /** Packed source row with the port zeroed. */
  source: Uint8Array;
  bytes: Uint8Array;
  tos: number;
}

export interface Outgoing {
  peerIdx: number;
  srcPortIdx: number;
  bytes: Uint8Array;
  verdict?: number;
  tos?: number;
  df?: number;
}

/**
 * A port of one engine, with one receiving socket per address family and two sending sockets of
 * each source-port pool.
 */
export class UnderlayEnd {
  readonly port: UnderlayPort;
  readonly fds: UdpFds;
  readonly peers: Uint8Array;
  readonly received: Received[] = [];
  /** Final status of sends, in order of completion. */
  readonly statuses: number[] = [];
  readonly #batch = new Batch();

  constructor(
    t: Test,
    engine: EngineName,
    options: { receiveLen?: number; ipv4?: string; ipv6?: string; fds?: UdpFds } = {},
  ) {
    const shim = loadShim();
    const opened: number[] = [];
    const open = (address: string, flags: number, receiveLen: number): number => {
      if (address === '') return -1;
      const fd = shim.udpOpen(sourceRow(address, 0), '', flags, receiveLen, 0, 0);
      if (fd < 0) throw new Error(`cannot open a socket on ${address}: errno ${-fd}`);
      opened.push(fd);
      return fd;
    };
    const { ipv4 = '127.0.0.1', ipv6 = '::1', receiveLen = 0 } = options;
    const receive = RECEIVE | (engine === 'dgram' ? NO_GRO : 0);
    const send = new Int32Array(SEND_SOCKETS).fill(-1);
    this.fds = options.fds ?? {
      ipv4: ipv4 === '' ? [] : [open(ipv4, receive, receiveLen)],
      ipv6: ipv6 === '' ? [] : [open(ipv6, receive, receiveLen)],
      send,
    };
    const sendFlags = engine === 'batch' ? RECVERR : 0;
    for (const index of [0, 1]) {
      if (options.fds) break;
      for (const [pool, address] of [ipv4, ipv6, ipv4, ipv6].entries())
        send[pool * SOURCE_SOCKETS + index] = open(address, sendFlags | (pool < 2 ? DF : 0), 0);
    }
    this.peers = new Uint8Array(new SharedArrayBuffer(16 * PEER_ROW_LEN));
    this.port =
      engine === 'batch'
        ? new UdpPort(shim, this.fds, this.peers, NO_TUNNEL, () => performance.now())
        : new DgramPort(shim, this.fds, this.peers);
    this.port.open();
    t.teardown(() => {
      if (this.port instanceof DgramPort) this.port.close();
      for (const fd of opened) shim.close(fd);
    });
    if (this.port instanceof DgramPort) this.port.onWork = () => this.take();
  }

  setPeer(peerIdx: number, address: string, port: number): void {
    this.peers.set(sourceRow(address, port), peerIdx * PEER_ROW_LEN);
    this.port.peersChanged();
  }

  /** Receives waiting datagrams and collects completed sends. */
  take(): void {
    const batch = this.#batch;
    for (const fd of [...this.fds.ipv4, ...this.fds.ipv6]) this.port.markReadable(fd);
    while (this.port.receive(batch) > 0)
      for (let i = 0; i < batch.count; i++) {
        const source = this.port.sources.slice(i * PEER_ROW_LEN, (i + 1) * PEER_ROW_LEN);
        source.fill(0, 2, 4);
        this.received.push({
          source,
          bytes: this.port.arena.slice(batch.off[i], batch.off[i] + batch.len[i]),
          tos: batch.tos[i],
        });
      }
    while (this.port.completions(batch) > 0)
      for (let i = 0; i < batch.count; i++) this.statuses.push(batch.status[i]);
  }

  /**
   * Sends up to BATCH_CAP datagrams in one batch.
   *
   * @returns status of each send when the call returns
   */
  send(datagrams: Outgoing[]): number[] {
    const batch = this.#batch;
    const arena = Buffer.concat(datagrams.map(({ bytes }) => bytes));
    let off = 0;
    batch.count = datagrams.length;
    for (const [i, { peerIdx, srcPortIdx, bytes, verdict, tos, df }] of datagrams.entries()) {
      batch.off[i] = off;
      batch.len[i] = bytes.length;
      batch.vniIdx[i] = 0;
      batch.peerIdx[i] = peerIdx;
      batch.srcPortIdx[i] = srcPortIdx;
      batch.tos[i] = tos ?? 0;
      batch.df[i] = df ?? DF_SET;
      batch.gsoType[i] = batch.gsoSize[i] = batch.flags[i] = 0;
      batch.segCount[i] = 1;
      batch.wireLen[i] = bytes.length;
      batch.verdict[i] = verdict ?? 0;
      batch.status[i] = 99;
      off += bytes.length;
    }
    const failed = this.port.send(batch, arena);
    arena.fill(0xdd);
    const statuses = Array.from(batch.status.subarray(0, batch.count));
    if (failed !== statuses.filter((status) => status !== 0).length)
      throw new Error(`send returned ${failed} failures: ${statuses}`);
    this.statuses.push(
      ...statuses.filter((status, i) => status !== STATUS_PENDING && batch.verdict[i] === 0),
    );
    return statuses;
  }

  /** Waits until `count` datagrams have been received. */
  async untilReceived(count: number): Promise<void> {
    await this.#until(
      () => this.received.length >= count,
      () => `${this.received.length} of ${count} received`,
    );
  }

  /** Waits until `count` sends have a final status. */
  async untilDecided(count: number): Promise<void> {
    await this.#until(
      () => this.statuses.length >= count,
      () => `${this.statuses.length} of ${count} completed`,
    );
  }

  async #until(done: () => boolean, found: () => string): Promise<void> {
    const deadlineMs = performance.now() + LIMIT_MS;
    for (;;) {
      this.take();
      if (done()) return;
      if (performance.now() > deadlineMs) throw new Error(`only ${found()}`);
      await delay(2);
    }
  }
}

/** Port that a socket is bound to, read from /proc. */
export async function portOf(fd: number): Promise<number> {
  const inode = (await readlink(`/proc/self/fd/${fd}`)).replace(/\D/g, '');
  for (const table of ['udp', 'udp6'])
    for (const line of (await readFile(`/proc/self/net/${table}`, 'utf8')).split('\n')) {
      const fields = line.trim().split(/\s+/);
      if (fields[9] === inode) return Number.parseInt(fields[1].split(':')[1], 16);
    }
  throw new Error(`descriptor ${fd} is no UDP socket`);
}
