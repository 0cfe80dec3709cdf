/**
 * Keeps the receive group (`host/receive-group.ts`) consistent with the peers.
 *
 * The socket of a peer depends on whether the peer is proved to be a vtepd (`paths/proof.ts`), and
 * on the device of the route to the peer. Checks run once a second, when peers change, and when a
 * proof arrives. Until the next check the datagrams of a new peer arrive at the strangers' socket,
 * where they are processed like the datagrams of any peer.
 */

import type { Shim } from '../abi/binding.js';
import { errnoName } from '../abi/errno.js';
import type { Handle } from '../controller/handle.js';
import { ReceiveGroup, type Source } from '../host/receive-group.js';
import type { UnderlaySockets } from '../host/underlay-sockets.js';
import { isWireDevice } from '../host/wire-device.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import type { ProbedPeer } from '../paths/means.js';
import type { Paths } from '../paths/paths.js';
import type { Proofs } from '../paths/proof.js';

const CHECK_MS = 1000;
/** Minimum pause after a check, as a multiple of its duration. */
const REST_FACTOR = 20;
/** Number of VNIs (24 bits). */
const VNI_COUNT = 1 << 24;
/**
 * Lifetime of cached driver information, ms; it is short because another device may get the name.
 */
const DRIVER_MS = 5000;

export interface ReceivingOptions {
  readonly shim: Shim;
  readonly sockets: UnderlaySockets;
  readonly handle: Handle;
  readonly paths: Paths;
  readonly proofs: Proofs;
  readonly log: Logger;
}

export class Receiving {
  readonly #options: ReceivingOptions;
  readonly #group: ReceiveGroup;
  readonly #log: LimitedLog;
  readonly #wires = new Map<string, { readonly isWire: boolean; readonly untilMs: number }>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ReceivingOptions) {
    this.#options = options;
    this.#group = new ReceiveGroup(options.shim, options.sockets.receiveFds);
    this.#log = new LimitedLog(options.log);
  }

  start(): void {
    this.#check();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /**
   * Schedules a check for the end of this turn of the event loop, because peers or proofs have
   * changed.
   */
  due(): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), 0);
  }

  #check(): void {
    const beganMs = performance.now();
    const { handle, proofs } = this.#options;
    const peers = new Map<string, Found>();
    let acceptsAny = false;
    for (const { vni, policy } of handle.vnis()) {
      acceptsAny ||= policy.accept === 'any';
      for (const { peerIdx, address } of handle.peers(vni)) {
        const found = peers.get(address.text);
        if (found === undefined) {
          const behind = proofs.askBehind(address.text);
          peers.set(address.text, { behind, peer: { vni, peerIdx, ...address }, hasOnePort: true });
        } else if (address.port !== found.peer.port) found.hasOnePort = false;
        else if (rank(vni, found.behind) < rank(found.peer.vni, found.behind))
          found.peer = { vni, peerIdx, ...address };
      }
    }
    const found = [...peers.values()];
    proofs.check(
      found.filter(({ hasOnePort }) => hasOnePort).map(({ peer }) => peer),
      beganMs,
    );
    const sources = found.map((one) => this.#sourceOf(one, beganMs));
    const error = this.#group.steer(sources, acceptsAny);
    if (error < 0)
      this.#log.log(
        '',
        'warn',
        {},
        `cannot attach the program that assigns peers to receive sockets (${errnoName(error)}); the assignment does not change`,
      );
    if (this.#stopped) return;
    const tookMs = performance.now() - beganMs;
    this.#timer = setTimeout(() => this.#check(), Math.max(CHECK_MS, REST_FACTOR * tookMs));
  }

  #sourceOf({ peer: { text, family, bytes }, hasOnePort }: Found, nowMs: number): Source {
    const trains = (hasOnePort && this.#options.proofs.isProved(text)) || this.#isByWire(text, nowMs);
    return { text, family, bytes, trains };
  }

  #isByWire(text: string, nowMs: number): boolean {
    const device = this.#options.paths.route(text)?.device;
    if (device === undefined) return false;
    const known = this.#wires.get(device);
    if (known !== undefined && nowMs < known.untilMs) return known.isWire;
    const isWire = isWireDevice(this.#options.shim, device);
    this.#wires.set(device, { isWire, untilMs: nowMs + DRIVER_MS });
    return isWire;
  }
}

/** A peer's address, and the peer row for the next proof request. */
interface Found {
  /** Result of `Proofs.askBehind`: the next request is sent in the first VNI after this VNI. */
  readonly behind: number;
  peer: ProbedPeer;
  /**
   * True when all peers of the address use one port. Otherwise a proof has no effect, because
   * sockets are chosen by address alone.
   */
  hasOnePort: boolean;
}

/** Sort key of a VNI in the cyclic order that starts with the VNI `behind` + 1. */
function rank(vni: number, behind: number): number {
  return vni > behind ? vni - VNI_COUNT : vni;
}
