/**
 * Heap measurement of encap and decap, in a process of its own.
 *
 * `allocation.lab.test.ts` runs this file with `--expose-gc`. It forwards the same batches
 * repeatedly and prints, as JSON, how many bytes the heap grew and how many garbage collections
 * occurred: first without and then with a subscriber to FDB events. Descriptors are refilled in
 * place, so the harness itself does not allocate. With the argument `leak` it measures encap only,
 * and allocates one object per frame, so that the test can check that the measurement detects such
 * objects.
 */
import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Batch } from '../../src/abi/batch.js';
import { BATCH_CAP, PEER_ROW_LEN, RECEIVE_SLOT_STRIDE, VXLAN_HEADROOM } from '../../src/abi/limits.js';
import { makeClock, NOW_MS } from '../../src/switch/fdb/clock.js';
import { Decap } from '../../src/switch/forward/decap.js';
import { Encap } from '../../src/switch/forward/encap.js';
import { arpFrame, BROADCAST, ipv4Frame, ipv6Frame, macNumber, TCP } from './frames.js';
import { concat } from './hex.js';
import { MemoryPlane, sourceRow, vxlanHeader } from './memory-plane.js';
import { MemoryUnderlay } from './memory-ports.js';

const WARM_UP = 5000;
const ROUNDS = 4000;
const FRAME_SLOT = 2048;
/** TCP option: MSS 1460. */
const MSS = Uint8Array.of(2, 4, 5, 0xb4);
const OUTER = { df: 'set', tos: 'inherit', mssClamp: true, flowSecret: 0x5ec } as const;
/** MAC that is the source of no test frame. */
const NOWHERE = macNumber(0xffffff);

const kept: { frame: number }[] = [];

/** Allocates one object per frame. The objects of the next batch replace those of this batch. */
class LeakyUnderlay extends MemoryUnderlay {
  override send(batch: Batch, arena: Uint8Array): number {
    for (let i = 0; i < batch.count; i++) kept[i] = { frame: i };
    return super.send(batch, arena);
  }
}

/** Frames of rare kinds, by index of the descriptor. */
const RARE: Record<number, Uint8Array> = {
  3: ipv4Frame(NOWHERE, macNumber(3)),
  7: ipv4Frame(macNumber(7), NOWHERE, { payloadLen: 1472, fragment: 0x4000 }),
  11: ipv4Frame(macNumber(11), NOWHERE, { payloadLen: 1472 }),
  15: ipv6Frame(macNumber(15), NOWHERE, { payloadLen: 1452 }),
  19: ipv4Frame(macNumber(19), NOWHERE, { protocol: TCP, flags: 0x02, tcpOptions: MSS }),
  35: ipv4Frame(NOWHERE, macNumber(35)),
};

interface Run {
  name: string;
  grownLen: number;
  collections: number;
}

/** Forwards batch number `round` in one direction. */
type Forward = (round: number) => void;

let collections = 0;
new PerformanceObserver((list) => (collections += list.getEntries().length)).observe({ entryTypes: ['gc'] });

const leaks = process.argv.includes('leak');
const plane = new MemoryPlane(leaks ? { underlay: new LeakyUnderlay() } : {});
plane.addVni(0, 100);
const peers = Array.from({ length: 8 }, (_, i) => plane.addPeer(0, `192.0.2.${i + 1}`, { pathMtu: 1500 }));
plane.addVni(1, 200, { vlan: 'strip' });
plane.addPeer(1, '2001:db8::1');
plane.overlay.keep = plane.underlay.keep = false;

const runs: Run[] = [];
const directions = { decap: makeDecap(), encap: makeEncap() };
if (leaks) await measureOne('encap', directions.encap);
else {
  await measureAll('');
  plane.apply({ op: 'events', on: true });
  await measureAll(', with events');
}
process.stdout.write(`${JSON.stringify(runs)}\n`);

