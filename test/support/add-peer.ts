/** Helper that adds a single peer to a handle. */
import type { Handle } from '../../src/controller/handle.js';
import type { NewPeer, PeerState } from '../../src/exchange/data-plane.js';

/**
 * Adds one peer.
 *
 * @returns the state of the added peer
 */
export async function addPeer(handle: Handle, vni: number, peer: NewPeer): Promise<PeerState> {
  await handle.addPeers(vni, [peer]);
  return handle.peers(vni).find(({ address }) => address.text === peer.address.text)!;
}
