/**
 * Keeps the receive group (`host/receive-group.ts`) in step with the peers: who they are, which of them proved themselves a
 * vtepd (`paths/proof.ts`), and by what device they are reached. Looks once a second, when peers change, and when a proof
 * arrives. A new peer's datagrams come to the strangers' socket until then, and are judged as a peer's.
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
/** After a look at very many peers there is a rest of so many times what it took. */
const REST_FACTOR = 20;
/** Number of VNIs (24 bits). */
const VNI_COUNT = 1 << 24;
/** How long what is known of a device's driver holds, ms: another device may get its name. */
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

  /** Peers or proofs have changed: looks at the end of this turn of the event loop. */
  due(): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), 0);
  }

  #check(): void {
    const beganMs = performance.now();
    const { handle, proofs } = this.#options;
    const peers = new Map<string, Found>();
    let anyone = false;
    for (const { vni, policy } of handle.vnis()) {
      anyone ||= policy.accept === 'any';
      for (const { peerIdx, address } of handle.peers(vni)) {
        const found = peers.get(address.text);
        if (found === undefined) {
          const behind = proofs.askBehind(address.text);
          peers.set(address.text, { behind, peer: { vni, peerIdx, ...address }, isOne: true });
        } else if (address.port !== found.peer.port) found.isOne = false;
        else if (rank(vni, found.behind) < rank(found.peer.vni, found.behind))
          found.peer = { vni, peerIdx, ...address };
      }
    }
    const found = [...peers.values()];
    proofs.check(
      found.filter(({ isOne }) => isOne).map(({ peer }) => peer),
      beganMs,
    );
    const sources = found.map((one) => this.#sourceOf(one, beganMs));
    const error = this.#group.steer(sources, anyone);
    if (error < 0)
      this.#log.log('', 'warn', {}, `the kernel refuses to spread peers over sockets (${errnoName(error)})`);
    if (this.#stopped) return;
    const tookMs = performance.now() - beganMs;
    this.#timer = setTimeout(() => this.#check(), Math.max(CHECK_MS, REST_FACTOR * tookMs));
  }

  #sourceOf({ peer: { text, family, bytes }, isOne }: Found, nowMs: number): Source {
    const trains = (isOne && this.#options.proofs.isProved(text)) || this.#isByWire(text, nowMs);
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

/** A peer's address, and the peer row for the next question. */
interface Found {
  /** `Proofs.askBehind`. */
  readonly behind: number;
  peer: ProbedPeer;
  /** All peers of the address use one port. Otherwise no proof counts, as sockets are chosen by address alone. */
  isOne: boolean;
}

/** Sort key of a VNI in the cyclic order that starts above `behind`. */
function rank(vni: number, behind: number): number {
  return vni > behind ? vni - VNI_COUNT : vni;
}
