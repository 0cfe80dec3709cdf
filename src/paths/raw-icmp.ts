/**
 * Raw sockets for ICMP and ICMPv6.
 *
 * The sockets send echo requests and receive replies and errors. They need CAP_NET_RAW and the
 * package raw-socket, which loads on the main thread only, and only if it could be compiled.
 */
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';

/** The part of raw-socket that is used here. */
export interface RawSocket extends EventEmitter {
  setOption(level: number, option: number, value: number): void;
  setOption(level: number, option: number, value: Buffer, length: number): void;
  send(
    buffer: Buffer,
    offset: number,
    length: number,
    address: string,
    sent: (error: Error | null) => void,
  ): void;
  close(): void;
}

interface RawSocketModule {
  createSocket(options: { addressFamily: number; protocol: number; bufferSize: number }): RawSocket;
}

/** Address families as numbered by raw-socket. */
const FAMILY = { 4: 1, 6: 2 } as const;
const PROTOCOL = { 4: 1, 6: 58 } as const;
const LARGEST_PACKET = 65535;

const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const SO_MARK = 36;
/** IPV6_ADDR_PREFERENCES of IPPROTO_IPV6: a public rather than a temporary source (RFC 5014). */
const ADDR_PREFERENCES = { level: 41, option: 72, preferPublic: 2 } as const;
/**
 * ICMP_FILTER of SOL_RAW has a bit for each of 32 ICMP types, ICMP6_FILTER of IPPROTO_ICMPV6 has a
 * bit for each of 256 ICMPv6 types. A bit with value 1 blocks its type. The length is in 32-bit
 * words.
 */
const FILTER = { 4: { level: 255, option: 1, words: 1 }, 6: { level: 58, option: 1, words: 8 } } as const;

/**
 * @param device device to bind to; '' any
 * @param mark mark of the packets sent (SO_MARK); 0: none
 * @param types ICMP types to receive
 * @throws Error with a one-line message when permission or package is missing
 */
export function openRawIcmp(
  family: 4 | 6,
  device: string,
  mark: number,
  types: readonly number[],
): RawSocket {
  let socket: RawSocket | undefined;
  try {
    const module = createRequire(import.meta.url)('raw-socket') as RawSocketModule;
    const [addressFamily, protocol] = [FAMILY[family], PROTOCOL[family]];
    socket = module.createSocket({ addressFamily, protocol, bufferSize: LARGEST_PACKET });
    setFilter(socket, family, types);
    if (device !== '') {
      const name = Buffer.from(`${device}\0`);
      socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, name, name.length);
    }
    const { level, option, preferPublic } = ADDR_PREFERENCES;
    if (family === 6) socket.setOption(level, option, preferPublic);
    if (mark !== 0) {
      const bytes = Buffer.from(Uint32Array.of(mark).buffer);
      socket.setOption(SOL_SOCKET, SO_MARK, bytes, bytes.length);
    }
    return socket;
  } catch (error) {
    socket?.close();
    const [line] = (error as Error).message.split('\n');
    throw new Error(
      /not permitted/i.test(line) ? 'no permission for raw sockets: CAP_NET_RAW is required' : line,
    );
  }
}

function setFilter(socket: RawSocket, family: 4 | 6, types: readonly number[]): void {
  const { level, option, words } = FILTER[family];
  const blocked = new Int32Array(words).fill(-1);
  for (const type of types) blocked[type >> 5] &= ~(1 << (type & 31));
  const bytes = Buffer.from(blocked.buffer);
  socket.setOption(level, option, bytes, bytes.length);
}
