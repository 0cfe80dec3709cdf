/**
 * The overlay MTU of each VNI, from configuration and paths: with `--mtu auto` what fits the narrowest path, followed as
 * peers come and go and paths change; else what was asked for, with a warning for as long as it does not fit.
 *
 * An unbridged TAP has the overlay MTU as its device MTU, for then the kernel itself sends nothing larger: what was asked for,
 * or what follows from paths, but then never less than IPv6 takes. A bridged one keeps its bridge's: vtepd must see what is
 * too large to answer it.
 */

import type { VniSettings } from '../config/settings.js';
import type { Logger } from '../log/log.js';
import { LimitedLog } from '../log/log-limit.js';
import { IPV6_MIN_MTU } from '../wire/ipv6.js';
import { type Fit, fitOf, mtuWarning, type PeerPath } from './verdict.js';

export interface OverlayMtuOptions {
  /** What is known of the way to a peer, bytes. */
  readonly pathMtu: (address: string) => number | undefined;
  readonly log: Logger;
}

/** Linux takes IPv6 away from a device that carries less (RFC 8200 §5), addresses and all, and does not give it back. */

/** Device MTU of a TAP in no bridge, bytes. @param asked `--mtu` */
export function unbridgedMtu(asked: number | 'auto', overlayMtu: number): number {
  return asked === 'auto' ? Math.max(overlayMtu, IPV6_MIN_MTU) : asked;
}

/** A peer as far as its path matters. */
interface Peer {
  readonly address: { readonly text: string; readonly family: 4 | 6 };
}

/** How a change of one VNI's overlay MTU is carried out: in the data plane, and on the device where it has it. */
export type Carry = (vni: number, overlayMtu: number) => Promise<void>;

interface Kept {
  settings: VniSettings;
  /** 802.1Q tags of frames on this overlay. */
  tags: number;
  fit: Fit;
  overlayMtu: number;
  warning: string | undefined;
}

export class OverlayMtus {
  readonly #options: OverlayMtuOptions;
  readonly #log: LimitedLog;
  readonly #vnis = new Map<number, Kept>();

  constructor(options: OverlayMtuOptions) {
    this.#options = options;
    this.#log = new LimitedLog(options.log);
  }

  /** A VNI begins. @returns its overlay MTU, bytes */
  begin(settings: VniSettings, peers: readonly Peer[], tags: number): number {
    const fit = this.#fit(peers, tags);
    const overlayMtu = settings.mtu === 'auto' ? fit.overlayMtu : settings.mtu;
    const kept: Kept = { settings, tags, fit, overlayMtu, warning: undefined };
    this.#vnis.set(settings.vni, kept);
    this.#judge(kept);
    return overlayMtu;
  }

  /** Another MTU is asked for, or frames have other tags. @param peers those that it has now @returns its overlay MTU, bytes */
  change(settings: VniSettings, peers: readonly Peer[], tags: number): number {
    const kept = this.#vnis.get(settings.vni)!;
    kept.settings = settings;
    kept.tags = tags;
    kept.fit = this.#fit(peers, tags);
    kept.overlayMtu = settings.mtu === 'auto' ? kept.fit.overlayMtu : settings.mtu;
    this.#judge(kept);
    return kept.overlayMtu;
  }

  /** A VNI goes. */
  end(vni: number): void {
    this.#vnis.delete(vni);
    this.#log.forget(String(vni));
  }

  /**
   * Peers or paths may have changed. A VNI that cannot follow, as its TAP was taken away, keeps no other from it.
   * @param peersOf present peers of a VNI; undefined: leave it as it is
   * @throws the first that `carry` throws; call again then
   */
  async follow(peersOf: (vni: number) => readonly Peer[] | undefined, carry: Carry): Promise<void> {
    const failures: unknown[] = [];
    for (const [vni, kept] of this.#vnis) {
      const peers = peersOf(vni);
      if (peers === undefined) continue;
      kept.fit = this.#fit(peers, kept.tags);
      this.#judge(kept);
      const { fit } = kept;
      if (kept.settings.mtu !== 'auto' || fit.overlayMtu === kept.overlayMtu) continue;
      await carry(vni, fit.overlayMtu).then(
        () => this.#followed(vni, kept, fit),
        (error) => failures.push(error),
      );
    }
    if (failures.length > 0) throw failures[0];
  }

  #followed(vni: number, kept: Kept, { overlayMtu, peer }: Fit): void {
    const fields = { vni, before: kept.overlayMtu, overlayMtu, peer };
    kept.overlayMtu = overlayMtu;
    this.#log.log(String(vni), 'info', fields, 'overlay MTU follows the narrowest path');
  }

  /** Of a VNI that has begun, bytes. */
  overlayMtu(vni: number): number {
    return this.#vnis.get(vni)!.overlayMtu;
  }

  /** Device MTU of the TAP of a VNI that has begun, while it is in no bridge, bytes. */
  unbridgedMtu(vni: number): number {
    const { settings, overlayMtu } = this.#vnis.get(vni)!;
    return unbridgedMtu(settings.mtu, overlayMtu);
  }

  /** VLAN tags that a VNI's frames have. */
  tags(vni: number): number {
    return this.#vnis.get(vni)?.tags ?? 0;
  }

  /** Of VNIs whose `--mtu` does not fit. */
  warnings(): { code: string; detail: string }[] {
    const details = Array.from(this.#vnis.values(), ({ warning }) => warning);
    return details
      .filter((detail) => detail !== undefined)
      .map((detail) => ({ code: 'overlay_mtu_too_large', detail }));
  }

  #fit(peers: readonly Peer[], tags: number): Fit {
    const paths: PeerPath[] = peers.map(({ address: { text, family } }) => ({
      address: text,
      family,
      pathMtu: this.#options.pathMtu(text),
    }));
    return fitOf(paths, tags);
  }

  /** Says once what is new. */
  #judge(kept: Kept): void {
    const { settings, fit } = kept;
    const warning = settings.mtu === 'auto' ? undefined : mtuWarning(settings.vni, settings.mtu, fit);
    if (warning !== undefined && warning !== kept.warning)
      this.#log.log(String(settings.vni), 'warn', { code: 'overlay_mtu_too_large' }, warning);
    kept.warning = warning;
  }
}
