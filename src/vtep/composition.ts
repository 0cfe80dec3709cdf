/**
 * Composition of a VTEP: TAPs, sockets, data plane and what keeps them current, its start and stop.
 *
 *     start: shim → peers resolved, routes read → TAPs → sockets → workers
 *            → VNIs and peers acknowledged → forwarding begins → network watched → paths
 *     stop:  paths → network watch → workers → outer TAP → sockets → TAPs and other created devices
 *
 * The error of a failed step names cause and remedy, and all earlier steps are undone. No frames
 * pass through this module.
 */
import { randomInt } from 'node:crypto';
import { loadShim, type Shim } from '../abi/binding.js';
import { checkLayout } from '../abi/layout.js';
import { type Captures, makeCaptures } from '../capture/captures.js';
import type { Settings } from '../config/settings.js';
import { NO_STATE, type State } from '../config/state.js';
import { Handle } from '../controller/handle.js';
import { readsOf } from '../controller/reads.js';
import type { DataPlane } from '../exchange/data-plane.js';
import { Events } from '../exchange/events.js';
import { Offloads } from '../exchange/offloads.js';
import type { MacParts } from '../exchange/protocol.js';
import { type Report, reportText } from '../exchange/report.js';
import type { KnownFlows } from '../flows/known-flows.js';
import { randomMac } from '../host/mac-address.js';
import { type Link, Machine } from '../host/machine.js';
import { OverlayDevices } from '../host/overlay-devices.js';
import { OwnAddresses } from '../host/own-addresses.js';
import { Rollback } from '../host/rollback.js';
import type { UnderlaySockets } from '../host/underlay-sockets.js';
import { type Logger, silentLogger } from '../log/log.js';
import { NamedPeers } from '../names/named-peers.js';
import { PathManager } from '../paths/path-manager.js';
import { Paths } from '../paths/paths.js';
import { makeTunnel, type TunnelOffload } from '../superframes/tunnel-offload.js';
import type { IpAddress } from '../wire/ip-address.js';
import { formatMac } from '../wire/mac.js';
import { Arrival } from './arrival.js';
import { LiveConfiguration, type StateStore } from './configuration.js';
import { deprecated } from './configuration-reports.js';
import { followDevices } from './device-followers.js';
import { Network, type NetworkFollower } from './network.js';
import { noteDevices, noteSockets, refusals } from './offload-probe.js';
import { type OpenVni, Overlay } from './overlay.js';
import { OverlayRoutes } from './overlay-routes.js';
import { OwnPeers } from './own-peers.js';
import { Receiving } from './receiving.js';
import { Reports } from './reports.js';
import { openShortcuts } from './shortcuts.js';
import { TapQueues } from './tap-queues.js';
import { Twins } from './twins.js';
import { engineOf, openSockets, portsOfDgram, portsOfFlows, workerDescriptors } from './underlay.js';
import { UnderlayWatch } from './underlay-watch.js';

/** A VNI as it was at start. */
export interface VniSummary {
  readonly vni: number;
  readonly tap: string;
  readonly bridge: string;
  /** Device MTU, bytes. */
  readonly mtu: number;
  /** Hosts as configured. */
  readonly peers: readonly string[];
}

/** Optional environment of a VTEP. */
export interface VtepSurroundings {
  /** Undefined: nothing is logged. */
  readonly log?: Logger;
  /** State that earlier changes have left. */
  readonly state?: State;
  /** Stores the state of new changes; undefined: it is lost at exit. */
  readonly store?: StateStore | undefined;
  /**
   * Reads the configuration again, for `reload`.
   *
   * @throws ConfigError
   */
  readonly reread?: (() => Settings) | undefined;
}

/** A running VTEP; `vtep.ts` is its interface. */
export class Composition {
  /** Events: MACs, peers, VNIs, paths, warnings. */
  readonly events = new Events();
  readonly configuration: LiveConfiguration;
  readonly own: OwnAddresses;
  readonly peers: NamedPeers;
  readonly paths: Paths;
  readonly devices: OverlayDevices;
  pathManager!: PathManager;
  handle!: Handle;
  reads!: DataPlane;
  captures!: Captures;
  /** VNIs as they were at start. */
  summary: readonly VniSummary[] = [];
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #undo: Rollback;
  readonly #shim: Shim;
  readonly #machine: Machine;
  readonly #reports: Reports;
  readonly #offloads = new Offloads();
  readonly #arrival: Arrival;
  readonly #ownPeers: OwnPeers;
  readonly #overlayRoutes: OverlayRoutes;
  #overlay!: Overlay;
  #underlay!: UnderlayWatch;
  #tapQueues!: TapQueues;
  #network: Network | undefined;
  #flows: KnownFlows | undefined;
  #receiving: Receiving | undefined;
  /** Requests an examination of the devices. */
  #examineDevices = () => {};

