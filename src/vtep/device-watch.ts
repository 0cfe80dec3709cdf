/**
 * Follows what happens to the TAPs and bridges of the VNIs, and mends what vtepd may mend.
 *
 *     TAP or bridge that vtepd made, deleted       made again after a second, unless another program
 *                                                  has made it meanwhile: then joined, not ours
 *     adopted TAP or bridge, deleted               awaited, and joined when it comes
 *     TAP down or out of its bridge, bridge down   reported: another program's decision stays
 *     TAP in another network namespace             reported: frames pass, nothing is made again until
 *                                                  it is deleted there
 *     another port of the bridge with a larger MTU   the TAP follows
 *
 * The state of all devices is examined shortly after each change, so that the messages of one
 * operation are seen together. Repairs run between changes of the configuration.
 */
import type { VniSettings } from '../config/settings.js';
import { bridgedMtu } from '../host/bridge.js';
import { cidrOf } from '../host/device-tables.js';
import type { Changes, Machine } from '../host/machine.js';
import { isOfOthers } from '../host/netlink/addresses.js';
import { setLink } from '../host/netlink/links.js';
import type { OverlayDevice, Seen } from '../host/overlay-device.js';
import type { OverlayDevices } from '../host/overlay-devices.js';
import type { Logger } from '../log/log.js';
import { type DeviceFault, type DeviceState, type FaultTexts, faultOf, textsOf } from './device-faults.js';

/** Time from a change to the examination, ms. */
const DEBOUNCE_MS = 100;
/** Time from a deletion until the device is made again, ms: its owner possibly makes it himself. */
const REMAKE_MS = 1000;
/** Time between two looks at a TAP in another network namespace, of which netlink reports nothing, ms. */
const ELSEWHERE_MS = 1000;
/** Pause after a repair that failed, ms. */
const RETRY_MS = 3000;
/**
 * Time that a TAP is out of its bridge before this counts as another program's decision, ms. When a
 * bridge is deleted, its ports leave it first.
 */
const OUT_MS = 1000;

/** Shows reports of a subject; see `Reports.set`. */
export interface DeviceReports {
  set(code: 'device_missing' | 'tap_elsewhere', subject: string, texts: FaultTexts | undefined): void;
}

export interface DeviceWatchOptions {
  readonly machine: Machine;
  readonly devices: OverlayDevices;
  readonly reports: DeviceReports;
  readonly log: Logger;
  /** Current settings of all VNIs. */
  readonly vnis: () => readonly VniSettings[];
  /** Runs work between two changes of the configuration. */
  readonly serialise: (work: () => Promise<void>) => Promise<void>;
  /** Opens the TAP of a VNI again, and passes its descriptors to the workers. */
  readonly reopen: (vni: VniSettings, seen: (index: number) => Seen | undefined) => Promise<void>;
  /** Sets the MTU of a TAP outside a bridge. */
  readonly unbridged: (vni: VniSettings) => Promise<void>;
  /** Called when a TAP or bridge was made or joined again; must not reject. */
  readonly mended: () => Promise<void>;
}

/** State of the device of a VNI. */
interface Watched {
  fault: DeviceFault | undefined;
  sinceMs: number;
  /** Earliest time of the next repair, ms. */
  retryMs: number;
  failure: string;
  /** True when another program has taken the TAP out of its bridge. */
  isOut: boolean;
  isElsewhere: boolean;
  /** MTU of the other ports when it was last followed, bytes; 0: the TAP was in no bridge. */
  bridgedMtu: number;
}

export class DeviceWatch {
  readonly #options: DeviceWatchOptions;
  readonly #watched = new Map<string, Watched>();
  /** Devices as last seen while they were up, by interface index. */
  readonly #seen = new Map<number, Seen & { readonly asOf: number }>();
  /** Number of changes of addresses. */
  #addressChanges = 0;
  /** MTU of the ports of a bridge in this examination, by interface index, bytes. */
  readonly #bridgedMtus = new Map<number, number>();
  #timer: NodeJS.Timeout | undefined;
  #examining = false;
  #again = false;
  #unsubscribe = () => {};
  #stopped = false;

  constructor(options: DeviceWatchOptions) {
    this.#options = options;
  }

  start(): void {
    this.#unsubscribe = this.#options.machine.subscribe((changes) => this.#changed(changes));
    this.due();
  }

