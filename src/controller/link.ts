/**
 * The main thread's connection to one worker.
 *
 * Starts the thread, sends requests, matches the answers, and owns the memory that outlives the
 * thread. The handle decides what to send.
 *
 * When the worker dies, a successor is started on the same descriptors and buffers and is
 * configured again. The successor finds FDB and counters as the dead worker left them. Pending
 * requests fail with `dataplane_down`. Other workers continue.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { MAX_PEERS, MAX_VNIS, PEER_ROW_LEN } from '../abi/limits.js';
import { Counters } from '../exchange/counters.js';
import { DataPlaneError } from '../exchange/data-plane.js';
import type { FdbReport } from '../exchange/fdb-report.js';
import {
  type Answer,
  CHANGE_TIMEOUT_MS,
  type Change,
  type ProbeNonce,
  type Report,
  type Request,
  type WorkerInit,
} from '../exchange/protocol.js';

/**
 * Pause before the start of a successor, ms. Applies only if the worker died within this time after
 * its own start.
 */
const RESTART_PAUSE_MS = 500;

export type Log = (
  level: 'info' | 'warn' | 'error',
  message: string,
  fields: Record<string, unknown>,
) => void;

export interface LinkOptions {
  /** Entry module of the thread. */
  thread: URL;
  /** Called at each start of a thread: returns all parameters except the memory kept here. */
  init: () => Omit<WorkerInit, 'counters' | 'peers' | 'fdb'>;
  /** Makes the worker's wait return. */
  wake: () => void;
  /** Sends a successor the whole configuration, by `ask`. */
  configure: (link: WorkerLink) => Promise<void>;
  /** Called when a successor is ready. */
  restored: () => void;
  /** Called with the change that reports a lowered path to the other workers. */
  pathReported: (change: Change) => void;
  probeReplied: (peerIdx: number, nonce: ProbeNonce, len: number) => void;
  fdbReported: (report: FdbReport) => void;
  log: Log;
}

interface Pending {
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout | undefined;
}

export class WorkerLink {
  readonly counters = new Counters(MAX_VNIS, MAX_PEERS);
  readonly #options: LinkOptions;
  readonly #peerRows = new SharedArrayBuffer(MAX_PEERS * PEER_ROW_LEN);
  /** Memory of the FDB, as reported last by the worker. */
  #fdb: SharedArrayBuffer[] = [];
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #port: MessagePort | undefined;
  #nextId = 1;
  #up = false;
  /** True while a successor is not configured yet; it gets no other requests. */
  #restoring = false;
  #stopping = false;
  #startedMs = 0;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** True while the worker lives and is configured. */
  get ready(): boolean {
    return this.#up && !this.#restoring;
  }

  /** Starts the thread. @returns when its ports are open */
  async start(): Promise<void> {
    await this.#spawn();
  }

  /** Lets the worker finish its round and end. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const worker = this.#worker;
    if (!worker) return;
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    await this.ask({ op: 'stop' }).catch(() => worker.terminate());
    await exited;
  }

  /**
   * @returns the worker's answer @throws DataPlaneError its refusal, dataplane_timeout,
   * dataplane_down
   */
  ask(change: Change): Promise<Answer> {
    return this.#send(change, CHANGE_TIMEOUT_MS);
  }

  /**
   * Variant of `ask` without a time limit while the worker lives, for callers that must not
   * continue before the worker has answered.
   * @returns the worker's answer @throws DataPlaneError its refusal, dataplane_down
   */
  askUntimed(change: Change): Promise<Answer> {
    return this.#send(change, 0);
  }

