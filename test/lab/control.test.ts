/**
 * API and vtepctl of a daemon with traffic, on the topology of two-hosts.test.ts.
 *
 * All numbers that they show must match the wire.
 */
import t from 'tap';
import { UNDERLAY_DEV } from '../support/lab.js';
import { assertIdentity } from '../support/metrics.js';
import { segmentInSoftware } from '../support/netns.js';
import { capture, vxlanOf } from '../support/pcap.js';
import { assertPing, Listener, sendUdp } from '../support/traffic.js';
import { FAR, NEAR, twoHosts } from '../support/two-hosts.js';
import { ENGINES } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

const MAC = '02:00:00:00:00:42';
const OTHER = '192.168.80.12';

for (const engine of ENGINES) {
  t.test(`counters match the wire (${engine})`, async (t) => {
    const { lab, near, vm101, vm105, vtepd } = await twoHosts(t, engine);
    await assertPing(t, vm101, '10.10.10.105');
    const listener = await Listener.start(lab, vm105, 9000);
    await segmentInSoftware(near, UNDERLAY_DEV);
    const wire = await capture(near, UNDERLAY_DEV, lab.dir, `udp port 4789 and src host ${NEAR}`);
    // These counters are read after tcpdump has started. If vtepd sent an ARP request between an
    // earlier read and tcpdump's start, the counters would include the request and the capture
    // would not.
    const before = await vtepd.metrics();
    const texts = Array.from({ length: 300 }, (_, index) => `${index}:${'x'.repeat(index >> 3)}`);
    await sendUdp(vm101, '10.10.10.105', 9000, ...texts);
    await listener.until(texts.at(-1)!);
    // Path probes have the I flag clear; they are not frames of a VNI.
    const datagrams = (await wire.stop()).map((frame) => vxlanOf(frame)!).filter(({ flags }) => flags === 8);
    await eventually('all datagrams to be counted', async () => {
      const now = await vtepd.metrics();
      return sent(now, 'frames') - sent(before, 'frames') >= datagrams.length;
    });
    const after = await vtepd.metrics();
    t.ok(datagrams.length >= texts.length, `${datagrams.length} datagrams were on the wire`);
    t.equal(
      sent(after, 'frames') - sent(before, 'frames'),
      datagrams.length,
      'the counters count every frame',
    );
    const bytes = datagrams.reduce((sum, { inner }) => sum + inner.length, 0);
    t.equal(
      sent(after, 'bytes') - sent(before, 'bytes'),
      bytes,
      'the counters count the bytes of the inner frames',
    );
    assertIdentity(t, after);
  });

  t.test(`vtepctl commands take effect (${engine})`, async (t) => {
    const { vm101, vm105, vtepd } = await twoHosts(t, engine);
    await assertPing(t, vm101, '10.10.10.105');
    await vm105.ip('link set eth0 down');
    const ctl = async (command: string) => {
      const { code, stdout, stderr } = await vtepd.ctl(command);
      t.equal(code, 0, `vtepctl ${command}: ${stderr}`);
      return stdout;
    };
    const json = async (command: string) => JSON.parse(await ctl(`${command} --json`));

    t.match(await json('status'), { underlay: { io: engine, port: 4789 } });
    t.match(await ctl('status'), /100/, 'status lists the VNI');
    t.match(await ctl('peer list'), FAR);
    await ctl(`peer add ${OTHER}`);
    t.same(addresses(await json('peer list')), [FAR, OTHER]);
    await ctl(`fdb add ${MAC} ${OTHER}`);
    t.match(await ctl('fdb show'), new RegExp(`${MAC}.*${OTHER}.*static`));
    t.match(items(await json('fdb show')).filter(isStatic), [{ mac: MAC, peer: OTHER }]);
    await ctl(`fdb del ${MAC}`);
    t.same(items(await json('fdb show')).filter(isStatic), []);
    await ctl('fdb flush');
    t.same(items(await json('fdb show')), [], 'the FDB is empty');
    await ctl(`peer del ${OTHER}`);
    t.same(addresses(await json('peer list')), [FAR]);
    t.match(await ctl('counters'), /\d/);
    t.ok(await json('counters'));

    const unknown = await vtepd.ctl(`peer del ${OTHER}`);
    t.equal(unknown.code, 1, 'a refused command exits with 1');
    t.equal(unknown.stderr.trim().split('\n').length, 1, `the error is one line: ${unknown.stderr.trim()}`);
    t.equal((await vtepd.ctl('peer frobnicate')).code, 2, 'an unknown command exits with 2');
  });
}

t.test('API errors are problem documents with a code', async (t) => {
  const { vtepd } = await twoHosts(t, 'batch');
  const rows: [string, string, unknown, number, string | undefined][] = [
    ['GET', '/v1/vnis/101/peers', undefined, 404, 'vni_not_found'],
    ['POST', '/v1/vnis/100/peers', { address: FAR }, 409, 'peer_exists'],
    ['DELETE', `/v1/vnis/100/peers/${OTHER}`, undefined, 404, 'peer_not_found'],
    ['PUT', `/v1/vnis/100/fdb/${MAC}`, { peer: OTHER }, 409, 'peer_not_found'],
    ['POST', '/v1/vnis/100/peers', { address: 'no address' }, 400, undefined],
    ['GET', '/v1/nothing', undefined, 404, undefined],
  ];
  for (const [method, path, body, status, code] of rows) {
    const answer = await vtepd.call<Record<string, unknown>>(method, path, body);
    t.equal(answer.status, status, `${method} ${path}`);
    t.match(answer.contentType, /^application\/problem\+json/, 'the answer is a problem document');
    t.match(answer.body, { status, title: String, detail: String, code: code ?? String });
  }
});

function sent(metrics: { sum(name: string, labels: Record<string, string>): number }, unit: string): number {
  return metrics.sum(`vtepd_peer_tx_${unit}_total`, { peer: FAR });
}

/** Items of a plain list or of a page. */
function items(list: { items?: FdbLine[] } | FdbLine[]): FdbLine[] {
  return Array.isArray(list) ? list : (list.items ?? []);
}

interface FdbLine {
  mac: string;
  peer: string;
  type: string;
}

function isStatic({ type }: FdbLine): boolean {
  return type === 'static';
}

function addresses(list: { items?: { address: string }[] } | { address: string }[]): string[] {
  return (Array.isArray(list) ? list : (list.items ?? [])).map(({ address }) => address).sort();
}
