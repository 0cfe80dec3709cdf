/**
 * Classification of a sample of a data-plane thread by its stack, as `perf script` prints it:
 *
 *     ffffffffa1c4d0f7 rep_movs_alternative ([kernel.kallsyms])      the leaf, then its callers
 *     …
 *     ffffffffa1a0c4d1 __x64_sys_sendmmsg ([kernel.kallsyms])
 *
 * A sample in the kernel belongs to its system call. This includes network code that runs inside
 * the call, and interrupts that arrive during it. A sample in user space belongs to the owner of
 * the code.
 */

/** Parts in the order of the data path. System calls have their own names. */
export const PARTS = [
  'epoll_wait',
  'readv',
  'JavaScript',
  'Node',
  'shim',
  'sendmmsg',
  'recvmmsg',
  'writev',
  'rest',
] as const;
export type Part = (typeof PARTS)[number];

/** Work of a sample in the kernel: copying payload, delivery of packets to receivers, other. */
export type Kind = 'copy' | 'deliver' | 'own';

export interface Moment {
  part: Part;
  kind: Kind;
}

interface Frame {
  symbol: string;
  object: string;
}

const FRAME = /^\s*[0-9a-f]+ (.*?)(?:\+0x[0-9a-f]+)? \((.*)\)$/;
const SYSTEM_CALL =
  /^(?:_|GI_|x64_|arm64_|sys_|do_)*(epoll_p?wait|readv|sendmmsg|recvmmsg|writev|sched_yield)\b/;
const COPY =
  /^(?:rep_movs|_*copy_(?:to|from)_|_copy_(?:to|from)_iter|copy_user|_*memcpy|_*memmove|csum_and_copy|csum_partial_copy)/;
const DELIVERY = /^(?:__netif_receive_skb|netif_receive_skb|__?napi_poll|net_rx_action|napi_gro)/;

/**
 * @param lines stack of a sample, the leaf first: up to the entry of the kernel, or in user space
 *   only the leaf
 */
export function momentOf(lines: readonly string[]): Moment {
  const frames = lines.flatMap(frameOf);
  const [leaf] = frames;
  if (leaf === undefined) return { part: 'rest', kind: 'own' };
  if (!isKernel(leaf.object)) return { part: userPart(leaf), kind: 'own' };
  return { part: callOf(frames) ?? 'rest', kind: kindOf(frames) };
}

function frameOf(line: string): Frame[] {
  const match = FRAME.exec(line);
  return match ? [{ symbol: match[1], object: match[2] }] : [];
}

function isKernel(object: string): boolean {
  return object.startsWith('[') && object !== '[vdso]' && object !== '[unknown]';
}

function callOf(frames: readonly Frame[]): Part | undefined {
  for (const { symbol } of frames) {
    const name = SYSTEM_CALL.exec(symbol)?.[1];
    // sched_yield belongs to the wait, which busy-polls.
    if (name !== undefined)
      return name.startsWith('epoll') || name === 'sched_yield' ? 'epoll_wait' : (name as Part);
  }
  return undefined;
}

function kindOf(kernel: readonly Frame[]): Kind {
  if (COPY.test(kernel[0].symbol)) return 'copy';
  return kernel.some(({ symbol }) => DELIVERY.test(symbol)) ? 'deliver' : 'own';
}

function userPart(leaf: Frame): Part {
  const { symbol, object } = leaf;
  if (/\/perf-\d+\.map$/.test(object)) return 'JavaScript';
  if (/\.node$/.test(object)) return 'shim';
  if (object === '[vdso]') return 'epoll_wait'; // Only the wait reads the clock.
  const call = callOf([leaf]);
  if (call !== undefined) return call;
  // The C library copies for the shim.
  if (/\/libc[.-]/.test(object)) return 'shim';
  if (symbol.startsWith('Builtins_')) return /Api/.test(symbol) ? 'Node' : 'JavaScript';
  return /\/node$/.test(object) ? 'Node' : 'rest';
}
