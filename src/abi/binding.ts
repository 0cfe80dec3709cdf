/**
 * Typed binding of the native shim.
 *
 * The signatures are those that `native-shims/module.c` exports. Every function returns a count, 0
 * or a negative errno. Only `waitFor` blocks. Memory, threads and units: native-shims/README.md.
 *
 * An invalid call argument (a view too short, an index outside the batch, a region outside the
 * arena) is a bug and throws a RangeError. An invalid descriptor gets -EFAULT or -EINVAL in its
 * `status` column.
 */
import { createRequire } from 'node:module';
import { checkLayout } from './layout.js';

export interface Shim {
  /**
   * ABI version, sizes and offsets of the shared structures by name: `sizeof.batch`,
   * `offsetof.batch.len`.
   */
  readonly layout: Readonly<Record<string, number>>;

  /**
   * Opens a TAP device with vnet header, non-blocking. Creates the device if it does not exist.
   *
   * @param multiQueue create a device with several queues; each further call opens another queue
   * @returns fd
   */
  tapOpen(name: string, multiQueue: boolean): number;
  /**
   * Keeps each flow on one queue of a multi-queue device (TUNSETSTEERINGEBPF).
   *
   * @returns 0; -EPERM without CAP_BPF; -EINVAL before Linux 4.16. After an error the kernel
   *   chooses the queue and may change it within a flow.
   */
  tapSteer(fd: number): number;
  /**
   * Detaches the steering program, for a device that remains when the daemon ends. The kernel
   * chooses the queue again.
   */
  tapUnsteer(fd: number): number;
  /** TUNSETOFFLOAD with TUN_F_* bits; -EINVAL when the kernel lacks one of them. */
  tapSetOffload(fd: number, bits: number): number;
  /**
   * Appends frames to the batch, beginning at descriptor `start`.
   *
   * Each frame lies within [regionOff, regionEnd) of the arena, aligned for 32-bit MAC reads, with
   * `headroom` free bytes in front. The headroom begins at a multiple of 64 bytes. The call stops
   * when no frame waits, the batch is full or no slot of `slotLen` bytes is left. Frames shorter
   * than 14 or longer than `slotLen` bytes are discarded. Checksums are completed, except for
   * superframes: their segments get checksums when they are sent.
   *
   * @returns number of frames appended, or a negative errno if no frame was appended
   */
  tapReadBatch(
    fd: number,
    arena: Uint8Array,
    batch: Uint8Array,
    start: number,
    vniIdx: number,
    regionOff: number,
    regionEnd: number,
    headroom: number,
    slotLen: number,
  ): number;
  /**
   * Writes the entries with verdict 0, each to fds[vniIdx], in order.
   *
   * Adjacent segments of one flow with valid checksums are written as one superframe. If the kernel
   * refuses a superframe, its segments are written one by one.
   *
   * @param merge bit mask: 1 TCP, 2 UDP (Linux 6.2)
   * @param result bits of `merge` are set, never cleared. [0]: the kernel accepted superframes of
   *   that kind. [1]: the kernel refused some superframes (EINVAL) although it accepted their
   *   segments. Only superframes merged by this call count, not those received from a peer.
   * @returns entries whose status is not 0
   */
  tapWriteBatch(
    fds: Int32Array,
    arena: Uint8Array,
    batch: Uint8Array,
    count: number,
    merge: number,
    result: Int32Array,
  ): number;

