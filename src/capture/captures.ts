/**
 * Captures of a running VTEP, one at a time: turned on in the workers when one is opened, and off again whatever ends it: its
 * reader goes away, somebody closes it, the VTEP stops. What it could not keep up with is said in the log at its end.
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
  /** undefined: all. A capture of one ends with it. */
  readonly vni: number | undefined;
  readonly point: CapturePoint;
  /** Most bytes of a packet, outer headers included. */
  readonly snapLen: number;
  /** Most packets; without one, it ends when it is closed. */
  readonly limit?: number;
}

export interface Capture {
  /** Bytes of a pcap file, its header first. */
  readonly stream: Readable;
  /** The workers capture nothing more; what there is can still be read. */
  close(): Promise<void>;
}

/** What the workers are doing. */
export interface Running {
  readonly rings: readonly PacketQueue[];
  /** Nothing comes any more. */
  readonly over: boolean;
  /** Turns it off in every worker. */
  stop(): Promise<void>;
}

export interface CapturesOptions {
  readonly log: Logger;
  /** Turns it on in every worker. @throws DataPlaneError vni_not_found, capture_busy, dataplane_down */
  readonly start: (options: CaptureOptions) => Promise<Running>;
  readonly surroundings: Surroundings;
}

/** Turns captures on in the workers. */
export interface CaptureSource {
  startCapture(options: CaptureOptions): Promise<Running>;
  peerAt: Surroundings['peerAt'];
}

/** @param localOf our address on the route to a peer; undefined: no route is known */
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
      throw new DataPlaneError('capture_busy', 'somebody captures already; there is one capture at a time');
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

  /** @param ended the workers have been told that it is over */
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
      // A worker that is gone captures nothing.
      .catch((error: Error) => this.#log.warn({ error: error.message }, 'capture: a worker did not answer'))
      .then(this.#ended);
    return this.#off;
  }
}
