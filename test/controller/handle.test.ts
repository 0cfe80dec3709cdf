import t, { type Test } from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { Handle } from '../../src/controller/handle.js';
import {
  G_HEARTBEAT_MS,
  P_RX_FRAMES,
  V_FDB_DYNAMIC,
  V_FDB_STATIC,
  V_LEARNED,
} from '../../src/exchange/counters.js';
import { Offloads } from '../../src/exchange/offloads.js';
import type { MacParts } from '../../src/exchange/protocol.js';
import { addPeer } from '../support/add-peer.js';
import { macNumber, macParts } from '../support/frames.js';
import { POLICY } from '../support/memory-plane.js';
import { newPeer, newVni } from '../support/new-vni.js';
import { eventually } from '../support/wait.js';

const NO_DROPS = [0, 1].map(() => ({ fromPeers: 0, fromStrangers: 0 }));

interface Fixture {
  handle: Handle;
  /** Level and message of each log entry. */
  logged: string[];
  /** epoll descriptor of each worker. */
  waits: number[];
  /** Calls of `peersChanged` so far. */
  peerChanges: () => number;
  /** Makes a worker accept no requests; it continues to forward. */
  stall: (worker: number) => Promise<void>;
  /** Makes the worker accept requests again; waiting requests come first. */
  resume: (worker: number) => void;
  /** Static entries that VNI 100 should have. */
  entries: Map<string, string>;
}

/** A data plane with real threads and no sockets; stopped when the test ends. */
async function start(t: Test, workers = 1): Promise<Fixture> {
  const shim = loadShim();
  const stalled = new Set<number>();
  const descriptors = Array.from({ length: workers }, (_, worker) => {
    const wakeFd = shim.eventCreate();
    const receiveFds = { ipv4: [], ipv6: [] };
    const wake = () => {
      if (!stalled.has(worker)) shim.eventFire(wakeFd);
    };
    return { waitFd: shim.waitCreate(), wakeFd, wake, receiveFds };
  });
  const entries = new Map<string, string>();
  const logged: string[] = [];
  let peerChanges = 0;
  const handle = new Handle({
    thread: new URL('../support/memory-thread.js', import.meta.url),
    engine: 'batch',
    underlay: { sendFds: [] },
    offloads: new Offloads().buffer,
    strictHeader: false,
    outer: { df: 'set', tos: 'inherit', mssClamp: true, flowSecret: 0x5ec },
    port: 4789,
    workers: descriptors,
    seed: 0x5eed,
    log: (level, message) => logged.push(`${level}: ${message}`),
    peersChanged: () => peerChanges++,
    probeReplied: () => {},
    fdbEvents: () => {},
    entries: (vni) => (vni === 100 ? entries : new Map()),
    addressText: ({ family, bytes }) =>
      family === 4 ? bytes.subarray(0, 4).join('.') : Buffer.from(bytes).toString('hex'),
  });
  t.teardown(async () => {
    await handle.stop();
    for (const { waitFd, wakeFd } of descriptors) for (const fd of [waitFd, wakeFd]) shim.close(fd);
  });
  await handle.start();
  const waits = descriptors.map(({ waitFd }) => waitFd);
  const resume = (worker: number) => {
    stalled.delete(worker);
    descriptors[worker].wake();
  };
  const stall = async (worker: number) => {
    stalled.add(worker);
    // A pending wake-up must not make the worker accept the next request.
    const beat = () => handle.counters[worker].cells[G_HEARTBEAT_MS];
    for (let round = 0; round < 2; round++) {
      const before = beat();
      await eventually('a round', () => beat() !== before);
    }
  };
  return { handle, logged, waits, peerChanges: () => peerChanges, stall, resume, entries };
}

const ALL = { type: 'all', peer: '' } as const;

/** All entries, page by page. */
async function listAll(handle: Handle, vni: number, limit: number) {
  const items: Awaited<ReturnType<Handle['listFdb']>>['items'] = [];
  let pages = 0;
  for (let cursor = 0; cursor >= 0; pages++) {
    const page = await handle.listFdb(vni, ALL, limit, cursor);
    if (page.items.length > limit) throw new Error(`${page.items.length} items on a page of ${limit}`);
    items.push(...page.items);
    cursor = page.nextCursor;
  }
  return { items, pages };
}

/** Sends a request that the worker cannot read, so that an exception ends it. */
function crash(handle: Handle, vni: number, peer: string): Promise<void> {
  return handle.putFdb(vni, undefined as unknown as MacParts, peer);
}

// Under the test runner a thread needs more than a second to start, so tests that do not end a
// thread share one thread.
t.setTimeout(600_000);
const { handle } = await start(t);

