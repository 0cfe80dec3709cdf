import t from 'tap';
import { FRAME_NEEDS_CSUM, GSO_TCPV4, GSO_UDP_L4 } from '../../../src/abi/batch.js';
import {
  V_FRAGMENTS,
  V_REPLICATED,
  V_TAP_RX_FRAMES,
  V_TAP_TX_FRAMES,
  V_TOO_BIG_DROP,
  V_TOO_BIG_FRAGMENT,
  V_TOO_BIG_ICMP,
} from '../../../src/exchange/counters.js';
import { arpFrame, BROADCAST, ipv4Frame, macNumber, macParts, TCP, UDP } from '../../support/frames.js';
import { concat } from '../../support/hex.js';
import { MemoryPlane, PendingUnderlay, random, sourceRow, vxlanHeader } from '../../support/memory-plane.js';

const SEND_FAILURES = [0, 0, 0, -113, -111, -105, -90, -12];
const WRITE_FAILURES = [0, 0, 0, -5, -11, -22];
const VNIS = [0, 100, 2 ** 24 - 1];
const DF = 0x4000;

/** A data plane under random but reproducible traffic, changes and failures. */
class World {
  readonly underlay: PendingUnderlay;
  readonly plane: MemoryPlane;
  readonly #next: (below: number) => number;
  /** Row by address, one map for each VNI row. */
  readonly #peers: Map<string, number>[] = [];

  constructor(seed: number) {
    this.#next = random(seed);
    this.underlay = new PendingUnderlay();
    this.plane = new MemoryPlane({
      underlay: this.underlay,
      strictHeader: seed % 2 === 1,
      df: (['set', 'set', 'inherit', 'unset'] as const)[seed % 4],
    });
    VNIS.forEach((vni, vniIdx) => {
      this.plane.addVni(vniIdx, vni, {
        accept: vniIdx === 1 ? 'any' : 'peers',
        vlan: (['pass', 'strip', 'drop'] as const)[vniIdx],
        flood: vniIdx !== 2,
        fdbLimit: 40,
        packetMax: vniIdx === 2 ? 1200 : 0,
        ageingS: 2,
      });
      this.#peers.push(new Map());
    });
  }

