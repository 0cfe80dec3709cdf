/**
 * Distribution of datagrams among receiving sockets, on the topology of two-hosts.test.ts.
 *
 * Kernel vxlan sends inner UDP superframes over a veth pair. They arrive segmented, and none of
 * their bytes becomes a frame of another VNI. A storm of datagrams from a stranger fills only the
 * queue of the strangers. Two vtepd prove their identity to each other.
 *
 *     near  vtepd 192.168.80.10, VNI 100 and 200 === veth === far  kernel vxlan 192.168.80.11, VNI 100
 */
import t from 'tap';
import { BRIDGE, createLab } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { capture, udpOf } from '../support/pcap.js';
import { Listener } from '../support/traffic.js';
import { FAR, NEAR, NEAR_VM, twoHosts } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

const STRANGER = '192.168.80.66';
const SIZE = 1000;

const EIGHT = Array.from('ABCDEFGH', (letter) => letter.repeat(SIZE));

/** Python program for a VM that sends a superframe of inner UDP (UDP_SEGMENT). */
const superframe = (to: string) => `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_UDP, 103, ${SIZE})
s.sendto(b''.join(bytes([65 + k]) * ${SIZE} for k in range(8)), ('${to}', 9000))
`;

/**
 * Python program that sends crafted superframes by a raw socket with a vnet header. Their IP header
 * states one of several lengths, and at each multiple of the segment size there is a VXLAN header
 * of VNI 200 followed by a frame.
 */
const INJECTED = `
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.setsockopt(263, 15, 1)
s.bind(('vxlan100', 0))
mac = lambda n: bytes([2, 0, 0, 0, 0, n])
inner = mac(0x20) + mac(0x66) + b'\\x88\\xb5' + b'INJECTED-BY-VNI-100'
piece = struct.pack('>BBHI', 8, 0, 0, 200 << 8) + inner
piece += bytes(${SIZE} - len(piece))
payload = (bytes(${SIZE} - 50) + piece * 4)
for total in (29, 28 + len(payload), 1500, 978):
    ip = bytes([0x45, 0]) + struct.pack('>HHHBBH', total, 1, 0, 64, 17, 0) + bytes([10, 10, 10, 105, 10, 10, 10, 101])
    udp = struct.pack('>HHHH', 9, 9, 8 + len(payload), 0)
    frame = mac(0x0a) + mac(0x0b) + b'\\x08\\x00' + ip + udp + payload
    for size in (${SIZE}, ${SIZE} - 42, ${SIZE} - 8):
        try:
            s.send(struct.pack('<BBHHHH', 1, 5, 42, size, 34, 6) + frame)
        except OSError as refused:
            print(refused)
`;

const FLOOD = 20_000;
const flood = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('${STRANGER}', 0))
frame = bytes([8, 0, 0, 0, 0, 0, 100, 0]) + bytes([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]) + bytes(100)
for _ in range(${FLOOD}):
    while True:
        try:
            s.sendto(frame, ('${NEAR}', 4789)); break
        except BlockingIOError:
            pass
`;

t.test('inner UDP superframes arrive segmented, and no segment changes its VNI', async (t) => {
  const { lab, vm101, vm105, far, vtepd } = await twoHosts(t, 'batch');
  t.equal((await vtepd.call('POST', '/v1/vnis', { vni: 200, peers: [FAR] })).status, 201);
  const listener = await Listener.start(lab, vm101, 9000);
  await vm105.outcome(['ping', '-c', '1', '-W', '5', NEAR_VM]);
  const python = (script: string) => ['python3', '-c', script];
  t.match(await vm105.outcome(python(superframe(NEAR_VM))), { code: 0 });
  await eventually('eight datagrams', () => listener.received.length >= 8);
  t.same(listener.received, EIGHT);
  const sent = await far.outcome(python(INJECTED));
  t.equal(sent.code, 0, sent.stdout + sent.stderr);
  await eventually(
    'the crafted superframes to arrive',
    async () => (await vtepd.metrics()).sum('vtepd_peer_rx_frames_total', { vni: 100 }) >= 8 + 12,
  );
  const metrics = await vtepd.metrics();
  t.equal(metrics.sum('vtepd_peer_rx_frames_total', { vni: 200 }), 0, 'no frame entered VNI 200');
  t.same(metrics.drops('decap', ''), {}, 'no datagram without VXLAN was received');
  assertIdentity(t, metrics);
});

t.test('a storm of a stranger fills only the queue of strangers, and each datagram is counted', async (t) => {
  const { lab, vm101, vm105, far, vtepd } = await twoHosts(t, 'batch');
  await far.ip(`address add ${STRANGER}/24 dev eth0`);
  await vm105.outcome(['ping', '-c', '1', '-W', '5', NEAR_VM]);
  const listener = await Listener.start(lab, vm101, 9000);
  const strangers = async () => {
    const metrics = await vtepd.metrics();
    return {
      read: metrics.drops('decap', 100).source_not_peer ?? 0,
      lost: metrics.drops('decap', '').source_not_peer ?? 0,
      overflow: metrics.drops('decap', '').rx_overflow ?? 0,
    };
  };
  vtepd.process.signal('SIGSTOP');
  t.match(await far.outcome(['python3', '-c', flood]), { code: 0 });
  await vm105.outcome(['python3', '-c', superframe(NEAR_VM)]);
  vtepd.process.signal('SIGCONT');
  await eventually('eight datagrams of the peer', () => listener.received.length >= 8);
  t.same(listener.received, EIGHT);
  await eventually('each datagram of the storm to be counted', async () => {
    const { read, lost } = await strangers();
    return read + lost >= FLOOD;
  });
  const { read, lost, overflow } = await strangers();
  t.equal(read + lost, FLOOD, `${read} datagrams were read, ${lost} were dropped at the queue`);
  t.ok(lost > 0 && read > 0, 'some datagrams were read and some were dropped');
  t.equal(overflow, 0, 'no datagram of a peer was lost');
});

t.test('two vtepd prove their identity to each other', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  const seen = await capture(near, 'eth0', lab.dir, 'udp port 4789');
  await lab.vtepd(near, `--vni 100 --peer ${FAR} --bridge ${BRIDGE}`);
  await lab.vtepd(far, `--vni 100 --peer ${NEAR} --bridge ${BRIDGE}`);
  /** True for a reply to an identity request (src/wire/probe.ts): kind 4. */
  const isIdentity = (frame: Buffer, source: string) => {
    const outer = udpOf(frame);
    return outer?.source === source && outer.payload.length === 24 && outer.payload[13] === 4;
  };
  for (const source of [NEAR, FAR])
    await seen.until(`the proof of ${source}`, (frame) => isIdentity(frame, source));
  await seen.stop();
});
