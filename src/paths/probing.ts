/**
 * Path probing: periodic search of all paths and search of one path on request.
 *
 * Owns the sockets and the means of probing. `paths/paths.ts` keeps the path MTUs; the caller
 * applies them.
 */

import type { Shim } from '../abi/binding.js';
import { ERRNO } from '../abi/errno.js';
import type { Settings } from '../config/settings.js';
import {
  P_LAST_SEEN_MS,
  P_TX_FRAMES,
  V_DROPS_ENCAP,
  V_TOO_BIG_DROP,
  V_TOO_BIG_FRAGMENT,
  V_TOO_BIG_ICMP,
} from '../exchange/counters.js';
import type { DataPlane, PeerState } from '../exchange/data-plane.js';
import { DROP } from '../exchange/drop-reason.js';
import type { Held } from '../exchange/protocol.js';
import type { Link, Machine } from '../host/machine.js';
import { ArpMeans, type LearnedHost } from './arp.js';
import { EchoMeans } from './echo.js';
import { icmpMeans } from './icmp.js';
import type { ProbedPeer, SendDatagram } from './means.js';
import { ipv4Neighbours } from './neighbours.js';
import type { Paths } from './paths.js';
import { ProbeSender } from './probe-sender.js';
import { openProbeSockets, type ProbeFds, type ProbeSockets } from './probe-sockets.js';
import { type ProbeResult, Prober } from './prober.js';
import { Proofs } from './proof.js';
import type { Progress } from './search.js';
import { CHECK_MS, PathWatch, type Signs } from './watch.js';

/** Status of a send without sockets. */
const EAFNOSUPPORT = -ERRNO.EAFNOSUPPORT;
const ENETUNREACH = -ERRNO.ENETUNREACH;
/** Minimum pause after a check, as a multiple of the duration of the check. */
const PAUSE_FACTOR = 50;
/** Maximum number of learned hosts examined to find a host for ARP. */
const MAX_HOSTS = 1000;

export interface ProbingOptions {
  /** Returns the address families in which nothing may be sent. */
  readonly held: () => Held;
  readonly machine: Machine;
  /** Returns the TAP that the configuration names; undefined: it is not in this namespace. */
  readonly linkOf: (tap: string) => Link | undefined;
  readonly shim: Shim;
  readonly settings: Pick<Settings, 'local' | 'underlayDev' | 'fwmark' | 'sourcePorts'>;
  readonly ttl: number;
  readonly paths: Paths;
  /** Called with the counters of all peers at each check. */
  readonly signs: (signs: readonly Signs[]) => void;
  /** Called after each check, because a check possibly changes path MTUs. */
  readonly checked: () => void;
}

