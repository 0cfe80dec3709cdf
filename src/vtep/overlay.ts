/**
 * The VNIs of a running VTEP, each with its device, data-plane row and overlay MTU.
 *
 * This module adds, changes and removes one VNI at a time without affecting other VNIs.
 * `configuration.ts` decides which VNIs exist. A VNI is added in two steps, `open` and `configure`,
 * because at start the devices of all VNIs must be open before the workers run.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { PeerSettings, Settings, VniSettings } from '../config/settings.js';
import type { Handle, Mode, NewVni } from '../controller/handle.js';
import type { NewPeer } from '../exchange/data-plane.js';
import type { Events } from '../exchange/events.js';
import type { VniPolicy } from '../exchange/protocol.js';
import type { Report } from '../exchange/report.js';
import { deriveMac, type Mac } from '../host/mac-address.js';
import { machineId, netnsId } from '../host/machine-id.js';
import type { OverlayDevice, OverlayDeviceSpec, Seen } from '../host/overlay-device.js';
import type { OverlayDevices } from '../host/overlay-devices.js';
import { Rollback } from '../host/rollback.js';
import type { Logger } from '../log/log.js';
import type { PathManager } from '../paths/path-manager.js';
import { type Duplicate, hostOf, type Paths } from '../paths/paths.js';
import { type IpAddress, parseIpAddress } from '../wire/ip-address.js';
import { formatMac, parseMac } from '../wire/mac.js';
import { PeerDuplicates } from './peer-duplicates.js';
import type { Reports } from './reports.js';

/** Maximum milliseconds that the undo of a removal waits while workers still use its VNI or TAP. */
const RESTORE_MS = 30_000;
/** Milliseconds between two checks during this wait. */
const RESTORE_RETRY_MS = 20;

export interface OverlayOptions {
  readonly settings: Pick<Settings, 'workers'>;
  readonly paths: Paths;
  readonly pathManager: PathManager;
  readonly devices: OverlayDevices;
  /** True when devices accept superframes and unfinished checksums. */
  readonly offload: boolean;
  readonly events: Events;
  readonly log: Logger;
  /** Desired static entries of a VNI: MAC → address of a peer. */
  readonly entries: (vni: number) => ReadonlyMap<string, string>;
  /** MAC that is kept for the TAP of a VNI; undefined: it is derived. */
  readonly keptMac?: (vni: number) => Mac | undefined;
  readonly reports: Reports;
  /** Called after devices were opened. */
  readonly opened: (devices: readonly OverlayDevice[]) => void;
  /** Called after a deleted device was opened again. */
  readonly reopened: (device: OverlayDevice) => void;
  /**
   * Called when devices were opened, moved or closed. Resolves when the workers know them; never
   * rejects.
   */
  readonly devicesChanged: () => Promise<void>;
}

/** A VNI with an open device and resolved peers that is not in the data plane yet. */
export interface OpenVni {
  readonly settings: VniSettings;
  readonly device: OverlayDevice;
  readonly peers: readonly NewPeer[];
}

export class Overlay {
  readonly #options: OverlayOptions;
  readonly #duplicates: PeerDuplicates;
  #handle: Handle | undefined;

  constructor(options: OverlayOptions) {
    this.#options = options;
    this.#duplicates = new PeerDuplicates(options.reports);
  }

