/**
 * What a VTEP is to be, and how that changes: the configuration of flags and file, the state over it, and one change
 * after the other from what holds to what shall. A change is done when the data plane has it and the state is kept; one
 * that fails leaves everything as it was.
 *
 *     call → state with the change in it → what holds then → checked → difference → written beside the state file
 *          → carried out → the file takes its name → answered
 */
import pLimit from 'p-limit';
import { ConfigError } from '../config/config-error.js';
import { daemonDifference, describe, difference, isSame } from '../config/diff.js';
import * as edits from '../config/edits.js';
import { isGiven, withPort } from '../config/merge.js';
import { flagOf, type Key } from '../config/schema.js';
import type { PeerSettings, Settings, VniSettings } from '../config/settings.js';
import { checkStanding } from '../config/standing.js';
import { applyState, contradictions, entriesOf, type State } from '../config/state.js';
import type { OwnSettings } from '../config/vni-words.js';
import type { Handle } from '../controller/handle.js';
import { DataPlaneError, type FdbFilter, isPeerOf, type PeerState } from '../exchange/data-plane.js';
import type { Events } from '../exchange/events.js';
import type { MacParts } from '../exchange/protocol.js';
import { Rollback } from '../host/rollback.js';
import type { Logger } from '../log/log.js';
import { hostOf } from '../paths/paths.js';
import type { IpAddress } from '../wire/ip-address.js';
import { formatMac, parseMac } from '../wire/mac.js';
import { carryOut } from './carry.js';
import type { Overlay } from './overlay.js';

/** Where the state is kept. */
export interface StateStore {
  /** Writes it so that it only has to be made to count. */
  prepare(state: State): Promise<{ commit(): Promise<void>; discard(): Promise<void> }>;
}

export interface ReloadReport {
  readonly changed: readonly string[];
  /** Flags that take effect at the next start. */
  readonly needsRestart: readonly string[];
  /** false: there is nothing to read anew, and nothing was read. */
  readonly hasFile: boolean;
}

export interface ConfigurationOptions {
  /** What flags and file say. */
  readonly base: Settings;
  readonly state: State;
  /** Without one, what is changed is forgotten at the end. */
  readonly store: StateStore | undefined;
  /** Reads flags and file anew; without, there is nothing to read. @throws ConfigError */
  readonly reread: (() => Settings) | undefined;
  readonly events: Events;
  readonly log: Logger;
  /** A change has been made, or taken back: other hosts may be peers. */
  readonly changed: () => void;
}

/** A change that failed so may have been made, or may be made later. */
const UNANSWERED: readonly string[] = ['dataplane_timeout', 'dataplane_down'];
const NOT_LOOKED = () => {};
const NOTHING_CHANGED: ReloadReport = { changed: [], needsRestart: [], hasFile: false };

export class LiveConfiguration {
  readonly #options: ConfigurationOptions;
  /** Daemon-wide settings are those of the start, whatever was read later. */
  readonly #started: Settings;
  #base: Settings;
  #state: State;
  #holds: Settings;
  /** What held before the change under way, or what it was to be if it is being taken back: the data plane may have it. */
  #held: Settings;
  #handle!: Handle;
  #overlay!: Overlay;
  /** Runs changes one after another. */
  readonly #one = pLimit(1);
  #stopped = false;
  #reloadFailure = '';
  #needsRestart: readonly string[] = [];

