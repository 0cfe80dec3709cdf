/**
 * Encodes queues filled by the test, and decodes the result with tcpdump, which is independent of
 * this code.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import t from 'tap';
import { Encoder, type EncoderOptions } from '../../src/capture/encoder.js';
import type { PacketQueue } from '../../src/capture/queue.js';
import { CaptureStream } from '../../src/capture/stream.js';
import type { Captured } from '../../src/exchange/capture-ring.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';
import { missingTool } from '../support/tool.js';
import { eventually } from '../support/wait.js';

const noTcpdump = { skip: missingTool('tcpdump') };
const AT_MS = 1_700_000_000_000;
/** An ICMP echo request from 10.10.10.101 to 10.10.10.105. */
const PING = Buffer.from(
  '02000000010502000000010108004500001c00010000400151ff0a0a0a650a0a0a690800f7fd00010001',
  'hex',
);
/** The echo request with a VXLAN header of VNI 100. */
const VXLAN_PING = Buffer.concat([Buffer.from('0800000000006400', 'hex'), PING]);

function packet(ms: number, bytes: Buffer, changes: Partial<Captured> = {}): Captured {
  const nothing = { received: false, peerIdx: 0, vniIdx: 0, sourcePort: 50_000, tos: 0 };
  return { atMs: AT_MS + ms, ...nothing, len: bytes.length, bytes, ...changes };
}

class Queue implements PacketQueue {
  readonly packets: Captured[];
  lost = 0;
  constructor(...packets: Captured[]) {
    this.packets = packets;
  }
  first = () => this.packets[0];
  release = () => void this.packets.shift();
}

function open(queues: Queue[], changes: Partial<EncoderOptions> = {}) {
  const options = { snapLen: 262_144, limit: Number.POSITIVE_INFINITY, outer: undefined, ...changes };
  const encoder = new Encoder({ queues, ...options });
  let closed = 0;
  const stream = new CaptureStream(encoder, options.snapLen, {
    isOver: () => false,
    closed: () => closed++,
  });
  return { encoder, stream, closed: () => closed };
}

async function all(stream: CaptureStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const tcpdump = (file: Buffer, ...options: string[]) =>
  execFileSync('tcpdump', ['-n', '-tt', ...options, '-r', '-'], {
    input: file,
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
  })
    .trim()
    .split('\n');

const outer: EncoderOptions['outer'] = ({ received, sourcePort, tos }) => {
  const near = { bytes: parseIpAddress('192.0.2.1')!.bytes, port: received ? 4789 : sourcePort };
  const far = { bytes: parseIpAddress('192.0.2.2')!.bytes, port: received ? sourcePort : 4789 };
  const [source, destination] = received ? [far, near] : [near, far];
  return { family: 4, source, destination, tos, ttl: 64 };
};

t.test('overlay: tcpdump reads the packets of two workers in order of time', noTcpdump, async (t) => {
  const { stream, closed } = open([
    new Queue(packet(0, PING), packet(2.5, PING)),
    new Queue(packet(1, PING, { received: true }), packet(3, PING.subarray(0, 20), { len: PING.length })),
  ]);
  stream.finish();
  const lines = tcpdump(await all(stream));
  t.match(lines, [
    /^1700000000\.000000 IP 10\.10\.10\.101 > 10\.10\.10\.105: ICMP echo request/,
    /^1700000000\.001000 IP/,
    /^1700000000\.002500 IP/,
    /^1700000000\.003000 IP .*\[|ip\]/,
  ]);
  t.equal(closed(), 1);
});

t.test('underlay: tcpdump reads VXLAN with outer headers and a correct checksum', noTcpdump, async (t) => {
  const { stream } = open(
    [new Queue(packet(0, VXLAN_PING), packet(1, VXLAN_PING, { received: true, tos: 0x10 }))],
    {
      outer,
    },
  );
  stream.finish();
  const text = tcpdump(await all(stream), '-v').join('\n');
  t.match(text, /192\.0\.2\.1\.50000 > 192\.0\.2\.2\.4789: .*VXLAN.*vni 100/);
  t.match(text, /tos 0x10.*\n.*192\.0\.2\.2\.50000 > 192\.0\.2\.1\.4789/);
  t.match(text, /10\.10\.10\.101 > 10\.10\.10\.105: ICMP echo request/, 'the inner packet is decoded');
  t.notMatch(text, /bad cksum/);
});

t.test('snapLen limits the bytes per packet, and limit the number of packets', async (t) => {
  const packets = Array.from({ length: 5 }, (_, i) => packet(i, VXLAN_PING));
  const { stream, encoder } = open([new Queue(...packets)], { snapLen: 60, limit: 3, outer });
  const file = await all(stream);
  t.equal(file.length, 24 + 3 * (16 + 60));
  t.equal(encoder.packets, 3);
  t.equal(file.readUInt32LE(24 + 12), 14 + 20 + 8 + VXLAN_PING.length, 'the record has the original length');
});

t.test('packets captured after the start are read until the stream is finished', async (t) => {
  const queue = new Queue();
  const { stream, closed } = open([queue]);
  const reading = all(stream);
  for (let i = 0; i < 3; i++) {
    queue.packets.push(packet(i, PING));
    await eventually(`packet ${i} to be read`, () => queue.packets.length === 0);
  }
  stream.finish();
  t.equal((await reading).length, 24 + 3 * (16 + PING.length));
  t.equal(closed(), 1);
});

t.test('without a reader the buffer is bounded, and other packets stay in the ring', async (t) => {
  const big = Buffer.alloc(60_000);
  const queue = new Queue(...Array.from({ length: 100 }, (_, i) => packet(i, big)));
  const { stream, encoder, closed } = open([queue]);
  stream.once('readable', () => {});
  await eventually('a full buffer', () => stream.readableLength >= stream.readableHighWaterMark);
  t.ok(queue.packets.length >= 70, `${queue.packets.length} of 100 packets were not read`);
  const left = queue.packets.length;
  await delay(50);
  t.equal(queue.packets.length, left);
  queue.lost = 7;
  t.equal(encoder.lost, 7);
  stream.destroy();
  await eventually('the end', () => closed() > 0);
  t.equal(closed(), 1, 'a reader that disconnects ends the capture once');
});
