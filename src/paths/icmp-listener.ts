/**
 * Receives ICMP "too big" for datagrams whose sockets have no error queue.
 *
 * Such datagrams are sent by `node:dgram`, or created by the kernel for offloaded flows. A message
 * is accepted when it quotes a datagram that has the address of a peer as its destination, a local
 * address as its source, and the source port of a socket without an error queue. A forged message
 * with a correct quote is indistinguishable from a genuine one (SECURITY.md).
 *
 * Runs on the main thread. Any host may send such messages, so a report that repeats the previous
 * report about a peer is passed on at most once a second. In total, at most PER_SECOND reports are
 * passed on per second. The data plane checks that the destination port is the port of the peer.
 */

import { readQuotedUdp } from '../wire/icmp-quote.js';
import { formatIpAddress } from '../wire/ip-address.js';
import { openRawIcmp, type RawSocket } from './raw-icmp.js';

/**
 * ICMP types to receive: destination unreachable (of its codes, only "fragmentation needed" is
 * used) and, for IPv6, packet too big.
 */
const TYPES = { 4: [3], 6: [2] } as const;
const AGAIN_MS = 1000;
const PER_SECOND = 100;

/** Reports a narrower path to a peer. `mtu` in bytes; 0 when the router did not report it. */
export type OnTooBig = (family: 4 | 6, address: string, port: number, mtu: number) => void;

export interface IcmpListenerOptions {
  /** Device that the underlay's sockets are bound to; '' any. */
  readonly device: string;
  /** True for source ports of sockets without an error queue. */
  readonly isOurPort: (port: number, family: 4 | 6) => boolean;
  /** True for local addresses, given in canonical form. */
  readonly isOurs: (address: string) => boolean;
  readonly isPeer: (address: string) => boolean;
  readonly onTooBig: OnTooBig;
}

export class IcmpListener {
  readonly #options: IcmpListenerOptions;
  readonly #sockets: RawSocket[] = [];
  /** Last report, by address of the peer. */
  readonly #last = new Map<string, { port: number; mtu: number; atMs: number }>();
  #second = 0;
  #reports = 0;

  constructor(options: IcmpListenerOptions) {
    this.#options = options;
  }

  /** @throws Error with a one-line message when no raw socket can be opened */
  start(): void {
    for (const family of [4, 6] as const) {
      const socket = openRawIcmp(family, this.#options.device, 0, TYPES[family]);
      socket.on('message', (message: Buffer) => this.receive(family, message, performance.now()));
      // An error of the socket only means that no messages arrive.
      socket.on('error', () => {});
      this.#sockets.push(socket);
    }
  }

  stop(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  /** Opens the sockets again, because their device was made again. Best effort. */
  restart(): void {
    this.stop();
    try {
      this.start();
    } catch {}
  }

  /** @param message packet from a raw socket, of any length and content */
  receive(family: 4 | 6, message: Uint8Array, nowMs: number): void {
    const quoted = readQuotedUdp(family, message);
    const { isOurPort, isOurs, isPeer, onTooBig } = this.#options;
    if (quoted === undefined || !isOurPort(quoted.sourcePort, family)) return;
    const to = formatIpAddress(family, quoted.destination, '');
    if (!isPeer(to) || !isOurs(formatIpAddress(family, quoted.source, ''))) return;
    const { destinationPort: port, mtu } = quoted;
    const last = this.#last.get(to);
    if (last?.port === port && nowMs - last.atMs < AGAIN_MS && mtu >= last.mtu) return;
    if (!this.#mayReport(nowMs)) return;
    this.#last.set(to, { port, mtu, atMs: nowMs });
    onTooBig(family, to, port, mtu);
  }

  #mayReport(nowMs: number): boolean {
    const second = Math.floor(nowMs / 1000);
    if (second !== this.#second) this.#reports = 0;
    this.#second = second;
    return ++this.#reports <= PER_SECOND;
  }
}