  /** @param limitMs time limit, ms; 0: none */
  #send(change: Change, limitMs: number): Promise<Answer> {
    const port = this.#port;
    if (!port) return Promise.reject(beingRestarted());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const expire = () => {
        this.#pending.delete(id);
        const waited = `the data plane did not answer within ${limitMs / 1000} s`;
        reject(new DataPlaneError('dataplane_timeout', waited));
      };
      const timer = limitMs === 0 ? undefined : setTimeout(expire, limitMs);
      this.#pending.set(id, { resolve, reject, timer });
      port.postMessage({ id, change } satisfies Request);
      this.#options.wake();
    });
  }

  #spawn(): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    const init: WorkerInit = {
      ...this.#options.init(),
      counters: this.counters.buffer,
      peers: this.#peerRows,
      fdb: this.#fdb,
    };
    this.#startedMs = performance.now();
    const worker = new Worker(this.#options.thread, {
      workerData: { init, port: port2 },
      transferList: [port2],
      name: `vtepd-dataplane-${init.index}`,
    });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      let failure: Error | undefined;
      worker.once('error', (error) => {
        failure = error;
        this.#options.log('error', 'the data plane has failed', { error: error.message, stack: error.stack });
      });
      worker.once('exit', (code) => {
        this.#readRemaining(port1);
        this.#onExit();
        reject(failure ?? new Error(`the data plane ended with code ${code}`));
      });
      port1.on('message', (report: Report) => {
        if (report.kind === 'up') {
          this.#port = port1;
          this.#up = true;
          resolve();
        } else this.#onReport(report);
      });
    });
  }

  /**
   * Processes reports sent before the worker ended: changes that the worker made, and the memory of
   * the FDB.
   */
  #readRemaining(port: MessagePort): void {
    for (let left = receiveMessageOnPort(port); left; left = receiveMessageOnPort(port)) {
      this.#onReport(left.message as Report);
    }
  }

  #onReport(report: Report): void {
    switch (report.kind) {
      case 'done':
        this.#removePending(report.id)?.resolve(report.answer);
        break;
      case 'failed':
        this.#removePending(report.id)?.reject(new DataPlaneError(report.code, report.detail));
        break;
      case 'fdb-grown':
        this.#fdb = report.fdb;
        break;
      case 'path':
        this.#options.pathReported({ op: 'path.report', row: report.row, mtu: report.mtu });
        break;
      case 'probe-reply':
        this.#options.probeReplied(report.peerIdx, report.nonce, report.len);
        break;
      case 'fdb-events':
        this.#options.fdbReported(report);
        break;
      case 'log':
        this.#options.log(report.level, report.message, report.fields);
        break;
    }
  }

  #removePending(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    clearTimeout(pending?.timer);
    return pending;
  }

  #onExit(): void {
    const wasUp = this.#up;
    this.#up = false;
    this.#port?.close();
    this.#port = undefined;
    this.#worker = undefined;
    for (const id of [...this.#pending.keys()]) {
      this.#removePending(id)?.reject(
        new DataPlaneError('dataplane_down', 'the data plane ended before it answered'),
      );
    }
    if (!this.#stopping && wasUp) this.#replace();
  }

  /**
   * Starts a successor on the same rows. After an early death it pauses first, so that a permanent
   * fault does not cause a busy loop.
   */
  #replace(): void {
    this.#restoring = true;
    const livedMs = performance.now() - this.#startedMs;
    setTimeout(() => void this.#restore(), livedMs < RESTART_PAUSE_MS ? RESTART_PAUSE_MS : 0);
  }

  async #restore(): Promise<void> {
    if (this.#stopping) return;
    try {
      await this.#spawn();
    } catch (error) {
      if (!this.#stopping) this.#logFailure('the data plane cannot be restarted: restart vtepd', error);
      return;
    }
    try {
      await this.#options.configure(this);
    } catch (error) {
      // A successor that died is already being replaced; a successor that does not answer is
      // terminated, and then replaced.
      if (!this.#stopping)
        this.#logFailure('the restarted data plane did not accept the configuration', error);
      await this.#worker?.terminate();
      return;
    }
    this.#restoring = false;
    this.#options.log('warn', 'the data plane was restarted; FDB and counters were kept', {});
    this.#options.restored();
  }

  #logFailure(message: string, error: unknown): void {
    this.#options.log('error', message, { error: (error as Error).message });
  }
}

export function beingRestarted(): DataPlaneError {
  return new DataPlaneError('dataplane_down', 'the data plane is being restarted');
}
