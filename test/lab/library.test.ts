/**
 * The package as a library, with the example of docs/examples that the README shows.
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

t.test('the example forwards, prints learned entries, and leaves nothing behind', async (t) => {
  const lab = createLab(t);
  const { near, far } = await lab.hosts({ near: [`${NEAR}/24`], far: [`${FAR}/24`] });
  await far.ip(`link add vxlan100 type vxlan id 100 local ${FAR} remote ${NEAR} dstport 4789 dev eth0
    link set vxlan100 address 02:00:00:00:00:02 mtu 1450 up
    address add 10.10.10.2/24 dev vxlan100`);
  // Broadcasts begin before the program starts: the program also reports entries that vtepd learned
  // before the program subscribed.
  lab.keep(far.start('ping -b -q -i 0.005 -c 4000 10.10.10.255'));
  const program = lab.keep(near.start([process.execPath, EXAMPLE]));
  await program.untilOutput(/VNI 100 is on vtep100/, 10_000);
  await assertPing(t, far, '10.10.10.1');
  await program.untilOutput(/02:00:00:00:00:02 is behind 192\.168\.80\.11/);
  t.equal(await program.stop('SIGINT'), 0, 'the program exits with 0');
  await eventually('devices to be removed', async () => (await near.devices()).join() === 'eth0');
});

t.test('parseMac and formatMac convert MACs from and to text', async (t) => {
  const program = `import { formatMac, parseMac } from 'vtepd';
    const { high, low } = parseMac('02-00-00-00-00-FE');
    console.log(formatMac(high, low), parseMac('02:00'));`;
  const host = await createLab(t).namespace('host');
  const output = await host.run([process.execPath, '--input-type=module', '--eval', program]);
  t.equal(output, '02:00:00:00:00:fe undefined\n');
});

t.test('Vtep.start rejects with typed errors', async (t) => {
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
    ['{ underlayDev: "eth7" }', 'HostError --underlay-dev eth7: network device does not exist'],
  ];
  for (const [options, expected] of rows) t.match(await host.run(program(options)), expected, options);
});

t.test('the README contains the example unchanged', async (t) => {
  t.match(readFileSync('README.md', 'utf8'), readFileSync(EXAMPLE, 'utf8').trim());
});