t.test('changes of missing objects are refused with their codes', async (t) => {
  const mac = macParts(macNumber(1));
  await t.rejects(addPeer(handle, 100, newPeer('192.0.2.1')), { code: 'vni_not_found' });
  await handle.addVni(newVni(100));
  await t.rejects(handle.addVni(newVni(100)), { code: 'vni_exists' });
  await t.rejects(handle.removePeer(100, '192.0.2.1'), { code: 'peer_not_found' });
  await t.rejects(handle.putFdb(100, mac, '192.0.2.1'), { code: 'peer_not_found' });
  await t.rejects(handle.deleteFdb(100, mac), { code: 'fdb_entry_not_found' });
  await t.rejects(handle.flushFdb(101, ALL), { code: 'vni_not_found' });
  await t.rejects(handle.listFdb(100, { type: 'all', peer: '192.0.2.9' }, 10, 0), { code: 'peer_not_found' });
  t.throws(() => handle.peers(101), { code: 'vni_not_found' });
  t.throws(() => handle.snapshot(101), { code: 'vni_not_found' });
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  await t.rejects(addPeer(handle, 100, newPeer('192.0.2.1')), { code: 'peer_exists' });
  t.equal(handle.peers(100).length, 1);
});

t.test('a new overlay MTU is sent to the workers and listed', async (t) => {
  await t.rejects(handle.setOverlayMtu(101, 1400), { code: 'vni_not_found' });
  await handle.setOverlayMtu(100, 1400);
  t.equal(handle.vnis().find(({ vni }) => vni === 100)?.policy.overlayMtu, 1400);
});

t.test('static entries can be put, replaced, listed, deleted and flushed', async (t) => {
  for (const vni of [0, 2 ** 24 - 1]) {
    await handle.addVni(newVni(vni));
    for (const peer of ['192.0.2.1', '2001:db8::1']) await addPeer(handle, vni, newPeer(peer));
  }
  const mac = macParts('fe:ff:ff:ff:ff:ff');
  await handle.putFdb(0, mac, '192.0.2.1');
  await handle.putFdb(0, mac, '2001:db8::1');
  await handle.putFdb(0, macParts(macNumber(2)), '192.0.2.1');
  await handle.putFdb(2 ** 24 - 1, mac, '192.0.2.1');
  const { items } = await listAll(handle, 0, 10);
  t.equal(items.length, 2, 'the list has entries of this VNI only');
  t.match(
    items.find((entry) => entry.mac.low === mac.low),
    { mac, peer: /^20010db8/, type: 'static', ageMs: 0 },
  );
  const filtered = await handle.listFdb(0, { type: 'static', peer: '192.0.2.1' }, 10, 0);
  t.equal(filtered.items.length, 1);
  t.equal((await handle.listFdb(0, { type: 'dynamic', peer: '' }, 10, 0)).items.length, 0);
  await handle.deleteFdb(0, mac);
  await t.rejects(handle.deleteFdb(0, mac), { code: 'fdb_entry_not_found' });
  t.equal(await handle.flushFdb(0, { type: 'dynamic', peer: '' }), 0);
  t.equal(await handle.flushFdb(0, ALL), 1);
  t.equal((await listAll(handle, 0, 10)).items.length, 0);
  t.equal((await listAll(handle, 2 ** 24 - 1, 10)).items.length, 1, 'the other VNI keeps its entry');
  t.equal(handle.snapshot(0).vni[V_FDB_STATIC], 0);
  t.equal(handle.snapshot(0).vni[V_FDB_DYNAMIC], 0);
});

t.test('pages of a large table contain each entry once', async (t) => {
  await handle.addVni(newVni(101));
  await addPeer(handle, 101, newPeer('192.0.2.1'));
  const count = 5000;
  await Promise.all(
    Array.from({ length: count }, (_, i) => handle.putFdb(101, macParts(macNumber(i)), '192.0.2.1')),
  );
  for (const limit of [1000, 333]) {
    const { items, pages } = await listAll(handle, 101, limit);
    t.equal(items.length, count);
    t.equal(new Set(items.map(({ mac }) => mac.low)).size, count, `pages of ${limit}`);
    t.ok(pages >= Math.ceil(count / limit));
  }
  t.equal(await handle.flushFdb(101, { type: 'static', peer: '192.0.2.1' }), count);
});

t.test('removing a peer removes its entries, and its row is used again', async (t) => {
  await handle.addVni(newVni(102));
  const first = await addPeer(handle, 102, newPeer('192.0.2.1'));
  await addPeer(handle, 102, newPeer('192.0.2.2'));
  for (let i = 0; i < 100; i++)
    await handle.putFdb(102, macParts(macNumber(i)), i % 2 === 0 ? '192.0.2.1' : '192.0.2.2');
  const removal = handle.removePeer(102, '192.0.2.1');
  await t.rejects(
    handle.removePeer(102, '192.0.2.1'),
    { code: 'peer_not_found' },
    'the peer is already being removed',
  );
  await t.rejects(handle.putFdb(102, macParts(macNumber(1)), '192.0.2.1'), { code: 'peer_not_found' });
  await removal;
  t.same(
    handle.peers(102).map(({ address }) => address.text),
    ['192.0.2.2'],
  );
  const { items } = await listAll(handle, 102, 1000);
  t.equal(items.length, 50);
  t.ok(items.every(({ peer }) => peer === '192.0.2.2'));
  const again = await addPeer(handle, 102, newPeer('192.0.2.3'));
  t.equal(again.peerIdx, first.peerIdx);
  t.equal((await listAll(handle, 102, 1000)).items.length, 50, 'the new peer has no old entries');
});

