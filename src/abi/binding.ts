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
   * Detaches the steering program, so that the kernel chooses the queue again. Called for a device
   * that outlives the daemon.
   */
  tapUnsteer(fd: number): number;
  /** TUNSETOFFLOAD with TUN_F_* bits; -EINVAL when the kernel lacks one of them. */
  tapSetOffload(fd: number, bits: number): number;
  /**
   * Appends frames to the batch, beginning at descriptor `start`.
   *
   * Each frame lies within [regionOff, regionEnd) of the arena and is aligned for 32-bit reads of
   * its MACs. In front of each frame are `headroom` unused bytes, which begin at a multiple of 64
   * bytes. The call stops when no frame waits, when the batch is full, or when the region has no
   * room for another frame of `slotLen` bytes. Frames shorter than 14 or longer than `slotLen`
   * bytes are discarded. The call completes postponed checksums of single frames. The segments of a
   * superframe get their checksums when they are sent.
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
   * @param result two bit masks with the bits of `merge`; the call sets bits and clears none. [0]:
   *   kinds of which the kernel accepted a superframe. [1]: kinds of which the kernel refused a
   *   superframe (EINVAL) and then accepted its segments. Only superframes merged by this call
   *   count; superframes received from a peer do not.
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
   * @param options bit mask. 1: receive with UDP_GRO, TOS and arrival device, and accept zero
   *   checksums; 2: IP_RECVERR (sending pool); 4: DF set (PMTUDISC_PROBE), else DF clear
   *   (PMTUDISC_DONT); 8: send without UDP checksum; 16: receive without UDP_GRO; 32: bind
   *   exclusively, then allow other sockets to join; 64: join the port (SO_REUSEPORT); 128: fail if
   *   the kernel lacks UDP_SEGMENT; 256: drop every datagram until `udpAdmit`; 512: bind also an
   *   address that does not exist yet
   * @param receiveLen receive buffer in bytes (forced beyond the sysctl limit where permitted)
   * @param sendLen send buffer in bytes, likewise
   * @param ttl TTL or hop limit; 0: system default
   * @returns fd; -ENOPROTOOPT if the kernel lacks UDP_GRO (Linux older than 5.0) or UDP_SEGMENT
   *   (older than 4.18)
   */
  udpOpen(
    local: Uint8Array,
    device: string,
    options: number,
    receiveLen: number,
    sendLen: number,
    ttl: number,
  ): number;
  /** Ends the dropping of a socket opened with option 256. */
  udpAdmit(fd: number): number;
  /**
   * Binds an open socket to a device again, after the device was deleted and made again.
   * -ENODEV: there is no such device.
   */
  udpBindDevice(fd: number, device: string): number;
  /**
   * Sets the mark of everything that the socket sends, for policy routing (SO_MARK).
   *
   * @param mark 0 … 4294967295; 0: no mark
   */
  udpSetMark(fd: number, mark: number): number;
  /**
   * Returns the source address that an unbound socket of `udpOpen` uses toward a peer. Over IPv6 it
   * is a public address rather than a temporary one (RFC 5014). Sends nothing.
   *
   * @param peer packed row (struct peer_row)
   * @param device device that the socket is bound to; '' none
   * @param mark as for `udpSetMark`
   * @param source row that receives the address, with the port 0
   * @returns 0, or a negative errno: -ENETUNREACH without a route
   */
  udpSource(peer: Uint8Array, device: string, mark: number, source: Uint8Array): number;
  /**
   * Turns UDP_GRO on or off. With UDP_GRO the socket receives a train whole; without UDP_GRO the
   * kernel splits the train. -ENOPROTOOPT before Linux 5.0.
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
   * Number of frames that the kernel has dropped on transmit in the lifetime of the device. On a
   * TAP the cause is a full queue.
   *
   * @param index interface index
   */
  deviceTxDropped(index: number): number;
  /**
   * Driver name of a network device (ethtool): veth, virtio_net …
   *
   * @param driver buffer of 32 bytes
   * @returns length of the name in bytes
   */
  deviceDriver(device: string, driver: Uint8Array): number;
  /**
   * Receives up to `slots` datagrams (recvmmsg) into slots of `slotStride` bytes at the arena's
   * start. Sets off, len, tos, gsoSize, segCount = 1, ifindex and the records in `sources`,
   * beginning at index 0.
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
   * same `srcPortIdx` are grouped; the order within a group is kept.
   *
   * Adjacent entries for one socket share a sendmmsg. Adjacent entries for one peer that have the
   * same size and outer header form a UDP_SEGMENT train of at most `trainMax` datagrams (1: no
   * trains). Entries with `df` 2 exceed the path MTU and stay out of trains, so that the kernel can
   * fragment them.
   *
   * On an error at entry i the call empties the error queue of the sending socket into `errors`
   * (struct path_errors), retries entry i one time, then sets status[i] and continues. If the
   * kernel refuses a train, the call sends the datagrams of the train one by one. An entry with a
   * gsoType is a superframe and is sent as its segments; csumStart is the offset of its TCP or UDP
   * header from `off`. status[i] holds the error of the first segment that failed.
   *
   * @param refused set when the kernel refused a train and then accepted single datagrams of that
   *   train; otherwise unchanged. [0]: -EIO, or an -EINVAL that the size of the train cannot have
   *   caused. [1]: the peer's row
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
  /** Total number of datagrams that the socket has dropped (SO_MEMINFO). */
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
   * @param mark mark of the packets, by which their route is looked up; 0: none
   * @returns fd that keeps the program attached until closed; -EINVAL before Linux 6.6, or before
   *   6.10 with a mark; -EPERM without CAP_BPF
   */
  tunnelAttach(ifindex: number, mark: number): number;
  /**
   * Returns whether a device can segment tunnelled superframes.
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
   * @param key 12 bytes; a map with shorter keys reads only the first bytes
   * @param value 32 bytes; a map with shorter values reads only the first bytes
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
   * Opens a netlink socket that receives notifications of groups (netlink(7)).
   *
   * @param protocol NETLINK_ROUTE, NETLINK_XFRM or NETLINK_NETFILTER
   * @param groups numbers of groups, such as RTNLGRP_LINK
   * @returns fd that becomes readable on a change; -EPROTONOSUPPORT: the kernel lacks the protocol
   */
  netlinkOpen(protocol: number, groups: Int32Array): number;
  /**
   * Receives one datagram of notifications: whole messages.
   *
   * @param buffer at least 64 KB
   * @returns bytes; -EAGAIN: none waits; -ENOBUFS: notifications were lost
   */
  netlinkReceive(fd: number, buffer: Uint8Array): number;
  /**
   * Sends requests and receives their answers, on a thread of the pool.
   *
   * @param messages requests, each with NLM_F_ACK or NLM_F_DUMP; executed in order, also after one
   *   that fails
   * @returns messages of the answer; a negative errno when the kernel could not be asked
   */
  netlinkRequest(protocol: number, messages: Uint8Array): Promise<Uint8Array | number>;
  /** Number of IPsec policies in this network namespace. */
  policyCount(): number;
  /**
   * Counts the BPF programs that run for sockets of a control group, of its ancestors too.
   *
   * @param path folder of the control group, of version 2 (cgroups(7))
   * @param type kind of program, such as BPF_CGROUP_INET_EGRESS (linux/bpf.h)
   * @returns the count, or a negative errno; -EPERM without CAP_NET_ADMIN
   */
  cgroupPrograms(path: string, type: number): number;
  /** Discards the pending notifications of an fd of `netlinkOpen`. */
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
   * Adds fd to the wait set, or changes it there. If `readable` is true, waits report fd when it is readable or in
   * error; otherwise they report fd only when it is in error.
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
