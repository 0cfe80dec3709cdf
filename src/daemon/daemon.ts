/**
 * The daemon: a VTEP with an API and a state file for changes made by the API.
 *
 *     start: state → VTEP → API → ready
 *     stop:  API → VTEP → state
 *
 * The error of a failed step names cause and remedy, and all previous steps are undone.
 */
import type { FastifyInstance } from 'fastify';
import { loadShim } from '../abi/binding.js';
import type { ReloadReport, StatusInfo } from '../api/deps.js';
import { ListenError, listen } from '../api/listen.js';
import { buildMetricsServer, buildServer } from '../api/server.js';
import { readTokenFile } from '../api/token.js';
import { monotonicMs, WallClock } from '../api/wall-clock.js';
import type { Settings } from '../config/settings.js';
import type { State } from '../config/state.js';
import { StateError, StateFile } from '../config/state-file.js';
import type { ApiListen } from '../config/values.js';
import { packageVersion } from '../config/version.js';
import { daemonFacts } from '../doctor/daemon.js';
import { examine } from '../doctor/doctor.js';
import type { Finding } from '../doctor/finding.js';
import { type Report, reportText } from '../exchange/report.js';
import { Rollback } from '../host/rollback.js';
import type { Logger } from '../log/log.js';
import { Vtep } from '../vtep/vtep.js';
import { Service } from './service.js';
import { ServiceWatch } from './service-watch.js';
import { statusLine } from './status-line.js';

/** Period of retries for a listener that cannot be opened yet, ms. */
const LISTEN_RETRY_MS = 2000;
/**
 * Most peers of a VNI that the `ready` line lists; for more peers the line states only their
 * number.
 */
const PEERS_SHOWN = 16;
/** Most VNIs that the `ready` line lists; for more VNIs the line states only their number. */
const VNIS_SHOWN = 64;

export class Daemon {
  readonly #settings: Settings;
  readonly #log: Logger;
  readonly #undo: Rollback;
  readonly #reread: (() => Settings) | undefined;
  readonly #startedMs = monotonicMs();
  readonly #wallClock = new WallClock();
  /** Warnings of the start. */
  readonly #warnings: Report[] = [];
  #vtep!: Vtep;
  /** Addresses of the open listeners, indexed by flag. */
  readonly #places: Partial<Record<'--api' | '--metrics', string>> = {};
  #announced = false;
  #stopping = false;
  #service: Service | undefined;

  private constructor(settings: Settings, log: Logger, undo: Rollback, reread: (() => Settings) | undefined) {
    this.#settings = settings;
    this.#reread = reread;
    this.#log = log;
    this.#undo = undo;
  }

