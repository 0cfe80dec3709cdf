/**
 * All tables of the data plane.
 *
 * Created once and wired together. The data-plane thread owns them; encap, decap and the applier
 * borrow them.
 */
import type { Counters } from '../../exchange/counters.js';
import { Fdb } from './fdb.js';
import { PeerLists } from './flood-list.js';
import { createMacTableBuffer, MacTable } from './mac-table.js';
import { PathMtu } from './path-mtu.js';
import { PeerTable } from './peer-table.js';
import { type NoteRings, Replication } from './replication.js';
import { VniTable } from './vni-table.js';

export interface TablesInit {
  /** Rows of the VNI table, a power of two. */
  maxVnis: number;
  counters: Counters;
  /** Peer rows, PEER_ROW_LEN bytes each. */
  peers: SharedArrayBuffer;
  /** Rows at the end of the peer table for sources that are not configured. */
  learnedRows: number;
  /** Memory of the MAC table, whose entries are kept; empty: a new one is created. */
  fdb: SharedArrayBuffer[];
  /** Random 32-bit integer: seed of the hashes. An existing MAC table keeps its own. */
  seed: number;
  /** Called with the memory of the MAC table whenever it changes. */
  onFdbGrown: (buffers: SharedArrayBuffer[]) => void;
  /** Rings to and from the other workers; undefined for a single worker. */
  notes?: NoteRings | undefined;
}

export class Tables {
  readonly counters: Counters;
  readonly vnis: VniTable;
  readonly peers: PeerTable;
  /** Path MTU of each peer. */
  readonly paths: PathMtu;
  /** Flood list of each VNI. */
  readonly flood: PeerLists;
  /** Holders of FDB entries in each VNI. */
  readonly members: PeerLists;
  readonly fdb: Fdb;
  /** Replication to other workers; undefined for a single worker. */
  readonly replication: Replication | undefined;

  constructor(init: TablesInit) {
    this.counters = init.counters;
    this.vnis = new VniTable(init.maxVnis);
    this.peers = new PeerTable(init.peers, init.learnedRows, init.seed, init.maxVnis);
    this.paths = new PathMtu(this.peers, this.vnis, this.counters);
    this.flood = new PeerLists(init.maxVnis);
    this.members = new PeerLists(init.maxVnis);
    const buffers = init.fdb.length > 0 ? init.fdb : [createMacTableBuffer(init.seed)];
    const table = new MacTable(buffers, init.onFdbGrown);
    init.onFdbGrown(buffers);
    this.replication = init.notes && new Replication(init.notes, this.peers);
    this.fdb = new Fdb(table, this.vnis, this.peers, this.members, this.counters, this.replication);
  }
}
