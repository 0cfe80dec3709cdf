/**
 * A frame storm into a TAP that is not read for a while.
 *
 * Each frame is either read later, or counted as dropped by the kernel at the TAP's queue. Topology
 * of two-hosts.test.ts.
 */
import t from 'tap';
import { NEAR_VM, twoHosts } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

const FRAMES = 5000;
const storm = `
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
frame = b'\\xff' * 6 + bytes([2, 0, 0, 0, 0, 0x42]) + b'\\x88\\xb5' + bytes(100)
for _ in range(${FRAMES}):
    s.send(frame)
`;

t.test('each frame of a storm during SIGSTOP is read later or counted as dropped at the queue', async (t) => {
  const { vm101, vm105, vtepd } = await twoHosts(t, 'batch');
  await vm105.outcome(['ping', '-c', '1', '-W', '5', NEAR_VM]);
  const counts = async () => {
    const metrics = await vtepd.metrics();
    return {
      read: metrics.sum('vtepd_tap_rx_frames_total', { vni: 100 }),
      lost: metrics.sum('vtepd_tap_queue_dropped_frames_total', { vni: 100 }),
    };
  };
  const before = await counts();
  vtepd.process.signal('SIGSTOP');
  t.match(await vm101.outcome(['python3', '-c', storm]), { code: 0 });
  vtepd.process.signal('SIGCONT');
  await eventually('all frames of the storm to be counted', async () => {
    const { read, lost } = await counts();
    return read + lost >= before.read + before.lost + FRAMES;
  });
  const { read, lost } = await counts();
  t.ok(lost - before.lost > FRAMES / 2, `${lost - before.lost} frames were dropped at the queue`);
  t.ok(read - before.read >= 1, `${read - before.read} frames were read`);
  const { body } = await vtepd.get<{ vnis: { tap: { queueDropped: number } }[] }>('/v1/counters');
  t.equal(body.vnis[0].tap.queueDropped, lost);
});