  step(): void {
    const choice = this.#next(100);
    if (choice < 35) this.#fromTap();
    else if (choice < 70) this.#fromUnderlay();
    else if (choice < 80) this.plane.breathe();
    else if (choice < 84) this.#changePeers();
    else if (choice < 86) this.#changeStatics();
    else if (choice < 87) this.#changePaths();
    else if (choice < 90) this.#changeFailures();
    else if (choice < 98) this.underlay.answer(this.#next(60));
    else this.plane.pass(this.#next(400));
  }

  /** Completes all pending sends. */
  complete(): void {
    this.plane.breathe();
    this.underlay.answer(this.underlay.pending);
    for (let round = 0; round < 100; round++) this.plane.loop.housekeeping(this.plane.clock);
  }

  #mac(): string {
    return (
      [BROADCAST, '01:00:5e:00:00:01', '00:00:00:00:00:00', '02:aa:00:00:00:01'][this.#next(20)] ??
      macNumber(this.#next(60))
    );
  }

  #frame(): Uint8Array {
    const options = {
      protocol: this.#next(2) === 0 ? TCP : UDP,
      postponed: this.#next(3) === 0,
      payloadLen: this.#next(4) === 0 ? this.#next(6000) : this.#next(60),
      tags: this.#next(4) === 0 ? [[0x8100, 5] as [number, number]] : [],
    };
    return this.#next(5) === 0
      ? arpFrame(this.#mac(), this.#mac())
      : ipv4Frame(this.#mac(), this.#mac(), options);
  }

  #fromTap(): void {
    const small = ipv4Frame(this.#mac(), this.#mac(), {
      payloadLen: this.#next(1500),
      fragment: this.#next(2) === 0 ? DF : 0,
    });
    for (let i = this.#next(5); i >= 0; i--) this.plane.fromTap(this.#next(VNIS.length), small);
    if (this.#next(4) === 0) this.#superframeFromTap();
  }

  #superframeFromTap(): void {
    const protocol = this.#next(2) === 0 ? TCP : UDP;
    const fragment = this.#next(2) === 0 ? DF : 0;
    const bytes = ipv4Frame(this.#mac(), this.#mac(), {
      protocol,
      postponed: true,
      payloadLen: 4000,
      fragment,
    });
    this.plane.overlay.waiting.push({
      vniIdx: this.#next(VNIS.length),
      bytes,
      superframe: {
        gsoType: protocol === TCP ? GSO_TCPV4 : GSO_UDP_L4,
        gsoSize: this.#next(1500),
        csumStart: 34,
        csumOff: protocol === TCP ? 16 : 6,
        flags: FRAME_NEEDS_CSUM,
      },
    });
  }

  #fromUnderlay(): void {
    const source = `192.0.2.${this.#next(12)}`;
    const vni = [...VNIS, 5][this.#next(4)];
    const piece = concat(vxlanHeader(vni, [0x08, 0x08, 0x08, 0x0c, 0x00][this.#next(5)]), this.#frame());
    const cut = this.#next(10) === 0 ? this.#next(piece.length) : piece.length;
    if (this.#next(4) > 0)
      this.plane.fromUnderlay(source, piece.slice(0, cut), this.#next(3) === 0 ? this.#next(1500) : 0);
    else if (piece.length < 2000) {
      const train = concat(...Array<Uint8Array>(1 + this.#next(20)).fill(piece), piece.slice(0, cut));
      this.plane.fromUnderlay(source, train, piece.length);
    }
  }

  #changePeers(): void {
    const vniIdx = this.#next(VNIS.length);
    const address = `192.0.2.${this.#next(10)}`;
    const peers = this.#peers[vniIdx];
    const peerIdx = peers.get(address);
    if (peerIdx === undefined)
      peers.set(
        address,
        this.plane.addPeer(vniIdx, address, {
          flood: this.#next(5) > 0,
          pathMtu: [0, 1300, 1500, 9000][this.#next(4)],
        }),
      );
    else {
      peers.delete(address);
      this.plane.removePeer(peerIdx);
    }
  }

  #changeStatics(): void {
    const vniIdx = this.#next(VNIS.length);
    const [peerIdx] = this.#peers[vniIdx].values();
    const { high, low } = macParts(macNumber(this.#next(60)));
    if (peerIdx !== undefined && this.#next(2) === 0)
      this.plane.tables.fdb.putStatic(vniIdx, high, low, peerIdx);
    else this.plane.tables.fdb.delete(vniIdx, high, low);
  }

  #changePaths(): void {
    const row = new Int32Array(sourceRow(`192.0.2.${this.#next(12)}`, 4789).buffer);
    this.plane.apply({ op: 'path.report', row, mtu: this.#next(1500) });
  }

  #changeFailures(): void {
    this.plane.overlay.writeStatus = WRITE_FAILURES[this.#next(WRITE_FAILURES.length)];
    for (const peers of this.#peers)
      for (const peerIdx of peers.values())
        this.underlay.sendStatus.set(peerIdx, SEND_FAILURES[this.#next(SEND_FAILURES.length)]);
  }
}

for (const seed of [1, 2, 3, 4])
  t.test(`the identity of the counters holds after every step, seed ${seed}`, async (t) => {
    const world = new World(seed);
    for (let step = 0; step < 20_000; step++) {
      world.step();
      world.plane.checkIdentity(t, `step ${step}`);
      world.plane.clear();
      if (!t.passing()) return;
    }
    world.complete();
    world.plane.checkIdentity(t, 'at the end');
    for (let vniIdx = 0; vniIdx < VNIS.length; vniIdx++) {
      t.ok(world.plane.vniCell(vniIdx, V_TAP_RX_FRAMES) > 500, 'frames were sent');
      t.ok(world.plane.vniCell(vniIdx, V_TAP_TX_FRAMES) > 200, 'frames were delivered');
      t.ok(world.plane.vniCell(vniIdx, V_REPLICATED) > 300, 'frames were replicated');
      const cells = seed % 4 < 2 ? [V_FRAGMENTS, V_TOO_BIG_FRAGMENT, V_TOO_BIG_ICMP, V_TOO_BIG_DROP] : [];
      for (const cell of cells)
        t.ok(world.plane.vniCell(vniIdx, cell) > 10, 'oversized frames were handled by every method');
      t.ok(
        Object.keys(world.plane.drops(vniIdx, 'decap')).length >= 5,
        'frames were dropped for many reasons',
      );
      t.ok(
        Object.keys(world.plane.drops(vniIdx, 'encap')).length >= 3,
        'frames from the TAPs were dropped for several reasons',
      );
    }
  });
