/**
 * A data-plane thread.
 *
 * Owns its clock, its wait set and its tables, and runs rounds of the loop (`forward/loop.ts`)
 * until the request `stop`. It never awaits, and never logs while forwarding a frame. Requests of
 * the main thread are handled between two rounds, when the wake-up eventfd has fired.
 *
 * With the engine `batch` it blocks in the shim's wait, and its event loop does not run. With
 * `dgram` the sockets belong to the event loop, which runs a round when a datagram arrives, when a
 * descriptor of the wait set is ready, or after 100 ms.
 *
 * Descriptors belong to the process, and the shared buffers to the main thread. If this thread
 * dies, its successor therefore continues with the same FDB and counters.
 */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { loadShim, type Shim } from '../abi/binding.js';
import { ERRNO, errnoName } from '../abi/errno.js';
import { LEARNED_ROWS, MAX_PEERS, MAX_VNIS } from '../abi/limits.js';
import { PathErrors } from '../abi/path-errors.js';
import { Counters, G_BUSY_RATIO, G_DROPS_DECAP, G_HEARTBEAT_MS } from '../exchange/counters.js';
import { DROP } from '../exchange/drop-reason.js';
import { type OffloadName, Offloads, refusalReport } from '../exchange/offloads.js';
import {
  type Answer,
  type DropsBefore,
  isForwarding,
  type Report,
  type Request,
  type WorkerInit,
} from '../exchange/protocol.js';
import { reportText } from '../exchange/report.js';
import { Applier, Refusal } from './apply.js';
import { Capture } from './capture/capture.js';
import { DgramPort } from './dgram/dgram.js';
import { runFromEventLoop } from './dgram/event-loop.js';
import { Downgrade, type OffloadUser } from './downgrade.js';
import { type Clock, EPOCH_MS, makeClock, NOW_MS, secondOf, tickOf } from './fdb/clock.js';
import type { PeerTable } from './fdb/peer-table.js';
import { noteRingsOf } from './fdb/replication.js';
import { Tables } from './fdb/tables.js';
import { FdbEvents } from './fdb-events.js';
import { Flows } from './flows/flows.js';
import { Loop } from './forward/loop.js';
import type { StationObserver } from './forward/observer.js';
import { Polling } from './polling.js';
import type { OverlayPort, UnderlayPort } from './port/port.js';
import { TapPort } from './port/tap.js';
import { UdpPort } from './port/udp.js';
import { Tunnel } from './superframes/tunnel.js';
import { WAIT_NOW_MS, WAIT_WAITED_MS, WaitSet } from './wait-set.js';

/**
 * Longest wait, ms: the period of housekeeping, and the longest delay until a stopping thread
 * exits.
 */
const WAIT_MS = 100;
/**
 * Time slice that this thread requests from the scheduler, µs. Other threads on its core run in
 * slices of about 3 ms; without the request, a frame would wait for such a slice to end.
 */
const SLICE_US = 200;
/** Window of the busy ratio, ms. */
const BUSY_WINDOW_MS = 1000;
/** Most requests handled in one round. */
const REQUESTS_PER_ROUND = 64;
/** Shortest time of a job in a round, ms. Between the limits it equals the rest of the round. */
const JOB_MIN_MS = 0.25;
/** Longest time of a job in a round, ms. */
const JOB_MAX_MS = 2;

/** Ports between which a thread forwards. */
export interface ThreadPorts {
  readonly overlay: OverlayPort;
  readonly underlay: UnderlayPort;
}

export class DataPlaneThread {
  readonly #init: WorkerInit;
  readonly #port: MessagePort;
  readonly #shim: Shim;
  readonly #wait: WaitSet;
  readonly #taps: TapPort;
  readonly #counters: Counters;
  readonly #tables: Tables;
  readonly #loop: Loop;
  readonly #observer: StationObserver;
  readonly #applier: Applier;
  readonly #fdbEvents: FdbEvents;
  readonly #capture: Capture;
  readonly #underlay: UnderlayPort;
  readonly #clock = makeClock();
  readonly #polling = new Polling();
  readonly #pathErrors = new PathErrors();
  /** Undefined for an engine without offloads. */
  readonly #downgrade: Downgrade | undefined;
  /** Wall clock minus the monotonic clock of the wait, ms. */
  #epochOffsetMs = 0;
  #windowStartMs = 0;
  #waitedMs = 0;
  /** Id of the request whose job is in progress. */
  #jobId = 0;
  /** False until the VNIs of the start, or of a predecessor, are configured. */
  #forwarding = false;
  #stopping = false;