  /**
   * Resolves the peers, reads their routes and opens the devices of all these VNIs, or of none.
   *
   * @throws Error with a message for users
   */
  async open(vnis: readonly VniSettings[]): Promise<readonly OpenVni[]> {
    const { pathManager, devices, opened, paths, reports } = this.#options;
    const resolved = await paths.resolvePeers(vnis.map(({ peers }) => peers));
    const begun: number[] = [];
    try {
      const specs: OverlayDeviceSpec[] = [];
      for (const [i, vni] of vnis.entries()) {
        begun.push(vni.vni);
        this.#duplicates.add(vni.vni, paths.duplicates(resolved[i]));
        pathManager.begin(vni, resolved[i]);
        specs.push(this.#spec(vni));
      }
      const open = await devices.open(specs);
      for (const [i, device] of open.entries())
        if (device.unsteered !== '') reports.warn(unsteeredNotice(device), vnis[i].vni);
      opened(open);
      // The workers get the list before the VNI: the order of messages is kept.
      void this.#options.devicesChanged();
      return vnis.map((settings, i) => ({ settings, device: open[i], peers: resolved[i] }));
    } catch (error) {
      for (const vni of begun) await pathManager.end(vni);
      for (const { vni } of vnis) this.#withdrawReports(vni);
      throw error;
    }
  }

  /** Accepts changes from now on. The data plane must be running. */
  attach(handle: Handle): void {
    this.#handle = handle;
  }

  /**
   * Starts forwarding for this VNI. Overlay MTUs are adjusted only after the peers of the VNI are
   * added. Otherwise the VNI would temporarily get the overlay MTU of a VNI without peers.
   */
  async configure({ settings, device, peers }: OpenVni, mode: Mode = 'revert'): Promise<void> {
    const handle = this.#handle!;
    const { pathManager } = this.#options;
    await pathManager.inTurn(async () => {
      await handle.addVni(newVni(settings, device, pathManager.overlayMtu(settings.vni)), peers, mode);
    });
    await this.#restoreEntries(settings.vni, peers, mode);
  }

  /** Resolves when overlay MTUs and path MTUs reflect the current peers. */
  async followed(): Promise<void> {
    await this.#options.pathManager.followed();
  }

  /**
   * Adds all of these VNIs, or none.
   *
   * @throws Error with a message for users
   */
  async add(vnis: readonly VniSettings[]): Promise<void> {
    for (const { vni } of vnis) this.#handle!.assertFree(vni);
    const opened = await this.open(vnis);
    const undo = new Rollback();
    await undo.guard(async () => {
      for (const { settings } of opened) undo.push(() => this.#abandon(settings));
      for (const vni of opened) await this.configure(vni);
    });
    for (const { vni } of vnis) this.#options.events.publish({ type: 'vni', vni, action: 'added' });
  }

  async remove(vni: VniSettings): Promise<void> {
    await this.#withdraw(vni);
    this.#options.events.publish({ type: 'vni', vni: vni.vni, action: 'removed' });
  }

  /** Undoes an addition; workers that do not answer in time apply the undo later. */
  async undoAdd(vni: VniSettings): Promise<void> {
    await this.#abandon(vni);
    this.#options.events.publish({ type: 'vni', vni: vni.vni, action: 'removed' });
  }

  /**
   * Undoes a removal. Workers possibly still use the VNI or its TAP because of the failed change.
   * The undo waits for these workers, at most RESTORE_MS.
   *
   * @throws Error with a message for users; in this case the VNI is missing
   */
  async restore(vni: VniSettings): Promise<void> {
    for (
      const untilMs = performance.now() + RESTORE_MS;
      this.#isSettling(vni) && performance.now() < untilMs;
    )
      await delay(RESTORE_RETRY_MS);
    this.#handle!.assertFree(vni.vni);
    const [opened] = await this.open([vni]);
    await this.configure(opened, 'reconcile');
    this.#options.events.publish({ type: 'vni', vni: vni.vni, action: 'added' });
  }

  #isSettling({ vni, tap }: VniSettings): boolean {
    return this.#handle!.settling().some((state) => state.vni === vni || state.tap === tap);
  }

  async setPolicy(vni: number, policy: Partial<VniPolicy>, mode: Mode): Promise<void> {
    await this.#handle!.setPolicy(vni, policy, mode);
  }

  async readdress({ tap, addresses }: VniSettings): Promise<void> {
    await this.#options.devices.readdress(tap, addresses);
  }

  async moveTo({ vni, tap, bridge }: VniSettings): Promise<void> {
    const { pathManager, devices } = this.#options;
    await pathManager.inTurn(() => devices.moveTo(tap, bridge, pathManager.unbridgedMtu(vni)));
    this.#handle!.setBridge(vni, bridge);
    await this.#options.devicesChanged();
  }

  /**
   * Opens the TAP of a VNI again after it was deleted.
   *
   * @param seen as for `OverlayDevice.reopen`
   * @throws HostError
   */
  async reopen({ vni, tap }: VniSettings, seen: (index: number) => Seen | undefined): Promise<void> {
    const { devices, pathManager, reopened } = this.#options;
    const device = devices.find(tap)!;
    await pathManager.inTurn(async () => {
      const release = await device.reopen(pathManager.unbridgedMtu(vni), seen);
      await this.#handle!.replaceTap(vni, tapOf(device));
      await release();
    });
    reopened(device);
  }

  /** Gives the TAP of a VNI the MTU that it has outside a bridge. */
  async unbridged(vni: VniSettings): Promise<void> {
    await this.#options.pathManager.fit(vni);
  }

  async changeMtu(vni: VniSettings, mode: Mode): Promise<void> {
    await this.#options.pathManager.change(vni, mode);
  }

  /** @param vni settings after the change */
  async addPeers({ vni }: VniSettings, added: readonly PeerSettings[], mode: Mode = 'revert'): Promise<void> {
    const { paths } = this.#options;
    const [resolved] = await paths.resolvePeers([added]);
    this.#duplicates.add(vni, [...this.#duplicatesOfExisting(vni, resolved), ...paths.duplicates(resolved)]);
    await this.#addResolved(vni, resolved, mode);
  }

  /** Returns the resolved peers whose address an existing peer has already. */
  #duplicatesOfExisting(vni: number, resolved: readonly NewPeer[]): Duplicate[] {
    const known = new Map(this.#handle!.peers(vni).map((peer) => [peer.address.text, hostOf(peer)]));
    return resolved.flatMap((peer) => {
      const address = peer.address.text;
      const first = known.get(address);
      return first === undefined ? [] : [{ address, first, again: hostOf(peer) }];
    });
  }

  async #addResolved(vni: number, resolved: readonly NewPeer[], mode: Mode): Promise<void> {
    const handle = this.#handle!;
    const known = new Set(handle.peers(vni).map(({ address }) => address.text));
    const fresh = resolved.filter(({ address }) => !known.has(address.text));
    if (fresh.length === 0) return;
    await handle.addPeers(vni, fresh, mode);
    await this.#restoreEntries(vni, fresh, mode);
    this.#publishPeers(vni, fresh, 'added');
  }

