/**
 * What both sides of the shim take for granted of the maps and programs for TCP flows (native-shims/shim.h, flow.bpf.c).
 */

/** Places of the descriptors that the shim's `flowOpen` fills. */
export const FLOW_CONFIG = 0;
export const FLOW_TAPS = 1;
export const FLOW_VNIS = 2;
export const FLOW_ROWS = 3;
export const FLOW_COUNTS = 4;
export const FLOW_OUT = 5;
export const FLOW_IN = 6;
export const FLOW_ARRIVED = 7;
export const FLOW_FDS = 8;

/** Bytes that the shim takes as a key and as a value. */
export const FLOW_KEY_LEN = 12;
export const FLOW_VALUE_LEN = 32;