  private constructor(
    settings: Settings,
    surroundings: VtepSurroundings,
    parts: { shim: Shim; machine: Machine; undo: Rollback },
  ) {
    const { log = silentLogger(), state = NO_STATE, store, reread } = surroundings;
    const { events } = this;
    const changed = () => {
      this.peers.retain(this.configuration.settings.vnis);
      this.#examineDevices();
      this.#reportOwnPeers();
    };
    this.configuration = new LiveConfiguration({
      base: settings,
      state,
      store,
      reread,
      makeMac: () => macText(randomMac()),
      events,
      log,
      changed,
    });
    this.#settings = settings;
    this.#log = log;
    this.#undo = parts.undo;
    this.#shim = parts.shim;
    this.#machine = parts.machine;
    this.devices = new OverlayDevices(parts.shim, parts.machine);
    this.#arrival = new Arrival({
      machine: parts.machine,
      devices: this.devices,
      underlayDev: settings.underlayDev,
    });
    this.#reports = new Reports(log, events);
    this.own = new OwnAddresses(parts.machine, () => {
      this.peers.review();
      this.#setOwn();
    });
    const isOwn = (address: IpAddress) => this.own.has(address);
    this.peers = new NamedPeers({
      log,
      events,
      isOwn,
      reaches: (address) => this.paths.reaches(address),
      applied: () => this.#reportOwnPeers(),
    });
    this.#ownPeers = new OwnPeers({
      reports: this.#reports,
      isOwn,
      addresses: (host) => this.peers.names.allAddresses(host),
    });
    this.#overlayRoutes = new OverlayRoutes({
      machine: parts.machine,
      taps: () => this.devices.indexes,
      reports: this.#reports,
    });
    this.paths = new Paths(
      settings,
      parts.machine,
      (host, all) => this.peers.resolve(host, all),
      (device) => this.#overlayRoutes.isOverlay(device),
    );
  }

  /** @throws ConfigError, HostError, ResolveError; nothing is left behind then */
  static async start(settings: Settings, surroundings: VtepSurroundings): Promise<Composition> {
    const undo = new Rollback();
    return undo.guard(async () => {
      const shim = loadShim();
      checkLayout(shim);
      const machine = await openMachine(shim, surroundings.log);
      undo.push(() => machine.close());
      const composition = new Composition(settings, surroundings, { shim, machine, undo });
      await composition.#start();
      return composition;
    });
  }

  /** Stops and removes everything that was created. */
  async stop(): Promise<void> {
    await this.#undo.run();
    this.events.close();
  }

  /** Offloads in use, by their kernel names. */
  offloads(): readonly string[] {
    return this.#offloads.names();
  }

  get engine(): 'batch' | 'dgram' {
    return engineOf(this.#settings);
  }

  /** Returns the TAP that the configuration names; undefined: it is not in this namespace. */
  #linkOf(tap: string): Link | undefined {
    return this.#machine.link(this.devices.find(tap)?.index ?? 0);
  }

  /** Warnings and notices that hold now. */
  reports(): Report[] {
    return [
      ...this.#reports.list,
      ...this.configuration.reports(),
      ...this.peers.names.reports(),
      ...this.pathManager.reports(),
      ...refusals(this.#offloads),
    ];
  }

  async #start(): Promise<void> {
    this.#undo.push(() => this.peers.stop());
    for (const report of deprecated(this.#settings)) this.#reports.warn(report);
    const shim = this.#shim;
    const machine = this.#machine;
    this.pathManager = this.#makePathManager();
    this.#undo.push(() => this.own.stop());
    this.#undo.push(() => this.#overlayRoutes.stop());
    await this.#keepMacs();
    this.#tapQueues = new TapQueues(shim);
    this.#undo.push(() => this.devices.closeAll());
    this.#overlay = this.#makeOverlay();
    const opened = await this.#overlay.open(this.configuration.settings.vnis);
    // VNIs with the same peers share a list.
    const peers = [...new Set(opened.map((vni) => vni.peers))].flat();
    const sockets = await openSockets(shim, machine, this.#settings, peers);
    this.#undo.push(() => sockets.close());
    if (this.engine === 'batch') {
      noteSockets(this.#offloads, sockets, this.#settings.udpChecksum);
      for (const report of refusals(this.#offloads))
        this.#log.warn({ code: report.code }, reportText(report));
    }
    const tunnel = makeTunnel(shim, machine, this.#settings, sockets.sendFds, () => this.#underlay.held.ipv4);
    this.#undo.push(() => tunnel.close());
    this.handle = await this.#startWorkers(sockets);
    this.reads = readsOf(this.handle);
    this.#overlay.attach(this.handle);
    const localOf = (peer: string) => this.paths.route(peer)?.local;
    this.captures = makeCaptures(this.#settings, this.handle, localOf, this.#log);
    this.#undo.push(() => this.captures.stop());
    this.#undo.push(() => this.#arrival.stop());
    await this.#arrival.start(this.handle);
    for (const vni of opened) await this.#overlay.configure(vni);
    this.#setOwn();
    this.#followUnderlay(sockets);
    await this.handle.configured(sockets.admit());
    await this.#followNetwork(tunnel);
    this.#undo.push(() => this.pathManager.stop());
    this.pathManager.start(this.handle, sockets.probeFds);
    if (this.engine === 'batch') this.#receiving = this.#receive(sockets);
    else this.pathManager.listen(this.handle, portsOfDgram(shim, sockets));
    this.#undo.push(() => this.#tapQueues.stop());
    this.#tapQueues.start(this.handle);
    this.summary = opened.map(summaryOf);
    this.configuration.attach(this.handle, this.#overlay);
    this.peers.attach(this.handle, this.configuration);
    this.#reportOwnPeers();
    const twins = new Twins({ dataPlane: this.handle, reports: this.#reports });
    this.#undo.push(() => twins.stop());
    twins.start();
    this.#undo.push(() => this.peers.stop());
    this.#undo.push(() => this.configuration.stop());
    this.#examineDevices = await followDevices(
      {
        machine,
        devices: this.devices,
        reports: this.#reports,
        log: this.#log,
        configuration: this.configuration,
        handle: this.handle,
        overlay: this.#overlay,
        mended: () => this.#arrival.refresh(),
      },
      this.#undo,
    );
  }

  /** Stores the MACs of the TAPs, so that they are the same at the next start. */
  async #keepMacs(): Promise<void> {
    try {
      await this.configuration.keepMacs();
    } catch (error) {
      this.#reports.warn({
        code: 'state_not_kept',
        detail: `cannot store the MACs of the TAPs: ${(error as Error).message}`,
        why: 'the TAPs get other MACs at the next start, unless a change is stored before',
        cure: 'make room for the state file and permit vtepd to write it, or set --mac',
      });
    }
  }

  /** Keeps the data plane, if it runs already, from learning addresses of this host. */
  #setOwn(): void {
    void this.handle?.setOwn(this.own.rows());
  }

  #reportOwnPeers(): void {
    this.#ownPeers.report(this.configuration.settings.vnis);
  }

  #reportOverlayRoutes(): void {
    const peers = this.handle.vnis().flatMap(({ vni }) => this.handle.peers(vni));
    const addresses = new Set(peers.map(({ address }) => address.text));
    this.#overlayRoutes.report(addresses, (address) => this.paths.overlayDevice(address));
  }

  #makePathManager(): PathManager {
    return new PathManager({
      shim: this.#shim,
      machine: this.#machine,
      linkOf: (tap) => this.#linkOf(tap),
      settings: this.#settings,
      ttl: this.#settings.ttl,
      held: () => this.#underlay.held,
      paths: this.paths,
      log: this.#log,
      publish: (event) => this.events.publish(event),
      signs: (signs) => {
        this.peers.checked(signs);
        this.#reportOverlayRoutes();
      },
    });
  }

  #makeOverlay(): Overlay {
    return new Overlay({
      settings: this.#settings,
      paths: this.paths,
      pathManager: this.pathManager,
      devices: this.devices,
      offload: this.engine === 'batch',
      events: this.events,
      log: this.#log,
      entries: (vni) => this.configuration.entries(vni),
      keptMac: (vni) => this.configuration.keptMac(vni),
      reports: this.#reports,
      devicesChanged: () => this.#arrival.refresh(),
      opened: (opened) => {
        if (this.engine === 'batch') noteDevices(this.#offloads, opened);
        this.#tapQueues.opened(opened);
        this.#overlayRoutes.devicesChanged();
      },
      reopened: (device) => this.#tapQueues.reopened(device),
    });
  }

  async #startWorkers(sockets: UnderlaySockets): Promise<Handle> {
    const { df, tos, mssClamp } = this.#settings;
    const handle = new Handle({
      engine: this.engine,
      underlay: { sendFds: sockets.sendFds },
      offloads: this.#offloads.buffer,
      strictHeader: this.#settings.strictHeader,
      outer: { df, tos, mssClamp: mssClamp === 'auto', flowSecret: randomInt(2 ** 32) | 0 },
      port: this.#settings.port,
      workers: workerDescriptors(this.#shim, sockets, this.#undo),
      seed: randomInt(2 ** 32) | 0,
      log: (level, message, fields) => this.#log[level](fields, message),
      vniLeft: (vni) => this.#flows?.forget(vni),
      peersChanged: () => {
        this.#network?.due();
        this.#receiving?.due();
        this.pathManager.changed();
      },
      probeReplied: (peerIdx, nonce, len) => {
        if (this.pathManager.replied(peerIdx, nonce, len)) this.#receiving?.due();
      },
      addressText: ({ family, bytes, scopeId }) => this.paths.addressText(family, bytes, scopeId),
      entries: (vni) => this.configuration.entries(vni),
      fdbEvents: (events) => {
        for (const event of events) this.events.publish(event);
      },
    });
    this.#undo.push(() => handle.stop());
    await handle.start();
    this.#watchFdb(handle);
    return handle;
  }

  /** Reports changes of FDB entries only while there are subscribers to events. */
  #watchFdb(handle: Handle): void {
    let watching = this.events.subscribers > 0;
    const update = () => handle.watchFdb(watching).catch(() => {});
    if (watching) void update();
    this.events.onSubscribers((count) => {
      if (watching === count > 0) return;
      watching = count > 0;
      void update();
    });
  }

  /** Distributes peers over the receive sockets and keeps the distribution current. */
  #receive(sockets: UnderlaySockets): Receiving {
    const receiving = new Receiving({
      shim: this.#shim,
      sockets,
      handle: this.handle,
      paths: this.paths,
      proofs: this.pathManager.proofs,
      log: this.#log,
    });
    this.#undo.push(() => receiving.stop());
    receiving.start();
    return receiving;
  }

  /** Follows the local addresses and the devices of the sockets. */
  #followUnderlay(sockets: UnderlaySockets): void {
    this.#underlay = new UnderlayWatch({
      machine: this.#machine,
      settings: this.#settings,
      reports: this.#reports,
      log: this.#log,
      hold: (held) => {
        void this.handle.hold(held);
        this.#network?.withdraw();
      },
      bound: (index) => this.paths.bind(index),
      rebind: (device, families) =>
        sockets.rebind(device, families) || this.pathManager.rebind(device, families),
    });
    this.#undo.push(() => this.#underlay.stop());
    this.#underlay.start();
  }

  /** Keeps routes, and the options that depend on them, current when the network changes. */
  async #followNetwork(tunnel: TunnelOffload): Promise<void> {
    const network: Network = new Network({
      shim: this.#shim,
      paths: this.paths,
      handle: this.handle,
      followers: this.#shortcuts(tunnel, () => network.due()),
      routesChanged: () => {
        this.pathManager.changed();
        this.#reportOverlayRoutes();
        void this.peers.networkChanged();
      },
    });
    this.#undo.push(() => network.stop());
    await network.start();
    this.#network = network;
  }

  /** Shortcuts around the host's stack; the engine dgram has none. */
  #shortcuts(tunnel: TunnelOffload, due: () => void): NetworkFollower[] {
    const { kernelPath: mode } = this.#settings;
    if (this.engine !== 'batch' || mode === 'off') return [];
    const shortcuts = openShortcuts(this.#settings, mode, {
      shim: this.#shim,
      machine: this.#machine,
      paths: this.paths,
      tunnel,
      offloads: this.#offloads,
      handle: this.handle,
      indexOf: (tap) => this.devices.find(tap)?.index ?? 0,
      log: this.#log,
      report: (code, shortcut, texts) => this.#reports.set(code, shortcut, texts),
      openingFlows: () => this.pathManager.listen(this.handle, portsOfFlows(this.#settings)),
      due,
    });
    this.#flows = shortcuts.flows;
    return [shortcuts.superframes];
  }
}

function openMachine(shim: Shim, log = silentLogger()): Promise<Machine> {
  return Machine.open(shim, ({ message }) =>
    log.error({ error: message }, 'cannot list network devices; their changes are not followed'),
  );
}

function macText({ high, low }: MacParts): string {
  return formatMac(high, low);
}

function summaryOf({ settings: { vni, bridge, peers }, device: { name, mtu } }: OpenVni): VniSummary {
  return { vni, tap: name, bridge, mtu, peers: peers.map(({ host }) => host) };
}