  /**
   * Opens and binds a UDP socket: non-blocking, close-on-exec, V6ONLY.
   *
   * @param local packed row (struct peer_row) to bind; an all-zero address means any
   * @param device device to bind to; '' none
   * @param options bit mask. 1: receive with UDP_GRO, TOS, and zero checksums accepted; 2:
   *   IP_RECVERR (sending pool); 4: DF set (PMTUDISC_PROBE), else DF clear (PMTUDISC_DONT); 8: send
   *   without UDP checksum; 16: receive without UDP_GRO; 32: bind exclusively, then allow other
   *   sockets to join; 64: join the port (SO_REUSEPORT); 128: fail without UDP_SEGMENT
   * @param receiveLen receive buffer in bytes (forced beyond the sysctl limit where permitted)
   * @param sendLen send buffer in bytes, likewise
   * @param ttl TTL or hop limit; 0: system default
   * @returns fd; -ENOPROTOOPT without UDP_GRO (before Linux 5.0) or UDP_SEGMENT (before 4.18)
   */
  udpOpen(
    local: Uint8Array,
    device: string,
    options: number,
    receiveLen: number,
    sendLen: number,
    ttl: number,
  ): number;
  /**
   * Turns UDP_GRO on or off: with UDP_GRO trains are received whole, without it the kernel splits
   * them. -ENOPROTOOPT before Linux 5.0.
   */
  udpSetGro(fd: number, on: boolean): number;
  /**
   * Attaches a program that selects the receiving socket within the SO_REUSEPORT group of `fd`
   * (SO_ATTACH_REUSEPORT_CBPF). Requires no capability.
   *
   * @param program classic BPF, 8 bytes per instruction, at most 4,096 instructions; it returns the
   *   index of a socket in bind order
   */
  udpSelect(fd: number, program: Uint8Array): number;
  /**
   * Frames the kernel dropped on transmit since the device was created; on a TAP, because its queue
   * was full.
   */
  deviceTxDropped(device: string): number;
  /**
   * Driver name of a network device (ethtool): veth, virtio_net …
   *
   * @param driver buffer of 32 bytes
   * @returns length of the name in bytes
   */
  deviceDriver(device: string, driver: Uint8Array): number;
  /**
   * Receives up to `slots` datagrams (recvmmsg) into slots of `slotStride` bytes at the arena's
   * start. Sets off, len, tos, gsoSize, segCount = 1 and the records in `sources`, beginning at
   * index 0.
   *
   * @returns datagrams, 0 when none waits, or a negative errno
   */
  udpReceiveBatch(
    fd: number,
    arena: Uint8Array,
    batch: Uint8Array,
    sources: Uint8Array,
    slots: number,
    slotStride: number,
  ): number;
  /**
   * Sends the entries with verdict 0, each a VXLAN header and its frame.
   *
   * Entry i goes to peers[peerIdx] through fds[pool * SOURCE_SOCKETS + srcPortIdx]. The pool is 0
   * for IPv4 and 1 for IPv6, plus 2 when `df` is not 0. `tos` is the outer TOS. Entries with the
   * same `srcPortIdx` are grouped; their order is kept.
   *
   * Adjacent entries for one socket share a sendmmsg. Adjacent entries of one size and outer header
   * for one peer form a UDP_SEGMENT train of at most `trainMax` datagrams (1: no trains). Entries
   * with `df` 2 exceed the path MTU and stay out of trains, so that the kernel can fragment them.
   *
   * On an error at entry i the call empties that socket's error queue into `errors` (struct
   * path_errors), retries i once, then sets status[i] and continues. The datagrams of a train that
   * is refused as a train are sent one by one. An entry with a gsoType is a superframe and is sent
   * as its segments; csumStart is the offset of its TCP or UDP header from `off`. status[i] holds
   * the error of the first segment that failed.
   *
   * @param refused set when the kernel refused a train although it accepted datagrams of it: [0]
   *   -EIO, or an -EINVAL that the size of the train cannot have caused; [1] the peer's row.
   *   Otherwise unchanged
   * @param tunnel outer TAP for superframes sent whole (struct tunnel); `fd` −1: none. The call
   *   updates its `id` and `error`
   * @returns entries whose status is not 0
   */
  udpSendBatch(
    fds: Int32Array,
    peers: Uint8Array,
    arena: Uint8Array,
    batch: Uint8Array,
    count: number,
    trainMax: number,
    refused: Int32Array,
    tunnel: Uint8Array,
    errors: Uint8Array,
  ): number;
  /**
   * Empties the socket's error queue. Errors of datagrams that were too large are added to `errors`
   * (struct path_errors), one record per path, until `errors` is full.
   *
   * @returns messages read
   */
  udpReadErrors(fd: number, errors: Uint8Array): number;
  /** Total drops of the socket (SO_MEMINFO). */
  udpDrops(fd: number): number;
  /** Local port of a bound socket. */
  udpPort(fd: number): number;

