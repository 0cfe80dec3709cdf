/**
 * All workers, asked as one: a change is sent to each and is answered when all have answered. While one of them is being
 * replaced, changes are refused; its successor is told the whole configuration by whoever knows it.
 *
 * Used by the handle and by what settles changes that failed half-way. Knows no VNI and no peer.
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
  /** Cells of `Offloads`: what the kernel has granted. Workers take back what it refuses later. */
  offloads: WorkerInit['offloads'];
  strictHeader: boolean;
  outer: WorkerInit['outer'];
  port: number;
  /** One a worker; the first one answers for all where all know the same. */
  workers: readonly WorkerDescriptors[];
  /** Random 32-bit integer: seed of the FDB's hash. */
  seed: number;
  log: Log;
  /** Takes answers to path probes, from whichever worker heard them: at most some a second and peer. */
  probeReplied: (peerIdx: number, nonce: ProbeNonce, len: number) => void;
}

/** What a worker has for itself, open for the life of the process. */
export interface WorkerDescriptors {
  /** epoll and wake-up eventfd. */
  waitFd: number;
  wakeFd: number;
  /** Makes the worker's wait return. */
  wake: () => void;
  receiveFds: UnderlayInit['receiveFds'];
}

/** Asks one worker. */
export type Ask = (change: Change) => Promise<Answer>;

/** Who knows what a worker that takes another one's place is to know, and hears what all of them say. */
export interface Listener {
  /** Tells it the whole configuration. @param index which of the workers it is */
  configure(ask: Ask, index: number): Promise<void>;
  /** It has taken it, and changes may be asked for again if all others live. */
  restored(): void;
  fdbReported(report: FdbReport): void;
}

export class Workers {
  readonly #options: WorkersOptions;
  readonly #listener: Listener;
  readonly #links: readonly WorkerLink[];
  readonly #noteRings: SharedArrayBuffer;
  /** Changes so far that removed FDB entries. */
  #removals = 0;

  constructor(options: WorkersOptions, listener: Listener) {
    const { workers } = options;
    this.#options = options;
    this.#listener = listener;
    this.#noteRings = new SharedArrayBuffer(workers.length > 1 ? NOTE_RING_LEN * workers.length ** 2 : 0);
    this.#links = workers.map((own, index) => this.#link(own, index));
  }

  /** All live, and know what they were told. */
  get ready(): boolean {
    return this.#links.every((link) => link.ready);
  }

  /** Counter blocks, one a worker. */
  get counters(): readonly Counters[] {
    return this.#links.map((link) => link.counters);
  }

  /** @returns when all have their ports open */
  async start(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.start()));
  }

  /** Lets them finish their round and end. */
  async stop(): Promise<void> {
    await Promise.all(this.#links.map((link) => link.stop()));
  }

  /** @throws DataPlaneError dataplane_down: one of them is being replaced */
  checkReady(): void {
    if (!this.ready) throw beingRestarted();
  }

  /** @returns when all have made the change @throws DataPlaneError */
  ask(change: Change): Promise<Answer> {
    return this.askEach(() => change);
  }

  /** @param changeOf the change as it is for one of them */
  async askEach(changeOf: (index: number) => Change): Promise<Answer> {
    this.checkReady();
    if (isRemoval(changeOf(0))) this.#removals++;
    return answerOfAll(await Promise.allSettled(this.#links.map((link, index) => link.ask(changeOf(index)))));
  }

  /** As `askEach`, for as long as the workers live: a slow one is waited for. */
  async askEachUntimed(changeOf: (index: number) => Change): Promise<Answer> {
    this.checkReady();
    if (isRemoval(changeOf(0))) this.#removals++;
    return answerOfAll(await Promise.allSettled(this.#links.map((link, i) => link.askUntimed(changeOf(i)))));
  }

  /** What all know alike is asked of one. */
  async askFirst(change: Change): Promise<Answer> {
    this.checkReady();
    return this.#links[0].ask(change);
  }

  /** Asks whoever lives, be it that another is being replaced: that one reads it with its configuration. */
  async askLiving(changes: readonly Change[]): Promise<void> {
    await Promise.allSettled(this.#links.flatMap((link) => changes.map((change) => link.ask(change))));
  }

  /** @returns when every live worker has answered or ended, without a time limit */
  async askLivingUntimed(change: Change): Promise<void> {
    await Promise.allSettled(this.#links.map((link) => link.askUntimed(change)));
  }

  /** What one worker has heard, or −1 somebody else. Who cannot be told now will hear it himself. */
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
 * What all workers answered comes to one answer, the first one's where they differ. An entry that only some replicas
 * knew is removed all the same; any other failure is the whole change's.
 */
function answerOfAll(answers: readonly PromiseSettledResult<Answer>[]): Answer {
  const failures = answers.filter((answer) => answer.status === 'rejected').map((answer) => answer.reason);
  const unknown = failures.filter((error) => error.code === 'fdb_entry_not_found');
  const done = answers.find((answer) => answer.status === 'fulfilled');
  if (done && unknown.length === failures.length) return done.value;
  throw failures.find((error) => !unknown.includes(error)) ?? failures[0];
}
