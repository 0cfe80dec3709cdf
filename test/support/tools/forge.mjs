/**
 * Forged ICMP "too big": sends it to a host, with a quoted UDP datagram.
 *
 *     FAMILY HOST MTU SOURCE SOURCE_PORT[,SOURCE_PORT…] DESTINATION DESTINATION_PORT
 */
import { createRequire } from 'node:module';

const raw = createRequire(import.meta.url)('raw-socket');
const [family, host, mtu, source, sourcePorts, destination, destinationPort] = process.argv.slice(2);
const isIpv4 = family === 'ipv4';

const socket = raw.createSocket(
  isIpv4
    ? { protocol: raw.Protocol.ICMP }
    : { protocol: raw.Protocol.ICMPv6, addressFamily: raw.AddressFamily.IPv6 },
);
for (const port of sourcePorts.split(',')) await send(Number(port));
socket.close();

function send(sourcePort) {
  const message = Buffer.concat([
    isIpv4 ? header4() : header6(),
    isIpv4 ? packet4() : packet6(),
    udp(sourcePort),
  ]);
  if (isIpv4) raw.writeChecksum(message, 2, raw.createChecksum(message));
  return new Promise((resolve, reject) => {
    socket.send(message, 0, message.length, host, (error) => (error ? reject(error) : resolve()));
  });
}

function header4() {
  const b = Buffer.from([3, 4, 0, 0, 0, 0, 0, 0]);
  b.writeUInt16BE(Number(mtu), 6);
  return b;
}

/** The kernel fills in the checksum. */
function header6() {
  const b = Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]);
  b.writeUInt32BE(Number(mtu), 4);
  return b;
}

function packet4() {
  const b = Buffer.alloc(20);
  b.set([0x45, 0, 5, 0xdc, 0, 0, 0x40, 0, 64, 17]);
  b.set(source.split('.').map(Number), 12);
  b.set(destination.split('.').map(Number), 16);
  return b;
}

function packet6() {
  const b = Buffer.alloc(40);
  b.set([0x60, 0, 0, 0, 5, 0xb4, 17, 64]);
  b.set(bytes6(source), 8);
  b.set(bytes6(destination), 24);
  return b;
}

/** Bytes of an address that contains one `::`. */
function bytes6(address) {
  const [before, after] = address.split('::').map((part) => part.split(':').filter(Boolean));
  const groups = [...before, ...new Array(8 - before.length - after.length).fill('0'), ...after];
  return groups.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]);
}

function udp(sourcePort) {
  const b = Buffer.alloc(8);
  b.writeUInt16BE(sourcePort, 0);
  b.writeUInt16BE(Number(destinationPort), 2);
  b.writeUInt16BE(1480, 4);
  return b;
}
