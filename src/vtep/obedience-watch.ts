/**
 * Follows whether the TAPs and bridges that vtepd made ignore what the overlay asks of this host.
 *
 * `host/obedience.ts` makes a device ignore it before the device comes up. Where /proc/sys cannot be
 * written, this module warns until the values are right: each device is checked when it appears, is
 * renamed, leaves a bridge or gets an MTU with which it has IPv6 again, and every 30 s while its
 * warning holds. Ports of a bridge are not
 * checked, because the host's stack receives nothing by them.
 *
 * A device without a link-local address gets one (RFC 4291 §2.8) while it has another IPv6 address,
 * from any program: neighbour discovery needs it (RFC 4861 §7.2.2). The kernel generates none on a
 * device that ignores the overlay.
 */

import { cidrOf } from '../host/device-tables.js';
import { linkLocalOf } from '../host/mac-address.js';
import type { Link, Machine } from '../host/machine.js';
import { ignoreOverlay, obeyed } from '../host/obedience.js';
import type { OverlayDevices } from '../host/overlay-devices.js';
import type { Logger } from '../log/log.js';
import { parseMac } from '../wire/mac.js';
import type { FaultTexts } from './device-faults.js';

/** Time from a change to the examination, ms. */
const DEBOUNCE_MS = 100;
/** Below it a device has no IPv6, and its settings are lost (RFC 8200 section 5), bytes. */
const IPV6_MTU = 1280;
/** Time between two checks of a device with a warning, ms. */
const RECHECK_MS = 30_000;

export interface ObedienceWatchOptions {
  readonly machine: Machine;
  readonly devices: Pick<OverlayDevices, 'made' | 'own'>;
  /** Sets or withdraws a warning about a device; see `Reports.set`. */
  readonly report: (device: string, texts: FaultTexts | undefined) => void;
  readonly log: Logger;
  /** Overwrites the settings that `obeyed` returns; passed in for tests. */
  readonly settings?: {
    readonly ignore: typeof ignoreOverlay;
    readonly obeyed: typeof obeyed;
  };
}

/** A device as it was checked last. */
interface Checked {
  readonly name: string;
  readonly isPort: boolean;
  readonly hasIpv6: boolean;
  readonly isObeying: boolean;
  readonly atMs: number;
}

export class ObedienceWatch {
  readonly #options: ObedienceWatchOptions;
  readonly #settings: NonNullable<ObedienceWatchOptions['settings']>;
  /** By interface index. */
  readonly #checked = new Map<number, Checked>();
  /** Link-local addresses that were added, by interface index. */
  readonly #added = new Map<number, string>();
  #timer: NodeJS.Timeout | undefined;
  #examining: Promise<void> | undefined;
  #again = false;
  #unsubscribe = () => {};
  #stopped = false;

  constructor(options: ObedienceWatchOptions) {
    this.#options = options;
    this.#settings = options.settings ?? { ignore: ignoreOverlay, obeyed };
  }

  /** @returns after the first check */
  async start(): Promise<void> {
    this.#unsubscribe = this.#options.machine.subscribe(() => this.due());
    await this.#examine();
  }

  /** Requests a check, after devices have changed. */
  due(delayMs = DEBOUNCE_MS): void {
    this.#again = true;
    if (this.#stopped || this.#examining) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#examine(), delayMs);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unsubscribe();
    clearTimeout(this.#timer);
    await this.#examining;
  }

  #examine(): Promise<void> {
    this.#again = false;
    this.#examining = this.#examineAll()
      .catch((error: Error) =>
        this.#options.log.warn({ error: error.message }, 'cannot check the settings of TAPs and bridges'),
      )
      .finally(() => {
        this.#examining = undefined;
        if (this.#again) this.due();
        else if ([...this.#checked.values()].some(({ isObeying }) => isObeying)) this.due(RECHECK_MS);
      });
    return this.#examining;
  }

  async #examineAll(): Promise<void> {
    const { machine, devices } = this.#options;
    const made = devices.made();
    for (const index of this.#checked.keys()) if (!made.has(index)) this.#forget(index);
    for (const index of made) {
      const link = machine.link(index);
      if (link === undefined) this.#forget(index);
      else {
        await this.#check(link);
        await this.#followLinkLocal(link);
      }
    }
  }

  async #check(link: Link): Promise<void> {
    const { index, name } = link;
    const before = this.#checked.get(index);
    const isPort = link.master !== 0;
    const hasIpv6 = link.mtu >= IPV6_MTU;
    const isSame = before?.name === name && before.isPort === isPort && before.hasIpv6 === hasIpv6;
    const atMs = performance.now();
    if (isSame && !(before.isObeying && atMs - before.atMs >= RECHECK_MS)) return;
    if (before !== undefined && before.name !== name) this.#options.report(before.name, undefined);
    let left = isPort ? [] : this.#settings.obeyed(name);
    if (left.length > 0) {
      await this.#settings.ignore(this.#options.machine, link);
      left = this.#settings.obeyed(name);
    }
    this.#checked.set(index, { name, isPort, hasIpv6, isObeying: left.length > 0, atMs });
    this.#options.report(name, left.length === 0 ? undefined : textsOf(name, left));
  }

  async #followLinkLocal({ index, up, master, mac, addrGenMode }: Link): Promise<void> {
    const { machine, devices } = this.#options;
    const parsed = parseMac(mac);
    if (addrGenMode === '' || master !== 0 || parsed === undefined) return;
    const addresses = [...machine.addresses].filter((one) => one.index === index && one.family === 6);
    const [linkLocal, others] = [true, false].map((is) =>
      addresses.filter(({ text }) => text.startsWith('fe80:') === is),
    );
    const added = this.#added.get(index);
    if (others.length === 0 && added !== undefined) {
      this.#added.delete(index);
      await devices.own.remove(this, index, [added]);
    } else if (up && others.length > 0) {
      const address = linkLocalOf(parsed);
      const isLeftover = added === undefined && linkLocal.map(cidrOf).includes(address);
      if (linkLocal.length > 0 && !isLeftover) return;
      await devices.own.add(this, index, [address]);
      this.#added.set(index, address);
    }
  }

  #forget(index: number): void {
    const before = this.#checked.get(index);
    if (before !== undefined) this.#options.report(before.name, undefined);
    this.#checked.delete(index);
    this.#added.delete(index);
  }
}

function textsOf(name: string, settings: readonly string[]): FaultTexts {
  const values = settings.join(' ');
  return {
    detail: `vtepd cannot write /proc/sys, so ${name} has other values than ${values}`,
    why: 'any machine of the overlay can give this host addresses, a default route or other routes',
    cure: `sysctl -w ${values}; under systemd ReadWritePaths=/proc/sys/net, in a container these settings of "default" before vtepd starts`,
  };
}