export class Probing {
  readonly #options: ProbingOptions;
  readonly #echo: EchoMeans;
  readonly #arp: ArpMeans;
  #dataPlane: DataPlane | undefined;
  readonly #prober: Prober;
  /** Proofs of peers that are a vtepd. */
  readonly proofs: Proofs;
  #sender: ProbeSender | undefined;
  #watch: PathWatch | undefined;
  /** Sockets that `start` opened. */
  #sockets: ProbeSockets | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProbingOptions) {
    const { settings, paths } = options;
    this.#options = options;
    const send: SendDatagram = (peer, datagram) =>
      this.#isHeld(peer) ? ENETUNREACH : (this.#sender?.send(peer, datagram) ?? EAFNOSUPPORT);
    this.#echo = new EchoMeans(send);
    this.proofs = new Proofs(send);
    this.#arp = new ArpMeans(send, (peer) => this.#findHost(peer));
    const icmp = icmpMeans(settings.underlayDev, settings.fwmark, (peer) => this.#isHeld(peer));
    const means = [icmp, this.#echo, this.#arp];
    this.#prober = new Prober(means, (address) => paths.refresh(address));
  }

  /** Handles a reply that the data plane received. @returns true when it newly proves a peer */
  replied(peerIdx: number, nonce: { readonly high: number; readonly low: number }, len: number): boolean {
    if (len === 0) this.#arp.replied(peerIdx, nonce);
    else this.#echo.replied(peerIdx, nonce, len);
    const proved = this.proofs.replied(peerIdx, nonce, len);
    if (proved === undefined) return false;
    this.#watch?.appeared(proved);
    return true;
  }

  /**
   * Opens the sockets and starts the watch. Call after the sockets of the pool have their ports.
   *
   * @param fds sockets to send from, which the caller owns; undefined: sockets are opened
   */
  start(dataPlane: DataPlane, fds: ProbeFds | undefined): void {
    this.#dataPlane = dataPlane;
    this.#sender = new ProbeSender(this.#options.shim, fds ?? this.#openSockets());
    const { paths, checked } = this.#options;
    this.#watch = new PathWatch({
      search: (peer) => this.#prober.probe(peer, 'vtepd'),
      signs: () => {
        const signs = signsOf(dataPlane);
        this.#options.signs(signs);
        return signs;
      },
      learned: (address, pathMtu) => {
        paths.probed(address, pathMtu);
        checked();
      },
    });
    const check = () => {
      const startMs = performance.now();
      this.#watch?.check(startMs);
      checked();
      const durationMs = performance.now() - startMs;
      this.#timer = setTimeout(check, Math.max(CHECK_MS, PAUSE_FACTOR * durationMs));
    };
    check();
  }

  /** Searches one path on request, by all means in order. */
  async search(vni: number, peer: PeerState, progress: Progress): Promise<ProbeResult> {
    const result = await this.#prober.probe(probedPeer(vni, peer), undefined, progress);
    if (result.pathMtu !== undefined)
      this.#watch?.searched(peer.address.text, result.pathMtu, performance.now());
    return result;
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#prober.stop();
    this.#sender = undefined;
    this.#sockets?.close();
    this.#sockets = undefined;
  }

  /** Binds the sockets that `start` opened to their device again. @returns 0 or a negative errno */
  rebind(device: string, families: readonly (4 | 6)[]): number {
    return this.#sockets?.rebind(device, families) ?? 0;
  }

  #isHeld({ family, text }: ProbedPeer): boolean {
    const { held, paths } = this.#options;
    const { ipv4, ipv6 } = held();
    return (family === 4 ? ipv4 : ipv6) || paths.overlayDevice(text) !== undefined;
  }

  /**
   * Returns a host learned behind the peer that is also a neighbour of this machine on the overlay.
   */
  async #findHost({ vni, text }: ProbedPeer): Promise<LearnedHost | undefined> {
    const state = this.#dataPlane?.vnis().find((configured) => configured.vni === vni);
    if (this.#dataPlane === undefined || state === undefined) return undefined;
    const { index = 0, master = 0 } = this.#options.linkOf(state.tap) ?? {};
    const filter = { type: 'all', peer: text } as const;
    const { items } = await this.#dataPlane.listFdb(vni, filter, MAX_HOSTS, 0);
    const neighbours = await ipv4Neighbours([index, master].filter((device) => device !== 0));
    return neighbours.find(({ mac: { high, low } }) =>
      items.some(({ mac }) => mac.high === high && mac.low === low),
    );
  }

  #openSockets(): ProbeFds {
    const { shim, machine, settings, ttl } = this.#options;
    const localOf = (family: 4 | 6) =>
      settings.local.find((address) => address.family === family)?.text ?? '';
    const sockets = openProbeSockets(shim, {
      local4: localOf(4),
      local6: localOf(6),
      scopeId: (scope) => machine.scopeId(scope),
      device: settings.underlayDev,
      mark: settings.fwmark,
      sourcePorts: settings.sourcePorts,
      ttl,
    });
    this.#sockets = sockets;
    return sockets;
  }
}

function probedPeer(vni: number, { peerIdx, address }: PeerState): ProbedPeer {
  return { vni, peerIdx, ...address };
}

/** Returns one element per peer address, because an address in several VNIs has one path. */
function signsOf(dataPlane: DataPlane): Signs[] {
  const byAddress = new Map<string, Signs>();
  for (const { vni } of dataPlane.vnis()) {
    const { vni: row, peers } = dataPlane.snapshot(vni);
    const tooBig = tooBigFrames(row);
    for (const { peer, row: counted } of peers) {
      if (peer === undefined) continue;
      const { text } = peer.address;
      const before = byAddress.get(text);
      byAddress.set(text, {
        peer: before?.peer ?? probedPeer(vni, peer),
        txFrames: (before?.txFrames ?? 0) + counted[P_TX_FRAMES],
        lastSeenMs: Math.max(before?.lastSeenMs ?? 0, counted[P_LAST_SEEN_MS]),
        tooBig: (before?.tooBig ?? 0) + tooBig,
      });
    }
  }
  return [...byAddress.values()];
}

function tooBigFrames(row: Float64Array): number {
  const answered = row[V_TOO_BIG_ICMP] + row[V_TOO_BIG_FRAGMENT] + row[V_TOO_BIG_DROP];
  return answered + row[V_DROPS_ENCAP + DROP.too_big];
}
