/**
 * Hears what routers say of datagrams of ours that were too big for the next hop, where no socket with an error queue is
 * told: of `node:dgram`'s, and of those that the kernel makes of flows that it passes. A message counts when what it quotes is a
 * datagram from an address of ours and such a port to a peer at its port; one that quotes right can't be told from a
 * genuine one (SECURITY.md).
 *
 * Main thread. Anybody may send such messages, so the same is told once a second, and no more in all than PER_SECOND. Whether the
 * port is the peer's is for the data plane to say, which knows.
 */

import { readQuotedUdp } from '../wire/icmp-quote.js';
import { formatIpAddress } from '../wire/ip-address.js';
import { openRawIcmp, type RawSocket } from './raw-icmp.js';

/** Destination unreachable, one code of which is meant; packet too big. */
const TYPES = { 4: [3], 6: [2] } as const;
const AGAIN_MS = 1000;
const PER_SECOND = 100;

/** A path that carries less: to whom, and how much, bytes; 0: the router did not say. */
export type OnTooBig = (family: 4 | 6, address: string, port: number, mtu: number) => void;

export interface IcmpListenerOptions {
  /** Of the underlay's sockets; '' any. */
  readonly device: string;
  /** Whether datagrams from this source port are meant. */
  readonly isOurPort: (port: number) => boolean;
  /** Canonical text of an address. */
  readonly isOurs: (address: string) => boolean;
  readonly isPeer: (address: string) => boolean;
  readonly onTooBig: OnTooBig;
}

export class IcmpListener {
  readonly #options: IcmpListenerOptions;
  readonly #sockets: RawSocket[] = [];
  /** By address of a peer. */
  readonly #last = new Map<string, { port: number; mtu: number; atMs: number }>();
  #second = 0;
  #spent = 0;

  constructor(options: IcmpListenerOptions) {
    this.#options = options;
  }

  /** @throws Error whose message is one line: nothing can be heard */
  start(): void {
    for (const family of [4, 6] as const) {
      const socket = openRawIcmp(family, this.#options.device, TYPES[family]);
      socket.on('message', (message: Buffer) => this.receive(family, message, performance.now()));
      // An error of the socket itself shows as silence.
      socket.on('error', () => {});
      this.#sockets.push(socket);
    }
  }

  stop(): void {
    for (const socket of this.#sockets.splice(0)) socket.close();
  }

  /** @param message as a raw socket gives it, of any length and content */
  receive(family: 4 | 6, message: Uint8Array, nowMs: number): void {
    const quoted = readQuotedUdp(family, message);
    const { isOurPort, isOurs, isPeer, onTooBig } = this.#options;
    if (quoted === undefined || !isOurPort(quoted.sourcePort)) return;
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
    if (second !== this.#second) this.#spent = 0;
    this.#second = second;
    return ++this.#spent <= PER_SECOND;
  }
}