t.test('a name selects all its addresses when entries are listed or flushed', async (t) => {
  await handle.addVni(newVni(106));
  const peers = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
  for (const [i, text] of peers.entries()) {
    await addPeer(handle, 106, newPeer(text, i < 2 ? 'far.example' : ''));
    await handle.putFdb(106, macParts(macNumber(i)), text);
  }
  const behind = async (peer: string) => {
    const { items } = await handle.listFdb(106, { type: 'all', peer }, 10, 0);
    return items.map((entry) => entry.peer).sort();
  };
  t.same(await behind('far.example'), ['192.0.2.1', '192.0.2.2']);
  t.same(await behind('192.0.2.2'), ['192.0.2.2'], 'an address selects its own entries');
  t.equal(await handle.flushFdb(106, { type: 'static', peer: 'far.example' }), 2);
  t.same(await behind(''), ['192.0.2.3']);
  await t.rejects(handle.flushFdb(106, { type: 'all', peer: 'lost.example' }), {
    code: 'peer_not_found',
    message: 'lost.example is not a peer of VNI 106',
  });
});

t.test('a list of peers is added completely or not at all, and can be shared by VNIs', async (t) => {
  const list = Array.from({ length: 3000 }, (_, i) => newPeer(`10.1.${i >> 8}.${i & 255}`));
  const mac = macParts(macNumber(1));
  for (const vni of [104, 105]) {
    await handle.addVni(newVni(vni));
    await handle.addPeers(vni, list);
    t.equal(handle.peers(vni).length, 3000);
    await handle.putFdb(vni, mac, '10.1.11.183');
    t.match((await listAll(handle, vni, 10)).items, [{ peer: '10.1.11.183' }]);
  }
  const [one, other] = [104, 105].map((vni) => handle.peers(vni).map(({ peerIdx }) => peerIdx));
  t.equal(new Set([...one, ...other]).size, 6000, 'the two VNIs use separate rows');
  await t.rejects(handle.addPeers(104, [newPeer('10.2.0.1'), newPeer('10.1.0.7')]), {
    code: 'peer_exists',
  });
  await t.rejects(handle.addPeers(104, [newPeer('10.2.0.1'), newPeer('10.2.0.1')]), {
    code: 'peer_exists',
  });
  t.equal(handle.peers(104).length, 3000);
  await handle.removePeer(104, '10.1.11.183');
  t.equal((await listAll(handle, 104, 10)).items.length, 0);
  t.equal((await listAll(handle, 105, 10)).items.length, 1);
  const again = await addPeer(handle, 104, newPeer('10.1.11.183'));
  t.equal(again.peerIdx, one[2999]);
  t.equal(handle.snapshot(104).peers.length, 3001);
});

t.test('changes are applied in the order of their requests', async (t) => {
  await handle.addVni(newVni(103));
  const mac = macParts(macNumber(7));
  const order: string[] = [];
  const note = (what: string) => () => order.push(what);
  await Promise.all([
    addPeer(handle, 103, newPeer('192.0.2.1')).then(note('add')),
    handle.putFdb(103, mac, '192.0.2.1').then(note('put')),
    handle.flushFdb(103, ALL).then((removed) => order.push(`flush ${removed}`)),
    handle.removePeer(103, '192.0.2.1').then(note('remove')),
  ]);
  t.same(order, ['add', 'put', 'flush 1', 'remove']);
});

t.test('the handle is ready when the configuration is complete, and not after its stop', async (t) => {
  t.equal(handle.ready, false);
  await handle.configured(NO_DROPS);
  t.equal(handle.ready, true);
  await handle.stop();
  t.equal(handle.ready, false);
  await t.rejects(addPeer(handle, 100, newPeer('192.0.2.5')), { code: 'dataplane_down' });
});

