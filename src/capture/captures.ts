/**
 * Packet captures of a running VTEP, one at a time.
 *
 * Opening a capture turns it on in the workers. A capture is turned off when its reader
 * disconnects, when it is closed, or when the VTEP stops. The log line at the end of a capture has
 * the number of lost packets.
 */
import type { Readable } from 'node:stream';
import type { Settings } from '../config/settings.js';
import { DataPlaneError } from '../exchange/data-plane.js';
import type { Logger } from '../log/log.js';
import { Encoder } from './encoder.js';
import { outerOf, type Surroundings } from './outer-of.js';
import type { CapturePoint, PacketQueue } from './queue.js';
import { CaptureStream } from './stream.js';

export interface CaptureOptions {
  /** VNI to capture; undefined for all. The capture ends when its VNI is removed. */
  readonly vni: number | undefined;
  readonly point: CapturePoint;
  /** Maximum number of bytes per packet, including outer headers. */
  readonly snapLen: number;
  /** Maximum number of packets; default unlimited. */
  readonly limit?: number;
}

export interface Capture {
  /** The bytes of a pcap file, including its header. */
  readonly stream: Readable;
  /** Stops capturing; packets already captured can still be read. */
  close(): Promise<void>;
}

/** A capture that is active in the workers. */
export interface Running {
  readonly rings: readonly PacketQueue[];
  /** True when no more packets will be captured. */
  readonly over: boolean;
  /** Turns the capture off in every worker. */
  stop(): Promise<void>;
}

export interface CapturesOptions {
  readonly log: Logger;
  /**
   * Turns the capture on in every worker.
   * @throws DataPlaneError vni_not_found, capture_busy, dataplane_down
   */
  readonly start: (options: CaptureOptions) => Promise<Running>;
  readonly surroundings: Surroundings;
}

/** Turns captures on in the workers. */
export interface CaptureSource {
  startCapture(options: CaptureOptions): Promise<Running>;
  peerAt: Surroundings['peerAt'];
}

/**
 * @param localOf returns the local address of the route to a peer; undefined when no route is known
 */
export function makeCaptures(
  { local, port, ttl }: Settings,
  source: CaptureSource,
  localOf: (peer: string) => string | undefined,
  log: Logger,
): Captures {
  return new Captures({
    log,
    start: (options) => source.startCapture(options),
    surroundings: {
      peerAt: (vniIdx, peerIdx) => source.peerAt(vniIdx, peerIdx),
      local: (peer, family) => local.find((address) => address.family === family)?.text ?? localOf(peer),
      port,
      ttl,
    },
  });
}

export class Captures {
  readonly #options: CapturesOptions;
  #current: OpenCapture | undefined;
  #busy = false;

  constructor(options: CapturesOptions) {
    this.#options = options;
  }

  /** @throws DataPlaneError vni_not_found, capture_busy, dataplane_down */
  async open(options: CaptureOptions): Promise<Capture> {
    if (this.#busy)
      throw new DataPlaneError('capture_busy', 'another capture is running; only one is possible at a time');
    this.#busy = true;
    try {
      const running = await this.#options.start(options);
      this.#current = new OpenCapture(running, options, this.#options, () => {
        this.#current = undefined;
        this.#busy = false;
      });
      return this.#current;
    } catch (error) {
      this.#busy = false;
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.#current?.close();
  }
}

class OpenCapture implements Capture {
  readonly stream: CaptureStream;
  readonly #log: Logger;
  readonly #running: Running;
  readonly #encoder: Encoder;
  readonly #ended: () => void;
  #off: Promise<void> | undefined;

  /** @param ended called when the capture is off in the workers */
  constructor(
    running: Running,
    { vni, point, snapLen, limit = Number.POSITIVE_INFINITY }: CaptureOptions,
    { log, surroundings }: CapturesOptions,
    ended: () => void,
  ) {
    const outer = point === 'underlay' ? outerOf(surroundings) : undefined;
    this.#log = log;
    this.#running = running;
    this.#ended = ended;
    this.#encoder = new Encoder({ queues: running.rings, snapLen, limit, outer });
    this.stream = new CaptureStream(this.#encoder, snapLen, {
      isOver: () => running.over,
      closed: () => this.#done(),
    });
    log.info({ vni, point }, 'capture begins');
  }

  async close(): Promise<void> {
    await this.#turnOff();
    this.stream.finish();
  }

  #done(): void {
    void this.#turnOff();
    const { packets, lost } = this.#encoder;
    this.#log.info({ packets, lost }, 'capture ends');
  }

  #turnOff(): Promise<void> {
    this.#off ??= this.#running
      .stop()
      // A worker that has ended captures nothing, so the failure is only logged.
      .catch((error: Error) =>
        this.#log.warn({ error: error.message }, 'capture: a worker did not confirm the end'),
      )
      .then(this.#ended);
    return this.#off;
  }
}
