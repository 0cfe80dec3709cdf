/**
 * What a case of the property tests consists of: how the data plane is configured, and what goes into it. Plain values, which
 * fast-check makes, prints and shrinks.
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
  /** Sends are answered later, as by `node:dgram`. */
  readonly pending: boolean;
  readonly capture: { readonly point: 'overlay' | 'underlay'; readonly vniIdx: number } | null;
}

/** Datagrams of one length from one source, as UDP_GRO hands them over: the last one may be shorter. */
export interface Train {
  readonly op: 'train';
  readonly source: number;
  readonly size: number;
  readonly count: number;
  readonly lastLen: number;
  /** Datagrams, again and again until there are enough. */
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
  /** A source MAC that no station has: of a group, or all zero. */
  readonly badSource: boolean;
}

/** A frame of a TAP, with the columns that the kernel gives to a superframe, true or not. */
export interface FromTap {
  readonly op: 'tap';
  readonly len: number;
  readonly frame: FrameSpec;
  readonly superframe: {
    readonly gsoType: number;
    readonly gsoSize: number;
    /** Added to where the transport header is. */
    readonly csumStartBy: number;
    readonly csumOff: number;
    readonly needsCsum: boolean;
  } | null;
}

export type Op = Train | Single | FromTap;