t.test('a worker that dies is replaced; FDB and counters are kept', async (t) => {
  const { handle, logged } = await start(t);
  await handle.addVni(newVni(100));
  const peer = await addPeer(handle, 100, newPeer('192.0.2.1'));
  await addPeer(handle, 100, newPeer('192.0.2.2'));
  await handle.configured(NO_DROPS);
  // Enough entries that the table is growing.
  await Promise.all(
    Array.from({ length: 800 }, (_, i) => handle.putFdb(100, macParts(macNumber(i)), '192.0.2.1')),
  );
  const counted = handle.counters[0].peerBase(peer.peerIdx) + 1;
  handle.counters[0].cells[counted] = 12345;

  const waiting = handle.flushFdb(100, { type: 'dynamic', peer: '' });
  const crashed = crash(handle, 100, '192.0.2.2');
  const behind = handle.removePeer(100, '192.0.2.2');
  await t.rejects(crashed, { code: 'dataplane_down' });
  await t.rejects(behind, { code: 'dataplane_down' });
  t.equal(await waiting, 0, 'a change that was made before the crash still gets its answer');
  t.equal(handle.ready, false);
  await t.rejects(addPeer(handle, 100, newPeer('192.0.2.3')), { code: 'dataplane_down' });
  await t.rejects(handle.deleteFdb(100, macParts(macNumber(1))), { code: 'dataplane_down' });

  await handle.revived();
  t.equal(handle.ready, true, 'the successor is ready');
  t.ok(logged.some((line) => /^error: the data plane has failed/.test(line)));
  t.ok(logged.some((line) => /^warn: the data plane was restarted/.test(line)));
  t.same(
    handle.peers(100).map(({ address }) => address.text),
    ['192.0.2.1', '192.0.2.2'],
    'the peer whose removal failed is still listed',
  );
  const { items } = await listAll(handle, 100, 1000);
  t.equal(items.length, 800);
  t.ok(items.every((entry) => entry.peer === '192.0.2.1' && entry.type === 'static'));
  t.equal(handle.snapshot(100).vni[V_FDB_STATIC], 800);
  t.equal(handle.counters[0].cells[counted], 12345);
  await handle.removePeer(100, '192.0.2.2');
  await handle.deleteFdb(100, macParts(macNumber(1)));
});

t.test('after each of several crashes a successor becomes ready', async (t) => {
  const { handle } = await start(t);
  await handle.addVni(newVni(100));
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  await handle.putFdb(100, macParts(macNumber(1)), '192.0.2.1');
  await handle.configured(NO_DROPS);
  for (let round = 1; round <= 2; round++) {
    await t.rejects(crash(handle, 100, '192.0.2.1'));
    await eventually(`ready after crash ${round}`, () => handle.ready, 10_000);
    t.equal((await listAll(handle, 100, 10)).items.length, 1, `crash ${round}`);
  }
});

t.test('no successor is started after a stop', async (t) => {
  const { handle, logged } = await start(t);
  await handle.addVni(newVni(100));
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  await t.rejects(crash(handle, 100, '192.0.2.1'));
  await handle.stop();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  t.equal(handle.ready, false);
  t.notOk(logged.some((line) => /restarted/.test(line)));
});

t.test('setTunnel is refused while a worker is being replaced, and succeeds afterwards', async (t) => {
  const { handle, peerChanges } = await start(t, 2);
  await handle.configured(NO_DROPS);
  const tunnel = {
    fd: 7,
    local: new Uint8Array(4),
    mtu: 1500,
    ttl: 64,
    df: false,
    udpChecksum: true,
    ports: [],
  };
  await handle.addVni(newVni(100));
  const { peerIdx } = await addPeer(handle, 100, newPeer('192.0.2.1'));
  await addPeer(handle, 100, newPeer('192.0.2.2'));
  await handle.removePeer(100, '192.0.2.2');
  t.equal(peerChanges(), 3);
  await handle.setTunnel(tunnel, Int32Array.of(peerIdx));
  await t.rejects(crash(handle, 100, '192.0.2.1'), { code: 'dataplane_down' });
  const before = peerChanges();
  await t.rejects(handle.setTunnel(tunnel, Int32Array.of(peerIdx)), { code: 'dataplane_down' });
  await eventually('the successors are ready', () => handle.ready, 10_000);
  t.equal(peerChanges() - before, 2, 'peersChanged is called when a retry can succeed');
  await handle.setTunnel(tunnel, Int32Array.of(peerIdx));
});

/** Ends the first worker only, because lists are read from that worker. */
function crashFirst(handle: Handle): Promise<unknown> {
  return handle.listFdb(100, ALL, 10, 1n as unknown as number);
}

t.test('with two workers, a change is made by both and answered once', async (t) => {
  const { handle } = await start(t, 2);
  await handle.addVni(newVni(100));
  const peer = await addPeer(handle, 100, newPeer('192.0.2.1'));
  await addPeer(handle, 100, newPeer('192.0.2.2'));
  for (let i = 0; i < 20; i++)
    await handle.putFdb(100, macParts(macNumber(i)), i < 5 ? '192.0.2.2' : '192.0.2.1');
  const statics = () => handle.counters.map((block) => block.cells[block.vniBase(0) + V_FDB_STATIC]);
  t.same(statics(), [20, 20]);
  t.equal(handle.snapshot(100).vni[V_FDB_STATIC], 20, 'entries are not counted twice');
  t.equal((await listAll(handle, 100, 7)).items.length, 20);
  await handle.deleteFdb(100, macParts(macNumber(19)));
  await t.rejects(handle.deleteFdb(100, macParts(macNumber(19))), { code: 'fdb_entry_not_found' });
  await handle.removePeer(100, '192.0.2.2');
  t.same(statics(), [14, 14]);
  t.equal(
    await handle.flushFdb(100, { type: 'all', peer: '192.0.2.1' }),
    14,
    'removals are not counted twice',
  );
  t.same(statics(), [0, 0]);

  const [first, second] = handle.counters;
  for (const [block, frames] of [
    [first, 1000],
    [second, 234],
  ] as const)
    block.cells[block.peerBase(peer.peerIdx) + P_RX_FRAMES] = frames;
  t.equal(handle.snapshot(100).peers[0].row[P_RX_FRAMES], 1234, 'frames are the sum of both workers');
  await handle.removePeer(100, '192.0.2.1');
  t.equal(
    handle.snapshot(100).peers[0].row[P_RX_FRAMES],
    1234,
    'frames of the removed peer stay in the sums of the VNI',
  );
});

