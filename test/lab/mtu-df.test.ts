/**
 * DF of the outer header, and an overlay MTU of 9000 over an underlay of 1500.
 *
 * With `--df set` no packet of a VM causes outer fragments; with `--df unset` large packets do.
 * Topology of test/support/narrow-vms.ts.
 */
import t from 'tap';
import { assertIdentity } from '../support/metrics.js';
import { FAMILIES, farVtepd, kernelEnd, narrowVms, nearVtepd, VMA, VMB } from '../support/narrow-vms.js';
import { capture } from '../support/pcap.js';
import { assertPing, assertTransfer, Listener, sendUdp } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';

const TRANSFER_BYTES = 50 << 20;
const PORT = 9000;
/** Filters for fragments: the MF flag or an offset in IPv4, a fragment header in IPv6. */
const FRAGMENTS = { ipv4: 'ip[6:2] & 0x3fff != 0', ipv6: 'ip6[6] == 44' };
/** Ping with packets of 1500 bytes, which are larger than the path MTU. */
const LARGE = 'ping -n -q -c 5 -i 0.1 -W 1 -s 1472';

for (const family of FAMILIES) {
  for (const engine of ENGINES) {
    t.test(`no outer fragment leaves with --df set (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine);
      const far = await farVtepd(path, family, engine);
      const fragments = await Promise.all(
        [path.near, path.far].map((host) => capture(host, 'eth0', path.lab.dir, FRAGMENTS[family])),
      );
      await assertPing(t, path.vma, VMB.ipv4);
      for (const df of ['do', 'dont']) await path.vma.outcome(`${LARGE} -M ${df} ${VMB.ipv4}`);
      t.equal(
        (await path.vma.outcome(`${LARGE} -M dont ${VMB.ipv4}`)).code,
        0,
        'the inner packet is fragmented',
      );
      await assertTransfer(t, path.vma, path.vmb, VMB.ipv4, 1 << 20);
      for (const capture of fragments) t.same(await capture.stop(), []);
      for (const vtepd of [near, far]) assertIdentity(t, await vtepd.metrics());
    });

    t.test(`outer fragments leave with --df unset (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1400);
      const near = await nearVtepd(path, family, engine, '--df unset');
      await farVtepd(path, family, engine, '--df unset');
      const fragments = await capture(path.near, 'eth0', path.lab.dir, FRAGMENTS[family]);
      await assertPing(t, path.vma, VMB.ipv4);
      const { code } = await path.vma.outcome(`${LARGE} -M do ${VMB.ipv4}`);
      t.equal(code, 0, 'a packet with inner DF arrives');
      t.not((await fragments.stop()).length, 0);
      t.equal((await near.metrics()).sum('vtepd_fragments_total'), 0, 'vtepd made no inner fragments');
      assertIdentity(t, await near.metrics());
    });

    t.test(`overlay MTU 9000 works over 1500 against kernel vxlan (${family}, ${engine})`, async (t) => {
      const path = await narrowVms(t, 1500, 9000);
      const near = await nearVtepd(path, family, engine, '--mtu 9000 --df unset');
      await kernelEnd(path, 'far', family, '', 9000);
      await assertPing(t, path.vma, VMB.ipv4);
      const listener = await Listener.start(path.lab, path.vmb, PORT);
      const text = 'x'.repeat(8900);
      await sendUdp(path.vma, VMB.ipv4, PORT, text);
      await listener.until(text);
      // Kernel vxlan does not fragment outer IPv6 packets.
      if (family === 'ipv4')
        t.equal(
          (await path.vma.outcome(`ping -n -q -c 3 -M do -s 8972 ${VMB.ipv4}`)).code,
          0,
          'pings of full size are answered',
        );
      await assertTransfer(t, path.vma, path.vmb, VMB.ipv4, TRANSFER_BYTES);
      await assertTransfer(t, path.vmb, path.vma, VMA.ipv4, TRANSFER_BYTES);
      assertIdentity(t, await near.metrics());
    });
  }
}

t.test('--df inherit copies DF of the inner packet', async (t) => {
  const path = await narrowVms(t, 1400);
  const near = await nearVtepd(path, 'ipv4', 'batch', '--df inherit');
  await farVtepd(path, 'ipv4', 'batch', '--df inherit');
  const datagrams = await capture(path.near, 'eth0', path.lab.dir, 'udp dst port 4789');
  await assertPing(t, path.vma, VMB.ipv4);
  for (const [df, len] of [
    ['do', 700],
    ['dont', 701],
  ])
    await path.vma.run(`ping -n -q -c 1 -M ${df} -s ${len} ${VMB.ipv4}`);
  const sent = await datagrams.stop();
  const outerDf = (payloadLen: number) => {
    const found = sent.find((frame) => frame.length === 14 + 36 + 14 + 28 + payloadLen);
    return found && (found[20] & 0x40) !== 0;
  };
  t.same([outerDf(700), outerDf(701)], [true, false]);
  assertIdentity(t, await near.metrics());
});
