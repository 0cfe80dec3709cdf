/**
 * By ICMP echo with DF set: answered by nearly every peer, whatever VTEP it runs, and a hop that is too narrow says so
 * at once. Firewalls that drop ICMP make it silent.
 *
 * Needs CAP_NET_RAW and the package raw-socket, which loads in the main thread only, and not where it could not be
 * compiled: then this means is unavailable and the next one is tried.
 */
import { randomInt } from 'node:crypto';
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import { makeEcho, readEchoNews } from '../wire/icmp-echo.js';
import { Exchange } from './exchange.js';
import { IP_LEN, type Means, MeansUnavailable, type OpenMeans, type ProbedPeer } from './means.js';
import type { Outcome } from './search.js';

/** What is used of raw-socket. */
interface RawSocket extends EventEmitter {
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

/** raw-socket's own numbers of families. */
const FAMILY = { 4: 1, 6: 2 } as const;
const PROTOCOL = { 4: 1, 6: 58 } as const;
const LARGEST_PACKET = 65535;

const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const PMTUDISC_PROBE = 3;
/** IP_MTU_DISCOVER of IPPROTO_IP, IPV6_MTU_DISCOVER of IPPROTO_IPV6: DF set, up to what the device carries. */
const MTU_DISCOVER = { 4: [0, 10], 6: [41, 23] } as const;
/** Only what answers an echo is let in. ICMP_FILTER of SOL_RAW: types 0, 3; ICMP6_FILTER of IPPROTO_ICMPV6: 2, 129. */
const FILTER = {
  4: { level: 255, option: 1, words: [~((1 << 0) | (1 << 3))] },
  6: { level: 58, option: 1, words: [~(1 << 2), -1, -1, -1, ~(1 << 1), -1, -1, -1] },
} as const;

/** @param device that the underlay's sockets are bound to; '' any */
export function icmpMeans(device: string): Means {
  return { name: 'icmp', open: async (peer) => open(peer, device) };
}

function open(peer: ProbedPeer, device: string): OpenMeans {
  const { family } = peer;
  const [host, scope] = peer.text.split('%');
  const socket = openSocket(family, scope ?? device);
  const exchange = new Exchange();
  const identifier = randomInt(0x10000);
  let sequence = randomInt(0x10000);
  socket.on('message', (message: Buffer) => {
    const news = readEchoNews(family, message);
    if (news?.identifier !== identifier) return;
    const { tooBig } = news;
    const outcome: Outcome = tooBig === undefined ? { kind: 'arrived' } : { kind: 'too-big', mtu: tooBig };
    exchange.settle(String(news.sequence), outcome);
  });
  // An error of the socket itself shows as silence.
  socket.on('error', () => {});
  return {
    probe: (packetLen) => {
      sequence = (sequence + 1) & 0xffff;
      const key = String(sequence);
      const echo = Buffer.from(makeEcho(family, identifier, sequence, packetLen - IP_LEN[family]).buffer);
      return exchange.ask(key, () => {
        socket.send(echo, 0, echo.length, host, (error) => {
          if (error) exchange.settle(key, explain(error));
        });
        return undefined;
      });
    },
    close: () => socket.close(),
  };
}

/** @throws MeansUnavailable */
function openSocket(family: 4 | 6, device: string): RawSocket {
  let socket: RawSocket | undefined;
  try {
    const module = createRequire(import.meta.url)('raw-socket') as RawSocketModule;
    const [addressFamily, protocol] = [FAMILY[family], PROTOCOL[family]];
    socket = module.createSocket({ addressFamily, protocol, bufferSize: LARGEST_PACKET });
    setOptions(socket, family, device);
    return socket;
  } catch (error) {
    socket?.close();
    const [line] = (error as Error).message.split('\n');
    const cause = /not permitted/i.test(line) ? 'no right to raw sockets: CAP_NET_RAW' : line;
    throw new MeansUnavailable(`ICMP cannot be sent (${cause})`);
  }
}

function setOptions(socket: RawSocket, family: 4 | 6, device: string): void {
  const [level, option] = MTU_DISCOVER[family];
  socket.setOption(level, option, PMTUDISC_PROBE);
  const filter = FILTER[family];
  const words = Buffer.from(Int32Array.from(filter.words).buffer);
  socket.setOption(filter.level, filter.option, words, words.length);
  if (device === '') return;
  const name = Buffer.from(`${device}\0`);
  socket.setOption(SOL_SOCKET, SO_BINDTODEVICE, name, name.length);
}

/** raw-socket gives the text of strerror(3) alone. */
function explain({ message }: Error): Outcome {
  if (/too long/i.test(message)) return { kind: 'too-big', mtu: 0 };
  if (/unreachable|no route|not permitted/i.test(message)) return { kind: 'unusable', why: message };
  return { kind: 'silent' };
}