t.test('with two workers, only the dead worker gets a successor, with the same state', async (t) => {
  const { handle, logged } = await start(t, 2);
  await handle.addVni(newVni(100));
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  await handle.putFdb(100, macParts(macNumber(1)), '192.0.2.1');
  await handle.configured(NO_DROPS);
  const [first, second] = handle.counters;
  const crashed = crashFirst(handle);
  const added = addPeer(handle, 100, newPeer('192.0.2.2'));
  const removed = handle.removePeer(100, '192.0.2.1');
  await t.rejects(crashed, { code: 'dataplane_down' });
  await t.rejects(added, { code: 'dataplane_down' });
  await t.rejects(removed, { code: 'dataplane_down' });
  t.equal(handle.ready, false);
  await t.rejects(addPeer(handle, 100, newPeer('192.0.2.3')), { code: 'dataplane_down' });
  const beat = second.cells[G_HEARTBEAT_MS];
  await eventually('the other worker to continue', () => second.cells[G_HEARTBEAT_MS] > beat);
  t.equal(
    logged.filter((line) => /restarted/.test(line)).length,
    0,
    'the second worker continues while the first is being replaced',
  );

  await eventually('ready again', () => handle.ready, 10_000);
  t.equal(logged.filter((line) => /restarted/.test(line)).length, 1);
  t.ok(first.cells[G_HEARTBEAT_MS] > 0);
  t.same(
    handle.peers(100).map(({ address }) => address.text),
    ['192.0.2.1'],
    'neither the addition nor the removal was made',
  );
  // The counts of both workers would differ if the second worker had kept the addition or made the
  // removal.
  await handle.putFdb(100, macParts(macNumber(2)), '192.0.2.1');
  const again = await addPeer(handle, 100, newPeer('192.0.2.2'));
  await handle.putFdb(100, macParts(macNumber(3)), '192.0.2.2');
  t.ok(again.peerIdx > 0);
  await handle.removePeer(100, '192.0.2.2');
  for (const block of handle.counters) t.equal(block.cells[block.vniBase(0) + V_FDB_STATIC], 1);
});

t.test('removing a VNI removes peers and entries, releases its TAP and frees its rows', async (t) => {
  const { handle, waits, peerChanges } = await start(t, 2);
  const shim = loadShim();
  // An eventfd takes the role of a TAP queue, because the test can make it readable at any time.
  const tapFds = [1, 2].map(() => shim.eventCreate());
  t.teardown(() => {
    for (const fd of tapFds) shim.close(fd);
  });
  const ENOENT = -2;
  await handle.addVni({ ...newVni(100), tapFds });
  const first = await addPeer(handle, 100, newPeer('192.0.2.1'));
  await addPeer(handle, 100, newPeer('192.0.2.2'));
  await handle.addVni(newVni(200));
  await addPeer(handle, 200, newPeer('192.0.2.1'));
  await handle.putFdb(100, macParts(macNumber(1)), '192.0.2.1');
  await handle.putFdb(200, macParts(macNumber(1)), '192.0.2.1');
  for (const block of handle.counters) block.cells[block.vniBase(0) + V_LEARNED] = 7;
  const changes = peerChanges();
  const order: string[] = [];
  const removal = handle.removeVni(100).then(() => order.push('removed'));
  await t.rejects(handle.removeVni(100), { code: 'vni_not_found' }, 'the VNI is already being removed');
  await t.rejects(addPeer(handle, 100, newPeer('192.0.2.3')), { code: 'vni_not_found' });
  await t.rejects(
    handle.addVni(newVni(100)),
    { code: 'vni_exists' },
    'the number is in use until all workers have released the VNI',
  );
  t.equal(handle.snapshot(100).peers.length, 3, 'the VNI is listed until all workers have released it');
  await removal;
  t.equal(peerChanges(), changes + 1);
  t.same(
    handle.vnis().map(({ vni }) => vni),
    [200],
  );
  t.throws(() => handle.snapshot(100), { code: 'vni_not_found' });
  for (const [worker, fd] of tapFds.entries()) t.equal(shim.waitRemove(waits[worker], fd), ENOENT);
  t.equal((await listAll(handle, 200, 10)).items.length, 1);

  const again = await handle.addVni({ ...newVni(300), tapFds });
  t.equal(again.vniIdx, 0);
  t.equal(handle.snapshot(300).vni[V_LEARNED], 0, 'counters start at zero');
  t.equal((await listAll(handle, 300, 10)).items.length, 0);
  const peers = await Promise.all(
    ['192.0.2.1', '192.0.2.4'].map((text) => addPeer(handle, 300, newPeer(text))),
  );
  t.ok(peers.some(({ peerIdx }) => peerIdx === first.peerIdx));
  for (let round = 0; round < 50; round++) {
    await handle.removeVni(300);
    await handle.addVni({ ...newVni(300), tapFds });
    await addPeer(handle, 300, newPeer('192.0.2.1'));
    await handle.putFdb(300, macParts(macNumber(1)), '192.0.2.1');
  }
  t.equal(handle.vnis().find(({ vni }) => vni === 300)?.vniIdx, 0, 'no row is leaked');
  t.equal(handle.snapshot(300).vni[V_FDB_STATIC], 1);
});

