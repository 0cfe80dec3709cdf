/**
 * The one door to the shim: typed signatures of what `native-shims/module.c` exports. Every function answers
 * a count or 0, or a negative errno; none blocks but `waitFor`. Memory, threads and units: native-shims/README.md.
 *
 * Arguments that are wrong as a whole (a view too short, an index outside the batch, a region outside the
 * arena) are bugs and throw a RangeError; a descriptor that is wrong gets -EFAULT or -EINVAL in its status.
 */
import { createRequire } from 'node:module';
import { checkLayout } from './layout.js';

export interface Shim {
  /** ABI version, sizes and offsets of the shared structures by name: `sizeof.batch`, `offsetof.batch.len`. */
  readonly layout: Readonly<Record<string, number>>;

  /**
   * Opens (creates or adopts) a TAP device with vnet header, non-blocking.
   * @param multiQueue one queue of several: each further call opens another @returns fd
   */
  tapOpen(name: string, multiQueue: boolean): number;
  /**
   * Keeps each flow on one queue of a device with several (TUNSETSTEERINGEBPF). -EPERM without CAP_BPF, -EINVAL
   * before Linux 4.16: then the kernel chooses, and may change the queue within a flow.
   */
  tapSteer(fd: number): number;
  /** Leaves the choice to the kernel again, for a device that stays when the daemon ends. */
  tapUnsteer(fd: number): number;
  /** TUNSETOFFLOAD with TUN_F_* bits; -EINVAL when the kernel lacks one. */
  tapSetOffload(fd: number, bits: number): number;
  /**
   * Appends frames to the batch from descriptor `start` on, each aligned for 32-bit MAC reads with
   * `headroom` free bytes in front, within [regionOff, regionEnd) of the arena. Stops when nothing
   * waits, the batch is full or no slot of `slotLen` bytes is left. The headroom begins at a
   * multiple of 64 bytes. Frames below 14 or above `slotLen` bytes are left out. Checksums are
   * finished but for superframes, whose segments get theirs when they are sent.
   * @returns frames appended, or a negative errno if none were
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
   * Writes entries with verdict 0, each to fds[vniIdx], in order. Neighbours that are segments of one flow, with
   * checksums that are right, are written as one superframe. A superframe that is refused goes segment by segment.
   * @param merge or-ed: 1 TCP, 2 UDP (Linux 6.2)
   * @param result bits of `merge` are set, never cleared: [0] superframes of that kind were taken; [1] were refused
   *   (EINVAL), although segments of theirs were taken. Of superframes that were made here, not by a peer
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
   * Opens and binds a UDP socket, non-blocking, close-on-exec, V6ONLY. ttl 0: the system's.
   * @param local packed row (struct peer_row) to bind; an address of zeros means any
   * @param device bind to this device; '' none
   * @param options receive: 1 UDP_GRO + TOS + zero checksum accepted; 2: IP_RECVERR (sending pool);
   *   4: DF set (PMTUDISC_PROBE), else DF clear (PMTUDISC_DONT); 8: send without UDP checksum; 16: without UDP_GRO;
   *   32: bound as the only one, then open to those that join; 64: join (SO_REUSEPORT); 128: must know UDP_SEGMENT
   * @param receiveLen, sendLen socket buffers in bytes (forced beyond the sysctl limit where permitted)
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
  /** Receives trains whole (UDP_GRO), or has the kernel cut them up. -ENOPROTOOPT before Linux 5.0. */
  udpSetGro(fd: number, on: boolean): number;
  /**
   * Has a program choose which socket of the SO_REUSEPORT group of `fd` gets a datagram (SO_ATTACH_REUSEPORT_CBPF). Takes no
   * capability. @param program classic BPF, 8 bytes an instruction, at most 4,096: it answers a socket's place in the order of binding
   */
  udpSelect(fd: number, program: Uint8Array): number;
  /** Frames for a device that the kernel dropped since its birth: of a TAP, those that found its queue full. */
  deviceTxDropped(device: string): number;
  /** Driver of a network device by ethtool: veth, virtio_net … @param driver takes 32 bytes @returns bytes of the name */
  deviceDriver(device: string, driver: Uint8Array): number;
  /**
   * Receives up to `slots` datagrams (recvmmsg) into slots of `slotStride` bytes at the arena's start.
   * Sets off, len, tos, gsoSize, segCount = 1 and the source rows from 0 on.
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
   * Sends entries with verdict 0, each a VXLAN header and what follows, to peers[peerIdx] through fds[pool * SOURCE_SOCKETS + srcPortIdx],
   * those of one `srcPortIdx` together and in order; the pool is 0 for IPv4, 1 for IPv6, and 2 more where `df` is not 0. `tos` is the outer TOS.
   * Neighbours on one socket share a sendmmsg, and neighbours of one size and outer header for one peer a
   * UDP_SEGMENT train of at most `trainMax` datagrams (1: none), but for those whose `df` is 2: larger than the path, the kernel is
   * to fragment them. On an error at i: empties that socket's error queue into `errors` (struct path_errors), retries i once, then
   * sets status[i] and goes on; a train that is refused as such is sent one by one. An entry with a gsoType is a superframe:
   * it leaves as its segments, csumStart being the place of its TCP or UDP header, from `off`; status[i] tells of the
   * first segment that failed.
   * @param refused set when a train was refused for being one, though datagrams of it went: [0] -EIO, or -EINVAL that
   *   can't be about its size, [1] the peer's row. Otherwise left alone
   * @param tunnel the way for superframes that leave whole (struct tunnel): [fd] −1: none; its id and error are updated
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
   * Empties the socket's error queue; what it says of datagrams that were too large is added to `errors` (struct path_errors),
   * each path once, while there is room. @returns messages read
   */
  udpReadErrors(fd: number, errors: Uint8Array): number;
  /** Cumulated drops of the socket (SO_MEMINFO). */
  udpDrops(fd: number): number;
  /** The port that a socket is bound to. */
  udpPort(fd: number): number;

