/**
 * The rules of this host for packets, kept current.
 *
 * The rules of nftables are read at the start and after notifications (NFNLGRP_NFTABLES); reading
 * takes at most a tenth of the time. Kinds without notifications are read every 10 s: legacy
 * iptables and BPF programs on the control group of this process, and nftables where the kernel
 * refuses the subscription or the last reading failed. Rules of policy routing are read by
 * `readPolicyRules`, which the caller calls after notifications of its own.
 *
 * Rules that cannot be read stand against shortcuts: `unread` has the reason.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO } from '../abi/errno.js';
import { NETLINK_NETFILTER } from './netlink/request.js';
import type { PolicyRule } from './netlink/rules.js';
import { PacedRefresh } from './paced-refresh.js';
import { type ProgramHook, type RulesReader, rulesReader } from './rules/read.js';
import { Ruleset } from './rules/ruleset.js';

/** NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h). */
const NFTABLES_GROUPS = Int32Array.of(7);
const POLL_MS = 10_000;

export class HostRules {
  readonly #shim: Shim;
  readonly #reader: RulesReader;
  readonly #pollMs: number;
  readonly #paced = new PacedRefresh(() => this.#refresh());
  /** Why a kind of rules cannot be read, by kind. */
  readonly #unread = new Map<'nft' | 'policy' | 'legacy', string>();
  #ruleset = new Ruleset([]);
  #policyRules: readonly PolicyRule[] = [];
  #legacyTables = '';
  #programs: readonly ProgramHook[] = [];
  #changed: (() => void) | undefined;
  #fd = -1;
  #poll: object | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(shim: Shim, reader = rulesReader(shim), pollMs = POLL_MS) {
    this.#shim = shim;
    this.#reader = reader;
    this.#pollMs = pollMs;
  }

  get ruleset(): Ruleset {
    return this.#ruleset;
  }

  get policyRules(): readonly PolicyRule[] {
    return this.#policyRules;
  }

  /** Tables of legacy iptables, whose rules cannot be judged; '' none. */
  get legacyTables(): string {
    return this.#legacyTables;
  }

  /** Hooks at which BPF programs run for the packets of this process. */
  get programs(): readonly ProgramHook[] {
    return this.#programs;
  }

  /** Which rules cannot be read, and why; empty: all of them were read. */
  get unread(): readonly string[] {
    return [...this.#unread.values()];
  }

  get isStarted(): boolean {
    return this.#changed !== undefined;
  }

  /**
   * Subscribes and reads all rules.
   *
   * @param changed called after rules were read that have possibly changed; its duration counts as
   * time for reading
   */
  async start(changed: () => void): Promise<void> {
    this.#fd = this.#shim.netlinkOpen(NETLINK_NETFILTER, NFTABLES_GROUPS);
    this.#timer = setInterval(() => this.#lookAgain(), this.#pollMs).unref();
    this.#readUnnotified();
    await Promise.all([this.#paced.now(), this.readPolicyRules()]);
    this.#changed = changed;
  }

  /** Reads the rules of policy routing again. Never rejects. */
  async readPolicyRules(): Promise<void> {
    await this.#read('policy', async () => {
      this.#policyRules = await this.#reader.policyRules();
    });
  }

  async stop(): Promise<void> {
    this.#changed = undefined;
    clearInterval(this.#timer);
    const stopped = this.#paced.stop();
    this.#pauseNotifications();
    await stopped;
    if (this.#fd >= 0) this.#shim.close(this.#fd);
    this.#fd = -1;
  }

  async #refresh(): Promise<void> {
    // Notifications that arrive from here on cause another refresh.
    if (this.#fd >= 0) {
      this.#shim.watchClear(this.#fd);
      this.#poll ??= this.#shim.pollStart(this.#fd, () => {
        this.#pauseNotifications();
        this.#paced.due();
      });
    }
    await this.#read('nft', async () => {
      this.#ruleset = await this.#reader.nft();
    });
    this.#changed?.();
  }

  #lookAgain(): void {
    const before = this.#unnotified();
    this.#readUnnotified();
    const isUnnotified = this.#fd < 0 && this.#fd !== -ERRNO.EPROTONOSUPPORT;
    if (isUnnotified || this.#unread.has('nft')) this.#paced.due();
    else if (this.#unnotified() !== before) this.#changed?.();
  }

  #readUnnotified(): void {
    this.#programs = this.#reader.programs();
    try {
      this.#legacyTables = this.#reader.legacyTables();
      this.#unread.delete('legacy');
    } catch (error) {
      this.#unread.set('legacy', (error as Error).message);
    }
  }

  #unnotified(): string {
    return [this.#legacyTables, this.#unread.get('legacy'), ...this.#programs].join('\n');
  }

  async #read(kind: 'nft' | 'policy', read: () => Promise<void>): Promise<void> {
    try {
      await read();
      this.#unread.delete(kind);
    } catch (error) {
      this.#unread.set(kind, (error as Error).message);
    }
  }

  #pauseNotifications(): void {
    if (this.#poll) this.#shim.pollStop(this.#poll);
    this.#poll = undefined;
  }
}
