/**
 * Over IPv6 without `--local`, the source is a public address although the host prefers temporary
 * ones (RFC 8981): frames, probes, and the local address that vtepd reports agree.
 *
 *     near eth0 2001:db8:0:1::10 (public), 2001:db8:0:1:… (temporary) ═ veth ═ far eth0 2001:db8:0:1::11
 */
import t from 'tap';
import { createLab, UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { capture, ipOf } from '../support/pcap.js';
import { assertPing, assertTransfer } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const PUBLIC = '2001:db8:0:1::10';
const FAR = '2001:db8:0:1::11';
const SOME_BYTES = 2 << 20;
/** Public source as in `ipOf`. */
const PUBLIC_HEX = '20010db8000000010000000000000010';
const UDP = 17;
const ICMPV6 = 58;
/** ICMPv6 echo request. */
const ECHO = 128;

for (const io of ENGINES)
  t.test(`frames and probes have the public source, ${io}`, async (t) => {
    const lab = createLab(t);
    const { near, far } = await lab.hosts({ near: [], far: [`${FAR}/64`] });
    const conf = `/proc/sys/net/ipv6/conf/${UNDERLAY_DEV}`;
    await near.run(['sh', '-c', `echo 0 > ${conf}/disable_ipv6; echo 2 > ${conf}/use_tempaddr`]);
    await near.ip(`address add ${PUBLIC}/64 dev ${UNDERLAY_DEV} nodad mngtmpaddr`);
    await eventually('a temporary address', async () =>
      /temporary/.test(await near.run(`ip address show dev ${UNDERLAY_DEV} temporary`)),
    );
    t.notMatch(
      await near.run(`ip -6 route get ${FAR}`),
      `src ${PUBLIC} `,
      'the kernel prefers the temporary one',
    );
    const wire = await capture(far, UNDERLAY_DEV, lab.dir, `ip6 dst ${FAR}`);
    await lab.vtepd(far, `--vni 100 --peer ${PUBLIC} --address 10.10.10.2/24 --io ${io}`);
    const vtepd = await lab.vtepd(near, `--vni 100 --peer ${FAR} --address 10.10.10.1/24 --io ${io}`);
    await assertPing(t, near, '10.10.10.2');
    await assertTransfer(t, near, far, '10.10.10.2', SOME_BYTES);
    t.equal((await vtepd.call('POST', `/v1/vnis/100/peers/${FAR}/probe`)).status, 200);
    const { body } = await vtepd.get<{ underlay: { local: string[] } }>('/v1/status');
    t.same(body.underlay.local, [PUBLIC]);
    const packets = (await wire.stop()).flatMap((frame) => ipOf(frame) ?? []);
    const sources = (protocol: number, type?: number) => [
      ...new Set(
        packets
          .filter(
            (packet) => packet.protocol === protocol && (type === undefined || packet.payload[0] === type),
          )
          .map(({ source }) => source),
      ),
    ];
    t.same(sources(UDP), [PUBLIC_HEX], 'frames and probes by UDP');
    t.same(sources(ICMPV6, ECHO), [PUBLIC_HEX], 'probes by ICMPv6');
    assertIdentity(t, await vtepd.metrics());
  });
