import type { Capture, CaptureOptions } from '../capture/captures.js';
import { ConfigError } from '../config/config-error.js';
import { readOptions } from '../config/file.js';
import { mergeSettings } from '../config/merge.js';
import type { VtepOptions } from '../config/options.js';
import type { PeerSettings, Settings, VniSettings } from '../config/settings.js';
import { G_HEARTBEAT_MS } from '../exchange/counters.js';
import type { DataPlane, FdbFilter, PeerState } from '../exchange/data-plane.js';
import type { Events } from '../exchange/events.js';
import type { MacParts } from '../exchange/protocol.js';
import { blockingReasons, type NotReadyReason, type Report, reportsOf } from '../exchange/report.js';
import type { StackDevice } from '../host/overlay-devices.js';
import type { NameState } from '../names/follow.js';
import type { PeerVerdict } from '../paths/path-manager.js';
import type { Progress } from '../paths/search.js';
import { parseIpAddress } from '../wire/ip-address.js';
import { Composition, type VniSummary, type VtepSurroundings } from './composition.js';
import type { ReloadReport } from './configuration.js';

/** Status of a VTEP, without that of the data plane. */
export interface VtepStatus {
  readonly local: readonly string[];
  readonly engine: 'batch' | 'dgram';
  /** Offloads in use, by their kernel names. */
  readonly offloads: readonly string[];
  readonly warnings: readonly Report[];
  readonly notices: readonly Report[];
  /** Peers configured by name. */
  readonly names: readonly NameState[];
}

const NOT_CONFIGURED: NotReadyReason = {
  code: 'dataplane_down',
  detail: 'the data plane has not applied the whole configuration yet',
};

/**
 * A running VTEP. Changes run one at a time; each resolves after the data plane has applied it, and
 * a change that fails has no effect.
 */
export class Vtep {
  readonly #parts: Composition;

  private constructor(parts: Composition) {
    this.#parts = parts;
  }

  /**
   * @param options settings under the keys of the daemon's YAML file; VNIs and peers can be added
   * later
   * @returns a VTEP whose data plane forwards
   * @throws ConfigError that names the option; HostError when the operating system refuses;
   * ResolveError
   */
  static async start(options: VtepOptions, surroundings: Pick<VtepSurroundings, 'log'> = {}): Promise<Vtep> {
    return Vtep.of(mergeSettings([readOptions(options)], false), surroundings);
  }

  /**
   * Starts a VTEP from settings that were read already.
   *
   * @throws ConfigError, HostError, ResolveError
   */
  static async of(settings: Settings, surroundings: VtepSurroundings): Promise<Vtep> {
    return new Vtep(await Composition.start(settings, surroundings));
  }

  /** Events: MACs, peers, VNIs, paths, warnings. */
  get events(): Events {
    return this.#parts.events;
  }

  /**
   * Stops and removes everything that was created. Frames that vtepd has already read are still
   * delivered.
   */
  stop(): Promise<void> {
    return this.#parts.stop();
  }

  /**
   * Current settings; peers are listed by host, as configured.
   *
   * @throws DataPlaneError vni_not_found
   */
  settings(vni: number): VniSettings {
    return this.#parts.configuration.vni(vni);
  }

  /** @throws ConfigError, DataPlaneError vni_exists, HostError, ResolveError */
  addVni(settings: VniSettings): Promise<void> {
    return this.#parts.configuration.addVni(settings);
  }

  /**
   * @param precondition called after all earlier changes and before this one; if it throws, nothing
   * is changed
   * @throws ConfigError for tap and mac, which cannot change while they are in use
   */
  changeVni(vni: number, changes: Partial<VniSettings>, precondition?: () => void): Promise<void> {
    return this.#parts.configuration.changeVni(vni, changes, precondition);
  }

  /** @param precondition as for `changeVni` */
  removeVni(vni: number, precondition?: () => void): Promise<void> {
    return this.#parts.configuration.removeVni(vni, precondition);
  }

