/**
 * The care for paths: what they carry, measured by itself and on demand (`probing.ts`), and what follows for frames on
 * them and for each overlay's MTU (`overlay-mtu.ts`), carried out in the data plane and on the TAP. The composition root makes one, tells
 * it when the data plane runs and when peers changed, and shows what it warns of.
 */
import pLimit from 'p-limit';
import type { VniSettings } from '../config/settings.js';
import type { Handle, Mode } from '../controller/handle.js';
import { DataPlaneError, type NewPeer, type PeerState } from '../exchange/data-plane.js';
import type { VtepEvent } from '../exchange/events.js';
import { getLink, type Link, linksOfKind, setLink, tagsOver } from '../host/link.js';
import { packRow } from '../host/underlay-sockets.js';
import type { Logger } from '../log/log.js';
import { parseIpAddress } from '../wire/ip-address.js';
import { IcmpListener } from './icmp-listener.js';
import { OverlayMtus, unbridgedMtu } from './overlay-mtu.js';
import type { Paths } from './paths.js';
import type { ProbeResult } from './prober.js';
import { Probing, type ProbingOptions } from './probing.js';
import type { Proofs } from './proof.js';
import type { Progress } from './search.js';
import { type Judgement, judge, overlayMtuFor } from './verdict.js';

export interface PathManagerOptions extends Omit<ProbingOptions, 'checked'> {
  readonly log: Logger;
  readonly publish: (event: VtepEvent) => void;
}

/** What a search found about one peer, and what it means. */
export interface PeerVerdict extends ProbeResult, Judgement {
  /** What this machine lets out toward the peer, bytes; undefined: no route. */
  readonly routeMtu: number | undefined;
  /** Largest overlay MTU of this path, bytes; undefined: not known. */
  readonly fits: number | undefined;
  /** What frames of the VNI are judged by, and the TAP's device MTU, bytes. */
  readonly overlayMtu: number;
  readonly tapMtu: number;
}

export class PathManager {
  readonly #paths: Paths;
  readonly #log: Logger;
  readonly #overlayMtus: OverlayMtus;
  readonly #probing: Probing;
  #vlans: Promise<Link[]> | undefined;
  readonly #device: string;
  readonly #publish: (event: VtepEvent) => void;
  /** What the data plane was told of each path last, bytes; 0: not known. */
  readonly #reported = new Map<string, number>();
  #listener: IcmpListener | undefined;
  #handle: Handle | undefined;
  /** Runs what follows from paths, and what changes devices, one after another. */
  readonly #one = pLimit(1);
  /** A look that has not begun sees whatever changes until then. */
  #due = false;
  /** Why the last change could not be made; '' it could. */
  #failure = '';

