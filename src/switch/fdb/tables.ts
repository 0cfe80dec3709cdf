/**
 * All tables of the data plane, made once and wired together. The worker owns them; encap, decap and the applying
 * of changes borrow them.
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
  /** A power of two. */
  maxVnis: number;
  counters: Counters;
  /** Peer rows, PEER_ROW_LEN bytes each. */
  peers: SharedArrayBuffer;
  /** How many of them, at the end, are for sources that are not configured. */
  learnedRows: number;
  /** Memory of the MAC table; its entries are kept. Empty: a new one is made. */
  fdb: SharedArrayBuffer[];
  /** Random 32-bit integer: seed of the hashes. A MAC table that is kept keeps its own. */
  seed: number;
  /** Told the memory of the MAC table whenever it changes. */
  onFdbGrown: (buffers: SharedArrayBuffer[]) => void;
  /** To and from the other workers; left out where there are none. */
  notes?: NoteRings | undefined;
}

export class Tables {
  readonly counters: Counters;
  readonly vnis: VniTable;
  readonly peers: PeerTable;
  /** What the way to each peer carries. */
  readonly paths: PathMtu;
  /** Who gets BUM frames of the overlay. */
  readonly flood: PeerLists;
  /** Who holds FDB entries. */
  readonly members: PeerLists;
  readonly fdb: Fdb;
  /** With other workers; undefined for a single one. */
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
