/**
 * Probing by ICMP echo with DF set.
 *
 * Nearly every peer replies, whatever VTEP software the peer runs. A hop that is too narrow reports
 * this at once. Firewalls that drop ICMP prevent replies.
 *
 * This means needs a raw socket (`raw-icmp.ts`); without a raw socket the means is unavailable, and
 * the next means is tried.
 */
import { randomInt } from 'node:crypto';
import { makeEcho, readEchoNews } from '../wire/icmp-echo.js';
import { IP_LEN, type Means, MeansUnavailable, type OpenMeans, type ProbedPeer } from './means.js';
import { openRawIcmp, type RawSocket } from './raw-icmp.js';
import { Exchange } from './request.js';
import type { Outcome } from './search.js';

/** IP_PMTUDISC_PROBE: sets DF, and only the device MTU limits the length. */
const PMTUDISC_PROBE = 3;
/** Level and number of the options IP_MTU_DISCOVER and IPV6_MTU_DISCOVER. */
const MTU_DISCOVER = { 4: [0, 10], 6: [41, 23] } as const;
/** ICMP types of replies to an echo: echo reply, destination unreachable or packet too big. */
const TYPES = { 4: [0, 3], 6: [2, 129] } as const;

/**
 * @param device device that the underlay's sockets are bound to; '' any
 * @param mark mark of the packets (SO_MARK); 0: none
 * @param isHeld true for a peer to which nothing may be sent
 */
export function icmpMeans(device: string, mark: number, isHeld: (peer: ProbedPeer) => boolean): Means {
  return {
    name: 'icmp',
    open: async (peer) => {
      if (isHeld(peer))
        throw new MeansUnavailable(
          'the --local address is not usable, or the route to the peer leads into the overlay',
        );
      return open(peer, device, mark);
    },
  };
}

function open(peer: ProbedPeer, device: string, mark: number): OpenMeans {
  const { family } = peer;
  const [host, scope] = peer.text.split('%');
  const socket = openSocket(family, scope ?? device, mark);
  const exchange = new Exchange();
  const identifier = randomInt(0x10000);
  let sequence = randomInt(0x10000);
  socket.on('message', (message: Buffer) => {
    const reply = readEchoNews(family, message);
    if (reply?.identifier !== identifier) return;
    const { tooBig } = reply;
    const outcome: Outcome = tooBig === undefined ? { kind: 'arrived' } : { kind: 'too-big', mtu: tooBig };
    exchange.complete(String(reply.sequence), outcome);
  });
  // An error of the socket only means that no replies arrive.
  socket.on('error', () => {});
  return {
    probe: (packetLen, patient) => {
      sequence = (sequence + 1) & 0xffff;
      const key = String(sequence);
      const echo = Buffer.from(makeEcho(family, identifier, sequence, packetLen - IP_LEN[family]).buffer);
      return exchange.ask(key, patient, () => {
        socket.send(echo, 0, echo.length, host, (error) => {
          if (error) exchange.complete(key, explain(error));
        });
        return undefined;
      });
    },
    close: () => socket.close(),
  };
}

/** @throws MeansUnavailable */
function openSocket(family: 4 | 6, device: string, mark: number): RawSocket {
  try {
    const socket = openRawIcmp(family, device, mark, TYPES[family]);
    const [level, option] = MTU_DISCOVER[family];
    socket.setOption(level, option, PMTUDISC_PROBE);
    return socket;
  } catch (error) {
    throw new MeansUnavailable(`cannot open an ICMP socket (${(error as Error).message})`);
  }
}

/** Classifies an error by its text: raw-socket reports only strerror(3). */
function explain({ message }: Error): Outcome {
  if (/too long/i.test(message)) return { kind: 'too-big', mtu: 0 };
  if (/unreachable|no route|not permitted/i.test(message)) return { kind: 'unusable', why: message };
  return { kind: 'silent' };
}