  /**
   * Opens a TAP that accepts tunnelled superframes (TUN_F_UDP_TUNNEL_GSO).
   *
   * @returns fd; -EINVAL before Linux 6.17
   */
  tunnelOpen(name: string): number;
  /**
   * Redirects packets written to the outer TAP to the device given by the routing table. IPv4
   * forwarding must be enabled on the TAP.
   *
   * @returns fd that keeps the program attached until closed; -EINVAL before Linux 6.6, -EPERM
   *   without CAP_BPF
   */
  tunnelAttach(ifindex: number): number;
  /**
   * Segmentation of tunnelled superframes by a device.
   *
   * @returns bit mask: 1 supported, 2 supported with outer UDP checksums
   */
  tunnelSegmentation(device: string): number;
  /**
   * Creates the maps and programs for flows forwarded by the kernel (native-shims/flow.bpf.c).
   * Attaches nothing.
   *
   * @param fds filled in the order of abi/flow-layout.ts
   * @returns 0; -EPERM without CAP_BPF and CAP_NET_ADMIN
   */
  flowOpen(fds: Int32Array): number;
  /**
   * Attaches a program to a device.
   *
   * @param egress true for frames that leave the device, false for frames that arrive
   * @returns fd that keeps the program attached
   */
  flowAttach(program: number, ifindex: number, egress: boolean): number;
  /**
   * Creates a network namespace without processes.
   *
   * @returns fd that keeps the namespace alive; -EPERM without CAP_SYS_ADMIN
   */
  flowNamespace(): number;
  /**
   * Creates or replaces an entry.
   *
   * @param key 12 bytes, of which the map reads its key size
   * @param value 32 bytes, of which the map reads its value size
   * @returns 0; -E2BIG: map full
   */
  flowPut(map: number, key: Uint8Array, value: Uint8Array): number;
  /**
   * Reads an entry into `value`.
   *
   * @returns 0; -ENOENT: no such entry
   */
  flowGet(map: number, key: Uint8Array, value: Uint8Array): number;
  flowDelete(map: number, key: Uint8Array): number;
  /**
   * Deletes all entries of a hash map.
   *
   * @returns number of deleted entries
   */
  flowClear(map: number): number;
  /**
   * Opens a netlink socket for changes of devices, addresses, routes and rules.
   *
   * @returns fd that becomes readable on a change
   */
  networkWatch(): number;
  /**
   * Opens a netlink socket for changes of IPsec policies.
   *
   * @returns fd that becomes readable on a change; -EPROTONOSUPPORT without IPsec
   */
  policyWatch(): number;
  /** Number of IPsec policies in this network namespace. */
  policyCount(): number;
  /** Discards the pending messages of an fd of `networkWatch` or `policyWatch`. */
  watchClear(fd: number): number;

  /**
   * Requests a scheduler time slice of this length for the calling thread (Linux 6.12). The
   * thread's share of the CPU does not change.
   */
  threadSetSlice(us: number): number;

  /**
   * Sends a message to the service manager (sd_notify(3)). Does not block: -EAGAIN when the
   * manager's queue is full.
   *
   * @param path NOTIFY_SOCKET: a path, or '@' and an abstract name
   * @param message lines of `NAME=value`, below 2 KB
   */
  notifySend(path: string, message: string): number;

  /** epoll_create1. @returns fd */
  waitCreate(): number;
  /**
   * Adds fd. With `readable` it is reported when readable or in error, otherwise only when in
   * error.
   */
  waitAdd(waitFd: number, fd: number, token: number, readable: boolean): number;
  waitRemove(waitFd: number, fd: number): number;
  /**
   * Waits at most timeoutMs and fills `result` (struct wait_result).
   *
   * @param spinUs busy-poll time before sleeping, µs, with sched_yield between polls; 0 … 1000
   * @returns number of tokens
   */
  waitFor(waitFd: number, timeoutMs: number, spinUs: number, result: Uint8Array): number;
  /**
   * Creates a non-blocking eventfd.
   *
   * @returns fd
   */
  eventCreate(): number;
  eventFire(fd: number): number;
  eventClear(fd: number): number;
  /**
   * Locks an open file (flock) until it is closed or the process ends. -EAGAIN: another process
   * holds the lock.
   */
  fileLock(fd: number): number;
  /**
   * Calls back from this thread's event loop whenever fd is readable or in error (uv_poll). The
   * watcher keeps the loop alive. An exception in the callback is an uncaught exception.
   *
   * @returns a handle
   * @throws Error ERR_POLL when fd cannot be watched or is watched already
   */
  pollStart(fd: number, onReadable: () => void): object;
  /** Stops the callbacks; idempotent. Call it before closing fd. */
  pollStop(handle: object): void;
  /**
   * Duplicates a descriptor, close-on-exec.
   *
   * @returns fd
   */
  dup(fd: number): number;
  close(fd: number): number;
}

/** Valid from src/abi and from dist/abi. */
const SHIM_PATH = '../../native-shims/build/Release/vtepd_shim.node';

let loaded: Shim | undefined;

/**
 * Loads the shim once per thread and checks its layout.
 *
 * @throws Error naming the cause and the remedy
 */
export function loadShim(): Shim {
  if (loaded) return loaded;
  const shim = requireShim();
  checkLayout(shim);
  loaded = shim;
  return loaded;
}

function requireShim(): Shim {
  try {
    return createRequire(import.meta.url)(SHIM_PATH) as Shim;
  } catch (error) {
    const [cause] = (error as Error).message.split('\n');
    throw new Error(`cannot load the native shim (${cause}): run "npm run build"`, { cause: error });
  }
}
