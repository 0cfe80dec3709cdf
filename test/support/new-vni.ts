/** VNIs and peers as a handle accepts them, for tests of a data plane without TAPs. */

import type { NewVni } from '../../src/controller/handle.js';
import type { NewPeer } from '../../src/exchange/data-plane.js';
import { POLICY, packAddress, TAP_MAC } from './memory-plane.js';

/** A VNI for at most two workers, without TAPs. */
export function newVni(vni: number): NewVni {
  return {
    vni,
    tap: `vtep${vni}`,
    bridge: '',
    mac: '02:aa:00:00:00:01',
    macParts: TAP_MAC,
    tapFds: [-1, -1],
    policy: POLICY,
  };
}

/** @param name name by which the peer is configured; '' for none */
export function newPeer(text: string, name = ''): NewPeer {
  return { address: { ...packAddress(text, 4789), text }, flood: true, name, pathMtu: 1500 };
}
