/**
 * The package as a library: the example of docs/examples, which the README shows, between two hosts.
 *
 *     library.mjs  near  192.168.80.10 ====== veth ====== 192.168.80.11  far  vxlan100 10.10.10.2
 */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { createLab } from '../support/lab.js';
import { assertPing } from '../support/traffic.js';
import { FAR, NEAR } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

const EXAMPLE = 'docs/examples/library.mjs';

t.test('the example forwards, tells what it learns, and leaves nothing', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await far.ip(`link add vxlan100 type vxlan id 100 local ${FAR} remote ${NEAR} dstport 4789 dev eth0
    link set vxlan100 address 02:00:00:00:00:02 mtu 1450 up
    address add 10.10.10.2/24 dev vxlan100`);
  // From the first moment on: what is learned before the program listens is told, too.
  lab.keep(far.start('ping -b -q -i 0.005 -c 4000 10.10.10.255'));
  const program = lab.keep(near.start([process.execPath, EXAMPLE]));
  await program.says(/VNI 100 is on vtep100/, 10_000);
  await assertPing(t, far, '10.10.10.1');
  await program.says(/02:00:00:00:00:02 is behind 192\.168\.80\.11/);
  t.equal(await program.stop('SIGINT'), 0, 'it ends by itself');
  await eventually('devices to go', async () => (await near.devices()).join() === 'eth0');
});

t.test('MACs from and to text', async (t) => {
  const program = `import { formatMac, parseMac } from 'vtepd';
    const { high, low } = parseMac('02-00-00-00-00-FE');
    console.log(formatMac(high, low), parseMac('02:00'));`;
  const host = await createLab(t).namespace('host');
  const said = await host.run([process.execPath, '--input-type=module', '--eval', program]);
  t.equal(said, '02:00:00:00:00:fe undefined\n');
});

t.test('errors have types', async (t) => {
  const lab = createLab(t);
  const host = await lab.namespace('host');
  const program = (options: string) => [
    process.execPath,
    '--input-type=module',
    '--eval',
    `import { Vtep } from 'vtepd';
     await Vtep.start(${options}).catch(({ constructor, message }) => console.log(constructor.name, message));`,
  ];
  const rows: [string, string][] = [
    [
      '{ vnis: [{ vni: 1, mtu: 20 }] }',
      'ConfigError vnis[0].mtu 20: must be "auto" or a whole number from 68 to 65535',
    ],
    ['{ api: "off" }', 'ConfigError api: unknown key'],
    [
      '{ vnis: [{ vni: 1, peers: [{ address: "192.0.2.300" }] }] }',
      'ConfigError vnis[0].peers[0] 192.0.2.300: must be',
    ],
    ['{ local: "192.0.2.1" }', 'HostError --local 192.0.2.1 is not an address of this machine'],
  ];
  for (const [options, said] of rows) t.match(await host.run(program(options)), said, options);
});

t.test('the README shows the example as it is', async (t) => {
  t.match(readFileSync('README.md', 'utf8'), readFileSync(EXAMPLE, 'utf8').trim());
});
