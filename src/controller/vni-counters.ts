/**
 * Counters of VNIs and their peers, read from the counter blocks of all workers.
 *
 * Each method reads the rows of one VNI as of one moment for each worker and returns their sums.
 * Nothing is written here.
 */
import { PEER_ROW } from '../exchange/counters.js';
import type { PeerState, VniRows, VniSnapshot } from '../exchange/data-plane.js';
import type { CounterBlocks } from './counter-blocks.js';
import type { DesiredState } from './desired-state.js';

export class VniCounters {
  readonly #desired: DesiredState;
  readonly #blocks: CounterBlocks;

  constructor(desired: DesiredState, blocks: CounterBlocks) {
    this.#desired = desired;
    this.#blocks = blocks;
  }

  /** @throws DataPlaneError vni_not_found */
  snapshot(vni: number): VniSnapshot {
    const { vni: own, peers: cells, others } = this.rows(vni);
    const rows = Array.from(this.#desired.vni(vni).peers, (peer, i) => ({
      peer: peer as PeerState | undefined,
      row: cells.subarray(i * PEER_ROW, (i + 1) * PEER_ROW),
    }));
    rows.push({ peer: undefined, row: others });
    return { vni: own, peers: rows };
  }

  /** @throws DataPlaneError vni_not_found */
  rows(vni: number): VniRows {
    const { state, peers } = this.#desired.vni(vni);
    const own = this.#blocks.vniRow(state.vniIdx);
    const others = this.#blocks.peerRow(state.otherIdx);
    const cells = new Float64Array(peers.count * PEER_ROW);
    let end = 0;
    const runs = peers.runs.map(({ first, count }) => {
      const begin = end;
      end += count * PEER_ROW;
      return this.#blocks.peerRows(first, cells.subarray(begin, end));
    });
    this.#blocks.read([own, others, ...runs]);
    return { vni: own.row, peers: cells, spans: peers.runs, others: others.row };
  }

  /** The VNI's own row and the number of its peers. @throws DataPlaneError vni_not_found */
  totals(vni: number): { vni: Float64Array; peers: number } {
    const { state, peers } = this.#desired.find(vni) ?? this.#desired.vni(vni);
    const own = this.#blocks.vniRow(state.vniIdx);
    this.#blocks.read([own]);
    return { vni: own.row, peers: peers.count };
  }

  globals(): Float64Array {
    return this.#blocks.globals();
  }
}