  /**
   * Starts the daemon.
   *
   * @param reread reads flags and file again; undefined: no configuration file
   * @returns the daemon, as soon as the data plane has acknowledged the configuration and the API
   *   listens
   * @throws Error with a message for the user
   */
  static async start(settings: Settings, log: Logger, reread?: () => Settings): Promise<Daemon> {
    const undo = new Rollback();
    const daemon = new Daemon(settings, log, undo, reread);
    await undo.guard(() => daemon.#start());
    return daemon;
  }

  /**
   * Reads flags and file again. Errors are logged and shown in the status; the old configuration
   * then stays in effect.
   */
  async reload(): Promise<void> {
    if (!this.#stopping) await this.#reload().catch(() => {});
  }

  /**
   * Reloads, and reports the reload to the service manager; called for signals and API requests.
   */
  #reload(): Promise<ReloadReport> {
    const work = () => this.#vtep.reload();
    return this.#service?.reload(work, () => this.#statusLine()) ?? work();
  }

  /** Stops the daemon and removes its devices. Frames already read are still delivered. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#service?.stopping();
    await this.#undo.run();
  }

  async #start(): Promise<void> {
    const token = this.#readToken();
    const kept = await this.#openState();
    this.#vtep = await Vtep.of(this.#settings, { log: this.#log, ...kept, reread: this.#reread });
    this.#undo.push(() => this.#vtep.stop());
    await this.#startApi(token);
    await this.#startMetrics();
    this.#announce();
    this.#notifyService();
  }

  /**
   * Reports the end of the start to the service manager, as readiness, and starts the watchdog
   * pings. A VTEP that is started, but not ready (`/readyz`), is a standby and must not be ended.
   */
  #notifyService(): void {
    const service = new Service(loadShim(), process.env, (text) => this.#log.warn(text));
    const watch = new ServiceWatch(service, {
      heartbeats: () => this.#vtep.heartbeats(),
      status: () => this.#statusLine(),
      stalled: (isStalled) =>
        isStalled
          ? this.#log.error(
              'the data plane has stalled: no watchdog pings to the service manager until it runs again',
            )
          : this.#log.warn('the data plane runs again: watchdog pings continue'),
    });
    this.#undo.push(() => watch.stop());
    watch.start();
    service.ready(this.#statusLine());
    this.#service = service;
  }

  /** Status line for `systemctl status`. */
  #statusLine(): string {
    const { port } = this.#settings;
    return statusLine(
      this.#vtep.dataPlane,
      { port, engine: this.#vtep.status().engine },
      this.#vtep.notReady(),
    );
  }

  /** Opens the state file; returns {} if no state is kept. */
  async #openState(): Promise<{ state?: State; store?: StateFile }> {
    const { path, named } = this.#settings.state;
    if (path === '') return {};
    const shim = loadShim();
    try {
      const file = await StateFile.open(path, (fd) => shim.fileLock(fd));
      this.#undo.push(() => file.close());
      return { state: file.state, store: file };
    } catch (error) {
      // The default path is optional: if vtepd has no permission for this path, it runs without a
      // state file.
      if (named || !(error instanceof StateError && error.notPermitted)) throw error;
      this.#warn({
        code: 'state_not_kept',
        detail: error.problem,
        why: 'changes made by the API are lost when vtepd exits',
        cure: error.cure,
      });
      return {};
    }
  }

  /**
   * Returns the API token; '' if none is configured.
   *
   * @throws ConfigError if the token file is invalid
   */
  #readToken(): string {
    const { apiTokenFile } = this.#settings;
    if (apiTokenFile === '') return '';
    const { token, warnings } = readTokenFile(apiTokenFile);
    for (const warning of warnings) this.#warn(warning);
    return token;
  }

  async #startApi(token: string): Promise<void> {
    if (this.#settings.api.kind === 'off') return;
    const vtep = this.#vtep;
    const server = buildServer({
      dataPlane: vtep.dataPlane,
      status: () => this.#status(),
      notReady: () => vtep.notReady(),
      log: this.#log,
      configuration: vtep,
      reload: () => this.#reload(),
      events: vtep.events,
      capture: { open: (options) => vtep.capture(options) },
      token,
      probe: (vni, peer, progress) => vtep.probe(vni, peer, progress),
      doctor: () => this.#examine(),
    });
    this.#undo.push(() => server.close());
    await this.#listen(server, this.#settings.api, '--api');
  }

  /** Opens the read-only listener for metrics scrapers. */
  async #startMetrics(): Promise<void> {
    const { metrics } = this.#settings;
    if (metrics === undefined) return;
    const vtep = this.#vtep;
    const server = buildMetricsServer({
      dataPlane: vtep.dataPlane,
      status: () => this.#status(),
      notReady: () => vtep.notReady(),
      log: this.#log,
    });
    this.#undo.push(() => server.close());
    await this.#listen(server, { kind: 'tcp', ...metrics }, '--metrics');
  }

  /**
   * Opens a listener. If the address does not exist yet, the call is retried while the overlay
   * runs: in a new network namespace the loopback device is possibly still down.
   */
  async #listen(server: FastifyInstance, where: ApiListen, flag: '--api' | '--metrics'): Promise<void> {
    try {
      const place = await listen(server, where, flag);
      this.#places[flag] = place;
      // The `ready` line contains only the listeners that were open when it was logged.
      if (this.#announced) this.#log.info({ [flag.slice(2)]: place }, `${flag} listens`);
    } catch (error) {
      if (!(error instanceof ListenError) || !error.notYet) throw error;
      this.#log.warn(`${error.message}; retrying every ${LISTEN_RETRY_MS / 1000} s`);
      const retry = setTimeout(() => {
        this.#listen(server, where, flag).catch((failure: Error) => this.#log.error(failure.message));
      }, LISTEN_RETRY_MS);
      this.#undo.push(() => clearTimeout(retry));
    }
  }

  #status(): StatusInfo {
    const { port, underlayDev } = this.#settings;
    const { local, engine, offloads, warnings, notices, names } = this.#vtep.status();
    return {
      version: packageVersion(),
      startedAtMs: this.#wallClock.epochMs(this.#startedMs),
      uptimeS: (monotonicMs() - this.#startedMs) / 1000,
      epochMs: this.#wallClock.epochMs,
      underlay: { local, device: underlayDev, port, io: engine, offloads },
      warnings: [...this.#warnings, ...warnings],
      notices,
      names,
      pathMtu: (address) => this.#vtep.pathMtu(address),
    };
  }

  #examine(): Promise<Finding[]> {
    const { warnings, notices, uptimeS, underlay } = this.#status();
    return examine(
      daemonFacts(this.#vtep.dataPlane, {
        port: underlay.port,
        uptimeS,
        underlayDevices: this.#vtep.underlayDevices(),
        stackDevices: this.#vtep.stackDevices(),
        warnings,
        notices,
      }),
    );
  }

  #warn(warning: Report): void {
    this.#warnings.push(warning);
    this.#log.warn({ code: warning.code }, reportText(warning));
  }

  /** Logs the `ready` line with a summary of the configuration. */
  #announce(): void {
    const overlayMtus = new Map(
      this.#vtep.dataPlane.vnis().map(({ vni, policy }) => [vni, policy.overlayMtu]),
    );
    const summary = this.#vtep.summary.map(({ vni, peers, ...rest }) => ({
      vni,
      ...rest,
      overlayMtu: overlayMtus.get(vni),
      peers: peers.length > PEERS_SHOWN ? peers.length : peers,
    }));
    const { port, workers, state } = this.#settings;
    const { engine, local, offloads, warnings, notices } = this.#vtep.status();
    const fields = {
      version: packageVersion(),
      io: engine,
      offloads,
      workers,
      local,
      port,
      vnis: summary.length > VNIS_SHOWN ? summary.length : summary,
      state: this.#warnings.some(({ code }) => code === 'state_not_kept') ? 'off' : state.path || 'off',
      api: this.#places['--api'] ?? (this.#settings.api.kind === 'off' ? 'off' : 'not yet'),
      metrics: this.#places['--metrics'] ?? (this.#settings.metrics === undefined ? 'off' : 'not yet'),
      warnings: warnings.length + this.#warnings.length,
      notices: notices.length,
    };
    this.#announced = true;
    this.#log.info(fields, 'ready');
  }
}
