/**
 * Looks anew whenever devices, addresses, routes or IPsec policies of this network namespace have changed, or somebody
 * says that a look is due (rtnetlink(7), ip-xfrm(8)). What a look is, its caller knows.
 *
 * Invariants: never two looks at once; a look begins after everything that was heard before it; all of them together
 * take a tenth of the time at most, whatever storm of changes there is. For that, the changes of the network are not
 * even read until it is looked at: they fill a buffer of the kernel's. Policies are: somebody has to act on them at once.
 */
import type { Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { HostError } from './host-error.js';

/** How long the network is left to settle after a change, ms. */
const DEBOUNCE_MS = 200;
/** A look that took long is followed by a rest of so many times as long. */
const REST = 9;

export interface NetworkListener {
  /** Never rejects. @param changed the network has changed since the look before */
  refresh: (changed: boolean) => Promise<void>;
  /** IPsec may have begun. */
  policies: () => void;
}

export class NetworkWatch {
  readonly #shim: Shim;
  readonly #listener: NetworkListener;
  #networkFd = -1;
  #policyFd = -1;
  #networkPoll: object | undefined;
  #policyPoll: object | undefined;
  #changed = false;
  #due = false;
  #timer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;
  #pauseMs = DEBOUNCE_MS;
  #stopped = false;

  constructor(shim: Shim, listener: NetworkListener) {
    this.#shim = shim;
    this.#listener = listener;
  }

  /** Listens from now on, and has looked for the first time when it returns. @throws HostError the kernel tells nothing */
  async start(): Promise<void> {
    this.#networkFd = opened(this.#shim.networkWatch(), 'changes of the network');
    const policyFd = this.#shim.policyWatch();
    // A kernel without IPsec has no policies to tell of.
    if (policyFd !== -ERRNO.EPROTONOSUPPORT) this.#policyFd = opened(policyFd, 'IPsec policies');
    if (this.#policyFd >= 0)
      this.#policyPoll = this.#shim.pollStart(this.#policyFd, () => this.#onPolicyChange());
    await this.#refresh();
  }

  /** Something else has changed that a look depends on. */
  due(): void {
    this.#due = true;
    if (this.#stopped || this.#refreshing || this.#timer) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#refresh();
    }, this.#pauseMs);
  }

  /** No look begins any more. @returns when the one under way has ended */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#policyPoll) this.#shim.pollStop(this.#policyPoll);
    this.#pauseNotifications();
    await this.#refreshing;
    for (const fd of [this.#networkFd, this.#policyFd]) if (fd >= 0) this.#shim.close(fd);
  }

  #refresh(): Promise<void> {
    this.#due = false;
    this.#refreshing = this.#refreshOnce().finally(() => {
      this.#refreshing = undefined;
      if (this.#due) this.due();
    });
    return this.#refreshing;
  }

  async #refreshOnce(): Promise<void> {
    const startMs = performance.now();
    this.#shim.watchClear(this.#networkFd);
    this.#networkPoll ??= this.#shim.pollStart(this.#networkFd, () => this.#onNetworkChange());
    const changed = this.#changed;
    this.#changed = false;
    await this.#listener.refresh(changed);
    this.#pauseMs = Math.max(DEBOUNCE_MS, REST * (performance.now() - startMs));
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

  /** More changes are no news until the next look. */
  #pauseNotifications(): void {
    if (this.#networkPoll) this.#shim.pollStop(this.#networkPoll);
    this.#networkPoll = undefined;
  }
}

function opened(fd: number, what: string): number {
  if (fd >= 0) return fd;
  throw new HostError(`the kernel does not tell of ${what} (${errnoName(fd)})`);
}