  /** Opens a TAP that takes tunnelled superframes (TUN_F_UDP_TUNNEL_GSO). @returns fd; -EINVAL before Linux 6.17 */
  tunnelOpen(name: string): number;
  /**
   * Leads what is written to that TAP to the device that the route says; IPv4 forwarding has to be on for the TAP.
   * @returns fd that keeps it so until it is closed; -EINVAL before Linux 6.6, -EPERM without CAP_BPF
   */
  tunnelAttach(ifindex: number): number;
  /** Does a device cut up tunnelled superframes? @returns or-ed: 1 it does, 2 with outer UDP checksums too */
  tunnelSegmentation(device: string): number;
  /**
   * Maps and programs for flows that pass through the kernel (native-shims/flow.bpf.c), attached to nothing.
   * @param fds filled, as switch/flows/flow-maps.ts has them @returns 0; -EPERM without CAP_BPF and CAP_NET_ADMIN
   */
  flowOpen(fds: Int32Array): number;
  /** @param egress frames that leave the device; else those that come in @returns fd that keeps the program there */
  flowAttach(program: number, ifindex: number, egress: boolean): number;
  /** A network namespace that nobody is in. @returns fd that keeps it; -EPERM without CAP_SYS_ADMIN */
  flowNamespace(): number;
  /** @param key 12 bytes, of which the map takes its own number @param value 32, likewise @returns 0; -E2BIG: full */
  flowPut(map: number, key: Uint8Array, value: Uint8Array): number;
  /** Fills `value`. @returns 0; -ENOENT */
  flowGet(map: number, key: Uint8Array, value: Uint8Array): number;
  flowDelete(map: number, key: Uint8Array): number;
  /** Deletes all entries of a hash. @returns how many there were */
  flowClear(map: number): number;
  /** @returns fd that becomes readable when devices, addresses, routes or rules change */
  networkWatch(): number;
  /** @returns fd that becomes readable when an IPsec policy is made or goes; -EPROTONOSUPPORT without IPsec */
  policyWatch(): number;
  /** IPsec policies of this network namespace. */
  policyCount(): number;
  /** Reads and forgets what a watch has to tell. */
  watchClear(fd: number): number;

  /** Asks for slices of the processor of this length for the calling thread; no more of it in all (Linux 6.12). */
  threadSetSlice(us: number): number;

  /**
   * Tells the service manager (sd_notify(3)). Does not wait: -EAGAIN when its queue is full.
   * @param path NOTIFY_SOCKET: a path, or '@' and an abstract name @param message lines of `NAME=value`, below 2 KB
   */
  notifySend(path: string, message: string): number;

  /** epoll_create1. @returns fd */
  waitCreate(): number;
  /** Adds fd for reading (readable = true) or for errors only. */
  waitAdd(waitFd: number, fd: number, token: number, readable: boolean): number;
  waitRemove(waitFd: number, fd: number): number;
  /**
   * Waits at most timeoutMs and fills `result` (struct wait_result).
   * @param spinUs looks for so long before it sleeps, giving the core away between two looks; 0 … 1000
   * @returns tokens
   */
  waitFor(waitFd: number, timeoutMs: number, spinUs: number, result: Uint8Array): number;
  /** Non-blocking eventfd. @returns fd */
  eventCreate(): number;
  eventFire(fd: number): number;
  eventClear(fd: number): number;
  /** Locks an open file for this process alone, until it is closed or the process ends (flock). -EAGAIN: somebody has it. */
  fileLock(fd: number): number;
  /**
   * Calls back from this thread's event loop whenever fd is readable or in error (uv_poll), and keeps the loop
   * alive. An exception in the callback is an uncaught one. @returns a handle
   * @throws Error ERR_POLL when fd can't be watched or is watched already
   */
  pollStart(fd: number, onReadable: () => void): object;
  /** Calls back no more. Stop before closing fd; stopping twice does nothing. */
  pollStop(handle: object): void;
  /** Duplicates a descriptor, close-on-exec. @returns fd */
  dup(fd: number): number;
  close(fd: number): number;
}

/** From src/abi as from dist/abi. */
const SHIM_PATH = '../../native-shims/build/Release/vtepd_shim.node';

let loaded: Shim | undefined;

/** Loads the shim once per thread and checks its layout. @throws Error that names the cause and the cure */
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
