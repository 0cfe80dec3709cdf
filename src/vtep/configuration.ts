/**
 * Live configuration of a VTEP, and its changes as transactions.
 *
 * The current settings are those of flags and file with the API's state applied. Changes run one at
 * a time. A change succeeds when the data plane has applied it and the state is stored; a change
 * that fails leaves everything as it was.
 *
 *     call → new state → new settings → checked → difference → written beside the state file
 *          → applied → the file gets its name → the call resolves
 */
import pLimit from 'p-limit';
import { ConfigError } from '../config/config-error.js';
import { checkConflicts } from '../config/conflicts.js';
import { daemonDifference, describe, difference, isSame } from '../config/diff.js';
import * as edits from '../config/edits.js';
import { isGiven, withPort } from '../config/merge.js';
import { flagOf, type Key } from '../config/schema.js';
import type { PeerSettings, Settings, VniSettings } from '../config/settings.js';
import { applyState, contradictions, entriesOf, type State } from '../config/state.js';
import type { OwnSettings } from '../config/vni-words.js';
import type { Handle } from '../controller/handle.js';
import { DataPlaneError, type FdbFilter, isPeerOf, type PeerState } from '../exchange/data-plane.js';
import type { Events } from '../exchange/events.js';
import type { MacParts } from '../exchange/protocol.js';
import { type Report, reportText } from '../exchange/report.js';
import { Rollback } from '../host/rollback.js';
import type { Logger } from '../log/log.js';
import { hostOf } from '../paths/paths.js';
import type { IpAddress } from '../wire/ip-address.js';
import { formatMac, parseMac } from '../wire/mac.js';
import { carryOut } from './carry.js';
import { overrides, reloadFailed, restartNeeded } from './configuration-reports.js';
import type { Overlay } from './overlay.js';

/** Persistent storage of the state. */
export interface StateStore {
  /** Writes the state to a temporary file; `commit` makes it the current one. */
  prepare(state: State): Promise<{ commit(): Promise<void>; discard(): Promise<void> }>;
}

export interface ReloadReport {
  readonly changed: readonly string[];
  /** Flags that take effect at the next start. */
  readonly needsRestart: readonly string[];
  /** False when vtepd runs without a file: nothing was read. */
  readonly hasFile: boolean;
}

export interface ConfigurationOptions {
  /** Settings of flags and file. */
  readonly base: Settings;
  readonly state: State;
  /** Undefined: changes are lost at exit. */
  readonly store: StateStore | undefined;
  /**
   * Reads flags and file again; undefined: there is no file.
   *
   * @throws ConfigError
   */
  readonly reread: (() => Settings) | undefined;
  /** Makes a MAC for a TAP, which is kept in the state if there is a store; undefined: none is made. */
  readonly makeMac?: () => string;
  readonly events: Events;
  readonly log: Logger;
  /**
   * Called after a change has been made or undone, because the set of peer hosts possibly differs
   * afterwards.
   */
  readonly changed: () => void;
}

/** Error codes after which workers have possibly made the change, or make it later. */
const UNANSWERED: readonly string[] = ['dataplane_timeout', 'dataplane_down'];
const NO_PRECONDITION = () => {};
const NOTHING_CHANGED: ReloadReport = { changed: [], needsRestart: [], hasFile: false };

export class LiveConfiguration {
  readonly #options: ConfigurationOptions;
  /** Settings at start. The settings of the whole daemon stay in effect until a restart. */
  readonly #started: Settings;
  #base: Settings;
  #state: State;
  #current: Settings;
  /**
   * Settings that the data plane possibly still has during a change: the previous settings or,
   * while a failed change is undone, the rejected settings.
   */
  #superseded: Settings;
  #handle!: Handle;
  #overlay!: Overlay;
  /** Serialises changes. */
  readonly #serialise = pLimit(1);
  #stopped = false;
  /** Undefined: the last reload succeeded, or there was none. */
  #reloadFailure: Report | undefined;
  #needsRestart: readonly string[] = [];

