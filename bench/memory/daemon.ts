/**
 * Configures a data plane without a kernel and prints what it takes, as one line of JSON: `daemon.js VNIS PEERS`.
 * A program of its own, run by memory.ts: resident memory belongs to a process.
 *
 * The modules are those of dist/, because only there the worker finds its shim.
 */
import { join } from 'node:path';
import type * as bindingModule from '../../src/native/binding.js';
import type { NewPeer } from '../../src/worker/data-plane.js';
import type * as handleModule from '../../src/worker/handle.js';
import type { DaemonMemory } from './memory.js';

const POOL_LEN = 256;

const [vnis, peers] = process.argv.slice(2).map(Number);
console.log(JSON.stringify(await configure()));

async function configure(): Promise<DaemonMemory> {
  const handle = await startHandle();
  await addVni(handle, 0);
  await handle.addPeers(0, [peerOf(0)]);
  const emptyBytes = residentBytes();
  const startedMs = performance.now();
  // The peers serve every VNI, as those of `--peer` do: one list.
  const list = Array.from({ length: peers }, (_, i) => peerOf(i));
  await handle.addPeers(0, list.slice(1));
  for (let vni = 1; vni < vnis; vni++) {
    await addVni(handle, vni);
    await handle.addPeers(vni, list);
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const fullBytes = residentBytes();
  const peakBytes = process.resourceUsage().maxRSS * 1024;
  await handle.stop();
  return { emptyBytes, fullBytes, peakBytes, seconds };
}

async function startHandle(): Promise<handleModule.Handle> {
  const dist = join(process.cwd(), 'dist');
  const { loadShim } = (await import(join(dist, 'native/binding.js'))) as typeof bindingModule;
  const { Handle } = (await import(join(dist, 'worker/handle.js'))) as typeof handleModule;
  const shim = loadShim();
  const wakeFd = shim.eventCreate();
  const handle = new Handle({
    engine: 'memory',
    underlay: { sendFds: new Array<number>(POOL_LEN).fill(-1) },
    offloads: new SharedArrayBuffer(0),
    strictHeader: false,
    outer: { df: 'set', tos: 'inherit', mssClamp: true },
    port: 4789,
    workers: [
      {
        waitFd: shim.waitCreate(),
        wakeFd,
        wake: () => void shim.eventFire(wakeFd),
        receiveFds: { ipv4: -1, ipv6: -1 },
      },
    ],
    seed: 1,
    log: (level, message, fields) => console.error(level, message, fields),
    peersChanged: () => {},
    probeReplied: () => {},
    addressText: () => '',
  });
  await handle.start();
  return handle;
}

async function addVni(handle: handleModule.Handle, vni: number): Promise<void> {
  await handle.addVni({
    vni,
    tap: `vtep${vni}`,
    bridge: '',
    mac: '02:00:00:00:00:01',
    macParts: { high: 0x0200, low: 1 },
    tapFds: [-1],
    policy: {
      learning: true,
      ageingS: 300,
      fdbLimit: 65_536,
      flood: true,
      accept: 'peers',
      vlan: 'pass',
      overlayMtu: 1450,
      packetMax: 0,
    },
  });
}

/** 10.1.0.0 and what follows. */
function peerOf(i: number): NewPeer {
  const bytes = new Uint8Array(16);
  bytes.set([10, 1, i >> 8, i & 0xff]);
  const text = `10.1.${i >> 8}.${i & 0xff}`;
  return {
    address: { family: 4, bytes, port: 4789, scopeId: 0, text },
    flood: true,
    name: '',
    pathMtu: 1500,
  };
}

function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}
