/** Captures that other labs use for counting: ending a capture must not lose a frame. */
import t from 'tap';
import { createLab } from '../support/lab.js';
import { capture, udpOf } from '../support/pcap.js';
import { sendUdp } from '../support/traffic.js';

const [NEAR, FAR] = ['192.168.80.10', '192.168.80.11'];
const PORT = 9000;

t.test('a capture contains every frame, even those sent while tcpdump was stopped', async (t) => {
  const lab = createLab(t);
  const { near } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await near.run(`ping -n -q -c 1 -W 2 ${FAR}`);
  const running = await capture(near, 'eth0', lab.dir, `udp dst port ${PORT}`);
  const texts = Array.from({ length: 600 }, (_, index) => String(index));
  process.kill(running.pid, 'SIGSTOP');
  await sendUdp(near, FAR, PORT, ...texts);
  process.kill(running.pid, 'SIGCONT');
  const frames = await running.stop();
  t.same(
    frames.map((frame) => udpOf(frame)?.payload.toString()),
    texts,
    'each frame was captured once, in order',
  );
});
