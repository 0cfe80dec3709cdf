/**
 * What flows through the kernel need, set up in a real one: when something fails half-way, or is
 * taken back, nothing stays.
 *
 *     vtep100 (TAP)     vtflow4789 ┄ private namespace ┄ vtlead4789     eth0 192.0.2.1 ==== veth ==== eth1
 */
import '../host/own-namespace.js';
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { FLOW_CONFIG, FLOW_KEY_LEN, FLOW_VALUE_LEN, FLOW_VNIS } from '../../src/abi/flow-layout.js';
import { FlowOffload, type FlowSpec } from '../../src/flows/flow-offload.js';
import { ip } from '../../src/host/ip-command.js';
import { getLink } from '../../src/host/link.js';
import type { TunnelPath } from '../../src/superframes/superframes.js';
import { run as command, start } from '../support/command.js';
import { Capture } from '../support/pcap.js';
import { compileTool } from '../support/plain-user.js';
import { eventually } from '../support/wait.js';

const shim = loadShim();
const SPEC: FlowSpec = { port: 4789, sourcePorts: { min: 49_152, max: 65_535 } };
const WAY: TunnelPath = { device: 'eth0', local: Uint8Array.of(192, 0, 2, 1) };
const [FLOW, LEAD] = ['vtflow4789', 'vtlead4789'];
const TAP = 'vtep100';
/** What is done in the private namespace, in so many commands. */
const COMMANDS = 8;

async function run(commands: string): Promise<void> {
  for (const line of commands.trim().split('\n')) await ip(line.trim().split(/\s+/));
}

t.before(() =>
  run(`link add eth0 type veth peer name eth1
    link set eth0 up
    link set eth1 up
    address add 192.0.2.1/24 dev eth0
    tuntap add dev ${TAP} mode tap
    tuntap add dev tun0 mode tun`),
);

async function devices(): Promise<string[]> {
  const links = (await ip(['link', 'show'])) as { ifname: string; ifindex: number }[];
  return links.map(({ ifname, ifindex }) => `${ifindex} ${ifname}`);
}

/** What this process has open; a namespace that nobody is in lives by such a descriptor alone. */
function descriptors(): string[] {
  const folder = '/proc/self/fd';
  return readdirSync(folder)
    .flatMap((fd) => {
      try {
        return [`${fd} ${readlinkSync(join(folder, fd))}`];
      } catch {
        // That of the folder itself.
        return [];
      }
    })
    .sort();
}

/**
 * After `act` there are the devices and descriptors that were there before. A namespace takes its
 * devices along a moment later.
 */
async function assertLeavesNothing(t: Test, act: () => Promise<unknown>): Promise<void> {
  const [devicesBefore, descriptorsBefore] = [await devices(), descriptors()];
  await act();
  t.strictSame(descriptors(), descriptorsBefore, 'no descriptor');
  const same = async () => JSON.stringify(await devices()) === JSON.stringify(devicesBefore);
  await eventually('devices to be as before', same);
}

async function assertRefused(
  t: Test,
  message: RegExp,
  answers: Partial<Shim> = {},
  device = WAY.device,
): Promise<void> {
  await assertLeavesNothing(t, () =>
    t.rejects(FlowOffload.open({ ...shim, ...answers }, SPEC, { ...WAY, device }), {
      name: 'HostError',
      message,
    }),
  );
}

t.test('what the kernel refuses, at whatever step', async (t) => {
  const { index: underlay } = await getLink(WAY.device);
  const attach = (answerOf: (ifindex: number) => number): Partial<Shim> => ({
    flowAttach: (program, ifindex, egress) => answerOf(ifindex) || shim.flowAttach(program, ifindex, egress),
  });
  await assertRefused(t, /no programs for flows can be loaded \(EPERM\): it takes CAP_BPF/, {
    flowOpen: () => -ERRNO.EPERM,
  });
  await assertRefused(t, /no network namespace can be made \(EPERM\): it takes CAP_SYS_ADMIN/, {
    flowNamespace: () => -ERRNO.EPERM,
  });
  const noProgram = /^cannot attach a BPF program \(EINVAL\)/;
  await assertRefused(t, noProgram, { tunnelAttach: () => -ERRNO.EINVAL });
  await assertRefused(
    t,
    noProgram,
    attach((ifindex) => (ifindex === underlay ? 0 : -ERRNO.EINVAL)),
  );
  await assertRefused(
    t,
    noProgram,
    attach((ifindex) => (ifindex === underlay ? -ERRNO.EINVAL : 0)),
  );
});

t.test('an underlay that is not there, or has no MAC', async (t) => {
  await assertRefused(t, /network device eth7 does not exist/, {}, 'eth7');
  await assertRefused(t, /tun0 has no MAC address/, {}, 'tun0');
});

t.test('a name that is taken, and stays so', async (t) => {
  for (const name of [FLOW, LEAD]) {
    await run(`link add ${name} type bridge`);
    await assertRefused(t, new RegExp(`there is a device ${name} already`));
    await run(`link delete dev ${name}`);
  }
});

