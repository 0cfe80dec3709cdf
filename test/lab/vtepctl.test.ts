/**
 * vtepctl with a daemon that carries traffic, on the topology of two-hosts.test.ts.
 *
 * It adds, changes and removes VNIs while another VNI carries traffic, prints events, passes
 * packets to tcpdump, and shows continuous views.
 */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { assertPing } from '../support/traffic.js';
import { FAR, type TwoHosts, twoHosts } from '../support/two-hosts.js';
import { VTEPCTL } from '../support/vtepd.js';
import { eventually } from '../support/wait.js';

t.test('VNIs can be added, changed and removed, and events report the changes', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vm101, vtepd } = hosts;
  const stream = near.start(shell(hosts, '$ctl events --type vni,peer -c 4 --json'));
  // Adds and removes a peer until an event arrives.
  await eventually('events to arrive', async () => {
    await vtepd.ctl('peer add 192.168.80.99 --vni 100');
    await vtepd.ctl('peer del 192.168.80.99 --vni 100');
    return stream.stdout.length > 0;
  });
  const ctl = async (command: string) => {
    const { code, stdout, stderr } = await vtepd.ctl(command);
    t.equal(code, 0, `vtepctl ${command}: ${stderr}`);
    return stdout;
  };

  await ctl(`vni add 200 --bridge br-other --peer ${FAR},flood=off --ageing 60`);
  const shown = JSON.parse(await ctl('vni show 200 --json'));
  t.match(shown, { vni: 200, tap: 'vtep200', bridge: 'br-other', ageing: 60, peers: 1 });
  t.match(await ctl('vni list'), /^100 +vtep100 [\s\S]*^200 +vtep200 /m);
  await ctl('vni set 200 --ageing 120 --flood off');
  t.match(JSON.parse(await ctl('vni show 200 --json')), { ageing: 120, flood: false });
  const stale = await vtepd.ctl(`vni set 200 --ageing 1 --if-match ${shown.etag}`);
  t.match(
    stale,
    { code: 1, stderr: /^vtepctl: VNI 200 has changed/ },
    'a change with an outdated etag is refused',
  );
  t.match(await vtepd.ctl('vni add 200'), { code: 1, stderr: /^vtepctl: .*200/ });
  t.match(await vtepd.ctl('peer list'), { code: 2, stderr: /configured VNIs: 100, 200/ });
  await ctl('peer add 192.168.80.12 --vni 200');
  await ctl('vni del 200');
  t.equal((await near.outcome('ip link show vtep200')).code, 1, 'the TAP of VNI 200 is removed');
  t.match(await vtepd.ctl('vni del 200'), { code: 1, stderr: /200/ });
  t.match(await ctl('reload'), /\w/);
  await assertPing(t, vm101, '10.10.10.105');

  t.equal(await stream.exit(10_000), 0, stream.stderr);
  const events = stream.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.ok(
    events.some(({ type, vni, action }) => type === 'vni' && vni === 200 && action === 'added'),
    stream.stdout,
  );
});

t.test('captures for tcpdump and continuous views end cleanly', async (t) => {
  const hosts = await twoHosts(t, 'batch');
  const { near, vm101, lab } = hosts;
  await assertPing(t, vm101, '10.10.10.105');
  const pings = vm101.start('ping -i 0.02 10.10.10.105');
  t.teardown(() => pings.stop());

  const piped = await run(t, hosts, '$ctl capture --vni 100 -c 6 | tcpdump -n -r -; echo $?');
  t.match(piped.stdout, /IP 10\.10\.10\.101 > 10\.10\.10\.105: ICMP echo request[\s\S]*echo reply/);
  t.match(piped.stdout, /\n0\n$/);
  t.match(piped.stderr, /^6 packets captured$/m);

  const file = join(lab.dir, 'underlay.pcap');
  const begun = `until [ -s ${file} ] && [ $(stat -c %s ${file}) -gt 1000 ]; do sleep 0.1; done`;
  await run(t, hosts, `$ctl capture --point underlay -w ${file} & ${begun}; kill -INT $!; wait $!; echo $?`);
  const read = await near.outcome(`tcpdump -n -r ${file}`);
  t.match(read, { code: 0, stdout: /VXLAN, flags \[I\] \(0x08\), vni 100/ });
  t.notMatch(read.stderr, /truncated/, 'the file contains whole packets only');

  const left = await run(t, hosts, '$ctl capture --vni 100 | head -c 24 | wc -c; echo $?');
  t.equal(left.stdout, '24\n0\n', 'a reader that stops early ends the capture cleanly');

  const top = await run(t, hosts, '$ctl top -b -n 2');
  t.match(top.stdout, new RegExp(`\nVNI 100 [\\s\\S]*\n  ${FAR} +[1-9]`), 'the second reading shows rates');
  const json = await run(t, hosts, '$ctl top --json -n 2 | tail -n 1');
  const [vni] = JSON.parse(json.stdout).vnis;
  t.ok(vni.out.frames > 20 && vni.out.frames < 80, `${vni.out.frames} frames per second leave the VNI`);
  t.ok(vni.in.frames > 20 && vni.in.frames < 80, `${vni.in.frames} frames per second enter the VNI`);
  const table = join(lab.dir, 'table.txt');
  const rates = `until grep -qE 'tap rx +[0-9]+ +[0-9]+ +[1-9]' ${table} 2>/dev/null; do sleep 0.1; done`;
  const ended = `kill -INT $!; wait $!; echo code $?; cat ${table}`;
  const watched = await run(t, hosts, `$ctl counters --watch > ${table} & ${rates}; ${ended}`);
  t.match(watched.stdout, /tap rx +\d+ +\d+ +[1-9]/);
  t.match(watched.stdout, /^code 0$/m);
});

async function run(t: Test, hosts: TwoHosts, script: string) {
  const outcome = await hosts.near.outcome(shell(hosts, script), { limitMs: 30_000 });
  t.equal(outcome.code, 0, outcome.stderr);
  return outcome;
}

/** Shell command in which `$ctl` is vtepctl of this daemon. */
function shell({ vtepd }: TwoHosts, script: string): string[] {
  const ctl = `${process.execPath} ${VTEPCTL} --api unix:${vtepd.socket}`;
  return ['bash', '-c', `set -o pipefail; ctl="${ctl}"; ${script}`];
}
