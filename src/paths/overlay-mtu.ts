/**
 * Maintains the overlay MTU of each VNI from its configuration and paths.
 *
 * With `--mtu auto` the overlay MTU is the largest that fits the narrowest path, and is updated
 * when peers or paths change. Otherwise the overlay MTU is the configured value. A warning is shown
 * while this value does not fit all paths.
 *
 * An unbridged TAP has the overlay MTU as its device MTU, so that the kernel itself sends no larger
 * packets; with `auto` the device MTU is at least 1280, the minimum of IPv6. A bridged TAP keeps
 * the MTU of its bridge: vtepd must receive frames that are too large in order to answer them.
 */

import type { VniSettings } from '../config/settings.js';
import { type Report, reportText } from '../exchange/report.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import { IPV6_MIN_MTU } from '../wire/ipv6.js';
import { type Fit, fitOf, mtuWarning, type PeerPath } from './verdict.js';

export interface OverlayMtuOptions {
  /** Returns the path MTU to a peer, bytes; undefined when unknown. */
  readonly pathMtu: (address: string) => number | undefined;
  readonly log: Logger;
}

/**
 * Returns the device MTU of a TAP outside a bridge, bytes. With `auto` the device MTU is at least
 * 1280: below 1280, Linux disables IPv6 on a device and removes its IPv6 addresses for good (RFC
 * 8200 §5).
 *
 * @param configured value of `--mtu`
 */
export function unbridgedMtu(configured: number | 'auto', overlayMtu: number): number {
  return configured === 'auto' ? Math.max(overlayMtu, IPV6_MIN_MTU) : configured;
}

/** The address of a peer. */
interface Peer {
  readonly address: { readonly text: string; readonly family: 4 | 6 };
}

/** Applies a changed overlay MTU of one VNI to the data plane and to an unbridged TAP. */
export type Carry = (vni: number, overlayMtu: number) => Promise<void>;

interface VniState {
  settings: VniSettings;
  /** Maximum number of 802.1Q tags of a frame. */
  tags: number;
  fit: Fit;
  overlayMtu: number;
  warning: Report | undefined;
}

export class OverlayMtus {
  readonly #options: OverlayMtuOptions;
  readonly #log: LimitedLog;
  readonly #vnis = new Map<number, VniState>();

  constructor(options: OverlayMtuOptions) {
    this.#options = options;
    this.#log = new LimitedLog(options.log);
  }

  /** Adds a VNI. @returns its overlay MTU, bytes */
  begin(settings: VniSettings, peers: readonly Peer[], tags: number): number {
    const fit = this.#fit(peers, tags);
    const overlayMtu = settings.mtu === 'auto' ? fit.overlayMtu : settings.mtu;
    const state: VniState = { settings, tags, fit, overlayMtu, warning: undefined };
    this.#vnis.set(settings.vni, state);
    this.#updateWarning(state);
    return overlayMtu;
  }

  /**
   * Applies a changed `--mtu` or number of tags.
   *
   * @param peers current peers of the VNI
   * @returns overlay MTU of the VNI, bytes
   */
  change(settings: VniSettings, peers: readonly Peer[], tags: number): number {
    const state = this.#vnis.get(settings.vni)!;
    state.settings = settings;
    state.tags = tags;
    state.fit = this.#fit(peers, tags);
    state.overlayMtu = settings.mtu === 'auto' ? state.fit.overlayMtu : settings.mtu;
    this.#updateWarning(state);
    return state.overlayMtu;
  }

  /** Removes a VNI. */
  end(vni: number): void {
    this.#vnis.delete(vni);
    this.#log.forget(String(vni));
  }

  /**
   * Recomputes the overlay MTUs after a possible change of peers or paths. A failure for one VNI,
   * for example because its TAP was deleted, does not affect the others.
   *
   * @param peersOf returns the current peers of a VNI, or undefined to leave the VNI unchanged
   * @throws the first error of `carry`; the caller has to call again
   */
  async follow(peersOf: (vni: number) => readonly Peer[] | undefined, carry: Carry): Promise<void> {
    const failures: unknown[] = [];
    for (const [vni, state] of this.#vnis) {
      const peers = peersOf(vni);
      if (peers === undefined) continue;
      state.fit = this.#fit(peers, state.tags);
      this.#updateWarning(state);
      const { fit } = state;
      if (state.settings.mtu !== 'auto' || fit.overlayMtu === state.overlayMtu) continue;
      await carry(vni, fit.overlayMtu).then(
        () => this.#applied(vni, state, fit),
        (error) => failures.push(error),
      );
    }
    if (failures.length > 0) throw failures[0];
  }

  #applied(vni: number, state: VniState, { overlayMtu, peer }: Fit): void {
    const fields = { vni, before: state.overlayMtu, overlayMtu, peer };
    state.overlayMtu = overlayMtu;
    this.#log.log(String(vni), 'info', fields, 'overlay MTU changed to fit the narrowest path');
  }

  /** Returns the overlay MTU of an added VNI, bytes. */
  overlayMtu(vni: number): number {
    return this.#vnis.get(vni)!.overlayMtu;
  }

  /** Returns the device MTU of an added VNI's TAP outside a bridge, bytes. */
  unbridgedMtu(vni: number): number {
    const { settings, overlayMtu } = this.#vnis.get(vni)!;
    return unbridgedMtu(settings.mtu, overlayMtu);
  }

  /** Returns the number of 802.1Q tags of a VNI's frames. */
  tags(vni: number): number {
    return this.#vnis.get(vni)?.tags ?? 0;
  }

  /** Returns a warning for each VNI whose `--mtu` is too large. */
  reports(): Report[] {
    const warnings = Array.from(this.#vnis.values(), ({ warning }) => warning);
    return warnings.filter((warning) => warning !== undefined);
  }

  #fit(peers: readonly Peer[], tags: number): Fit {
    const paths: PeerPath[] = peers.map(({ address: { text, family } }) => ({
      address: text,
      family,
      pathMtu: this.#options.pathMtu(text),
    }));
    return fitOf(paths, tags);
  }

  /** Logs a warning when the warning appears, and again when it changes. */
  #updateWarning(state: VniState): void {
    const { settings, fit } = state;
    const warning = settings.mtu === 'auto' ? undefined : mtuWarning(settings.vni, settings.mtu, fit);
    if (warning !== undefined && warning.detail !== state.warning?.detail)
      this.#log.log(String(settings.vni), 'warn', { code: warning.code }, reportText(warning));
    state.warning = warning;
  }
}