async function measureAll(suffix: string): Promise<void> {
  for (const [name, forward] of Object.entries(directions)) await measureOne(`${name}${suffix}`, forward);
}

async function measureOne(name: string, forward: Forward): Promise<void> {
  for (let round = 0; round < WARM_UP; round++) forward(round);
  for (let attempt = 0; attempt < 3; attempt++) runs.push(await measure(name, forward));
}

async function measure(name: string, forward: Forward): Promise<Run> {
  globalThis.gc!();
  await delay(20);
  const collectedBefore = collections;
  const before = process.memoryUsage().heapUsed;
  for (let round = 0; round < ROUNDS; round++) forward(round);
  const grownLen = process.memoryUsage().heapUsed - before;
  await delay(20);
  return { name, grownLen, collections: collections - collectedBefore };
}

/**
 * Frames as a TAP delivers them: known unicast of IPv4 and IPv6, broadcast ARP, unknown unicast, a
 * SYN, and oversized packets with and without DF.
 */
function makeEncap(): Forward {
  const encap = new Encap(plane.tables, plane.overlay, plane.underlay, { ...OUTER, observer: plane.flows });
  const frames = new Batch();
  for (let i = 0; i < BATCH_CAP; i++) {
    const options = { sourcePort: 1000 + i };
    const kinds = [
      ipv4Frame(macNumber(i), NOWHERE, options),
      ipv6Frame(macNumber(i), NOWHERE, { ...options, protocol: TCP }),
      i % 16 === 2 ? arpFrame(BROADCAST, NOWHERE) : arpFrame(macNumber(i), NOWHERE),
      RARE[i] ?? ipv4Frame(macNumber(i), NOWHERE, options),
    ];
    const bytes = kinds[i % 4];
    const off = i * FRAME_SLOT + 64 + VXLAN_HEADROOM;
    plane.overlay.arena.set(bytes, off);
    frames.off[i] = off;
    frames.len[i] = bytes.length;
    frames.segCount[i] = 1;
  }
  const clock = makeClock();
  return (round) => {
    frames.count = BATCH_CAP;
    clock[NOW_MS] = round;
    encap.completeSends(clock);
    encap.refill(0);
    encap.forward(frames);
  };
}

/**
 * Datagrams as sockets deliver them: single ones, trains, tags, partial checksums, strangers and
 * invalid headers.
 */
function makeDecap(): Forward {
  const decap = new Decap(plane.tables, plane.overlay, plane.underlay, {
    ...OUTER,
    observer: plane.flows,
    strictHeader: false,
    port: 4789,
    probeReplied: () => {},
  });
  const datagrams = new Batch();
  for (let i = 0; i < BATCH_CAP; i++) {
    const single = concat(vxlanHeader(100), ipv4Frame(NOWHERE, macNumber(i), { sourcePort: i }));
    const kinds = [
      single,
      concat(single, single, single),
      concat(
        vxlanHeader(100),
        ipv6Frame(NOWHERE, macNumber(i), { postponed: true, protocol: TCP, payloadLen: 4000 }),
      ),
      i % 16 === 3 ? concat(vxlanHeader(100, 0), single) : single,
    ];
    const bytes = kinds[i % 4];
    const off = i * RECEIVE_SLOT_STRIDE;
    plane.underlay.arena.set(bytes, off);
    const stranger = i % 32 === 4;
    plane.underlay.sources.set(
      sourceRow(stranger ? '198.51.100.1' : `192.0.2.${(i % peers.length) + 1}`),
      i * PEER_ROW_LEN,
    );
    datagrams.off[i] = off;
    datagrams.len[i] = bytes.length;
    datagrams.tos[i] = i % 8 === 0 ? 0x01 : 0;
    datagrams.gsoSize[i] = i % 4 === 1 ? single.length : 0;
  }
  const clock = makeClock();
  return (round) => {
    datagrams.count = BATCH_CAP;
    clock[NOW_MS] = round * 12.5;
    decap.deliver(datagrams, clock);
  };
}
