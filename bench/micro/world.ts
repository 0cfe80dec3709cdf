/**
 * Forwarding without a kernel: tables with one VNI and some peers, memory ports, and frames.
 */

import { Batch } from '../../src/abi/batch.js';
import { BATCH_CAP, PEER_ROW_LEN } from '../../src/abi/limits.js';
import { Counters } from '../../src/exchange/counters.js';
import { Tables } from '../../src/switch/fdb/tables.js';
import { ACCEPT_PEERS, VLAN_PASS } from '../../src/switch/fdb/vni-table.js';
import { writeMac } from '../../src/wire/mac.js';
import { MemoryOverlay, MemoryUnderlay } from '../../test/support/memory-ports.js';

export const VNI = 100;
export const VNI_IDX = 0;
/** Distance between frames, bytes, as between frames of one read. */
export const FRAME_STRIDE = 1600;
const HEADROOM = 64;
/** First two bytes of all MACs, locally administered; the last four bytes number the hosts. */
export const MAC_HIGH = 0x0200;

/** Outer header with the default settings. */
export const OUTER = { df: 'set', tos: 'inherit', mssClamp: true, flowSecret: 0x5ec } as const;

const AF_INET = 2;
const FDB_LIMIT = 1 << 21;
const SEED = 0x5eed;
/** Rows of the peer table: the flood list and the `other` row. */
const PEER_ROWS = 1024;

/** Tables with one VNI and peers in rows 0 … peerCount − 1, all in the flood list. */
export function makeTables(peerCount: number): Tables {
  const tables = new Tables({
    maxVnis: 16,
    counters: new Counters(16, PEER_ROWS),
    peers: new SharedArrayBuffer(PEER_ROWS * PEER_ROW_LEN),
    learnedRows: 0,
    fdb: [],
    seed: SEED,
    onFdbGrown: () => {},
  });
  const { vnis } = tables;
  vnis.add(VNI_IDX, VNI);
  vnis.learning[VNI_IDX] = 1;
  vnis.fdbLimit[VNI_IDX] = FDB_LIMIT;
  vnis.flood[VNI_IDX] = 1;
  vnis.accept[VNI_IDX] = ACCEPT_PEERS;
  vnis.vlan[VNI_IDX] = VLAN_PASS;
  vnis.overlayMtu[VNI_IDX] = 1450;
  vnis.otherIdx[VNI_IDX] = PEER_ROWS - 1;
  for (let peerIdx = 0; peerIdx < peerCount; peerIdx++) {
    const address = new Uint8Array(16);
    address.set([10, 0, peerIdx >> 8, peerIdx & 0xff]);
    tables.peers.add(peerIdx, VNI_IDX, AF_INET, address, 4789, 0);
    tables.flood.add(VNI_IDX, peerIdx, 1, false);
    tables.members.add(VNI_IDX, peerIdx, 1, false);
  }
  return tables;
}

/** Ports that count frames and discard them. */
export function makePorts(): { overlay: MemoryOverlay; underlay: MemoryUnderlay } {
  const overlay = new MemoryOverlay();
  const underlay = new MemoryUnderlay();
  overlay.keep = false;
  underlay.keep = false;
  return { overlay, underlay };
}

/**
 * A batch of IPv4 UDP frames of 64 bytes in `arena`, each of a separate flow.
 *
 * Frame i is addressed to the MAC `destinations(i)` and sent by host i.
 *
 * @param headerLen bytes in front of each frame that count as part of it
 */
export function makeFrames(
  arena: Uint8Array,
  count: number,
  destinations: (i: number) => { high: number; low: number },
  headerLen = 0,
): Batch {
  const batch = new Batch();
  batch.count = Math.min(count, BATCH_CAP);
  for (let i = 0; i < batch.count; i++) {
    const off = HEADROOM + i * FRAME_STRIDE;
    batch.off[i] = off - headerLen;
    batch.len[i] = FRAME.length + headerLen;
    batch.vniIdx[i] = VNI_IDX;
    batch.segCount[i] = 1;
    batch.wireLen[i] = FRAME.length;
    arena.set(FRAME, off);
    const { high, low } = destinations(i);
    writeMac(arena, off, high, low);
    writeMac(arena, off + 6, MAC_HIGH, i);
    arena[off + SOURCE_PORT_OFF] = i;
  }
  return batch;
}

const SOURCE_PORT_OFF = 35;

/** Ethernet, IPv4 10.10.10.1 → 10.10.10.2, UDP 50000 → 9 with checksum, zeros up to 64 bytes. */
export const FRAME = Uint8Array.from([
  ...[0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1, 0x08, 0x00],
  ...[0x45, 0, 0, 50, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 10, 10, 1, 10, 10, 10, 2],
  ...[0xc3, 0x50, 0, 9, 0, 30, 0x12, 0x34],
  ...new Array<number>(22).fill(0),
]);
