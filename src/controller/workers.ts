/**
 * All workers, addressed as one.
 *
 * A change is sent to each worker and completes when all have answered. While a worker is being
 * replaced, changes are refused. The observer sends the whole configuration to the successor.
 *
 * Used by the handle and the reconciler. Knows no VNI and no peer.
 */
import { NOTE_RING_LEN } from '../abi/limits.js';
import type { Counters } from '../exchange/counters.js';
import type { FdbReport } from '../exchange/fdb-report.js';
import {
  type Answer,
  type Change,
  type Engine,
  isRemoval,
  type ProbeNonce,
  type UnderlayInit,
  type WorkerInit,
} from '../exchange/protocol.js';
import { beingRestarted, type Log, WorkerLink } from './link.js';

/** Entry module of a data-plane thread. */
const THREAD = new URL('../switch/main.js', import.meta.url);

export interface WorkersOptions {
  /** Entry module of the threads; that of `switch/` by default. */
  thread?: URL;
  engine: Engine;
  underlay: Omit<UnderlayInit, 'receiveFds'>;
  /**
   * Cells of `Offloads`: offloads that the kernel supports. Workers clear the offloads that the
   * kernel refuses later.
   */
  offloads: WorkerInit['offloads'];
  strictHeader: boolean;
  outer: WorkerInit['outer'];
  port: number;
  /**
   * Descriptors of each worker. A request for data that all workers share goes to the first one.
   */
  workers: readonly WorkerDescriptors[];
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  log: Log;
  /** Callback for replies to path probes, from any worker; rate-limited per peer. */
  probeReplied: (peerIdx: number, nonce: ProbeNonce, len: number) => void;
}

/** Descriptors of one worker, open for the life of the process. */
export interface WorkerDescriptors {
  /** epoll and wake-up eventfd. */
  waitFd: number;
  wakeFd: number;
  /** Makes the worker's wait return. */
  wake: () => void;
  receiveFds: UnderlayInit['receiveFds'];
}

/** Sends a change to one worker. */
export type Ask = (change: Change) => Promise<Answer>;

/** Observer of the workers, which also configures successors. */
export interface Listener {
  /** Sends a successor the whole configuration. @param index index of the worker */
  configure(ask: Ask, index: number): Promise<void>;
  /** Reports that a successor is configured; changes are accepted again if all others live. */
  restored(): void;
  fdbReported(report: FdbReport): void;
}

export class Workers {
  readonly #options: WorkersOptions;
  readonly #listener: Listener;
  readonly #links: readonly WorkerLink[];
  readonly #noteRings: SharedArrayBuffer;
  /** Number of changes so far that removed FDB entries. */
  #removals = 0;

  constructor(options: WorkersOptions, listener: Listener) {
    const { workers } = options;
    this.#options = options;
    this.#listener = listener;
    this.#noteRings = new SharedArrayBuffer(workers.length > 1 ? NOTE_RING_LEN * workers.length ** 2 : 0);
    this.#links = workers.map((own, index) => this.#link(own, index));
  }

  /** True while all workers live and are configured. */
  get ready(): boolean {
    return this.#links.every((link) => link.ready);
  }

  /** Counter blocks, one for each worker. */
  get counters(): readonly Counters[] {
    return this.#links.map((link) => link.counters);
  }

  /** @returns when all have opened their ports */
  async start(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.start()));
  }

  /** Lets the workers finish their round and end. */
  async stop(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.stop()));
  }

  /** @throws DataPlaneError dataplane_down when a worker is being replaced */
  checkReady(): void {
    if (!this.ready) throw beingRestarted();
  }

  /** @returns when all workers have made the change @throws DataPlaneError */
  ask(change: Change): Promise<Answer> {
    return this.askEach(() => change);
  }

  /** @param changeOf returns the change for the worker of an index */
  async askEach(changeOf: (index: number) => Change): Promise<Answer> {
    this.checkReady();
    if (isRemoval(changeOf(0))) this.#removals++;
    return answerOfAll(await Promise.allSettled(this.#links.map((link, index) => link.ask(changeOf(index)))));
  }

  /** Variant of `askEach` without a time limit: it waits for a slow worker while that lives. */
  async askEachUntimed(changeOf: (index: number) => Change): Promise<Answer> {
    this.checkReady();
    if (isRemoval(changeOf(0))) this.#removals++;
    return answerOfAll(await Promise.allSettled(this.#links.map((link, i) => link.askUntimed(changeOf(i)))));
  }

  /** Sends a request to the first worker, for data that all workers share. */
  async askFirst(change: Change): Promise<Answer> {
    this.checkReady();
    return this.#links[0].ask(change);
  }

  /**
   * Sends changes to the live workers, even while another worker is being replaced. Its successor
   * gets the changes with its configuration.
   */
  async askLiving(changes: readonly Change[]): Promise<void> {
    await Promise.allSettled(this.#links.flatMap((link) => changes.map((change) => link.ask(change))));
  }

  /** @returns when every live worker has answered or ended, without a time limit */
  async askLivingUntimed(change: Change): Promise<void> {
    await Promise.allSettled(this.#links.map((link) => link.askUntimed(change)));
  }

  /**
   * Sends a report of worker `index` (−1: of the main thread) to the other ready workers. A worker
   * that is not ready will get a report of its own.
   */
  forward(index: number, change: Change): void {
    for (const [other, link] of this.#links.entries())
      if (other !== index && link.ready) link.ask(change).catch(() => {});
  }

  #link({ waitFd, wakeFd, wake, receiveFds }: WorkerDescriptors, index: number): WorkerLink {
    const { engine, underlay, offloads, strictHeader, outer, port, workers, seed, log, probeReplied } =
      this.#options;
    const notes = () =>
      workers.length > 1
        ? { rings: this.#noteRings, workers: workers.length, epoch: this.#removals }
        : undefined;
    return new WorkerLink({
      thread: this.#options.thread ?? THREAD,
      init: () => ({
        engine,
        index,
        underlay: { ...underlay, receiveFds },
        offloads,
        strictHeader,
        outer,
        port,
        waitFd,
        wakeFd,
        seed,
        notes: notes(),
      }),
      wake,
      configure: (link) => this.#listener.configure((change) => link.ask(change), index),
      restored: () => this.#listener.restored(),
      pathReported: (change) => this.forward(index, change),
      probeReplied,
      fdbReported: (report) => this.#listener.fdbReported(report),
      log: (level, message, fields) => log(level, message, { worker: index, ...fields }),
    });
  }
}

/**
 * Combines the answers of all workers. If the answers differ, the answer of the first worker is
 * returned. An entry that only some replicas had counts as removed; any other failure fails the
 * whole change.
 */
function answerOfAll(answers: readonly PromiseSettledResult<Answer>[]): Answer {
  const failures = answers.filter((answer) => answer.status === 'rejected').map((answer) => answer.reason);
  const unknown = failures.filter((error) => error.code === 'fdb_entry_not_found');
  const done = answers.find((answer) => answer.status === 'fulfilled');
  if (done && unknown.length === failures.length) return done.value;
  throw failures.find((error) => !unknown.includes(error)) ?? failures[0];
}
