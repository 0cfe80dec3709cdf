/** Peers of a handle, one at a time. */
import type { Handle } from '../../src/controller/handle.js';
import type { NewPeer, PeerState } from '../../src/exchange/data-plane.js';

/** Adds one peer. @returns its state */
export async function addPeer(handle: Handle, vni: number, peer: NewPeer): Promise<PeerState> {
  await handle.addPeers(vni, [peer]);
  return handle.peers(vni).find(({ address }) => address.text === peer.address.text)!;
}