  /** @throws ConfigError when configuration and state cannot be had together */
  constructor(options: ConfigurationOptions) {
    this.#options = options;
    this.#started = options.base;
    this.#base = options.base;
    this.#state = options.state;
    this.#holds = applyState(this.#base, this.#state);
    this.#held = this.#holds;
    if (this.#holds !== this.#base) checkStanding(this.#holds);
  }

  /** What holds. */
  get settings(): Settings {
    return this.#holds;
  }

  /** Static entries that a VNI is to have. */
  entries(vni: number): ReadonlyMap<string, string> {
    return entriesOf(this.#state, vni);
  }

  /** The VTEP runs: changes may come. */
  attach(handle: Handle, overlay: Overlay): void {
    this.#handle = handle;
    this.#overlay = overlay;
  }

  /** After the change under way none is made any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#one(() => {});
  }

  warnings(): { code: string; detail: string }[] {
    const overridden = contradictions(this.#base, this.#state, isGiven);
    const warnings = overridden.map((detail) => ({ code: 'state_overrides', detail }));
    if (this.#reloadFailure !== '') warnings.push({ code: 'reload_failed', detail: this.#reloadFailure });
    if (this.#needsRestart.length > 0) {
      const detail = `${this.#needsRestart.join(', ')}: changed in the configuration, and taken at the next start`;
      warnings.push({ code: 'restart_needed', detail });
    }
    return warnings;
  }

  /** As they hold, or are about to; of a VNI that is about to go, as they still hold. @throws DataPlaneError vni_not_found */
  vni(vni: number): VniSettings {
    const isIt = (settings: VniSettings) => settings.vni === vni;
    const found = this.#holds.vnis.find(isIt) ?? this.#held.vnis.find(isIt);
    if (found) return found;
    throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
  }

  addVni(settings: VniSettings): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#holds.vnis.some(({ vni }) => vni === settings.vni))
        throw new DataPlaneError('vni_exists', `VNI ${settings.vni} is configured already`);
      await this.#become(this.#base, edits.withVni(this.#state, settings));
    });
  }

  /** @param seen asked when its turn has come: nothing lies between what it looks at and the change @throws what `seen` throws */
  changeVni(vni: number, changes: Partial<VniSettings>, seen = NOT_LOOKED): Promise<void> {
    return this.#inTurn(async () => {
      seen();
      const { vni: _, peers: __, ...own } = changes;
      const before = this.vni(vni);
      for (const key of ['tap', 'mac'] as const) {
        if (own[key] !== undefined && own[key] !== before[key])
          throw new ConfigError(
            `${key} ${own[key]}: cannot change while it is in use: remove the VNI and add it anew`,
          );
      }
      const differing = Object.fromEntries(
        Object.entries(own).filter(([field, value]) => !isSame(value, before[field as keyof OwnSettings])),
      );
      if (Object.keys(differing).length === 0) return;
      await this.#become(this.#base, edits.withChanges(this.#base, this.#state, vni, differing));
    });
  }

  /** @param seen as of `changeVni` */
  removeVni(vni: number, seen = NOT_LOOKED): Promise<void> {
    return this.#inTurn(async () => {
      seen();
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

  /** @param seen as of `changeVni` */
  removePeer(vni: number, host: string, seen = NOT_LOOKED): Promise<void> {
    return this.#inTurn(async () => {
      seen();
      const found = this.#handle.peers(vni).filter((peer) => hostOf(peer) === host);
      if (!this.vni(vni).peers.some((peer) => peer.host === host)) throw this.#noSuchPeer(vni, host);
      const addresses = new Set(found.map(({ address }) => address.text));
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
      const meant = new Set(peers.map(({ address }) => address.text));
      const isGone = (_: string, peer: string) =>
        filter.type !== 'dynamic' && (filter.peer === '' || meant.has(peer));
      const state = edits.withoutEntries(this.#state, vni, isGone);
      const gone = [...this.entries(vni)].filter(([mac, peer]) => isGone(mac, peer));
      const macs = gone.map(([mac]) => parseMac(mac)!);
      let removed = 0;
      await this.#become(this.#base, state, async (undo) => {
        removed = await this.#changeFdb(vni, macs, undo, () => this.#handle.flushFdb(vni, filter));
      });
      return removed;
    });
  }

  /**
   * Static entries are what the state says they are once it holds again. A change that was refused has made none; one that a
   * worker did not answer may have been made.
   */
  async #changeFdb<T>(
    vni: number,
    macs: readonly MacParts[],
    undo: Rollback,
    change: () => Promise<T>,
  ): Promise<T> {
    const takeBack = () => this.#handle.reconcileFdb(vni, macs);
    try {
      const answer = await change();
      undo.push(takeBack);
      return answer;
    } catch (error) {
      if (UNANSWERED.includes((error as DataPlaneError).code)) undo.push(takeBack);
      throw error;
    }
  }

  /** A peer's name has other addresses: what is configured is the same, what it comes to is not. */
  follow(name: string, addresses: () => readonly IpAddress[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const vni of this.#holds.vnis)
        if (vni.peers.some(({ host }) => host === name)) await this.#overlay.follow(vni, name, addresses());
    });
  }

  /** @throws ConfigError, or what kept the difference from being made; the old configuration holds then */
  reload(): Promise<ReloadReport> {
    const { reread, log } = this.#options;
    if (!reread) {
      log.warn('nothing to reload: vtepd runs without --config');
      return Promise.resolve(NOTHING_CHANGED);
    }
    return this.#inTurn(async () => {
      try {
        const report = await this.#reload(reread);
        this.#reloadFailure = '';
        log.info(report, 'configuration reloaded');
        return report;
      } catch (error) {
        this.#reloadFailure = `the old configuration still holds: ${(error as Error).message}`;
        log.error({ code: 'reload_failed' }, this.#reloadFailure);
        this.#options.events.publish({ type: 'warning', code: 'reload_failed', detail: this.#reloadFailure });
        throw error;
      }
    });
  }

  async #reload(reread: () => Settings): Promise<ReloadReport> {
    const read = reread();
    const base = Object.freeze({ ...this.#started, vnis: withPort(read, this.#started.port) });
    const before = this.#holds;
    await this.#become(base, this.#state);
    this.#needsRestart = daemonDifference(this.#started, read).map((key) => flagOf(key as Key));
    const changed = describe(difference(before.vnis, this.#holds.vnis));
    return { changed, needsRestart: this.#needsRestart, hasFile: true };
  }

  /** @param work what is to be done beside what settings say, in the same change */
  async #become(base: Settings, state: State, work?: (undo: Rollback) => Promise<void>): Promise<void> {
    const holds = applyState(base, state);
    checkStanding(holds);
    const steps = difference(this.#holds.vnis, holds.vnis);
    const before = { base: this.#base, state: this.#state, holds: this.#holds };
    const kept = state === this.#state ? undefined : await this.#options.store?.prepare(state);
    const undo = new Rollback();
    this.#set({ base, state, holds });
    try {
      await carryOut(steps, this.#overlay, undo);
      await work?.(undo);
      await kept?.commit();
    } catch (error) {
      this.#set(before);
      this.#held = holds;
      // A worker that died is the likeliest cause, and without it nothing can be taken back.
      await this.#handle.revived();
      await undo.run().catch((failure: Error) => this.#options.log.error(failure.message));
      await kept?.discard();
      throw error;
    } finally {
      // A change that is answered has been carried out, and so has what follows from its peers' paths.
      await this.#overlay.followed();
      this.#held = this.#holds;
      this.#options.changed();
    }
    for (const { after, fields } of steps.changed)
      if (fields.length > 0) this.#options.events.publish({ type: 'vni', vni: after.vni, action: 'changed' });
  }

  #set({ base, state, holds }: { base: Settings; state: State; holds: Settings }): void {
    this.#base = base;
    this.#state = state;
    this.#holds = holds;
  }

  /** Of static entries a VNI may have as many as of learned ones. Those that are there stay when the limit is lowered. */
  #refuseTooManyEntries(vni: number, mac: string): void {
    const { fdbLimit } = this.vni(vni);
    const { size } = this.entries(vni);
    if (size < fdbLimit) return;
    throw new DataPlaneError(
      'fdb_full',
      `${mac}: VNI ${vni} has ${size} static entries, and its fdbLimit is ${fdbLimit}: raise it, or remove one`,
    );
  }

  #noSuchPeer(vni: number, host: string): DataPlaneError {
    const named = this.#handle.peers(vni).find(({ address }) => address.text === host);
    if (!named) return new DataPlaneError('peer_not_found', `${host} is not a peer of VNI ${vni}`);
    const { name } = named;
    return new DataPlaneError('peer_of_name', `${host} is an address of the peer ${name}: remove ${name}`);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#one(() => {
      if (this.#stopped) throw new DataPlaneError('dataplane_down', 'the VTEP is being stopped');
      return work();
    });
  }
}