  /** Requests an examination, after VNIs have changed. */
  due(delayMs = DEBOUNCE_MS): void {
    if (this.#stopped) return;
    if (this.#examining) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#examine(), delayMs);
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe();
    clearTimeout(this.#timer);
  }

  #changed({ links, addresses }: Changes): void {
    if (addresses) this.#addressChanges++;
    for (const { name, index } of this.#options.devices.all) {
      const change = links.get(index);
      if (change !== undefined) this.#of(name).isElsewhere = change.after === undefined && change.isMoved;
    }
    this.due();
  }

  async #examine(): Promise<void> {
    this.#examining = true;
    this.#again = false;
    let nextMs = Number.POSITIVE_INFINITY;
    const vnis = this.#options.vnis();
    try {
      this.#bridgedMtus.clear();
      for (const vni of vnis) nextMs = Math.min(nextMs, await this.#examineOne(vni));
      this.#forget(new Set(vnis.map(({ tap }) => tap)));
    } catch (error) {
      this.#options.log.error({ error: (error as Error).message }, 'cannot examine the TAPs and bridges');
      nextMs = RETRY_MS;
    }
    this.#examining = false;
    if (this.#again) this.due();
    else if (nextMs < Number.POSITIVE_INFINITY) this.due(Math.max(DEBOUNCE_MS, nextMs));
  }

  /** @returns time until it is to be examined again, ms; infinite: after the next change */
  async #examineOne(vni: VniSettings): Promise<number> {
    const device = this.#options.devices.find(vni.tap);
    if (device === undefined) return Number.POSITIVE_INFINITY;
    const watched = this.#of(vni.tap);
    if (watched.isElsewhere) watched.isElsewhere = await device.isThere();
    const state = this.#stateOf(device, watched);
    const fault = faultOf(state);
    const nowMs = performance.now();
    const hasHealed = fault === undefined && watched.fault !== undefined;
    if (fault !== watched.fault) Object.assign(watched, { fault, sinceMs: nowMs, retryMs: 0, failure: '' });
    if (hasHealed) await this.#keepAddresses(vni, device);
    const ageMs = nowMs - watched.sinceMs;
    if (fault === 'tap_out' && ageMs < OUT_MS && !watched.isOut) return OUT_MS - ageMs;
    if (fault === 'tap_out') watched.isOut = true;
    else if (fault !== 'bridge_deleted') watched.isOut = false;
    await this.#keepPort(vni, device);
    this.#remember(device);
    const waitMs = await this.#mend(vni, device, watched, nowMs);
    this.#report(device, watched);
    await this.#followMtu(vni, device, watched).catch((error: Error) =>
      this.#options.log.warn({ vni: vni.vni, error: error.message }, 'cannot follow the MTU of the bridge'),
    );
    return watched.isElsewhere ? ELSEWHERE_MS : waitMs;
  }

  /** A TAP that was out of its bridge has lost the options of its port. */
  async #keepPort({ vni }: VniSettings, device: OverlayDevice): Promise<void> {
    await device.keepPort().catch((error: Error) => {
      this.#options.log.warn({ vni, error: error.message }, 'cannot set the options of the bridge port');
    });
  }

