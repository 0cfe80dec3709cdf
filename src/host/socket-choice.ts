/**
 * The program that chooses a receiving socket for each datagram: classic BPF on a SO_REUSEPORT group
 * (SO_ATTACH_REUSEPORT_CBPF, socket(7)). Source address → place of a socket, by a balanced binary search.
 *
 *     worker   hash of source address and ports, modulo workers: a flow stays with one thread
 *     key      IPv4: the source address · IPv6: a keyed hash of it
 *     tree     key → place among the sockets of a worker; a key that is not in it → the place for all others
 *     answer   worker × sockets of a worker + place
 *
 * The hash is NH of UMAC (RFC 4418 §5.2.2) over halves of 16 bits: two addresses have one key with a probability of 2^-16 at most, and who does
 * not know the key words cannot look for such a pair. It makes a stranger wait in a peer's queue, no more: every datagram is
 * judged again once it was read.
 * Pure: bytes out of numbers. Called by `receive-group.ts`.
 */

/** Instructions of a program at most (BPF_MAXINSNS). */
const MAX_INSTRUCTIONS = 4096;
const INSTRUCTION_LEN = 8;

/** Loads relative to the network header, whatever stands before it (SKF_NET_OFF of linux/filter.h). */
const NETWORK = -0x100000;
const SOURCE = { 4: 12, 6: 8 } as const;
/** Source and destination port of a UDP header without IP options or extension headers in front. */
const PORTS = { 4: 20, 6: 40 } as const;

/** Opcodes of linux/bpf_common.h. */
const LD_ABS = 0x20;
const LDH_ABS = 0x28;
const LD_IMM = 0x00;
const LDX_MEM = 0x61;
const STX = 0x03;
const ADD_X = 0x0c;
const ADD = 0x04;
const MUL_X = 0x2c;
const AND = 0x54;
const ST = 0x02;
const MUL = 0x24;
const MOD = 0x94;
const RSH = 0x74;
const XOR_X = 0xac;
const JA = 0x05;
const JEQ = 0x15;
const JGE = 0x35;
const RET_K = 0x06;
const RET_A = 0x16;
const TAX = 0x07;

/** Halves of an IPv6 address: words of the hash's key. */
export const SEED_WORDS = 8;
/** Scratch cells of a program: the worker's first place, the sum so far. */
const WORKER_CELL = 0;
const SUM_CELL = 1;
/** Entries of a leaf that are compared one after the other. */
const LEAF_ENTRIES = 4;
/** Farthest that a conditional jump reaches. */
const NEAR = 255;
/** Knuth's multiplier (2^32 / φ): spreads neighbouring addresses and ports over the upper half of a word. */
const SPREAD = 0x9e3779b1;

type Instruction = readonly [code: number, jt: number, jf: number, k: number];

/** A source and the place of its socket among those of a worker. */
export interface Placed {
  /** Unsigned word: `sourceKey`. */
  readonly key: number;
  readonly place: number;
}

export interface Choice {
  readonly family: 4 | 6;
  readonly workers: number;
  /** Sockets of a worker. */
  readonly sockets: number;
  /** Place for sources that are not among `sources`. */
  readonly others: number;
  readonly sources: readonly Placed[];
  /** SEED_WORDS secret words of 16 bits for IPv6 keys. */
  readonly seed: readonly number[];
}

/** @param bytes of an address, IPv4 in the first four @returns an unsigned word */
export function sourceKey(family: 4 | 6, bytes: Uint8Array, seed: readonly number[]): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (family === 4) return view.getUint32(0);
  const half = (i: number) => (view.getUint16(i * 2) + seed[i]) & 0xffff;
  let key = 0;
  for (let i = 0; i < SEED_WORDS; i += 2) key += Math.imul(half(i), half(i + 1));
  return key >>> 0;
}

/** @returns the program, 8 bytes an instruction; undefined: more sources than one program holds */
export function choiceProgram(choice: Choice): Uint8Array | undefined {
  const program = [...workerPart(choice), ...keyPart(choice), ...tree(choice, sorted(choice.sources))];
  return program.length > MAX_INSTRUCTIONS ? undefined : assemble(program);
}