t.test('a policy change is sent to all workers, and omitted fields stay', async (t) => {
  const { handle } = await start(t, 2);
  await handle.addVni(newVni(100));
  const policy = () => handle.vnis()[0].policy;
  await handle.setOverlayMtu(100, 1400);
  await handle.setPolicy(100, { learning: false, fdbLimit: 10 });
  t.same(policy(), { ...POLICY, overlayMtu: 1400, learning: false, fdbLimit: 10 });
  await t.rejects(handle.setPolicy(101, {}), { code: 'vni_not_found' });
});

t.test('a VNI stays and works when its removal fails because a worker dies', async (t) => {
  const { handle } = await start(t, 2);
  await handle.addVni(newVni(100));
  await handle.addVni(newVni(200));
  for (const peer of ['192.0.2.1', '192.0.2.2']) await addPeer(handle, 100, newPeer(peer));
  await addPeer(handle, 200, newPeer('192.0.2.1'));
  await handle.putFdb(200, macParts(macNumber(1)), '192.0.2.1');
  await handle.configured(NO_DROPS);
  const crashed = crashFirst(handle);
  const removed = handle.removeVni(100);
  const changed = handle.setPolicy(200, { learning: false });
  const added = handle.addVni(newVni(300));
  for (const change of [crashed, removed, changed, added])
    await t.rejects(change, { code: 'dataplane_down' });
  await t.rejects(
    handle.removeVni(200),
    { code: 'dataplane_down' },
    'a removal is refused while a worker is being replaced',
  );
  await t.rejects(handle.setPolicy(200, { flood: false }), { code: 'dataplane_down' });
  await t.rejects(handle.addVni(newVni(400)), { code: 'dataplane_down' });
  await eventually('ready again', () => handle.ready, 10_000);
  t.same(
    handle.vnis().map(({ vni }) => vni),
    [100, 200],
  );
  t.same(handle.vnis()[1].policy, POLICY);
  // The counts of both workers would differ if one worker had kept the removal or the addition.
  await handle.putFdb(100, macParts(macNumber(1)), '192.0.2.2');
  for (const block of handle.counters) t.equal(block.cells[block.vniBase(0) + V_FDB_STATIC], 1);
  t.equal((await listAll(handle, 200, 10)).items.length, 1, 'the other VNI keeps its entry');
  const third = await handle.addVni(newVni(300));
  t.equal(third.vniIdx, 2, 'the row of the addition that failed is free again');
  await handle.removeVni(100);
  await handle.removeVni(300);
});

t.test(
  'only one capture runs, with a ring per worker, until it is stopped or its VNI is removed',
  async (t) => {
    const { handle } = await start(t, 2);
    const { vniIdx } = await handle.addVni(newVni(100));
    const { peerIdx } = await addPeer(handle, 100, newPeer('192.0.2.1'));
    t.equal(handle.peerAt(vniIdx, peerIdx)?.address.text, '192.0.2.1');
    t.equal(handle.peerAt(vniIdx, peerIdx + 1), undefined);
    const request = { vni: 100, point: 'overlay', snapLen: 1000 } as const;
    await t.rejects(handle.startCapture({ ...request, vni: 101 }), { code: 'vni_not_found' });
    const first = await handle.startCapture(request);
    t.same(
      first.rings.map((ring) => ring.first()),
      [undefined, undefined],
    );
    await t.rejects(handle.startCapture({ ...request, vni: undefined }), { code: 'capture_busy' });
    await first.stop();
    const second = await handle.startCapture(request);
    await first.stop();
    await t.rejects(
      handle.startCapture(request),
      { code: 'capture_busy' },
      'the stop of an earlier capture does not end this one',
    );
    await handle.removeVni(100);
    const third = await handle.startCapture({ ...request, vni: undefined });
    await second.stop();
    await t.rejects(handle.startCapture({ ...request, vni: undefined }), { code: 'capture_busy' });
    await handle.watchFdb(true);
    await handle.watchFdb(false);
    await third.stop();
  },
);