  async #keepAddresses({ vni, tap }: VniSettings, device: OverlayDevice): Promise<void> {
    const { serialise, devices, log } = this.#options;
    const work = async () => {
      if (devices.find(tap) === device) await device.keepAddresses();
    };
    await serialise(work).catch((error: Error) =>
      log.warn({ vni, error: error.message }, 'cannot add the addresses of the VNI again'),
    );
  }

  #stateOf(device: OverlayDevice, { isElsewhere }: Watched): DeviceState {
    const { machine } = this.#options;
    const tapLink = machine.link(device.index);
    return {
      tap: device.name,
      bridge: device.bridge,
      isElsewhere,
      tapLink,
      bridgeLink: device.bridgeIndex === 0 ? undefined : machine.link(device.bridgeIndex),
      master: machine.nameOf(tapLink?.master ?? 0),
    };
  }

  /** @returns time until the next attempt, ms */
  async #mend(vni: VniSettings, device: OverlayDevice, watched: Watched, nowMs: number): Promise<number> {
    const { machine, serialise, reopen, mended, log } = this.#options;
    const { fault, sinceMs, retryMs } = watched;
    if (fault !== 'tap_deleted' && fault !== 'bridge_deleted') return Number.POSITIVE_INFINITY;
    const name = fault === 'tap_deleted' ? device.name : device.bridge;
    const isOurs = fault === 'tap_deleted' ? device.isOurs : device.isBridgeOurs;
    const isThere = machine.find(name) !== undefined;
    // A TAP that was moved looks deleted after netlink has lost messages.
    if (fault === 'tap_deleted' && !isThere && (await device.isThere())) {
      watched.isElsewhere = true;
      watched.fault = faultOf(this.#stateOf(device, watched));
      return ELSEWHERE_MS;
    }
    if (!isThere && !isOurs) return Number.POSITIVE_INFINITY;
    const waitMs = Math.max(retryMs, isThere ? 0 : sinceMs + REMAKE_MS) - nowMs;
    if (waitMs > 0) return waitMs;
    try {
      await serialise(async () => {
        // A change of the configuration possibly replaced or removed the device meanwhile.
        if (this.#stopped || this.#options.devices.find(vni.tap) !== device) return;
        if (fault === 'tap_deleted') await reopen(vni, (index) => this.#seen.get(index));
        else await device.rejoin(this.#seen.get(device.bridgeIndex), watched.isOut);
        await mended();
      });
      log.info({ vni: vni.vni }, isThere ? `joined ${name} again` : `made ${name} again`);
      watched.fault = faultOf(this.#stateOf(device, watched));
      watched.sinceMs = performance.now();
      return DEBOUNCE_MS;
    } catch (error) {
      // The changes of a VTEP that is being stopped are refused.
      if (this.#stopped) return Number.POSITIVE_INFINITY;
      watched.failure = (error as Error).message;
      watched.retryMs = performance.now() + RETRY_MS;
      return RETRY_MS;
    }
  }

  #report(device: OverlayDevice, watched: Watched): void {
    if (this.#stopped) return;
    const { reports } = this.#options;
    const { fault, failure } = watched;
    const state = this.#stateOf(device, watched);
    const isOurs = fault === 'bridge_deleted' ? device.isBridgeOurs : device.isOurs;
    const texts = fault === undefined ? undefined : textsOf(fault, state, isOurs, failure);
    reports.set('device_missing', device.name, fault === 'tap_elsewhere' ? undefined : texts);
    reports.set('tap_elsewhere', device.name, fault === 'tap_elsewhere' ? texts : undefined);
  }

  /**
   * Follows the largest MTU of the other ports of the bridge, which can change at any time. An MTU
   * that another program has set for the TAP stays until then.
   */
  async #followMtu(vni: VniSettings, device: OverlayDevice, watched: Watched): Promise<void> {
    const { machine, unbridged } = this.#options;
    const link = machine.link(device.index);
    if (link === undefined) return;
    const before = watched.bridgedMtu;
    const after = link.master === 0 ? 0 : this.#bridgedMtu(link.master);
    watched.bridgedMtu = after;
    if (before === after || before < 0) return;
    if (after === 0) return device.bridge === '' ? unbridged(vni) : undefined;
    if (link.mtu === after) return;
    await machine.change(setLink(`set the MTU of ${link.name} to ${after}`, link.index, { mtu: after }));
    this.#options.log.info({ vni: vni.vni, tap: link.name, mtu: after }, 'TAP follows the MTU of the bridge');
  }

  #bridgedMtu(bridge: number): number {
    const { machine, devices } = this.#options;
    const known = this.#bridgedMtus.get(bridge);
    const mtu = known ?? bridgedMtu(machine, bridge, new Set(Array.from(devices.all, ({ index }) => index)));
    this.#bridgedMtus.set(bridge, mtu);
    return mtu;
  }

  /** Keeps what a device is like, to make it again after a deletion. */
  #remember({ index, bridgeIndex }: OverlayDevice): void {
    const { machine } = this.#options;
    const asOf = this.#addressChanges;
    for (const one of [index, bridgeIndex]) {
      const link = machine.link(one);
      const seen = this.#seen.get(one);
      // A device that goes down on its way out has lost addresses already.
      if (!link?.up || (seen?.link === link && seen.asOf === asOf)) continue;
      const configured = [...machine.addresses].filter(
        (address) => address.index === one && isOfOthers(address),
      );
      this.#seen.set(one, { link, addresses: configured.map(cidrOf), asOf });
    }
  }

  #of(tap: string): Watched {
    const known = this.#watched.get(tap);
    if (known) return known;
    const fresh = {
      fault: undefined,
      sinceMs: performance.now(),
      retryMs: 0,
      failure: '',
      isOut: false,
      isElsewhere: false,
      bridgedMtu: -1,
    };
    this.#watched.set(tap, fresh);
    return fresh;
  }

  /** Forgets devices of removed VNIs. */
  #forget(taps: ReadonlySet<string>): void {
    const { machine, devices, reports } = this.#options;
    for (const tap of this.#watched.keys()) {
      if (taps.has(tap)) continue;
      this.#watched.delete(tap);
      reports.set('device_missing', tap, undefined);
      reports.set('tap_elsewhere', tap, undefined);
    }
    const used = new Set(Array.from(devices.all, ({ index, bridgeIndex }) => [index, bridgeIndex]).flat());
    for (const index of this.#seen.keys())
      if (machine.link(index) === undefined && !used.has(index)) this.#seen.delete(index);
  }
}