  /**
   * @param vni settings after the change; an address that also belongs to a remaining host stays a
   * peer
   */
  async removePeers(
    vni: VniSettings,
    removed: readonly PeerSettings[],
    mode: Mode = 'revert',
  ): Promise<void> {
    const handle = this.#handle!;
    const hosts = new Set(removed.map(({ host }) => host));
    const peers = handle.peers(vni.vni).filter((peer) => hosts.has(hostOf(peer)));
    this.#duplicates.remove(vni.vni, (host) => hosts.has(host));
    await this.#removeAll(vni, peers, (host) => !hosts.has(host), mode);
  }

  /**
   * Applies new addresses of a host: new addresses are added before old ones are removed. Static
   * entries of a removed address stay in the configuration, and return with the address.
   */
  async follow(vni: VniSettings, host: string, addresses: readonly IpAddress[]): Promise<void> {
    const handle = this.#handle!;
    await this.#addAgain(vni, (other) => other === host, 'revert');
    const current = new Set(addresses.map(({ text }) => text));
    this.#duplicates.remove(vni.vni, (other, address) => other === host && !current.has(address));
    const stale = handle
      .peers(vni.vni)
      .filter((peer) => hostOf(peer) === host && !current.has(peer.address.text));
    await this.#removeAll(vni, stale, (other) => other !== host, 'revert');
  }

  /** Removes these peers and adds them with their present scope; static entries are kept. */
  async renew(vni: VniSettings, peers: readonly NewPeer[]): Promise<void> {
    const hosts = new Set(peers.map(hostOf));
    for (const { address } of peers) await this.#handle!.removePeer(vni.vni, address.text, 'reconcile');
    await this.#addAgain(vni, (host) => hosts.has(host), 'reconcile');
  }

