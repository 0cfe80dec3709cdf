/**
 * The composition root: the only file that knows both planes. It turns settings into a running VTEP and takes it down
 * again, in this order:
 *
 *     start: shim → peers resolved, routes asked → TAPs → sockets → workers → VNIs and peers acknowledged → paths → API → ready
 *     stop:  API → paths → watching the network → workers → outer TAP → sockets → TAPs and what else was created
 *
 * Each step that fails names cause and cure, and everything done until then is taken back. No frame passes here.
 */
import { randomInt } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { ApiListen, Settings, VniSettings } from './config/settings.js';
import type { StatusInfo } from './control/deps.js';
import { ListenError, listen } from './control/listen.js';
import { buildServer } from './control/server.js';
import { daemonFacts } from './doctor/daemon.js';
import { examine } from './doctor/doctor.js';
import type { Finding } from './doctor/finding.js';
import { deriveMac } from './host/mac-address.js';
import { machineId, netnsId } from './host/machine-id.js';
import { NetworkWatch } from './host/network-watch.js';
import { ALL_OFFLOADS, type OverlayDevice, type OverlayDeviceSpec } from './host/overlay-device.js';
import { openOverlayDevices } from './host/overlay-devices.js';
import { Paths } from './host/paths.js';
import { Rollback } from './host/rollback.js';
import { Service } from './host/service.js';
import { ServiceWatch } from './host/service-watch.js';
import { TunnelOffload, type TunnelPeer } from './host/tunnel-offload.js';
import { openUnderlaySockets, type UnderlaySockets } from './host/underlay-sockets.js';
import type { Logger } from './log.js';
import { loadShim, type Shim } from './native/binding.js';
import { errnoName } from './native/errno.js';
import { checkLayout } from './native/layout.js';
import { PathCare } from './path-care.js';
import { G_HEARTBEAT_MS } from './stats/counters.js';
import { type OffloadName, Offloads, refusalText } from './stats/offloads.js';
import { packageVersion } from './version.js';
import { formatMac } from './wire/mac.js';
import type { NewPeer } from './worker/data-plane.js';
import { Handle, type WorkerDescriptors } from './worker/handle.js';

/** How often a listener that cannot be opened yet is tried again, ms. */
const LISTEN_RETRY_MS = 2000;
/** Peers of a VNI that the log names; of more, it gives the number. */
const PEERS_SHOWN = 16;

export class Daemon {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #undo: Rollback;
  readonly #paths: Paths;
  readonly #startedAtMs = Date.now();
  readonly #warnings: { code: string; detail: string }[] = [];
  readonly #offloads = new Offloads();
  /** Those that come and go. */
  #standingWarnings: () => { code: string; detail: string }[] = () => [];
  #local: string[] = [];
  #network: NetworkWatch | undefined;
  #service: Service | undefined;
  /** Why superframes do not leave whole, or the device that they leave by. */
  #tunnelSaid = '';

  private constructor(settings: Settings, log: Logger, undo: Rollback) {
    this.#settings = settings;
    this.#log = log;
    this.#undo = undo;
    this.#paths = new Paths(settings);
  }

  /** @returns when the data plane has acknowledged the whole configuration and the API listens @throws Error for people */
  static async start(settings: Settings, log: Logger): Promise<Daemon> {
    const undo = new Rollback();
    const daemon = new Daemon(settings, log, undo);
    await undo.guard(() => daemon.#start());
    return daemon;
  }

  /** Removes what was created. Frames that were read are still delivered. */
  async stop(): Promise<void> {
    this.#service?.stopping();
    await this.#undo.run();
  }

  get #engine(): 'batch' | 'dgram' {
    return this.#settings.io === 'dgram' ? 'dgram' : 'batch';
  }

