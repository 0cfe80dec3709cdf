/**
 * Does it cost something to keep `wire` in modules of its own? One loop over 128 frames, three times: with
 * accessors that stand in this file, with the same imported by name, and through a namespace.
 */

import * as mac from '../../src/wire/mac.js';
import { macHigh, macLow } from '../../src/wire/mac.js';
import * as vxlan from '../../src/wire/vxlan.js';
import { vni } from '../../src/wire/vxlan.js';
import type { Case } from './suite.js';
import { MAC_HIGH, makeFrames } from './world.js';

const FRAMES = 128;

function localMacHigh(b: Uint8Array, off: number): number {
  return (b[off] << 8) | b[off + 1];
}

function localMacLow(b: Uint8Array, off: number): number {
  return (b[off + 2] << 24) | (b[off + 3] << 16) | (b[off + 4] << 8) | b[off + 5];
}

function localVni(b: Uint8Array, off: number): number {
  return (b[off + 4] << 16) | (b[off + 5] << 8) | b[off + 6];
}

export function importCases(): Case[] {
  const b = new Uint8Array(FRAMES * 2048);
  const { off } = makeFrames(b, FRAMES, () => ({ high: MAC_HIGH, low: 1 }));
  return [
    {
      name: 'local',
      ops: FRAMES,
      run() {
        let sum = 0;
        for (let i = 0; i < FRAMES; i++) {
          const at = off[i];
          sum = (sum + localVni(b, at - 8) + localMacHigh(b, at) + localMacLow(b, at)) | 0;
        }
        return sum;
      },
    },
    {
      name: 'imported by name',
      ops: FRAMES,
      run() {
        let sum = 0;
        for (let i = 0; i < FRAMES; i++) {
          const at = off[i];
          sum = (sum + vni(b, at - 8) + macHigh(b, at) + macLow(b, at)) | 0;
        }
        return sum;
      },
    },
    {
      name: 'imported as a namespace',
      ops: FRAMES,
      run() {
        let sum = 0;
        for (let i = 0; i < FRAMES; i++) {
          const at = off[i];
          sum = (sum + vxlan.vni(b, at - 8) + mac.macHigh(b, at) + mac.macLow(b, at)) | 0;
        }
        return sum;
      },
    },
  ];
}