  /**
   * @param others selects the hosts that are not being removed; a removed address that such a host
   * also has is added again as its peer
   */
  async #removeAll(
    vni: VniSettings,
    removed: readonly NewPeer[],
    others: (host: string) => boolean,
    mode: Mode,
  ): Promise<void> {
    for (const { address } of removed) await this.#handle!.removePeer(vni.vni, address.text, mode);
    this.#publishPeers(vni.vni, removed, 'removed');
    const texts = new Set(removed.map(({ address }) => address.text));
    const mayHave = (host: string) => texts.has(host) || parseIpAddress(host) === undefined;
    if (removed.length > 0) await this.#addAgain(vni, (host) => others(host) && mayHave(host), mode);
  }

  /**
   * Adds those addresses of the selected hosts that are not peers yet. An address that several
   * hosts share causes no warning here, because no host was added to the configuration.
   */
  async #addAgain(vni: VniSettings, selects: (host: string) => boolean, mode: Mode): Promise<void> {
    const { paths } = this.#options;
    const [resolved] = await paths.resolvePeers([vni.peers.filter(({ host }) => selects(host))]);
    await this.#addResolved(vni.vni, resolved, mode);
  }

  /** Sets the desired static entries of these peers. */
  async #restoreEntries(vni: number, peers: readonly NewPeer[], mode: Mode): Promise<void> {
    const entries = this.#options.entries(vni);
    if (entries.size === 0) return;
    const present = new Set(peers.map(({ address }) => address.text));
    const macs = [...entries].flatMap(([mac, peer]) => (present.has(peer) ? parseMac(mac)! : []));
    if (mode === 'reconcile') return this.#handle!.reconcileFdb(vni, macs);
    for (const [mac, peer] of entries)
      if (present.has(peer)) await this.#handle!.putFdb(vni, parseMac(mac)!, peer);
  }

  /** Removes a VNI: first its path management, then forwarding, then the device. */
  async #withdraw(vni: VniSettings): Promise<void> {
    const handle = this.#handle!;
    const { pathManager } = this.#options;
    const peers = handle.peers(vni.vni);
    await pathManager.end(vni.vni);
    try {
      await handle.removeVni(vni.vni);
    } catch (error) {
      pathManager.begin(vni, peers);
      throw error;
    }
    this.#withdrawReports(vni.vni);
    await this.#close(vni);
  }

  /**
   * Variant of `#withdraw` that cannot fail. The device is closed as soon as no worker uses it, possibly
   * after this call.
   */
  async #abandon(vni: VniSettings): Promise<void> {
    await this.#options.pathManager.end(vni.vni);
    this.#withdrawReports(vni.vni);
    await this.#handle!.abandonVni(vni.vni, () => this.#close(vni));
  }

  /** The VNI is removed even if its device or bridge was changed externally. */
  async #close({ vni, tap }: VniSettings): Promise<void> {
    await this.#options.devices.close([tap]).catch((error: Error) => {
      const text = 'incomplete cleanup of the device and bridge of a removed VNI';
      this.#options.log.warn({ vni, error: error.message }, text);
    });
    void this.#options.devicesChanged();
  }

  #withdrawReports(vni: number): void {
    this.#duplicates.removeAll(vni);
    this.#options.reports.vniRemoved(vni);
  }

  #publishPeers(vni: number, peers: readonly NewPeer[], action: 'added' | 'removed'): void {
    for (const { address, name } of peers)
      this.#options.events.publish({ type: 'peer', vni, peer: address.text, name, action });
  }

  #spec(vni: VniSettings): OverlayDeviceSpec {
    return {
      vni: vni.vni,
      tap: vni.tap,
      bridge: vni.bridge,
      addresses: vni.addresses,
      mac: vni.mac,
      derivedMac: this.#options.keptMac?.(vni.vni) ?? this.#deriveMac(vni.vni),
      unbridgedMtu: this.#options.pathManager.unbridgedMtu(vni.vni),
      offload: this.#options.offload,
      queues: this.#options.settings.workers,
    };
  }

  #deriveMac(vni: number): Mac {
    const underlay = this.#options.paths.localAddresses()[0] ?? '';
    const netns = underlay === '' ? netnsId() : '';
    return deriveMac({ machineId: machineId(), underlay, vni, netns });
  }
}

function newVni(settings: VniSettings, device: OverlayDevice, overlayMtu: number): NewVni {
  const { learning, ageingS, fdbLimit, flood, accept, vlan } = settings;
  return {
    vni: settings.vni,
    tap: device.name,
    bridge: settings.bridge,
    ...tapOf(device),
    policy: {
      learning,
      ageingS,
      fdbLimit,
      flood,
      accept,
      vlan,
      overlayMtu,
      packetMax: settings.mtu === 'auto' ? 0 : settings.mtu,
    },
  };
}

function tapOf({ mac, fds }: OverlayDevice): Pick<NewVni, 'mac' | 'macParts' | 'tapFds'> {
  return { mac: formatMac(mac.high, mac.low), macParts: mac, tapFds: fds };
}

function unsteeredNotice({ name, unsteered }: OverlayDevice): Report {
  return {
    code: 'queues_unsteered',
    detail: `${name}: cannot attach the program that keeps flows on their TAP queue (${unsteered})`,
    why: 'frames of a flow may be reordered when it moves to another worker',
    cure: 'run with CAP_BPF or with --workers 1',
  };
}