  async #start(): Promise<void> {
    const shim = loadShim();
    checkLayout(shim);
    const { vnis } = this.#settings;
    const resolved = await this.#paths.resolvePeers(vnis.map((vni) => vni.peers));
    const peers = new Map(vnis.map((vni, i) => [vni, resolved[i]]));
    for (const skipped of this.#paths.skipped) this.#warn('peer_duplicate', skipped);
    this.#local = this.#paths.localAddresses();

    const care = this.#careForPaths(shim);
    const devices = await this.#openDevices(shim, peers, care);
    const sockets = await this.#openSockets(shim, [...new Set(resolved)].flat());
    if (this.#engine === 'batch') this.#noteOffloads([...devices.values()], sockets);
    const tunnel = this.#makeTunnel(shim, sockets);
    const handle = await this.#startWorkers(shim, sockets, care);
    for (const vni of vnis)
      await this.#configure(handle, vni, devices.get(vni)!, peers.get(vni)!, care.overlayMtu(vni.vni));
    if (this.#engine === 'batch') await this.#watchNetwork(shim, handle, tunnel, care);
    handle.configured();
    this.#undo.push(() => care.stop());
    care.start(handle, this.#deafPorts(shim, sockets));
    await this.#startApi(handle, care);
    this.#announce(devices);
    this.#tellService(shim, handle);
  }

  /** That it is ready, and from now on that the data plane is alive. */
  #tellService(shim: Shim, handle: Handle): void {
    const service = new Service(shim, process.env, (text) => this.#log.warn(text));
    const status = () => this.#statusLine(handle);
    const watch = new ServiceWatch(service, {
      heartbeats: () => handle.counters.map(({ cells }) => cells[G_HEARTBEAT_MS]),
      status,
      stalled: (isStalled) =>
        isStalled
          ? this.#log.error('the data plane does not turn: the service manager gets no pings until it does')
          : this.#log.warn('the data plane turns again'),
    });
    this.#undo.push(() => watch.stop());
    watch.start();
    service.ready(status());
    this.#service = service;
  }

  /** For `systemctl status`. */
  #statusLine(handle: Handle): string {
    const vnis = handle.vnis();
    const peers = vnis.reduce((count, { vni }) => count + handle.peers(vni).length, 0);
    const { port } = this.#settings;
    return `${counted(vnis.length, 'VNI')}, ${counted(peers, 'peer')}, UDP port ${port} (${this.#engine})`;
  }

  #careForPaths(shim: Shim): PathCare {
    const care = new PathCare({
      shim,
      settings: this.#settings,
      ttl: this.#settings.ttl,
      paths: this.#paths,
      log: this.#log,
    });
    this.#standingWarnings = () => care.warnings();
    return care;
  }

  /** Source ports of sockets without an error queue. */
  #deafPorts(shim: Shim, { sendFds }: UnderlaySockets): Set<number> {
    if (this.#engine === 'batch') return new Set();
    return new Set(sendFds.filter((fd) => fd >= 0).map((fd) => shim.udpPort(fd)));
  }

  async #openDevices(
    shim: Shim,
    peers: ReadonlyMap<VniSettings, readonly NewPeer[]>,
    care: PathCare,
  ): Promise<Map<VniSettings, OverlayDevice>> {
    const specs: OverlayDeviceSpec[] = [];
    for (const [vni, theirs] of peers) specs.push(this.#deviceSpec(vni, await care.begin(vni, theirs)));
    const opened = await openOverlayDevices(shim, specs);
    this.#undo.push(() => opened.close());
    for (const device of opened.devices)
      if (device.unsteered !== '') this.#warn('queues_unsteered', unsteeredDetail(device));
    return new Map(Array.from(peers.keys(), (vni, i) => [vni, opened.devices[i]]));
  }

  #deviceSpec(vni: VniSettings, overlayMtu: number): OverlayDeviceSpec {
    const underlay = this.#local[0] ?? '';
    const netns = underlay === '' ? netnsId() : '';
    return {
      vni: vni.vni,
      tap: vni.tap,
      bridge: vni.bridge,
      addresses: vni.addresses,
      mac: vni.mac,
      derivedMac: deriveMac({ machineId: machineId(), underlay, vni: vni.vni, netns }),
      overlayMtu,
      offload: this.#engine === 'batch',
      queues: this.#settings.workers,
    };
  }