  /**
   * Adds a peer. A name that stands for many hosts (`all`) adds each of its addresses.
   *
   * @returns the peers added
   * @throws ConfigError for an address of this host; DataPlaneError peer_exists; ResolveError
   */
  async addPeer(vni: number, peer: PeerSettings): Promise<readonly PeerState[]> {
    const address = parseIpAddress(peer.host);
    if (address && this.#parts.own.has(address))
      throw new ConfigError(`address ${peer.host}: is an address of this host; a peer must be another host`);
    try {
      return await this.#parts.peers.adding(peer, () => this.#parts.configuration.addPeer(vni, peer));
    } finally {
      this.#parts.peers.retain(this.#parts.configuration.settings.vnis);
    }
  }

  /**
   * @param host host as configured
   * @param precondition as for `changeVni`
   * @throws DataPlaneError peer_of_name when `host` is an address that a name resolved to
   */
  removePeer(vni: number, host: string, precondition?: () => void): Promise<void> {
    return this.#parts.configuration.removePeer(vni, host, precondition);
  }

  /**
   * Sets a static entry; replaces any entry of that MAC.
   *
   * @param peer canonical text of an address
   * @throws DataPlaneError peer_not_found, fdb_full
   */
  putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    return this.#parts.configuration.putFdb(vni, mac, peer);
  }

  deleteFdb(vni: number, mac: MacParts): Promise<void> {
    return this.#parts.configuration.deleteFdb(vni, mac);
  }

  /** @returns number of entries removed */
  flushFdb(vni: number, filter: FdbFilter): Promise<number> {
    return this.#parts.configuration.flushFdb(vni, filter);
  }

  /**
   * Reads the configuration again and applies the difference.
   *
   * @throws ConfigError when it is invalid; the previous configuration stays in effect
   */
  reload(): Promise<ReloadReport> {
    return this.#parts.configuration.reload();
  }

  get dataPlane(): DataPlane {
    return this.#parts.reads;
  }

  status(): VtepStatus {
    const reports = this.#parts.reports();
    return {
      local: this.#parts.paths.localAddresses(),
      engine: this.#parts.engine,
      offloads: this.#parts.offloads(),
      warnings: reportsOf('warning', reports),
      notices: reportsOf('notice', reports),
      names: this.#parts.peers.names.states(),
    };
  }

  /**
   * Reasons for which this VTEP is not ready, most direct first; empty: it is ready. It forwards
   * what it can meanwhile.
   */
  notReady(): readonly NotReadyReason[] {
    const reasons = blockingReasons(this.#parts.reports());
    return this.#parts.reads.ready ? reasons : [NOT_CONFIGURED, ...reasons];
  }

  /** Time of the last round of each data-plane thread, ms of its monotonic clock. */
  heartbeats(): readonly number[] {
    return this.#parts.handle.counters.map(({ cells }) => cells[G_HEARTBEAT_MS]);
  }

  /** VNIs as they were at start. */
  get summary(): readonly VniSummary[] {
    return this.#parts.summary;
  }

  /** Path MTU to an address by route and probes, bytes; undefined: unknown. */
  pathMtu(address: string): number | undefined {
    return this.#parts.paths.pathMtu(address);
  }

  /** Devices of the routes to the peers. */
  underlayDevices(): string[] {
    return this.#parts.paths.devices();
  }

  /** Devices by which the host's stack receives frames of the VNIs: bridges, and TAPs in no bridge. */
  stackDevices(): StackDevice[] {
    return this.#parts.devices.stackDevices();
  }

  /**
   * Captures packets from now on as a pcap file that grows until the capture is closed. Only one
   * capture can run at a time.
   *
   * @throws DataPlaneError vni_not_found, capture_busy, dataplane_down
   */
  capture(options: CaptureOptions): Promise<Capture> {
    return this.#parts.captures.open(options);
  }

  /**
   * Measures the path MTU to a peer; takes seconds.
   *
   * @param progress called for each packet sent
   */
  probe(vni: number, peer: PeerState, progress: Progress): Promise<PeerVerdict> {
    return this.#parts.pathManager.probe(vni, peer, progress);
  }
}
