/**
 * UDP programs of the labs.
 *
 *     listen PORT                        prints each payload as a line
 *     flows ADDRESS PORT COUNT REPEAT    COUNT sockets, each sends REPEAT datagrams "flow N"
 *     send ADDRESS PORT TEXT…            one datagram per TEXT; ADDRESS may be a broadcast address
 *     stream ADDRESS PORT INTERVAL_MS    one datagram per INTERVAL_MS until killed; also broadcast
 *     replay FILE ADDRESS PORT [SOURCE]  datagrams of FILE: 16-bit big-endian length, bytes
 */
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** Pause between two rounds of all flows, ms, so that a receiver on the same processor can run. */
const ROUND_MS = 50;

const [mode, ...rest] = process.argv.slice(2);
await { listen, flows, send, stream, replay }[mode](...rest);

async function listen(port) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
  socket.on('message', (payload) => console.log(payload.toString()));
  socket.bind(Number(port), () => console.log('listening'));
}

async function flows(address, port, count, repeat) {
  const sockets = Array.from({ length: Number(count) }, () => createSocket('udp4'));
  for (let round = 0; round < Number(repeat); round++) {
    for (const [flow, socket] of sockets.entries()) await transmit(socket, `flow ${flow}`, port, address);
    await delay(ROUND_MS);
  }
  for (const socket of sockets) socket.close();
}

async function send(address, port, ...texts) {
  const socket = await broadcaster();
  for (const text of texts) await transmit(socket, text, port, address);
  socket.close();
}

async function stream(address, port, intervalMs) {
  const socket = await broadcaster();
  for (;;) {
    await transmit(socket, 'stream', port, address);
    await delay(Number(intervalMs));
  }
}

async function broadcaster() {
  const socket = createSocket('udp4');
  await new Promise((resolve) => socket.bind(resolve));
  socket.setBroadcast(true);
  return socket;
}

/** Sends in small groups, so that the sender's own queue never drops a datagram. */
async function replay(file, address, port, source) {
  const bytes = readFileSync(file);
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  if (source) await new Promise((resolve) => socket.bind(0, source, resolve));
  let sent = 0;
  for (let off = 0; off < bytes.length; ) {
    const len = bytes.readUInt16BE(off);
    await transmit(socket, bytes.subarray(off + 2, off + 2 + len), port, address);
    off += 2 + len;
    if (++sent % 100 === 0) await delay(1);
  }
  console.log(`sent ${sent}`);
  socket.close();
}

function transmit(socket, payload, port, address) {
  return new Promise((resolve, reject) => {
    socket.send(payload, Number(port), address, (error) => (error ? reject(error) : resolve()));
  });
}
