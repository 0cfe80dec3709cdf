import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import t from 'tap';
import { type CaptureOptions, Captures } from '../../src/capture/captures.js';
import { CaptureRing, createCaptureRing } from '../../src/exchange/capture-ring.js';
import { DataPlaneError } from '../../src/exchange/data-plane.js';
import { eventually } from '../support/wait.js';

const OVERLAY: CaptureOptions = { vni: 100, point: 'overlay', snapLen: 1000 };

function makeCaptures() {
  const ring = new CaptureRing(createCaptureRing());
  const calls: string[] = [];
  const lines: { msg: string; packets?: number; lost?: number }[] = [];
  let refusal: Error | undefined;
  let over = false;
  const captures = new Captures({
    log: pino({ base: null }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    start: async ({ vni }) => {
      calls.push(`on ${vni}`);
      if (refusal) throw refusal;
      over = false;
      return {
        rings: [ring],
        stop: async () => void calls.push('off'),
        get over() {
          return over;
        },
      };
    },
    surroundings: { peerAt: () => undefined, local: () => undefined, port: 4789, ttl: 64 },
  });
  const note = { flags: 0, atMs: 1, peerIdx: 0, vniIdx: 0, sourcePort: 0, tos: 0 };
  const put = (len = 60) => ring.put(note, new Uint8Array(len), 0, len, OVERLAY.snapLen);
  const refuse = (error: Error | undefined) => {
    refusal = error;
  };
  const end = () => {
    over = true;
  };
  return { captures, calls, lines, put, refuse, end };
}

t.test('only one capture runs at a time, and the next can start after a close', async (t) => {
  const { captures, calls, lines, put } = makeCaptures();
  const first = await captures.open(OVERLAY);
  await t.rejects(captures.open(OVERLAY), { code: 'capture_busy' });
  put();
  await first.close();
  await first.close();
  const chunks: Buffer[] = [];
  for await (const chunk of first.stream) chunks.push(chunk);
  t.equal(Buffer.concat(chunks).length, 24 + 16 + 60, 'captured packets can still be read');
  t.match(lines, [{ msg: 'capture begins' }, { msg: 'capture ends', packets: 1, lost: 0 }]);
  const second = await captures.open({ ...OVERLAY, vni: undefined });
  t.same(calls, ['on 100', 'off', 'on undefined']);
  second.stream.destroy();
  await eventually('the end', () => calls.length > 3);
  t.same(calls.slice(3), ['off'], 'a reader that disconnects ends the capture');
  await captures.open(OVERLAY);
  await captures.stop();
  t.same(calls.slice(4), ['on 100', 'off'], 'the end of the VTEP ends the capture');
  await captures.stop();
});

t.test('after a refusal of the data plane the next capture can start', async (t) => {
  const { captures, calls, refuse } = makeCaptures();
  refuse(new DataPlaneError('vni_not_found', 'VNI 100 is not configured'));
  await t.rejects(captures.open(OVERLAY), { code: 'vni_not_found' });
  t.same(calls, ['on 100']);
  refuse(undefined);
  t.ok(await captures.open(OVERLAY));
  await captures.stop();
});

t.test('removing a VNI ends its capture, and the next can start', async (t) => {
  const { captures, lines, put, end } = makeCaptures();
  const { stream } = await captures.open(OVERLAY);
  put();
  end();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  t.equal(Buffer.concat(chunks).length, 24 + 16 + 60, 'captured packets can still be read');
  t.match(lines.at(-1), { msg: 'capture ends', packets: 1 });
  await delay(5);
  await captures.open(OVERLAY);
  await captures.stop();
});

t.test('a limit ends the stream and the capture', async (t) => {
  const { captures, calls, put } = makeCaptures();
  const { stream } = await captures.open({ ...OVERLAY, limit: 2 });
  for (let i = 0; i < 5; i++) put();
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  t.equal(Buffer.concat(chunks).length, 24 + 2 * (16 + 60));
  t.same(calls, ['on 100', 'off']);
});

t.test('the number of packets lost by a slow reader is logged at the end', async (t) => {
  const { captures, lines, put } = makeCaptures();
  const capture = await captures.open(OVERLAY);
  for (let i = 0; i < 20_000; i++) put(1000);
  await capture.close();
  capture.stream.destroy();
  await eventually('the end', () => lines.some(({ msg }) => msg === 'capture ends'));
  const lost = lines.find(({ msg }) => msg === 'capture ends')?.lost ?? 0;
  t.ok(lost > 0, `${lost} of 20,000 packets were lost`);
});