  constructor(options: PathManagerOptions) {
    const { paths, log, settings } = options;
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

  /** Which peers proved themselves a vtepd. */
  get proofs(): Proofs {
    return this.#probing.proofs;
  }

  /** A VNI is about to be set up. */
  async begin(vni: VniSettings, peers: readonly NewPeer[]): Promise<void> {
    this.#overlayMtus.begin(vni, peers, await this.#tags(vni));
  }

  /** Another MTU is asked for, or the VNI has another bridge. @returns when frames are judged by its overlay MTU */
  change(vni: VniSettings, mode: Mode = 'revert'): Promise<void> {
    return this.inTurn(async () => {
      const handle = this.#handle!;
      const overlayMtu = this.#overlayMtus.change(vni, handle.peers(vni.vni), await this.#tags(vni));
      const packetMax = vni.mtu === 'auto' ? 0 : vni.mtu;
      await handle.setPolicy(vni.vni, { overlayMtu, packetMax }, mode);
      await followOnDevice(vni.tap, this.#overlayMtus.unbridgedMtu(vni.vni));
    });
  }

  /** What asks for a device and changes it accordingly: never while something that follows from paths does the same. */
  inTurn(work: () => Promise<void>): Promise<void> {
    return this.#one(work);
  }

  /** 802.1Q tags of a VNI's frames. Those of the start are asked for together; later ones see what there is by then. */
  async #tags({ tap, bridge }: VniSettings): Promise<number> {
    if (this.#handle !== undefined) this.#vlans = undefined;
    this.#vlans ??= linksOfKind('vlan');
    const vlans = await this.#vlans;
    return Math.max(tagsOver(tap, vlans), bridge === '' ? 0 : tagsOver(bridge, vlans));
  }

  /** A VNI is about to go: nothing follows from its paths any more. */
  async end(vni: number): Promise<void> {
    this.#overlayMtus.end(vni);
    await this.#one(() => {});
  }

  /** Of a VNI that has begun, bytes. */
  overlayMtu(vni: number): number {
    return this.#overlayMtus.overlayMtu(vni);
  }

  /** Device MTU of its TAP while that is in no bridge, bytes. */
  unbridgedMtu(vni: number): number {
    return this.#overlayMtus.unbridgedMtu(vni);
  }

  /**
   * The data plane runs: paths are watched from now on.
   * @param isDeaf source ports of whose datagrams no socket is told what ICMP says; undefined: there are none
   */
  start(handle: Handle, isDeaf: ((port: number) => boolean) | undefined): void {
    this.#handle = handle;
    this.#probing.start(handle);
    if (isDeaf) this.#listen(handle, isDeaf);
  }

  stop(): void {
    this.#handle = undefined;
    this.#listener?.stop();
    this.#probing.stop();
  }

  /** Peers or paths may have changed: what frames are judged by follows, one change after the other. */
  changed(): void {
    if (this.#due) return;
    this.#due = true;
    void this.#one(() => {
      this.#due = false;
      return this.#follow();
    });
  }

  /** Resolves when everything that `changed` has reported until now is carried out, or has failed. */
  async followed(): Promise<void> {
    await this.#one(() => {});
  }

  /** Takes answers to probes from the data plane. */
  replied(peerIdx: number, nonce: { readonly high: number; readonly low: number }, len: number): boolean {
    return this.#probing.replied(peerIdx, nonce, len);
  }

  warnings(): { code: string; detail: string }[] {
    return this.#overlayMtus.warnings();
  }

  /** Searches one path and says what it means. @param progress told of each packet @throws DataPlaneError vni_not_found */
  async probe(vni: number, peer: PeerState, progress: Progress): Promise<PeerVerdict> {
    const result = await this.#probing.search(vni, peer, progress);
    const { pathMtu } = result;
    const { text, family } = peer.address;
    const fits =
      pathMtu === undefined ? undefined : overlayMtuFor(family, pathMtu, this.#overlayMtus.tags(vni));
    await this.followed();
    const state = this.#handle?.vnis().find((one) => one.vni === vni);
    if (state === undefined)
      throw new DataPlaneError('vni_not_found', `VNI ${vni} was removed during the search`);
    const { tap, policy } = state;
    const { mtu: tapMtu, master } = await getLink(tap);
    const { overlayMtu } = policy;
    const judgement = judge(pathMtu, fits, { overlayMtu, tap, tapMtu, bridged: master !== '' });
    return { ...result, ...judgement, routeMtu: this.#paths.routeMtu(text), fits, overlayMtu, tapMtu };
  }

  #listen(handle: Handle, isOurPort: (port: number) => boolean): void {
    this.#listener = new IcmpListener({
      device: this.#device,
      isOurPort,
      isOurs: (address) => this.#paths.localAddresses().includes(address),
      isPeer: (address) => this.#paths.route(address) !== undefined,
      onTooBig: (family, address, port, mtu) =>
        handle.reportPath(packRow(family, parseIpAddress(address), port), mtu),
    });
    try {
      this.#listener.start();
    } catch (error) {
      const why = (error as Error).message;
      this.#log.warn({ error: why }, 'ICMP cannot be heard: paths that narrow are found by probes alone');
    }
  }

  async #follow(): Promise<void> {
    const handle = this.#handle;
    if (handle === undefined) return;
    // One that has begun and is not in the data plane yet was judged just now.
    const known = new Set(handle.vnis().map(({ vni }) => vni));
    try {
      await handle.followPaths((address) => this.#pathMtu(address));
      await this.#overlayMtus.follow(
        (vni) => (known.has(vni) ? handle.peers(vni) : undefined),
        async (vni, overlayMtu) => {
          await handle.setOverlayMtu(vni, overlayMtu);
          const { tap } = handle.vnis().find((state) => state.vni === vni)!;
          await followOnDevice(tap, unbridgedMtu('auto', overlayMtu));
        },
      );
      this.#failure = '';
    } catch (error) {
      this.#logFailure((error as Error).message);
    }
  }

  #pathMtu(address: string): number {
    const pathMtu = this.#paths.pathMtu(address) ?? 0;
    const before = this.#reported.get(address);
    if (before === pathMtu) return pathMtu;
    this.#reported.set(address, pathMtu);
    if (before !== undefined) this.#publish({ type: 'path-mtu', peer: address, pathMtu, before });
    return pathMtu;
  }

  /** The data plane is being restarted, or somebody took the TAP away: it is tried again at each look, and said once. */
  #logFailure(failure: string): void {
    if (this.#handle === undefined || failure === this.#failure) return;
    this.#failure = failure;
    this.#log.warn({ error: failure }, 'what follows from the paths could not be changed');
  }
}

/** A bridged TAP keeps the MTU of its bridge. */
async function followOnDevice(tap: string, unbridgedMtu: number): Promise<void> {
  const { master, mtu } = await getLink(tap);
  if (master === '' && mtu !== unbridgedMtu) await setLink(tap, 'mtu', String(unbridgedMtu));
}
