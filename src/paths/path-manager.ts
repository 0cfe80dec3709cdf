/**
 * Keeps path MTUs current and applies their consequences.
 *
 * Paths are probed periodically and on request (`probing.ts`). The results determine per-peer frame
 * limits and the overlay MTU of each VNI (`overlay-mtu.ts`), which are applied to the data plane
 * and to the TAP. The composition root creates one instance, reports to this instance the start of
 * the data plane and changes of peers, and shows the reports of the instance.
 */
import pLimit from 'p-limit';
import type { VniSettings } from '../config/settings.js';
import type { Handle, Mode } from '../controller/handle.js';
import { DataPlaneError, type NewPeer, type PeerState } from '../exchange/data-plane.js';
import type { VtepEvent } from '../exchange/events.js';
import { PATH_HELD } from '../exchange/protocol.js';
import type { Report } from '../exchange/report.js';
import { setLink } from '../host/netlink/links.js';
import { tagsOver } from '../host/stack.js';
import { packRow } from '../host/underlay-sockets.js';
import type { Logger } from '../log/log.js';
import { parseIpAddress } from '../wire/ip-address.js';
import { IcmpListener } from './icmp-listener.js';
import { OverlayMtus, unbridgedMtu } from './overlay-mtu.js';
import type { Paths } from './paths.js';
import type { ProbeFds } from './probe-sockets.js';
import type { ProbeResult } from './prober.js';
import { Probing, type ProbingOptions } from './probing.js';
import type { Proofs } from './proof.js';
import type { Progress } from './search.js';
import { type Judgement, judge, overlayMtuFor } from './verdict.js';

export interface PathManagerOptions extends Omit<ProbingOptions, 'checked'> {
  readonly log: Logger;
  readonly publish: (event: VtepEvent) => void;
}

/** Result of a search for one peer, with its meaning for the overlay. */
export interface PeerVerdict extends ProbeResult, Judgement {
  /** MTU of the local route to the peer, bytes; undefined when there is no route. */
  readonly routeMtu: number | undefined;
  /** Largest overlay MTU that fits this path, bytes; undefined when unknown. */
  readonly fits: number | undefined;
  /** Overlay MTU of the VNI and device MTU of its TAP, bytes. */
  readonly overlayMtu: number;
  readonly tapMtu: number;
}

export class PathManager {
  readonly #options: PathManagerOptions;
  readonly #paths: Paths;
  readonly #log: Logger;
  readonly #overlayMtus: OverlayMtus;
  readonly #probing: Probing;
  readonly #device: string;
  readonly #publish: (event: VtepEvent) => void;
  /** Path MTU last sent to the data plane, by address, bytes; 0 unknown. */
  readonly #reported = new Map<string, number>();
  #listener: IcmpListener | undefined;
  #handle: Handle | undefined;
  /** Serialises applying path MTUs with other changes of devices. */
  readonly #serial = pLimit(1);
  /**
   * True when a pass is queued. The pass includes every change that is made before the pass starts.
   */
  #queued = false;
  /** Error message of the last pass; '' when it succeeded. */
  #failure = '';

