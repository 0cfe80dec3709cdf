/**
 * Per-frame work without tables: VXLAN header written and validated, MAC addresses read, flow hash.
 */
import { networkOffset } from '../../src/wire/ethernet.js';
import { flowHash, flowSeed } from '../../src/wire/flow-hash.js';
import { macHigh, macLow } from '../../src/wire/mac.js';
import { hasReservedBits, hasVni, VXLAN_LEN, vni, writeVxlanHeader } from '../../src/wire/vxlan.js';
import type { Case } from './suite.js';
import { MAC_HIGH, makeFrames, VNI } from './world.js';

const FRAMES = 128;

export function headerCases(): Case[] {
  const arena = new Uint8Array(FRAMES * 2048);
  const { off, len } = makeFrames(arena, FRAMES, () => ({ high: MAC_HIGH, low: 1 }));
  return [
    {
      name: 'write the VXLAN header',
      ops: FRAMES,
      run() {
        for (let i = 0; i < FRAMES; i++) writeVxlanHeader(arena, off[i] - VXLAN_LEN, VNI + i);
        return arena[off[5] - 2];
      },
    },
    {
      name: 'check the VXLAN header and read the source MAC',
      ops: FRAMES,
      run() {
        let sum = 0;
        for (let i = 0; i < FRAMES; i++) {
          const at = off[i] - VXLAN_LEN;
          if (!hasVni(arena, at) || hasReservedBits(arena, at)) continue;
          sum = (sum + vni(arena, at) + macHigh(arena, off[i] + 6) + macLow(arena, off[i] + 6)) | 0;
        }
        return sum;
      },
    },
    {
      name: 'flow hash, IPv4 UDP',
      ops: FRAMES,
      run() {
        let sum = 0;
        for (let i = 0; i < FRAMES; i++) {
          const end = off[i] + len[i];
          sum = (sum + flowHash(arena, off[i], networkOffset(arena, off[i], end), end, flowSeed(1, i))) | 0;
        }
        return sum;
      },
    },
  ];
}
