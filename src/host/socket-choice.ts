/**
 * Assembles the BPF program that chooses a receive socket for each datagram.
 *
 * The program is classic BPF on a SO_REUSEPORT group (SO_ATTACH_REUSEPORT_CBPF, socket(7)). It maps
 * the source address to the place of a socket by a balanced binary search.
 *
 *     worker   hash of source address and ports, modulo workers: a flow stays with one thread
 *     key      IPv4: the source address · IPv6: a keyed hash of it
 *     tree     key → place among the sockets of a worker; unknown key → the place for others
 *     result   worker × sockets of a worker + place
 *
 * The hash is NH of UMAC (RFC 4418 §5.2.2) over 16-bit halves. Two addresses share a key with a
 * probability of at most 2^-16, and an attacker who does not know the secret words of the hash
 * cannot search for such a pair. A collision only puts a stranger's datagrams into a peer's queue,
 * because the source of each datagram is checked again after reading.
 *
 * Pure function. Called by `receive-group.ts`.
 */

/** Maximum number of instructions of a program (BPF_MAXINSNS). */
const MAX_INSTRUCTIONS = 4096;
const INSTRUCTION_LEN = 8;

/** Offset for loads relative to the network header (SKF_NET_OFF of linux/filter.h). */
const NETWORK = -0x100000;
/** Offset of the source address in the IP header. */
const SOURCE = { 4: 12, 6: 8 } as const;
/** Offset of the UDP ports, after an IP header without options or extension headers. */
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

/** Number of 16-bit words of an IPv6 address, and of the hash's key. */
export const SEED_WORDS = 8;
/** Scratch cell with the first place of the worker. */
const WORKER_CELL = 0;
/** Scratch cell with the partial sum of the hash. */
const SUM_CELL = 1;
/** Maximum number of entries of a leaf, which are compared sequentially. */
const LEAF_ENTRIES = 4;
/** Longest conditional jump, instructions. */
const NEAR = 255;
/**
 * Knuth's multiplier (2^32 / φ): spreads adjacent addresses and ports over the upper half of a
 * word.
 */
const SPREAD = 0x9e3779b1;

type Instruction = readonly [code: number, jt: number, jf: number, k: number];

/** A source and the place of its socket among those of a worker. */
export interface Placed {
  /** Unsigned 32-bit result of `sourceKey`. */
  readonly key: number;
  readonly place: number;
}

export interface Choice {
  readonly family: 4 | 6;
  readonly workers: number;
  /** Number of sockets per worker. */
  readonly sockets: number;
  /** Place for sources that are not among `sources`. */
  readonly others: number;
  readonly sources: readonly Placed[];
  /** SEED_WORDS secret 16-bit words for IPv6 keys. */
  readonly seed: readonly number[];
}

/**
 * @param bytes address, IPv4 in the first four bytes
 * @returns unsigned 32-bit key
 */
export function sourceKey(family: 4 | 6, bytes: Uint8Array, seed: readonly number[]): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (family === 4) return view.getUint32(0);
  const half = (i: number) => (view.getUint16(i * 2) + seed[i]) & 0xffff;
  let key = 0;
  for (let i = 0; i < SEED_WORDS; i += 2) key += Math.imul(half(i), half(i + 1));
  return key >>> 0;
}

/** @returns the program, 8 bytes per instruction; undefined when it exceeds MAX_INSTRUCTIONS */
export function choiceProgram(choice: Choice): Uint8Array | undefined {
  const program = [...workerPart(choice), ...keyPart(choice), ...tree(choice, sorted(choice.sources))];
  return program.length > MAX_INSTRUCTIONS ? undefined : assemble(program);
}

/**
 * Returns instructions that leave the first place of the worker in register X; no instructions for
 * a single worker.
 */
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

/** Returns instructions that leave the key in register A and, with several workers, preserve X. */
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
  // Every branch ends with a return, so execution never falls through from `below`.
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

/** Sorts by key and removes duplicates; the first place of a key wins. */
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
