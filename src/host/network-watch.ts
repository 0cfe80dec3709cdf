/**
 * Debounces network-change notifications of this namespace into refresh callbacks.
 *
 * A refresh follows a change of devices, addresses, routes (rtnetlink(7)) or IPsec policies
 * (ip-xfrm(8)), or a call of `due`. The listener defines what a refresh does.
 *
 * Invariants: refreshes never overlap; every change is followed by a refresh that begins after it;
 * refreshes take at most a tenth of the time, however many changes occur. To keep this limit,
 * network notifications stay unread in the kernel's netlink buffer until the next refresh. Policy
 * notifications are read at once, because the listener has to act on them immediately.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { HostError } from './host-error.js';
import { NETLINK_ROUTE, NETLINK_XFRM } from './netlink/request.js';
import { PacedRefresh } from './paced-refresh.js';

/** RTNLGRP_LINK, then address, route and rule of IPv4 and of IPv6 (linux/rtnetlink.h). */
const NETWORK_GROUPS = Int32Array.of(1, 5, 7, 8, 9, 11, 19);
/** XFRMNLGRP_POLICY (linux/xfrm.h). */
const POLICY_GROUPS = Int32Array.of(4);

export interface NetworkListener {
  /**
   * Must not reject.
   * @param changed true when the network has changed since the previous refresh
   */
  refresh: (changed: boolean) => Promise<void>;
  /** Called at once when IPsec policies have changed. */
  policies: () => void;
}

export class NetworkWatch {
  readonly #shim: Shim;
  readonly #listener: NetworkListener;
  #networkFd = -1;
  #policyFd = -1;
  #networkPoll: object | undefined;
  #policyPoll: object | undefined;
  readonly #paced = new PacedRefresh(() => this.#refresh());
  #changed = false;

  constructor(shim: Shim, listener: NetworkListener) {
    this.#shim = shim;
    this.#listener = listener;
  }

  /**
   * Subscribes to notifications and performs the first refresh.
   *
   * @throws HostError when the kernel refuses a subscription
   */
  async start(): Promise<void> {
    this.#networkFd = opened(this.#shim.netlinkOpen(NETLINK_ROUTE, NETWORK_GROUPS), 'network changes');
    const policyFd = this.#shim.netlinkOpen(NETLINK_XFRM, POLICY_GROUPS);
    // A kernel without IPsec has no policies to report.
    if (policyFd !== -ERRNO.EPROTONOSUPPORT) this.#policyFd = opened(policyFd, 'IPsec policies');
    if (this.#policyFd >= 0)
      this.#policyPoll = this.#shim.pollStart(this.#policyFd, () => this.#onPolicyChange());
    await this.#paced.now();
  }

  /** Requests a refresh; called when an input other than the network has changed. */
  due(): void {
    this.#paced.due();
  }

  /** Prevents further refreshes. @returns when the current refresh has ended */
  async stop(): Promise<void> {
    const stopped = this.#paced.stop();
    if (this.#policyPoll) this.#shim.pollStop(this.#policyPoll);
    this.#pauseNotifications();
    await stopped;
    for (const fd of [this.#networkFd, this.#policyFd]) if (fd >= 0) this.#shim.close(fd);
  }

  async #refresh(): Promise<void> {
    this.#shim.watchClear(this.#networkFd);
    this.#networkPoll ??= this.#shim.pollStart(this.#networkFd, () => this.#onNetworkChange());
    const changed = this.#changed;
    this.#changed = false;
    await this.#listener.refresh(changed);
  }

  #onNetworkChange(): void {
    this.#pauseNotifications();
    this.#changed = true;
    this.due();
  }

  #onPolicyChange(): void {
    this.#shim.watchClear(this.#policyFd);
    this.#listener.policies();
    this.due();
  }

  /** Stops reading network notifications; the next refresh covers all further changes. */
  #pauseNotifications(): void {
    if (this.#networkPoll) this.#shim.pollStop(this.#networkPoll);
    this.#networkPoll = undefined;
  }
}

function opened(fd: number, what: string): number {
  if (fd >= 0) return fd;
  throw new HostError(`cannot subscribe to notifications of ${what} (${errnoName(fd)})`);
}