  /** @param ports ports in place of those of the kernel, for tests */
  constructor(init: WorkerInit, port: MessagePort, ports?: ThreadPorts) {
    this.#init = init;
    this.#port = port;
    this.#shim = loadShim();
    this.#shim.threadSetSlice(SLICE_US);
    this.#wait = new WaitSet(this.#shim, init.waitFd);
    this.#taps = new TapPort(this.#shim, MAX_VNIS, 0);
    this.#counters = new Counters(MAX_VNIS, MAX_PEERS, init.counters);
    this.#counters.recover();
    const { notes } = init;
    const tables = new Tables({
      maxVnis: MAX_VNIS,
      counters: this.#counters,
      peers: init.peers,
      learnedRows: LEARNED_ROWS,
      fdb: init.fdb,
      seed: init.seed,
      onFdbGrown: (fdb) => this.#report({ kind: 'fdb-grown', fdb }),
      notes: notes && noteRingsOf(init.index, notes.workers, notes.rings, notes.epoch),
    });
    this.#tables = tables;
    const tunnel = new Tunnel();
    this.#underlay = ports?.underlay ?? this.#openUnderlay(tables.peers.bytes, tunnel.bytes);
    this.#fdbEvents = new FdbEvents(tables.fdb, init.index === 0);
    this.#capture = new Capture(tables, this.#clock);
    const overlay = this.#capture.overlayPort(ports?.overlay ?? this.#taps);
    const underlay = this.#capture.underlayPort(this.#underlay);
    const flows = new Flows(tables, { ...init.outer, port: init.port });
    this.#observer = flows;
    this.#loop = new Loop(tables, overlay, underlay, {
      ...init.outer,
      observer: flows,
      strictHeader: init.strictHeader,
      port: init.port,
      probeReplied: (peerIdx, high, low, len) =>
        this.#report({ kind: 'probe-reply', peerIdx, nonce: { high, low }, len }),
    });
    this.#downgrade = this.#openDowngrade(tables.peers, [tunnel, flows]);
    this.#applier = new Applier(tables, {
      lowerPath: (row, mtu, nowS) => this.#loop.lowerPath(row, 0, mtu, nowS),
      hold: (held) => this.#underlay.hold(held.ipv4, held.ipv6),
      beginForwarding: (droppedBefore) => this.#beginForwarding(droppedBefore),
      attachTap: (vniIdx, fd) => this.#attachTap(vniIdx, fd),
      detachVni: (vniIdx) => this.#detachVni(vniIdx),
      setTunnel: (setup) => {
        tunnel.set(setup);
      },
      setFlows: (maps) => flows.open(maps, this.#shim, init.index),
      setOverlayDevices: (indexes) => this.#loop.setOverlayDevices(indexes),
      setEvents: (on) => this.#fdbEvents.enable(on),
      setCapture: (capture) => {
        this.#observer.pause(capture !== undefined);
        this.#capture.set(capture, this.#shim, init.underlay.sendFds);
      },
    });
    this.#wait.addWake(init.wakeFd);
  }

  /** Forwards until the request `stop`. */
  run(): void {
    this.#report({ kind: 'up' });
    if (this.#underlay instanceof DgramPort)
      runFromEventLoop(this.#underlay, this.#shim, this.#init.waitFd, this);
    else while (this.step(WAIT_MS));
  }

  /** True while work is left that no descriptor reports as ready. */
  get isPending(): boolean {
    return this.#loop.isPending;
  }

  /** Runs a round. @param timeoutMs longest wait @returns false after the last one */
  step(timeoutMs: number): boolean {
    this.#round(timeoutMs);
    if (this.#stopping) this.#port.close();
    return !this.#stopping;
  }

  /**
   * Counts the drops of the sockets that occurred while no thread ran. The first query of a socket
   * returns all its drops, because the sockets are older than this thread. The drops before the
   * VTEP began to forward, and those that a predecessor counted, are subtracted.
   */
  #beginForwarding({ fromPeers, fromStrangers }: DropsBefore): void {
    this.#countMissed(DROP.rx_overflow, this.#underlay.takeOverflow() - fromPeers);
    this.#countMissed(DROP.source_not_peer, this.#underlay.takeStrangersOverflow() - fromStrangers);
    this.#wait.open();
    this.#underlay.open();
    this.#forwarding = true;
  }

  #countMissed(reason: number, dropped: number): void {
    const { cells } = this.#counters;
    const missed = dropped - cells[G_DROPS_DECAP + reason];
    if (missed > 0) cells[G_DROPS_DECAP + reason] += missed;
  }

  /** @param tunnel row of the outer TAP, `struct tunnel` */
  #openUnderlay(peers: Uint8Array, tunnel: Uint8Array): UnderlayPort {
    const { engine, underlay } = this.#init;
    const { ipv4, ipv6 } = underlay.receiveFds;
    const fds = { ipv4, ipv6, send: Int32Array.from(underlay.sendFds) };
    if (engine === 'dgram') return new DgramPort(this.#shim, fds, peers);
    for (const fd of [...ipv4, ...ipv6]) this.#wait.addReceiver(fd);
    // All workers send through these sockets, so an error concerns them all. Only one worker is
    // woken for it; every failed send reads the queue itself. With a single source port the worker
    // sends from a receiving socket, whose errors the wait set reports as well.
    const senders = this.#init.index === 0 ? underlay.sendFds : [];
    for (const fd of senders)
      if (fd >= 0 && !ipv4.includes(fd) && !ipv6.includes(fd)) this.#wait.addSender(fd);
    return new UdpPort(this.#shim, fds, peers, tunnel, () => performance.now());
  }

  #openDowngrade(peers: PeerTable, options: readonly OffloadUser[]): Downgrade | undefined {
    if (!(this.#underlay instanceof UdpPort)) return undefined;
    const ports = { taps: this.#taps, udp: this.#underlay, peers, options };
    const report = (name: OffloadName, error: number) =>
      this.#log('warn', reportText(refusalReport([name], errnoName(error))), { code: 'offload_refused' });
    const downgrade = new Downgrade(new Offloads(this.#init.offloads), ports, report);
    downgrade.step();
    return downgrade;
  }

  /** @throws Refusal when the descriptor cannot be polled, which is an error of the caller */
  #attachTap(vniIdx: number, fd: number): void {
    const status = fd < 0 ? 0 : this.#wait.addTap(fd, vniIdx);
    if (status < 0) throw new Refusal('internal', `cannot poll the TAP device (${errnoName(status)})`);
    const before = this.#taps.fds[vniIdx];
    if (before >= 0) this.#wait.remove(before);
    this.#taps.fds[vniIdx] = fd;
  }

  #detachVni(vniIdx: number): void {
    const fd = this.#taps.fds[vniIdx];
    this.#taps.fds[vniIdx] = -1;
    if (fd >= 0) this.#wait.remove(fd);
    this.#loop.vniRemoved(vniIdx);
    this.#underlay.vniRemoved(vniIdx);
    this.#capture.vniRemoved(vniIdx);
  }

  /**
   * One round: wait, notes of the other workers, overlay, underlay, housekeeping, requests. Notes
   * are applied before frames. A MAC that another worker learned before a frame arrived is
   * therefore known when the frame is forwarded, so no thread needs to be woken for a note.
   */
  #round(timeoutMs: number): void {
    const wait = this.#wait;
    wait.wait(this.#loop.isPending ? 0 : timeoutMs, this.#polling.spinUs);
    const beginMs = this.#applier.busy ? performance.now() : 0;
    const clock = this.#clock;
    clock[NOW_MS] = wait.times[WAIT_NOW_MS];
    clock[EPOCH_MS] = clock[NOW_MS] + this.#epochOffsetMs;
    const tick = tickOf(clock);
    this.#fdbEvents.tick = tick;
    const { replication, fdb } = this.#tables;
    if (replication !== undefined) replication.drain(fdb);
    if (this.#forwarding) this.#forward(clock);
    else this.#counters.cells[G_HEARTBEAT_MS] = clock[NOW_MS];
    this.#downgrade?.step();
    this.#measure();
    this.#polling.after(this.#loop.takeDirection(), (wait.times[WAIT_WAITED_MS] * 1000) | 0);
    this.#reportFdb();
    if (this.#applier.busy) this.#stepJob(tick, beginMs);
    else if (wait.woken) this.#takeRequests(tick);
  }

  #forward(clock: Clock): void {
    const wait = this.#wait;
    this.#readTaps();
    for (let i = 0; i < wait.errorCount; i++) this.#underlay.drainErrors(wait.errors[i]);
    for (let i = 0; i < wait.receiverCount; i++) this.#underlay.markReadable(wait.receivers[i]);
    this.#loop.readUnderlay(clock);
    this.#loop.housekeeping(clock);
    this.#readPathErrors(secondOf(clock));
  }

  #reportFdb(): void {
    const report = this.#fdbEvents.takeReport();
    if (report !== undefined) this.#report({ kind: 'fdb-events', ...report });
  }

  /**
   * Applies path errors from the error queues, and reports lowered paths to the other workers,
   * which send there too.
   */
  #readPathErrors(nowS: number): void {
    const errors = this.#pathErrors;
    const count = this.#underlay.takePathErrors(errors);
    for (let row = 0; row < count; row++) {
      const mtu = errors.mtu(row);
      if (this.#loop.lowerPath(errors.words, row, mtu, nowS))
        this.#report({ kind: 'path', row: errors.copyRow(row), mtu });
    }
  }

  /**
   * Reads the TAPs, longest-waiting first. Work beyond the round's cost limit waits for the next
   * round.
   */
  #readTaps(): void {
    const loop = this.#loop;
    for (let i = 0; i < this.#wait.tapCount; i++) loop.ready(this.#wait.taps[i]);
    loop.beginTurns();
    for (let vniIdx = loop.nextTurn(); vniIdx >= 0; vniIdx = loop.nextTurn()) this.#readTap(vniIdx);
    loop.forwardOverlay();
  }

  /**
   * Reads the TAP of a VNI. The wait set outlives a thread: a successor finds the TAPs of its
   * predecessor in it before it is assigned their VNIs. Such TAPs wait until the assignment.
   */
  #readTap(vniIdx: number): void {
    const fd = this.#taps.fds[vniIdx];
    if (fd < 0) return;
    const status = this.#loop.readOverlay(vniIdx);
    if (status >= 0) return;
    this.#wait.remove(fd);
    // The main thread reports a TAP that was deleted, and replaces it.
    if (!DEVICE_ERRORS.has(-status)) this.#log('error', READ_FAILURE, { vniIdx, error: errnoName(status) });
  }

  #takeRequests(tick: number): void {
    this.#shim.eventClear(this.#init.wakeFd);
    for (let taken = 0; taken < REQUESTS_PER_ROUND && !this.#applier.busy; taken++) {
      const received = receiveMessageOnPort(this.#port) as { message: Request } | undefined;
      if (!received) return;
      this.#handleRequest(received.message, tick);
    }
    // More requests may wait, behind a job or beyond this round's limit: wake up again.
    this.#shim.eventFire(this.#init.wakeFd);
  }

  #handleRequest({ id, change }: Request, tick: number): void {
    if (isForwarding(change)) this.#observer.withdrawAll();
    try {
      const answer = this.#applier.apply(change, tick);
      this.#underlay.peersChanged();
      if (answer) this.#report({ kind: 'done', id, answer });
      else this.#jobId = id;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#report({ kind: 'failed', id, code: error.code, detail: error.message });
    }
    if (change.op === 'stop') this.#stopping = true;
  }

  /**
   * Runs pieces of the job for as long as the round has taken so far, but for at least JOB_MIN_MS
   * and at most JOB_MAX_MS. The job thus gets half of the time, and completes soon even at full
   * load.
   * @param beginMs start of the round, by `performance.now`; 0 when the job began within it
   */
  #stepJob(tick: number, beginMs: number): void {
    const nowMs = performance.now();
    const passedMs = beginMs === 0 ? 0 : nowMs - beginMs;
    const untilMs = nowMs + Math.min(JOB_MAX_MS, Math.max(JOB_MIN_MS, passedMs));
    let answer: Answer | undefined;
    do answer = this.#applier.step(tick);
    while (!answer && performance.now() < untilMs);
    if (answer) this.#report({ kind: 'done', id: this.#jobId, answer });
  }

  /** Computes the busy ratio and the wall clock offset, once a second. */
  #measure(): void {
    const nowMs = this.#clock[NOW_MS];
    this.#waitedMs += this.#wait.times[WAIT_WAITED_MS];
    const windowMs = nowMs - this.#windowStartMs;
    if (windowMs < BUSY_WINDOW_MS) return;
    if (this.#windowStartMs > 0)
      this.#counters.cells[G_BUSY_RATIO] = Math.max(0, 1 - this.#waitedMs / windowMs);
    this.#windowStartMs = nowMs;
    this.#waitedMs = 0;
    this.#epochOffsetMs = Date.now() - nowMs;
  }

  #log(level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>): void {
    this.#report({ kind: 'log', level, message, fields });
  }

  /**
   * Sends a report to the main thread. Rows are copied, never transferred. When a thread transfers
   * its first buffer, V8 discards all code compiled for typed arrays and checks each access from
   * then on (encap 121 → 135 ns per frame, decap 134 → 172).
   */
  #report(report: Report): void {
    this.#port.postMessage(report);
  }
}

/**
 * Errors of a device that was deleted or is permanently down. Any other errno is an error of the
 * descriptor or of this program.
 */
const EBADFD = 77;
const DEVICE_ERRORS: ReadonlySet<number> = new Set([EBADFD, ERRNO.ENODEV, ERRNO.ENXIO, ERRNO.EIO]);

const READ_FAILURE =
  'cannot read the TAP device: a bug in vtepd; its VNI forwards no frames from it until the VNI is removed and added again';