  /** What sockets and every TAP have; they are all of one kernel. What it refuses is told of once. */
  #noteOffloads(devices: OverlayDevice[], sockets: UnderlaySockets): void {
    const note = (name: OffloadName, error: number | undefined) => {
      if (error === undefined) this.#offloads.grant(name);
      else this.#offloads.refuse(name, error);
    };
    note('UDP_GRO', sockets.refused.get('UDP_GRO'));
    if (this.#settings.udpChecksum) note('UDP_SEGMENT', sockets.refused.get('UDP_SEGMENT'));
    for (const name of ALL_OFFLOADS)
      note(name, devices.find(({ offloads }) => !offloads.includes(name))?.offloadError);
    note('GSO_TCP', undefined);
    // Reading and writing them came with one kernel.
    note('GSO_UDP_L4', devices.find(({ offloads }) => !offloads.includes('TUN_F_USO4'))?.offloadError);
    for (const { code, detail } of this.#refusals()) this.#log.warn({ code }, detail);
  }

  #refusals(): StatusInfo['warnings'] {
    return this.#offloads.refused().map(({ names, error }) => {
      return { code: 'offload_refused', detail: refusalText(names, errnoName(error)) };
    });
  }

  async #openSockets(shim: Shim, peers: readonly NewPeer[]): Promise<UnderlaySockets> {
    const { local, port, underlayDev, sourcePorts, udpChecksum, df, ttl } = this.#settings;
    const ofFamily = (family: 4 | 6) => local.find((address) => address.family === family)?.text ?? '';
    const sockets = await openUnderlaySockets(shim, {
      local4: ofFamily(4),
      local6: ofFamily(6),
      needed: {
        ipv4: peers.some(({ address }) => address.family === 4),
        ipv6: peers.some(({ address }) => address.family === 6),
      },
      port,
      device: underlayDev,
      sourcePorts,
      udpChecksum,
      plain: this.#engine === 'dgram',
      df,
      ttl,
      workers: this.#settings.workers,
    });
    this.#undo.push(() => sockets.close());
    return sockets;
  }

  async #startWorkers(shim: Shim, sockets: UnderlaySockets, care: PathCare): Promise<Handle> {
    const { df, tos, mssClamp } = this.#settings;
    const handle = new Handle({
      engine: this.#engine,
      underlay: { sendFds: sockets.sendFds },
      offloads: this.#offloads.buffer,
      strictHeader: this.#settings.strictHeader,
      outer: { df, tos, mssClamp },
      port: this.#settings.port,
      workers: sockets.receiveFds.map((fds) => this.#descriptors(shim, { ...fds })),
      seed: randomInt(2 ** 32) | 0,
      log: (level, message, fields) => this.#log[level](fields, message),
      peersChanged: () => {
        this.#network?.due();
        care.changed();
      },
      probeReplied: (peerIdx, nonce, len) => care.replied(peerIdx, nonce, len),
      addressText: ({ family, bytes, scopeId }) => this.#paths.addressText(family, bytes, scopeId),
    });
    this.#undo.push(() => handle.stop());
    await handle.start();
    return handle;
  }

  /** The workers write to its device, so it is closed after they have ended. */
  #makeTunnel(shim: Shim, sockets: UnderlaySockets): TunnelOffload {
    const { port, udpChecksum, underlayDev, ttl } = this.#settings;
    const local = this.#settings.local.find(({ family }) => family === 4)?.bytes.subarray(0, 4);
    const df = this.#settings.df !== 'unset';
    const { SOURCE_SOCKETS } = shim.layout;
    const pool = df ? 0 : 2 * SOURCE_SOCKETS;
    const sendFds = sockets.sendFds.slice(pool, pool + SOURCE_SOCKETS);
    const outer = { ttl, df, udpChecksum };
    const tunnel = new TunnelOffload(shim, { port, local, device: underlayDev, ...outer, sendFds });
    this.#undo.push(() => tunnel.close());
    return tunnel;
  }

  /** Superframes leave whole while the network allows it; frames are judged by the routes that there are. */
  async #watchNetwork(shim: Shim, handle: Handle, tunnel: TunnelOffload, care: PathCare): Promise<void> {
    const network = new NetworkWatch(shim, {
      look: async (changed) => {
        await this.#setTunnel(handle, tunnel, changed).catch((error: Error) =>
          this.#endTunnel(error.message),
        );
        if (changed) care.changed();
      },
      policies: () => this.#offloads.withdraw('UDP_TUNNEL_GSO'),
    });
    this.#undo.push(() => network.stop());
    try {
      await network.start();
      this.#network = network;
    } catch (error) {
      this.#endTunnel((error as Error).message);
    }
  }

  /** @param changed routes may be others by now */
  async #setTunnel(handle: Handle, tunnel: TunnelOffload, changed: boolean): Promise<void> {
    if (changed) await this.#paths.refreshAll(ipv4Addresses(handle));
    const found = await tunnel.find(this.#ways(handle));
    if ('why' in found) {
      if (found.notPermitted) this.#warnOnce('offload_not_permitted', cutUp(found.why));
      return this.#endTunnel(found.why);
    }
    await handle.setTunnel(found.way, found.peers);
    // One that came while the workers were told. Of later ones the kernel tells, and is heard after this.
    const policies = tunnel.policies();
    if (policies !== '') return this.#endTunnel(policies);
    this.#offloads.grant('UDP_TUNNEL_GSO');
    this.#sayTunnel(`superframes leave whole by ${found.device}`);
  }

  #endTunnel(why: string): void {
    this.#offloads.withdraw('UDP_TUNNEL_GSO');
    this.#sayTunnel(cutUp(why));
  }

  /** What it is at start is in the status; that it changes may explain a speed. */
  #sayTunnel(text: string): void {
    if (this.#tunnelSaid === text) return;
    this.#log[this.#tunnelSaid === '' ? 'debug' : 'info'](text);
    this.#tunnelSaid = text;
  }

  /** How each peer is reached. */
  *#ways(handle: Handle): Iterable<TunnelPeer> {
    for (const { vni } of handle.vnis())
      for (const { peerIdx, address } of handle.peers(vni))
        yield { peerIdx, family: address.family, route: this.#paths.route(address.text) };
  }

  #descriptors(shim: Shim, receiveFds: { ipv4: number; ipv6: number }): WorkerDescriptors {
    const waitFd = this.#own(shim, shim.waitCreate(), 'epoll');
    const wakeFd = this.#own(shim, shim.eventCreate(), 'eventfd');
    return { waitFd, wakeFd, wake: () => void shim.eventFire(wakeFd), receiveFds };
  }

  #own(shim: Shim, fd: number, what: string): number {
    if (fd < 0)
      throw new Error(`cannot make an ${what} (errno ${-fd}): raise the limit of open files (ulimit -n)`);
    this.#undo.push(() => void shim.close(fd));
    return fd;
  }

  async #configure(
    handle: Handle,
    vni: VniSettings,
    device: OverlayDevice,
    peers: readonly NewPeer[],
    overlayMtu: number,
  ): Promise<void> {
    const { learning, ageingS, fdbLimit, flood, accept, vlan } = vni;
    await handle.addVni({
      vni: vni.vni,
      tap: device.name,
      bridge: vni.bridge,
      mac: formatMac(device.mac.high, device.mac.low),
      macParts: device.mac,
      tapFds: device.fds,
      policy: {
        learning,
        ageingS,
        fdbLimit,
        flood,
        accept,
        vlan,
        overlayMtu,
        packetMax: vni.mtu === 'auto' ? 0 : vni.mtu,
      },
    });
    await handle.addPeers(vni.vni, peers);
  }

  async #startApi(handle: Handle, care: PathCare): Promise<void> {
    if (this.#settings.api.kind === 'off') return;
    const server = buildServer({
      dataPlane: handle,
      status: () => this.#status(),
      log: this.#log,
      resolvePeer: (host, port) => this.#paths.resolvePeer(host, port),
      probe: (vni, peer, progress) => care.probe(vni, peer, progress),
      doctor: () => this.#examine(handle),
    });
    this.#undo.push(() => server.close());
    await this.#listen(server, this.#settings.api);
  }

  /** Loopback may still be down, as it is in a new network namespace: the overlay works without, the API follows. */
  async #listen(server: FastifyInstance, api: ApiListen): Promise<void> {
    try {
      const place = await listen(server, api);
      this.#log.info({ api: place }, 'API listens');
    } catch (error) {
      if (!(error instanceof ListenError) || !error.notYet) throw error;
      this.#log.warn(`${error.message}; trying again until it is`);
      const retry = setTimeout(() => {
        this.#listen(server, api).catch((failure: Error) => this.#log.error(failure.message));
      }, LISTEN_RETRY_MS);
      this.#undo.push(() => clearTimeout(retry));
    }
  }

  #status(): StatusInfo {
    const { port, underlayDev } = this.#settings;
    return {
      version: packageVersion(),
      startedAtMs: this.#startedAtMs,
      underlay: {
        local: this.#local,
        device: underlayDev,
        port,
        io: this.#engine,
        offloads: this.#offloads.names(),
      },
      warnings: [...this.#warnings, ...this.#standingWarnings(), ...this.#refusals()],
      pathMtu: (address) => this.#paths.pathMtu(address),
    };
  }

  #examine(handle: Handle): Promise<Finding[]> {
    const { warnings, startedAtMs, underlay } = this.#status();
    return examine(
      daemonFacts(handle, {
        port: underlay.port,
        uptimeS: (Date.now() - startedAtMs) / 1000,
        underlayDevices: this.#paths.devices(),
        warnings,
      }),
    );
  }

  #warn(code: string, detail: string): void {
    this.#warnings.push({ code, detail });
    this.#log.warn({ code }, detail);
  }

  #warnOnce(code: string, detail: string): void {
    if (!this.#warnings.some((warning) => warning.code === code)) this.#warn(code, detail);
  }

  /** The one line that says everything that matters. */
  #announce(devices: Map<VniSettings, OverlayDevice>): void {
    const vnis = Array.from(devices, ([{ vni, bridge, peers }, { name, mtu }]) => ({
      vni,
      tap: name,
      bridge,
      mtu,
      peers: peers.length > PEERS_SHOWN ? peers.length : peers.map(({ host }) => host),
    }));
    const { port, workers } = this.#settings;
    const said = { version: packageVersion(), io: this.#engine, workers, local: this.#local, port, vnis };
    this.#log.info(said, 'ready');
  }
}

function cutUp(why: string): string {
  return `superframes are cut up before they are sent: ${why}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function ipv4Addresses(handle: Handle): string[] {
  const addresses = new Set<string>();
  for (const { vni } of handle.vnis())
    for (const { address } of handle.peers(vni)) if (address.family === 4) addresses.add(address.text);
  return [...addresses];
}

function unsteeredDetail({ name, unsteered }: OverlayDevice): string {
  return `${name}: the kernel refuses to keep flows on their queue (${unsteered}): frames of a flow may overtake each other when it moves to another worker; run with CAP_BPF, or with --workers 1`;
}