t.test('a namespace that is set up in part', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vtepd-nsenter-'));
  const { PATH = '' } = process.env;
  t.teardown(() => {
    process.env.PATH = PATH;
    rmSync(folder, { recursive: true });
  });
  process.env.PATH = `${folder}${delimiter}${PATH}`;
  for (let commands = 0; commands <= COMMANDS; commands++) {
    const first = `head -n ${commands} | env 'PATH=${PATH}' nsenter "$@"`;
    writeFileSync(join(folder, 'nsenter'), `#!/bin/sh\n${first}\necho 'no more of it' >&2\nexit 1\n`);
    chmodSync(join(folder, 'nsenter'), 0o755);
    await assertRefused(t, /^the namespace for flows cannot be set up: no more of it$/);
  }
});

t.test('closed, nothing is left', async (t) => {
  await assertLeavesNothing(t, async () => {
    const offload = await FlowOffload.open(shim, SPEC, WAY);
    t.match(await getLink(FLOW), { up: true, kind: 'vxlan' });
    t.match(await getLink(LEAD), { up: true, kind: 'veth' });
    await offload.follow(() => [{ vni: 100, tap: TAP }]);
    offload.on(WAY);
    await offload.close();
    const left = await devices();
    t.notOk(
      left.some((device) => device.includes(FLOW) || device.includes(LEAD)),
      'who comes next has the names at once',
    );
  });
});

t.test('a network that has changed under it is told', async (t) => {
  const mac = '02:00:00:00:50:10';
  for (const [change, undo, message] of [
    [`link delete dev ${FLOW}`, '', /^vtflow4789 is gone, or another$/],
    [`link delete dev ${LEAD}`, '', /^vtlead4789 is gone, or another$/],
    [`link set dev ${FLOW} down`, '', /^vtflow4789 is down$/],
    ['link set dev eth0 down', 'link set dev eth0 up', /^eth0 is down$/],
    [`link set dev eth0 address ${mac}`, '', /^eth0 is gone, or another$/],
  ] as const)
    await assertLeavesNothing(t, async () => {
      const offload = await FlowOffload.open(shim, SPEC, WAY);
      await offload.follow(() => []);
      await run(change);
      await t.rejects(
        offload.follow(() => []),
        { name: 'HostError', message },
        change,
      );
      await offload.close();
      if (undo !== '') await run(undo);
    });
  await assertLeavesNothing(t, async () => {
    const make = `link add eth2 address ${mac} type veth peer name eth3
      link set eth2 up`;
    await run(make);
    const offload = await FlowOffload.open(shim, SPEC, { ...WAY, device: 'eth2' });
    await run(`link delete dev eth2
      ${make}`);
    const message = /^eth2 is gone, or another$/;
    await t.rejects(
      offload.follow(() => []),
      { name: 'HostError', message },
      'of the same name and MAC',
    );
    await offload.close();
    await run('link delete dev eth2');
  });
});

/** An offload, what its maps have, and at which devices it sees what leaves them. */
async function watched(answers: Partial<Shim> = {}) {
  let fds: Int32Array = new Int32Array(0);
  const indexes = new Map<number, number>();
  const offload = await FlowOffload.open(
    {
      ...shim,
      flowOpen: (own) => {
        fds = own;
        return shim.flowOpen(own);
      },
      flowAttach: (program, ifindex, egress) => {
        const fd = shim.flowAttach(program, ifindex, egress);
        if (egress) indexes.set(fd, ifindex);
        return fd;
      },
      close: (fd) => {
        indexes.delete(fd);
        return shim.close(fd);
      },
      ...answers,
    },
    SPEC,
    WAY,
  );
  /** First word of an entry; a negative errno. */
  const entry = (map: number, number: number): number => {
    const [key, value] = [Buffer.alloc(FLOW_KEY_LEN), Buffer.alloc(FLOW_VALUE_LEN)];
    key.writeInt32LE(number);
    return shim.flowGet(fds[map], key, value) || value.readInt32LE();
  };
  return {
    offload,
    seen: () => [...indexes.values()],
    tapOf: (vni: number) => entry(FLOW_VNIS, vni),
    local: () => entry(FLOW_CONFIG, 0),
  };
}