const TIMEOUT = { code: 'dataplane_timeout' };
const ENOENT = -2;
const deaths = (logged: readonly string[]) => logged.filter((line) => /has failed/.test(line));

/** Static entries of the VNI in row 0, for each worker. */
function staticsOf(handle: Handle): number[] {
  return handle.counters.map((block) => block.cells[block.vniBase(0) + V_FDB_STATIC]);
}

t.test('a VNI whose addition times out is settling until no worker uses its TAP', async (t) => {
  const { handle, logged, waits, stall, resume } = await start(t, 2);
  const shim = loadShim();
  const tapFds = [1, 2].map(() => shim.eventCreate());
  await handle.addVni(newVni(200));
  const [{ vniIdx: other }] = handle.vnis();
  await stall(1);
  await t.rejects(handle.addVni({ ...newVni(100), tapFds }), TIMEOUT);
  let released = 0;
  const isWaitedFor: boolean[] = [];
  await handle.abandonVni(100, async () => {
    released++;
    for (const [worker, fd] of tapFds.entries()) {
      isWaitedFor.push(shim.waitRemove(waits[worker], fd) !== ENOENT);
      shim.close(fd);
    }
  });
  t.equal(released, 0, 'the descriptors of the VNI stay open while a worker has not answered');
  const held = handle.settling().map(({ vni, tap }) => [vni, tap]);
  t.same(held, [[100, 'vtep100']]);
  t.same(
    handle.vnis().map(({ vni }) => vni),
    [200],
    'VNI 100 is not configured',
  );
  await t.rejects(handle.addVni(newVni(100)), { code: 'vni_exists', message: /VNI 100 is settling/ });
  t.throws(() => handle.assertFree(100), { code: 'vni_exists', message: /settling/ });
  for (const ask of [
    () => addPeer(handle, 100, newPeer('192.0.2.1')),
    () => handle.removeVni(100),
    () => handle.setPolicy(100, { learning: false }),
    () => handle.flushFdb(100, ALL),
  ])
    await t.rejects(ask() as Promise<unknown>, { code: 'vni_not_found', message: /settling/ });
  t.throws(() => handle.snapshot(100), { code: 'vni_not_found' });
  t.same([...handle.totals(100).vni].slice(0, 2), [0, 0], 'the totals of the settling VNI can be listed');
  resume(1);
  await eventually('it to be released', () => handle.settling().length === 0);
  t.same(
    [released, isWaitedFor],
    [1, [false, false]],
    'release is called only once, when no worker has the TAP in its wait set',
  );
  t.same(deaths(logged), [], 'no worker has died');
  const again = await handle.addVni(newVni(100));
  t.ok(again.vniIdx !== other);
  t.equal(again.vniIdx, 1, 'the row of the released VNI is used again');
});

t.test('a TAP that cannot be polled is refused, and no worker dies', async (t) => {
  const { handle, logged } = await start(t, 2);
  const shim = loadShim();
  const good = shim.eventCreate();
  t.teardown(() => void shim.close(good));
  const closed = 100_000;
  await handle.addVni(newVni(200));
  for (const tapFds of [
    [closed, closed],
    [good, closed],
  ]) {
    const refusal = { code: 'internal', message: 'cannot poll the TAP device (EBADF)' };
    await t.rejects(handle.addVni({ ...newVni(100), tapFds }), refusal);
    let released = false;
    await handle.abandonVni(100, async () => void (released = true));
    t.ok(released);
  }
  t.same(deaths(logged), []);
  t.equal((await handle.addVni({ ...newVni(100), tapFds: [good, -1] })).vniIdx, 1);
  await addPeer(handle, 200, newPeer('192.0.2.1'));
});

t.test('a VNI whose removal times out keeps its peers and static entries', async (t) => {
  const { handle, logged, stall, resume, entries } = await start(t, 2);
  await handle.addVni(newVni(100));
  for (const peer of ['192.0.2.1', '192.0.2.2']) await addPeer(handle, 100, newPeer(peer));
  for (const mac of [1, 2]) {
    entries.set(macNumber(mac), '192.0.2.1');
    await handle.putFdb(100, macParts(macNumber(mac)), '192.0.2.1');
  }
  await stall(1);
  await t.rejects(handle.removeVni(100), TIMEOUT);
  t.equal(handle.vnis().length, 1);
  t.equal(handle.settling().length, 1);
  await t.rejects(handle.addVni(newVni(100)), { code: 'vni_exists', message: /settling/ });
  resume(1);
  await eventually('the VNI to be reconciled', () => handle.settling().length === 0);
  t.same(staticsOf(handle), [2, 2], 'the entries that the failed removal had removed are restored');
  await stall(0);
  await t.rejects(handle.removePeer(100, '192.0.2.1'), TIMEOUT);
  resume(0);
  await eventually('the entries of the peer to be restored', () =>
    staticsOf(handle).every((count) => count === 2),
  );
  await handle.removePeer(100, '192.0.2.1');
  t.same(staticsOf(handle), [0, 0]);
  await handle.removeVni(100);
  t.same(deaths(logged), []);
});

