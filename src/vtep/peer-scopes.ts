/**
 * Follows the devices of link-local peers, such as fe80::2%eth0.
 *
 * The data plane has the interface index of the scope (RFC 4007 §6). When the device is deleted and
 * made again, or another device gets its name, the index changes, and the peers are added again with
 * the new one. Without the device, frames for them count as `no_route`.
 */
import type { VniSettings } from '../config/settings.js';
import type { PeerState } from '../exchange/data-plane.js';
import type { Machine } from '../host/machine.js';
import type { Logger } from '../log/log.js';
import { parseIpAddress } from '../wire/ip-address.js';

/** Time from a change of devices to the examination, ms. */
const DEBOUNCE_MS = 100;
const RETRY_MS = 2000;

export interface PeerScopesOptions {
  readonly machine: Machine;
  readonly log: Logger;
  /** Current settings of all VNIs. */
  readonly vnis: () => readonly VniSettings[];
  /** VNIs that the data plane has. */
  readonly known: () => readonly number[];
  readonly peers: (vni: number) => readonly PeerState[];
  /** Runs work between two changes of the configuration. */
  readonly serialise: (work: () => Promise<void>) => Promise<void>;
  /** Removes peers of a VNI and adds them with their present scope. */
  readonly renew: (vni: VniSettings, peers: readonly PeerState[]) => Promise<void>;
}

export class PeerScopes {
  readonly #options: PeerScopesOptions;
  #unsubscribe = () => {};
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PeerScopesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unsubscribe = this.#options.machine.subscribe(({ links }) => {
      if (links.size > 0) this.#due(DEBOUNCE_MS);
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe();
    clearTimeout(this.#timer);
  }

  #due(delayMs: number): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#examine(), delayMs);
  }

  async #examine(): Promise<void> {
    const { vnis, known, serialise, renew, log } = this.#options;
    if (!known().some((vni) => this.#stale(vni).length > 0)) return;
    try {
      await serialise(async () => {
        const present = new Set(known());
        for (const settings of vnis().filter(({ vni }) => present.has(vni))) {
          const stale = this.#stale(settings.vni);
          if (stale.length > 0) await renew(settings, stale);
        }
      });
      log.info({}, 'the interface indexes of link-local peers were renewed');
    } catch (error) {
      log.warn(
        { error: (error as Error).message },
        'cannot renew the interface index of a peer; trying again',
      );
      this.#due(RETRY_MS);
    }
  }

  /** Peers whose scope has another interface index now. */
  #stale(vni: number): PeerState[] {
    const { machine, peers } = this.#options;
    return peers(vni).filter(({ address: { text, scopeId } }) => {
      if (scopeId === 0) return false;
      const index = machine.scopeId(parseIpAddress(text)?.scope ?? '');
      return index !== 0 && index !== scopeId;
    });
  }
}
