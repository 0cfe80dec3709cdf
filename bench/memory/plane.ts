/**
 * A data plane without a kernel: the built handle and its worker, with memory ports.
 *
 * The modules are loaded from dist/, because the worker finds its shim only from there.
 */
import { join } from 'node:path';
import type * as bindingModule from '../../src/abi/binding.js';
import type * as handleModule from '../../src/controller/handle.js';
import type { NewPeer } from '../../src/exchange/data-plane.js';
import type * as waitSetModule from '../../src/switch/wait-set.js';

const POOL_LEN = 256;

/** @param isReady true if the wait of the worker always returns at once: rounds without pause */
export async function startHandle({ isReady = false } = {}): Promise<handleModule.Handle> {
  const dist = join(process.cwd(), 'dist');
  const { loadShim } = (await import(join(dist, 'abi/binding.js'))) as typeof bindingModule;
  const { Handle } = (await import(join(dist, 'controller/handle.js'))) as typeof handleModule;
  const shim = loadShim();
  const wakeFd = shim.eventCreate();
  const waitFd = shim.waitCreate();
  const handle = new Handle({
    thread: new URL('./thread.js', import.meta.url),
    engine: 'batch',
    underlay: { sendFds: new Array<number>(POOL_LEN).fill(-1) },
    offloads: new SharedArrayBuffer(0),
    strictHeader: false,
    outer: { df: 'set', tos: 'inherit', mssClamp: true, flowSecret: 0x5ec },
    port: 4789,
    workers: [
      {
        waitFd,
        wakeFd,
        wake: () => void shim.eventFire(wakeFd),
        receiveFds: { ipv4: [], ipv6: [] },
      },
    ],
    seed: 1,
    log: (level, message, fields) => console.error(level, message, fields),
    peersChanged: () => {},
    probeReplied: () => {},
    addressText: () => '',
  });
  await handle.start();
  if (isReady) {
    const { WaitSet } = (await import(join(dist, 'switch/wait-set.js'))) as typeof waitSetModule;
    const readyFd = shim.eventCreate();
    shim.eventFire(readyFd);
    const wait = new WaitSet(shim, waitFd);
    wait.addReceiver(readyFd);
    wait.open();
  }
  await handle.configured([{ fromPeers: 0, fromStrangers: 0 }]);
  return handle;
}

export async function addVni(handle: handleModule.Handle, vni: number): Promise<void> {
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

/** Peer number i: 10.1.0.0 + i. */
export function peerOf(i: number): NewPeer {
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

export function residentBytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss;
}