  /** @throws ConfigError when configuration and state cannot be combined */
  constructor(options: ConfigurationOptions) {
    this.#options = options;
    this.#started = options.base;
    this.#base = options.base;
    this.#state = options.state;
    this.#current = applyState(this.#base, this.#state);
    this.#superseded = this.#current;
    if (this.#current !== this.#base) checkConflicts(this.#current);
  }

  /**
   * Makes the missing MACs and stores them, before the first TAP is opened.
   *
   * @throws StateError when they cannot be stored; they are used all the same, and stored with the
   * next change
   */
  async keepMacs(): Promise<void> {
    const before = this.#state;
    this.#state = this.#withMacs(before, this.#current);
    if (this.#state === before) return;
    const prepared = await this.#options.store?.prepare(this.#state);
    await prepared?.commit();
  }

  /** MAC that was made for the TAP of a VNI; undefined: none is kept. */
  keptMac(vni: number): MacParts | undefined {
    const mac = this.#state.vnis.get(vni)?.mac;
    return mac === undefined ? undefined : parseMac(mac);
  }

  /** Current settings. */
  get settings(): Settings {
    return this.#current;
  }

  /** Desired static entries of a VNI: MAC → address of a peer. */
  entries(vni: number): ReadonlyMap<string, string> {
    return entriesOf(this.#state, vni);
  }

  /** Accepts changes from now on. The VTEP must be running. */
  attach(handle: Handle, overlay: Overlay): void {
    this.#handle = handle;
    this.#overlay = overlay;
  }

  /** Waits for the change in progress and rejects all later ones. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#serialise(() => {});
  }

  reports(): Report[] {
    const reports = contradictions(this.#base, this.#state, isGiven).map(overrides);
    if (this.#reloadFailure !== undefined) reports.push(this.#reloadFailure);
    if (this.#needsRestart.length > 0) reports.push(restartNeeded(this.#needsRestart));
    return reports;
  }

  /**
   * Current or pending settings of a VNI; for a VNI that is being removed, its previous settings.
   *
   * @throws DataPlaneError vni_not_found
   */
  vni(vni: number): VniSettings {
    const matches = (settings: VniSettings) => settings.vni === vni;
    const found = this.#current.vnis.find(matches) ?? this.#superseded.vnis.find(matches);
    if (found) return found;
    throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
  }

  addVni(settings: VniSettings): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#current.vnis.some(({ vni }) => vni === settings.vni))
        throw new DataPlaneError('vni_exists', `VNI ${settings.vni} is configured already`);
      await this.#become(this.#base, edits.withVni(this.#state, settings));
    });
  }