  constructor(options: PathManagerOptions) {
    const { paths, log, settings } = options;
    this.#options = options;
    this.#device = settings.underlayDev;
    this.#paths = paths;
    this.#log = log;
    this.#publish = options.publish;
    this.#overlayMtus = new OverlayMtus({ pathMtu: (address) => paths.pathMtu(address), log });
    this.#probing = new Probing({
      ...options,
      signs: (signs) => {
        options.signs(signs);
        const peers = new Set(signs.map(({ peer }) => peer.text));
        for (const address of paths.retain(peers, performance.now())) this.#reported.delete(address);
      },
      checked: () => this.changed(),
    });
  }

  /** Proofs that peers are a vtepd. */
  get proofs(): Proofs {
    return this.#probing.proofs;
  }

  /** Adds a VNI. Called before the VNI is set up. */
  begin(vni: VniSettings, peers: readonly NewPeer[]): void {
    this.#overlayMtus.begin(vni, peers, this.#tags(vni));
  }

  /**
   * Applies a changed `--mtu` or bridge of a VNI. Resolves when the data plane and the TAP use the
   * overlay MTU.
   */
  change(vni: VniSettings, mode: Mode = 'revert'): Promise<void> {
    return this.inTurn(async () => {
      const handle = this.#handle!;
      const overlayMtu = this.#overlayMtus.change(vni, handle.peers(vni.vni), this.#tags(vni));
      const packetMax = vni.mtu === 'auto' ? 0 : vni.mtu;
      await handle.setPolicy(vni.vni, { overlayMtu, packetMax }, mode);
      await this.#setDeviceMtu(vni.tap, this.#overlayMtus.unbridgedMtu(vni.vni));
    });
  }

  /** Gives the TAP of a VNI its device MTU again, if it is in no bridge. */
  fit({ vni, tap }: VniSettings): Promise<void> {
    return this.inTurn(() => this.#setDeviceMtu(tap, this.#overlayMtus.unbridgedMtu(vni)));
  }

  /** Serialises read-modify-write of a device with MTU changes caused by path updates. */
  inTurn(work: () => Promise<void>): Promise<void> {
    return this.#serial(work);
  }

  /** Returns the number of 802.1Q tags of a VNI's frames. */
  #tags({ tap, bridge }: VniSettings): number {
    const { machine } = this.#options;
    const over = (name: string) => {
      const link = name === '' ? undefined : machine.find(name);
      return link === undefined ? 0 : tagsOver(link.index, machine.links);
    };
    return Math.max(over(tap), over(bridge));
  }

  /**
   * Removes a VNI. Called before the VNI is torn down; resolves when the current pass has ended.
   */
  async end(vni: number): Promise<void> {
    this.#overlayMtus.end(vni);
    await this.#serial(() => {});
  }

  /** Returns the overlay MTU of an added VNI, bytes. */
  overlayMtu(vni: number): number {
    return this.#overlayMtus.overlayMtu(vni);
  }

  /** Returns the device MTU of an added VNI's TAP outside a bridge, bytes. */
  unbridgedMtu(vni: number): number {
    return this.#overlayMtus.unbridgedMtu(vni);
  }

  /**
   * Starts to watch paths; called when the data plane runs.
   *
   * @param probeFds sockets for probes, which the caller owns; undefined: sockets are opened
   */
  start(handle: Handle, probeFds?: ProbeFds): void {
    this.#handle = handle;
    this.#probing.start(handle, probeFds);
  }

  /**
   * Binds the sockets to their device again, after it was made again.
   *
   * @returns 0 or a negative errno
   */
  rebind(device: string, families: readonly (4 | 6)[]): number {
    this.#listener?.restart();
    return this.#probing.rebind(device, families);
  }

  stop(): void {
    this.#handle = undefined;
    this.#listener?.stop();
    this.#probing.stop();
  }

  /** Reports a possible change of peers or paths; queues a pass that applies path MTUs. */
  changed(): void {
    if (this.#queued) return;
    this.#queued = true;
    void this.#serial(() => {
      this.#queued = false;
      return this.#follow();
    });
  }

  /** Resolves when all changes reported by `changed` so far have been applied, or have failed. */
  async followed(): Promise<void> {
    await this.#serial(() => {});
  }

  /** Handles a reply to a probe that the data plane received. */
  replied(peerIdx: number, nonce: { readonly high: number; readonly low: number }, len: number): boolean {
    return this.#probing.replied(peerIdx, nonce, len);
  }

  reports(): Report[] {
    return this.#overlayMtus.reports();
  }

  /**
   * Searches one path and evaluates the result.
   *
   * @param progress called after each packet
   * @throws DataPlaneError vni_not_found when the VNI was removed during the search
   */
  async probe(vni: number, peer: PeerState, progress: Progress): Promise<PeerVerdict> {
    const result = await this.#probing.search(vni, peer, progress);
    const { pathMtu } = result;
    const { text, family } = peer.address;
    const fits =
      pathMtu === undefined ? undefined : overlayMtuFor(family, pathMtu, this.#overlayMtus.tags(vni));
    await this.followed();
    const state = this.#handle?.vnis().find((row) => row.vni === vni);
    if (state === undefined)
      throw new DataPlaneError('vni_not_found', `VNI ${vni} was removed during the search`);
    const { tap, policy } = state;
    const { overlayMtu } = policy;
    const { mtu: tapMtu, master } = this.#options.linkOf(tap) ?? { mtu: overlayMtu, master: 0 };
    const judgement = judge(pathMtu, fits, { overlayMtu, tap, tapMtu, bridged: master !== 0 });
    return { ...result, ...judgement, routeMtu: this.#paths.routeMtu(text), fits, overlayMtu, tapMtu };
  }

  /**
   * Starts to receive ICMP about datagrams whose sockets have no error queue; later calls do nothing.
   *
   * @param isOurPort true for the source ports of these datagrams
   */
  listen(handle: Handle, isOurPort: (port: number, family: 4 | 6) => boolean): void {
    if (this.#listener) return;
    const { machine } = this.#options;
    this.#listener = new IcmpListener({
      device: this.#device,
      isOurPort,
      isOurs: (address) => this.#paths.localAddresses().includes(address),
      isPeer: (address) => this.#paths.route(address) !== undefined,
      onTooBig: (family, address, port, mtu) =>
        handle.reportPath(
          packRow(family, parseIpAddress(address), port, (scope) => machine.scopeId(scope)),
          mtu,
        ),
    });
    try {
      this.#listener.start();
    } catch (error) {
      const why = (error as Error).message;
      this.#log.warn({ error: why }, 'cannot receive ICMP: narrower paths are detected by probes only');
    }
  }

  async #follow(): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) return;
    // A VNI that is not yet in the data plane is skipped: its overlay MTU was computed when it was
    // added.
    const known = new Set(handle.vnis().map(({ vni }) => vni));
    try {
      await handle.followPaths((address) => this.#pathMtu(address));
      await this.#overlayMtus.follow(
        (vni) => (known.has(vni) ? handle.peers(vni) : undefined),
        async (vni, overlayMtu) => {
          await handle.setOverlayMtu(vni, overlayMtu);
          const { tap } = handle.vnis().find((state) => state.vni === vni)!;
          await this.#setDeviceMtu(tap, unbridgedMtu('auto', overlayMtu));
        },
      );
      this.#failure = '';
    } catch (error) {
      this.#logFailure((error as Error).message);
    }
  }

  #pathMtu(address: string): number {
    if (this.#paths.overlayDevice(address) !== undefined) return PATH_HELD;
    const pathMtu = this.#paths.pathMtu(address) ?? 0;
    const before = this.#reported.get(address);
    if (before === pathMtu) return pathMtu;
    this.#reported.set(address, pathMtu);
    if (before !== undefined) this.#publish({ type: 'path-mtu', peer: address, pathMtu, before });
    return pathMtu;
  }

  /**
   * Logs a failure once, for example that the data plane is restarting or that the TAP was deleted.
   * Every later check of the paths tries to apply the path MTUs again.
   */
  #logFailure(failure: string): void {
    if (this.#handle === undefined || failure === this.#failure) return;
    this.#failure = failure;
    this.#log.warn({ error: failure }, 'cannot apply path MTU changes; trying again');
  }

  /**
   * Sets the device MTU of an unbridged TAP; a bridged TAP keeps the MTU of its bridge. A TAP that is
   * missing gets its MTU when it is opened again.
   */
  async #setDeviceMtu(tap: string, mtu: number): Promise<void> {
    const { machine, linkOf } = this.#options;
    const link = linkOf(tap);
    if (link === undefined || link.master !== 0 || link.mtu === mtu) return;
    await machine.change(setLink(`configure ${link.name}`, link.index, { mtu }));
  }
}