t.test('TAPs are seen as they come and go, and nothing else', async (t) => {
  await assertLeavesNothing(t, async () => {
    const { offload, seen, tapOf } = await watched();
    const indexOf = async (name: string) => (await getLink(name)).index;
    await run('tuntap add dev vtep200 mode tap');
    const [first, second] = [await indexOf(TAP), await indexOf('vtep200')];
    const all = [
      { vni: 100, tap: TAP },
      { vni: 200, tap: 'vtep200' },
      { vni: 300, tap: 'eth1' },
      { vni: 400, tap: 'vtep400' },
    ];
    for (let look = 0; look < 2; look++) {
      await offload.follow(() => all);
      t.same(seen(), [first, second]);
    }
    t.same(
      [100, 200, 300, 400].map(tapOf),
      [first, second, -ERRNO.ENOENT, -ERRNO.ENOENT],
      'neither a veth nor one that is not there',
    );
    await run(`tuntap del dev vtep200 mode tap
      tuntap add dev vtep200 mode tap`);
    const another = await indexOf('vtep200');
    t.not(another, second);
    await offload.follow(() => all);
    t.same(seen(), [first, another], 'another of the same name');
    t.equal(tapOf(200), another);
    offload.detach(100);
    offload.detach(100);
    t.same([seen(), tapOf(100)], [[another], -ERRNO.ENOENT], 'detached');
    let rest = all;
    const following = offload.follow(() => rest);
    rest = all.filter(({ vni }) => vni !== 200);
    offload.detach(200);
    await following;
    t.same([seen(), tapOf(200)], [[first], -ERRNO.ENOENT], 'one that is detached meanwhile stays so');
    await offload.follow(() => []);
    t.same(seen(), []);
    await offload.close();
    await run('tuntap del dev vtep200 mode tap');
  });
});

t.test('a TAP that cannot be watched', async (t) => {
  for (const answers of [
    {
      flowAttach: (program: number, ifindex: number, egress: boolean) =>
        egress ? -ERRNO.EINVAL : shim.flowAttach(program, ifindex, egress),
    },
    { flowPut: () => -ERRNO.E2BIG },
  ])
    await assertLeavesNothing(t, async () => {
      const { offload, seen } = await watched(answers);
      const message = /^cannot attach a BPF program \(EINVAL\)|^no more TAPs can be watched \(E2BIG\)/;
      await t.rejects(
        offload.follow(() => [{ vni: 100, tap: TAP }]),
        { name: 'HostError', message },
      );
      await offload.close();
      t.same(seen(), []);
    });
});

t.test('nothing passes but between on and off', async (t) => {
  const { offload, local } = await watched();
  t.equal(local(), 0);
  offload.on(WAY);
  t.equal(local(), Buffer.from(WAY.local).readInt32LE());
  offload.off();
  t.equal(local(), 0);
  await offload.close();
});

t.test('nothing but IPv4 gets from the private namespace to the underlay', async (t) => {
  for (const device of ['eth0', 'eth1']) writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, '1');
  const far = '02:00:00:00:50:02';
  await run(`neighbour replace 192.0.2.2 lladdr ${far} dev eth0 nud permanent`);
  const dir = mkdtempSync(join(tmpdir(), 'vtepd-flow-'));
  const program = await compileTool(dir, 'raw-frame');
  const file = join(dir, 'wire.pcap');
  const tcpdump = start(`tcpdump -i eth1 -n -s 0 -U --immediate-mode -Z root -w ${file}`);
  await tcpdump.says(/listening on/);
  const wire = new Capture(tcpdump, file);
  t.teardown(async () => {
    await tcpdump.stop('SIGKILL');
    rmSync(dir, { recursive: true });
  });
  let namespace = -1;
  const offload = await FlowOffload.open(
    { ...shim, flowNamespace: () => (namespace = shim.flowNamespace()) },
    SPEC,
    WAY,
  );
  t.teardown(() => offload.close());
  const inside = ['nsenter', `--net=/proc/${process.pid}/fd/${namespace}`];
  t.equal(await command([...inside, 'ip', '-6', 'address', 'show']), '', 'no IPv6 there, not even of lo');
  const { mac: lead } = await getLink(LEAD);
  const send = (type: string, payload: Buffer) => {
    const frame = `${lead}02:00:00:00:50:01`.replaceAll(':', '') + type + payload.toString('hex');
    return command([...inside, program, 'out', '3', frame]);
  };
  for (const type of FOREIGN) await send(type, ipv4Udp(1));
  await send('0800', ipv4Udp(2));
  await wire.until('the plain packet', isUdp(2));
  const frames = await wire.frames();
  t.ok(frames.length >= 1);
  t.same(
    frames.filter((frame) => !isUdp(2)(frame)).map((frame) => frame.toString('hex')),
    [],
    'that one alone',
  );
});

/**
 * EtherTypes before an IPv4 packet that has a route: its addresses lie where those of the program
 * are read.
 */
const FOREIGN = [
  '86dd', // IPv6
  '0806', // ARP
  '88cc', // LLDP
  '8847', // MPLS
  '0040', // a length instead of a type
  '8100000a0800', // a tag
  '88a8000a8100000b0800', // two tags
];

/** From our address to a neighbour on the underlay. @param mark first byte of the payload */
function ipv4Udp(mark: number): Buffer {
  const packet = Buffer.alloc(48);
  packet.set([0x45, 0, 0, 48, 0, 1, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += packet.readUInt16BE(at);
  packet.writeUInt16BE(~((sum & 0xffff) + (sum >>> 16)) & 0xffff, 10);
  packet.set([0x80, 0, 0x12, 0xb5, 0, 28, 0, 0, mark], 20);
  return packet;
}

function isUdp(mark: number): (frame: Buffer) => boolean {
  return (frame) => frame.readUInt16BE(12) === 0x0800 && frame[14 + 9] === 17 && frame[14 + 28] === mark;
}