  /**
   * @param precondition runs after all earlier changes and directly before this one
   * @throws Error of `precondition`, in which case nothing is changed
   */
  changeVni(vni: number, changes: Partial<VniSettings>, precondition = NO_PRECONDITION): Promise<void> {
    return this.#inTurn(async () => {
      precondition();
      const { vni: _, peers: __, ...own } = changes;
      const before = this.vni(vni);
      for (const key of ['tap', 'mac'] as const) {
        if (own[key] !== undefined && own[key] !== before[key])
          throw new ConfigError(
            `${key} ${own[key]}: cannot change while it is in use: remove the VNI and add it again`,
          );
      }
      const differing = Object.fromEntries(
        Object.entries(own).filter(([field, value]) => !isSame(value, before[field as keyof OwnSettings])),
      );
      if (Object.keys(differing).length === 0) return;
      await this.#become(this.#base, edits.withChanges(this.#base, this.#state, vni, differing));
    });
  }

  /** @param precondition as for `changeVni` */
  removeVni(vni: number, precondition = NO_PRECONDITION): Promise<void> {
    return this.#inTurn(async () => {
      precondition();
      this.vni(vni);
      await this.#become(this.#base, edits.withoutVni(this.#base, this.#state, vni));
    });
  }

  addPeer(vni: number, peer: PeerSettings): Promise<readonly PeerState[]> {
    return this.#inTurn(async () => {
      const exists = this.#handle.peers(vni).some((other) => other.address.text === peer.host);
      if (exists || this.vni(vni).peers.some(({ host }) => host === peer.host))
        throw new DataPlaneError('peer_exists', `${peer.host} is a peer of VNI ${vni} already`);
      await this.#become(this.#base, edits.withPeer(this.#base, this.#state, vni, peer));
      return this.#handle.peers(vni).filter((other) => hostOf(other) === peer.host);
    });
  }

  /** @param precondition as for `changeVni` */
  removePeer(vni: number, host: string, precondition = NO_PRECONDITION): Promise<void> {
    return this.#inTurn(async () => {
      precondition();
      const found = this.#handle.peers(vni).filter((peer) => hostOf(peer) === host);
      if (!this.vni(vni).peers.some((peer) => peer.host === host)) throw this.#noSuchPeer(vni, host);
      const addresses = new Set([host, ...found.map(({ address }) => address.text)]);
      await this.#become(this.#base, edits.withoutPeer(this.#base, this.#state, vni, host, addresses));
    });
  }

  /** @throws DataPlaneError fdb_full, peer_not_found */
  putFdb(vni: number, mac: MacParts, peer: string): Promise<void> {
    return this.#inTurn(async () => {
      const text = formatMac(mac.high, mac.low);
      const before = this.entries(vni).get(text);
      if (before === undefined) this.#refuseTooManyEntries(vni, text);
      const state = edits.withEntry(this.#state, vni, text, peer);
      await this.#become(this.#base, state, async (undo) => {
        await this.#changeFdb(vni, [mac], undo, () => this.#handle.putFdb(vni, mac, peer));
      });
    });
  }

  deleteFdb(vni: number, mac: MacParts): Promise<void> {
    return this.#inTurn(async () => {
      const text = formatMac(mac.high, mac.low);
      const state = edits.withoutEntries(this.#state, vni, (other) => other === text);
      const macs = this.entries(vni).has(text) ? [mac] : [];
      await this.#become(this.#base, state, async (undo) => {
        await this.#changeFdb(vni, macs, undo, () => this.#handle.deleteFdb(vni, mac));
      });
    });
  }

  flushFdb(vni: number, filter: FdbFilter): Promise<number> {
    return this.#inTurn(async () => {
      const peers = this.#handle.peers(vni).filter((peer) => isPeerOf(peer, filter.peer));
      const addresses = new Set(peers.map(({ address }) => address.text));
      const isRemoved = (_: string, peer: string) =>
        filter.type !== 'dynamic' && (filter.peer === '' || addresses.has(peer));
      const state = edits.withoutEntries(this.#state, vni, isRemoved);
      const entries = [...this.entries(vni)].filter(([mac, peer]) => isRemoved(mac, peer));
      const macs = entries.map(([mac]) => parseMac(mac)!);
      let removed = 0;
      await this.#become(this.#base, state, async (undo) => {
        removed = await this.#changeFdb(vni, macs, undo, () => this.#handle.flushFdb(vni, filter));
      });
      return removed;
    });
  }

  /**
   * Changes static entries. The undo reconciles these entries with the state that is in effect when
   * the undo runs. A change that the data plane refused needs no undo. A change that a worker did
   * not answer needs an undo, because the worker has possibly made the change.
   */
  async #changeFdb<T>(
    vni: number,
    macs: readonly MacParts[],
    undo: Rollback,
    change: () => Promise<T>,
  ): Promise<T> {
    const reconcile = () => this.#handle.reconcileFdb(vni, macs);
    try {
      const answer = await change();
      undo.push(reconcile);
      return answer;
    } catch (error) {
      if (UNANSWERED.includes((error as DataPlaneError).code)) undo.push(reconcile);
      throw error;
    }
  }

  /** Runs work on the host between two changes. */
  maintain(work: () => Promise<void>): Promise<void> {
    return this.#inTurn(work);
  }

  /**
   * Applies new addresses of a peer. The configuration stays the same, but the peers change.
   *
   * @param addresses returns the addresses of the host, for a name that stands for many hosts or one
   */
  follow(host: string, addresses: (all: boolean) => readonly IpAddress[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const vni of this.#current.vnis) {
        const peer = vni.peers.find((other) => other.host === host);
        if (peer) await this.#overlay.follow(vni, host, addresses(peer.all === true));
      }
    });
  }

  /** All configured peers; a list that several VNIs share occurs once. */
  hosts(): readonly PeerSettings[] {
    return [...new Set(this.#current.vnis.map(({ peers }) => peers))].flat();
  }

  /**
   * @throws ConfigError, or the error that prevented the change; the previous configuration stays
   * in effect
   */
  reload(): Promise<ReloadReport> {
    const { reread, log } = this.#options;
    if (!reread) {
      log.warn('nothing to reload: vtepd runs without --config');
      return Promise.resolve(NOTHING_CHANGED);
    }
    return this.#inTurn(async () => {
      try {
        const report = await this.#reload(reread);
        this.#reloadFailure = undefined;
        log.info(report, 'configuration reloaded');
        return report;
      } catch (error) {
        const report = reloadFailed(error as Error);
        this.#reloadFailure = report;
        log.error({ code: report.code }, reportText(report));
        this.#options.events.publish({ type: 'warning', ...report });
        throw error;
      }
    });
  }

  async #reload(reread: () => Settings): Promise<ReloadReport> {
    const read = reread();
    const base = Object.freeze({ ...this.#started, vnis: withPort(read, this.#started.port) });
    const before = this.#current;
    await this.#become(base, this.#state);
    this.#needsRestart = daemonDifference(this.#started, read).map((key) => flagOf(key as Key));
    const changed = describe(difference(before.vnis, this.#current.vnis));
    return { changed, needsRestart: this.#needsRestart, hasFile: true };
  }

  /** @param work further steps of the same change, after the settings are applied */
  async #become(base: Settings, changed: State, work?: (undo: Rollback) => Promise<void>): Promise<void> {
    const current = applyState(base, changed);
    checkConflicts(current);
    const state = this.#withMacs(changed, current);
    const steps = difference(this.#current.vnis, current.vnis);
    const before = { base: this.#base, state: this.#state, current: this.#current };
    const prepared = state === this.#state ? undefined : await this.#options.store?.prepare(state);
    const undo = new Rollback();
    this.#set({ base, state, current });
    try {
      await carryOut(steps, this.#overlay, undo);
      await work?.(undo);
      await prepared?.commit();
    } catch (error) {
      this.#set(before);
      this.#superseded = current;
      // The most likely cause is a dead worker. The undo begins after the worker has been replaced.
      await this.#handle.revived();
      await undo.run().catch((failure: Error) => this.#options.log.error(failure.message));
      await prepared?.discard();
      throw error;
    } finally {
      // A change resolves only after the overlay MTUs are adjusted to the path MTUs of its peers.
      await this.#overlay.followed();
      this.#superseded = this.#current;
      this.#options.changed();
    }
    for (const { after, fields } of steps.changed)
      if (fields.length > 0) this.#options.events.publish({ type: 'vni', vni: after.vni, action: 'changed' });
  }

  /** @param settings the settings that the state leads to, which MACs do not change */
  #withMacs(state: State, { vnis }: Settings): State {
    const { store, makeMac } = this.#options;
    return store === undefined || makeMac === undefined ? state : edits.withMacs(state, vnis, makeMac);
  }

  #set({ base, state, current }: { base: Settings; state: State; current: Settings }): void {
    this.#base = base;
    this.#state = state;
    this.#current = current;
  }

  /**
   * `fdbLimit` limits static entries as it limits learned entries. Existing static entries stay
   * when the limit is lowered.
   */
  #refuseTooManyEntries(vni: number, mac: string): void {
    const { fdbLimit } = this.vni(vni);
    const { size } = this.entries(vni);
    if (size < fdbLimit) return;
    throw new DataPlaneError(
      'fdb_full',
      `${mac}: VNI ${vni} has ${size} static entries and its fdbLimit is ${fdbLimit}: raise fdbLimit or remove a static entry`,
    );
  }

  #noSuchPeer(vni: number, host: string): DataPlaneError {
    const named = this.#handle.peers(vni).find(({ address }) => address.text === host);
    if (!named) return new DataPlaneError('peer_not_found', `${host} is not a peer of VNI ${vni}`);
    const { name } = named;
    return new DataPlaneError('peer_of_name', `${host} is an address of the peer ${name}: remove ${name}`);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#serialise(() => {
      if (this.#stopped) throw new DataPlaneError('dataplane_down', 'the VTEP is being stopped');
      return work();
    });
  }
}
