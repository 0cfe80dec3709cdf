/**
 * Layout shared with the shim's maps and programs for TCP flows (native-shims/shim.h, flow.bpf.c).
 */

/** Indices of the descriptors that the shim's `flowOpen` fills. */
export const FLOW_CONFIG = 0;
export const FLOW_TAPS = 1;
export const FLOW_VNIS = 2;
export const FLOW_ROWS = 3;
export const FLOW_COUNTS = 4;
export const FLOW_OUT = 5;
export const FLOW_IN = 6;
export const FLOW_ARRIVED = 7;
export const FLOW_FDS = 8;

/** Bytes of a key and of a value, as passed to the shim. */
export const FLOW_KEY_LEN = 12;
export const FLOW_VALUE_LEN = 32;
