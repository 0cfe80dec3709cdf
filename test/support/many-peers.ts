/**
 * Counters of many peers without a data plane.
 *
 * The value of each cell of the peer rows is the index of the cell.
 */
import type { CounterImage } from '../../src/api/counter-image.js';
import type { StatusInfo } from '../../src/api/deps.js';
import { GLOBAL_ROW, PEER_ROW, VNI_ROW } from '../../src/exchange/counters.js';
import { DataPlaneError, type NewPeer, type VniRows } from '../../src/exchange/data-plane.js';
import { PlainDataPlane } from './data-plane.js';
import { packAddress } from './memory-plane.js';

/** Status of a daemon without warnings. */
export const STATUS: StatusInfo = {
  version: '0.1.0',
  startedAtMs: 0,
  uptimeS: 60,
  epochMs: (ms) => ms,
  underlay: { local: [], device: '', port: 4789, io: 'batch', offloads: [] },
  warnings: [],
  notices: [],
  pathMtu: () => undefined,
};

/** VNIs 0, 1, …, each with the same peers 10.0.0.0, 10.0.0.1, … in two lists. */
export function manyPeers({ vnis, peers }: { vnis: number; peers: number }): CounterImage {
  const plane = new PlainDataPlane();
  const list = Array.from({ length: peers }, (_, i) => peerOf(`10.0.${i >> 8}.${i & 255}`));
  const half = peers >> 1;
  return {
    vnis: Array.from({ length: vnis }, (_, vni) => ({
      state: plane.addVni(vni),
      rows: rowsOf(vni * peers, [
        { list, from: 0, count: half },
        { list, from: half, count: peers - half },
      ]),
    })),
    globals: new Float64Array(GLOBAL_ROW),
    status: STATUS,
  };
}

/** A data plane whose VNIs have these rows. */
export class ManyPeers extends PlainDataPlane {
  readonly #image: CounterImage;
  /** VNIs read so far. */
  readonly read: number[] = [];

  constructor(size: { vnis: number; peers: number }) {
    super();
    this.#image = manyPeers(size);
  }

  override settling() {
    return [];
  }

  override vnis() {
    return this.#image.vnis.map(({ state }) => state);
  }

  override rows(vni: number): VniRows {
    this.read.push(vni);
    return this.#image.vnis[vni].rows;
  }

  /** Throws the error of a read of a removed VNI. */
  notFound(vni: number): never {
    throw new DataPlaneError('vni_not_found', `VNI ${vni} is not configured`);
  }
}

export const STATUS_OF_MANY = STATUS;

function rowsOf(first: number, spans: VniRows['spans']): VniRows {
  const count = spans.reduce((sum, span) => sum + span.count, 0);
  const peers = Float64Array.from({ length: count * PEER_ROW }, (_, cell) => first * PEER_ROW + cell);
  return { vni: new Float64Array(VNI_ROW), peers, spans, others: new Float64Array(PEER_ROW) };
}

function peerOf(text: string): NewPeer {
  return { address: { ...packAddress(text, 4789), text }, flood: true, name: '', pathMtu: 0 };
}