t.test('when changes of peers, policy and entries time out, all workers revert them', async (t) => {
  const { handle, stall, resume, entries } = await start(t, 2);
  await handle.addVni(newVni(100));
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  const mac = macParts(macNumber(1));
  const list = Array.from({ length: 5 }, (_, i) => newPeer(`192.0.2.${10 + i}`));
  await stall(1);
  const changes = [
    handle.addPeers(100, list),
    handle.setPolicy(100, { learning: false, fdbLimit: 5 }),
    handle.putFdb(100, mac, '192.0.2.1'),
  ];
  for (const change of changes) await t.rejects(change, TIMEOUT);
  const reconciled = handle.reconcileFdb(100, [mac]);
  t.same(
    handle.peers(100).map(({ address }) => address.text),
    ['192.0.2.1'],
  );
  t.same(handle.vnis()[0].policy, POLICY);
  resume(1);
  await reconciled;
  await eventually('no entry', () => staticsOf(handle).every((count) => count === 0));
  const rows = await Promise.all(list.map(({ address }) => addPeer(handle, 100, newPeer(address.text))));
  t.same(
    rows.map(({ peerIdx }) => peerIdx).sort(),
    Array.from({ length: 5 }, (_, i) => handle.peers(100)[0].peerIdx + 1 + i),
    'the rows of the peers whose addition failed are used again',
  );
  entries.set(macNumber(2), '192.0.2.10');
  await handle.putFdb(100, macParts(macNumber(2)), '192.0.2.10');
  await stall(0);
  await t.rejects(handle.deleteFdb(100, macParts(macNumber(2))), TIMEOUT);
  const back = handle.reconcileFdb(100, [macParts(macNumber(2))]);
  resume(0);
  await back;
  t.same(staticsOf(handle), [1, 1], 'an entry whose deletion failed is restored');
});

t.test('a change in mode reconcile does not fail; a late worker makes it afterwards', async (t) => {
  const { handle, stall, resume, entries } = await start(t, 2);
  await handle.addVni(newVni(100));
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  await addPeer(handle, 100, newPeer('192.0.2.2'));
  await stall(1);
  await Promise.all([
    handle.setPolicy(100, { learning: false }, 'reconcile'),
    handle.removePeer(100, '192.0.2.2', 'reconcile'),
    handle.addPeers(100, [newPeer('192.0.2.3')], 'reconcile'),
    handle.addVni(newVni(300), [], 'reconcile'),
  ]);
  t.equal(handle.vnis()[0].policy.learning, false);
  t.same(
    handle.peers(100).map(({ address }) => address.text),
    ['192.0.2.1', '192.0.2.3'],
  );
  t.same(
    handle.settling().map(({ vni }) => vni),
    [300],
  );
  resume(1);
  await eventually('the addition', () => handle.settling().length === 0);
  entries.set(macNumber(1), '192.0.2.3');
  await handle.putFdb(100, macParts(macNumber(1)), '192.0.2.3');
  t.same(staticsOf(handle), [1, 1]);
  await handle.removeVni(300);
});

t.test('both workers are reconciled when one dies while the other is late', async (t) => {
  const { handle, stall, resume } = await start(t, 2);
  await handle.addVni(newVni(100));
  await addPeer(handle, 100, newPeer('192.0.2.1'));
  await stall(1);
  await t.rejects(handle.addVni(newVni(300)), TIMEOUT);
  let released = false;
  const abandoned = handle.abandonVni(300, async () => void (released = true));
  await t.rejects(crashFirst(handle), { code: 'dataplane_down' });
  await handle.revived();
  await abandoned;
  t.notOk(released, 'release is not called before the other worker has answered');
  resume(1);
  await eventually('it to be released', () => handle.settling().length === 0);
  t.ok(released);
  t.equal((await handle.addVni(newVni(300))).vniIdx, 1);
});

t.test('a stop ends the reconciliation of a failed change, and release is not called', async (t) => {
  const { handle, stall } = await start(t, 2);
  await handle.addVni(newVni(100));
  await stall(1);
  await t.rejects(handle.addVni(newVni(300)), TIMEOUT);
  let released = false;
  const abandoned = handle.abandonVni(300, async () => void (released = true));
  await handle.stop();
  await abandoned;
  t.notOk(released, 'the caller of stop closes the descriptors');
});

t.test('flow maps are released when the slowest worker has answered or ended', async (t) => {
  const { handle, stall, resume } = await start(t, 2);
  await stall(1);
  let released = false;
  const letGo = handle.setFlows(undefined).then(() => (released = true));
  await t.rejects(handle.setPolicy(100, {}), { code: 'vni_not_found' });
  await t.rejects(handle.addVni(newVni(100)), TIMEOUT);
  t.notOk(released, 'the maps stay in use beyond the time limit of a change');
  resume(1);
  await letGo;
});