/** Leaves the worker's first place in X. A single worker has none. */
function workerPart({ family, workers, sockets }: Choice): Instruction[] {
  if (workers === 1) return [];
  return [
    load(SOURCE[family] + (family === 4 ? 0 : 12)),
    [TAX, 0, 0, 0],
    load(PORTS[family]),
    [XOR_X, 0, 0, 0],
    [MUL, 0, 0, SPREAD],
    [RSH, 0, 0, 16],
    [MOD, 0, 0, workers],
    [MUL, 0, 0, sockets],
    [TAX, 0, 0, 0],
  ];
}

/** Leaves the key in A, and X as it is. */
function keyPart({ family, workers, seed }: Choice): Instruction[] {
  if (family === 4) return [load(SOURCE[4])];
  const half = (i: number): Instruction[] => [
    [LDH_ABS, 0, 0, NETWORK + SOURCE[6] + 2 * i],
    [ADD, 0, 0, seed[i]],
    [AND, 0, 0, 0xffff],
  ];
  const product = (i: number): Instruction[] => [
    ...half(i),
    [TAX, 0, 0, 0],
    ...half(i + 1),
    [MUL_X, 0, 0, 0],
  ];
  const sum: Instruction[] = product(0);
  for (let i = 2; i < SEED_WORDS; i += 2)
    sum.push([ST, 0, 0, SUM_CELL], ...product(i), [LDX_MEM, 0, 0, SUM_CELL], [ADD_X, 0, 0, 0]);
  return workers === 1 ? sum : [[STX, 0, 0, WORKER_CELL], ...sum, [LDX_MEM, 0, 0, WORKER_CELL]];
}

function tree(choice: Choice, sources: readonly Placed[]): Instruction[] {
  if (sources.length <= LEAF_ENTRIES) return leaf(choice, sources);
  const middle = sources.length >> 1;
  const below = tree(choice, sources.slice(0, middle));
  const above = tree(choice, sources.slice(middle));
  const { key } = sources[middle];
  // Every branch ends with an answer, so nothing falls through from `below`.
  if (below.length <= NEAR) return [[JGE, below.length, 0, key], ...below, ...above];
  return [[JGE, 0, 1, key], [JA, 0, 0, below.length], ...below, ...above];
}

function leaf(choice: Choice, sources: readonly Placed[]): Instruction[] {
  const compared = sources.flatMap(({ key, place }): Instruction[] => {
    const found = answer(choice, place);
    return [[JEQ, 0, found.length, key], ...found];
  });
  return [...compared, ...answer(choice, choice.others)];
}

function answer({ workers }: Choice, place: number): Instruction[] {
  if (workers === 1) return [[RET_K, 0, 0, place]];
  return [
    [LD_IMM, 0, 0, place],
    [ADD_X, 0, 0, 0],
    [RET_A, 0, 0, 0],
  ];
}

function load(offset: number): Instruction {
  return [LD_ABS, 0, 0, NETWORK + offset];
}

/** In the order of keys, each once: the first place given holds. */
function sorted(sources: readonly Placed[]): Placed[] {
  const places = new Map<number, Placed>();
  for (const source of sources) if (!places.has(source.key)) places.set(source.key, source);
  return [...places.values()].sort((a, b) => a.key - b.key);
}

/** `struct sock_filter` in this machine's byte order: code (16 bits), jt, jf (8), k (32). */
function assemble(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * INSTRUCTION_LEN);
  const halves = new Uint16Array(bytes.buffer);
  const words = new Uint32Array(bytes.buffer);
  for (const [i, [code, jt, jf, k]] of program.entries()) {
    halves[i * 4] = code;
    bytes[i * INSTRUCTION_LEN + 2] = jt;
    bytes[i * INSTRUCTION_LEN + 3] = jf;
    words[i * 2 + 1] = k >>> 0;
  }
  return bytes;
}
