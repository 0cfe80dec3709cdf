/**
 * Cases of the property tests of tenants: configurations of the data plane, and its input.
 *
 * The cases are plain values, which fast-check creates, prints and shrinks.
 */
import type { FrameSpec } from './frame.js';

export interface VniSpec {
  readonly vlan: 'pass' | 'strip' | 'drop';
  readonly accept: 'peers' | 'any';
  readonly flood: boolean;
  readonly packetMax: number;
}

export interface WorldSpec {
  readonly vnis: readonly VniSpec[];
  readonly pathMtus: readonly number[];
  readonly df: 'set' | 'unset' | 'inherit';
  readonly workers: number;
  /** Sends complete asynchronously, as with `node:dgram`. */
  readonly pending: boolean;
  readonly capture: { readonly point: 'overlay' | 'underlay'; readonly vniIdx: number } | null;
}

/**
 * Datagrams of one length from one source, as UDP_GRO delivers them; the last one may be shorter.
 */
export interface Train {
  readonly op: 'train';
  readonly source: number;
  readonly size: number;
  readonly count: number;
  readonly lastLen: number;
  /** Frames of the datagrams, repeated up to `count`. */
  readonly frames: readonly FrameSpec[];
  /** Flags byte of the VXLAN headers. */
  readonly flags: number;
}

export interface Single {
  readonly op: 'single';
  readonly source: number;
  readonly len: number;
  readonly segment: number;
  readonly frame: FrameSpec;
  /** Use an invalid source MAC: a group address. */
  readonly badSource: boolean;
}

/**
 * A frame read from a TAP. The columns of a superframe, which the kernel sets for a real TAP, may
 * be wrong here.
 */
export interface FromTap {
  readonly op: 'tap';
  readonly len: number;
  readonly frame: FrameSpec;
  readonly superframe: {
    readonly gsoType: number;
    readonly gsoSize: number;
    /** Added to the true offset of the transport header. */
    readonly csumStartBy: number;
    readonly csumOff: number;
    readonly needsCsum: boolean;
  } | null;
}

export type Op = Train | Single | FromTap;
