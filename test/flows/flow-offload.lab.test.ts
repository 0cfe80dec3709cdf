/**
 * Set-up of flow offload in a real kernel. After a failure or a close, no device and no descriptor
 * is left.
 *
 *     vtep100 (TAP)    vtflow4789 ┄ private namespace ┄ vtlead4789    eth0 192.0.2.1 ═ veth ═ eth1
 */
import '../host/own-namespace.js';
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import t, { type Test } from 'tap';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { ERRNO } from '../../src/abi/errno.js';
import { FLOW_CONFIG, FLOW_KEY_LEN, FLOW_VALUE_LEN, FLOW_VNIS } from '../../src/abi/flow-layout.js';
import { FlowOffload, type FlowSpec, type FlowTap } from '../../src/flows/flow-offload.js';
import { type Link, Machine } from '../../src/host/machine.js';
import type { TunnelPath } from '../../src/superframes/superframes.js';
import { run as command, start } from '../support/command.js';
import { ip, ipShow } from '../support/machine.js';
import { Capture } from '../support/pcap.js';
import { compileTool } from '../support/plain-user.js';
import { eventually } from '../support/wait.js';

const shim = loadShim();
const SPEC: FlowSpec = { port: 4789, sourcePorts: { min: 49_152, max: 65_535 }, mark: 0 };
const PATH_TO_PEER: TunnelPath = { device: 'eth0', local: Uint8Array.of(192, 0, 2, 1) };
const [FLOW, REDIRECT] = ['vtflow4789', 'vtlead4789'];
const TAP = 'vtep100';
/** Number of commands that run in the private namespace. */
const COMMANDS = 8;

const machine = await Machine.open(shim);
t.teardown(() => machine.close());

/** Returns a device as it is now. */
async function getLink(name: string): Promise<Link> {
  await machine.current();
  return machine.get(name);
}

t.before(() =>
  ip(`link add eth0 type veth peer name eth1
    link set eth0 up
    link set eth1 up
    address add 192.0.2.1/24 dev eth0
    tuntap add dev ${TAP} mode tap
    tuntap add dev tun0 mode tun`),
);

async function devices(): Promise<string[]> {
  const links = await ipShow('link show');
  return links.map(({ ifname, ifindex }) => `${ifindex} ${ifname}`);
}

/**
 * Returns the open descriptors of this process. An open descriptor keeps a namespace alive even if
 * no process runs in it.
 */
function descriptors(): string[] {
  const folder = '/proc/self/fd';
  return readdirSync(folder)
    .flatMap((fd) => {
      try {
        return [`${fd} ${readlinkSync(join(folder, fd))}`];
      } catch {
        // The descriptor of the folder itself.
        return [];
      }
    })
    .sort();
}

/**
 * Asserts that `act` leaves devices and descriptors as before. The kernel removes the devices of a
 * namespace with a delay.
 */
async function assertLeavesNothing(t: Test, act: () => Promise<unknown>): Promise<void> {
  const [devicesBefore, descriptorsBefore] = [await devices(), descriptors()];
  await act();
  t.strictSame(descriptors(), descriptorsBefore, 'no descriptor is left');
  const same = async () => JSON.stringify(await devices()) === JSON.stringify(devicesBefore);
  await eventually('devices to be as before', same);
}

async function assertRefused(
  t: Test,
  message: RegExp,
  answers: Partial<Shim> = {},
  device = PATH_TO_PEER.device,
): Promise<void> {
  await assertLeavesNothing(t, () =>
    t.rejects(FlowOffload.open({ ...shim, ...answers }, machine, SPEC, { ...PATH_TO_PEER, device }), {
      name: 'HostError',
      message,
    }),
  );
}

t.test('a failure of the kernel at any step is reported', async (t) => {
  const { index: underlay } = await getLink(PATH_TO_PEER.device);
  const attach = (answerOf: (ifindex: number) => number): Partial<Shim> => ({
    flowAttach: (program, ifindex, egress) => answerOf(ifindex) || shim.flowAttach(program, ifindex, egress),
  });
  await assertRefused(t, /cannot load the BPF programs for flow offload \(EPERM\): this requires CAP_BPF/, {
    flowOpen: () => -ERRNO.EPERM,
  });
  await assertRefused(t, /cannot create a network namespace \(EPERM\): this requires CAP_SYS_ADMIN/, {
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

t.test('an underlay device that is missing or has no MAC is an error', async (t) => {
  await assertRefused(t, /network device eth7 does not exist/, {}, 'eth7');
  await assertRefused(t, /tun0 has no MAC address/, {}, 'tun0');
});

t.test('an existing device with a needed name is an error and is kept', async (t) => {
  for (const name of [FLOW, REDIRECT]) {
    await ip(`link add ${name} type bridge`);
    await assertRefused(t, new RegExp(`device ${name} already exists`));
    await ip(`link delete dev ${name}`);
  }
});

t.test('a partly set up namespace is removed', async (t) => {
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
    await assertRefused(t, /^cannot set up the network namespace for flow offload: no more of it$/);
  }
});

/** Returns the TAP of a VNI by the name of its device. */
const tapNamed = (vni: number, name: string): FlowTap => ({ vni, index: machine.find(name)?.index ?? 0 });

t.test('close leaves nothing behind', async (t) => {
  await assertLeavesNothing(t, async () => {
    const offload = await FlowOffload.open(shim, machine, SPEC, PATH_TO_PEER);
    t.match(await getLink(FLOW), { up: true, kind: 'vxlan' });
    t.match(await getLink(REDIRECT), { up: true, kind: 'veth' });
    await offload.follow(() => [tapNamed(100, TAP)]);
    offload.on(PATH_TO_PEER);
    await offload.close();
    const left = await devices();
    t.notOk(
      left.some((device) => device.includes(FLOW) || device.includes(REDIRECT)),
      'the names can be used again at once',
    );
  });
});

t.test('follow reports devices that were removed, replaced or set down', async (t) => {
  const mac = '02:00:00:00:50:10';
  for (const [change, undo, message] of [
    [`link delete dev ${FLOW}`, '', /^vtflow4789 was removed or replaced$/],
    [`link delete dev ${REDIRECT}`, '', /^vtlead4789 was removed or replaced$/],
    [`link set dev ${FLOW} down`, '', /^vtflow4789 is down$/],
    ['link set dev eth0 down', 'link set dev eth0 up', /^eth0 is down$/],
    [`link set dev eth0 address ${mac}`, '', /^eth0 was removed or replaced$/],
  ] as const)
    await assertLeavesNothing(t, async () => {
      const offload = await FlowOffload.open(shim, machine, SPEC, PATH_TO_PEER);
      await offload.follow(() => []);
      await ip(change);
      await t.rejects(
        offload.follow(() => []),
        { name: 'HostError', message },
        change,
      );
      await offload.close();
      if (undo !== '') await ip(undo);
    });
  await assertLeavesNothing(t, async () => {
    const make = `link add eth2 address ${mac} type veth peer name eth3
      link set eth2 up`;
    await ip(make);
    const offload = await FlowOffload.open(shim, machine, SPEC, { ...PATH_TO_PEER, device: 'eth2' });
    await ip(`link delete dev eth2
      ${make}`);
    const message = /^eth2 was removed or replaced$/;
    await t.rejects(
      offload.follow(() => []),
      { name: 'HostError', message },
      'a replacement with the same name and MAC is detected',
    );
    await offload.close();
    await ip('link delete dev eth2');
  });
});

/** An offload with access to its maps and to the devices at whose egress it is attached. */
async function watched(answers: Partial<Shim> = {}) {
  let fds: Int32Array = new Int32Array(0);
  const indexes = new Map<number, number>();
  const offload = await FlowOffload.open(
    {
      ...shim,
      flowOpen: (opened) => {
        fds = opened;
        return shim.flowOpen(opened);
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
    machine,
    SPEC,
    PATH_TO_PEER,
  );
  /** Returns the first word of an entry, or a negative errno. */
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

t.test('follow attaches to added TAPs, detaches removed ones, and ignores other devices', async (t) => {
  await assertLeavesNothing(t, async () => {
    const { offload, seen, tapOf } = await watched();
    const indexOf = async (name: string) => (await getLink(name)).index;
    await ip('tuntap add dev vtep200 mode tap');
    const [first, second] = [await indexOf(TAP), await indexOf('vtep200')];
    const all = () => [
      tapNamed(100, TAP),
      tapNamed(200, 'vtep200'),
      tapNamed(300, 'eth1'),
      tapNamed(400, 'vtep400'),
    ];
    for (let pass = 0; pass < 2; pass++) {
      await offload.follow(all);
      t.same(seen(), [first, second]);
    }
    t.same(
      [100, 200, 300, 400].map(tapOf),
      [first, second, -ERRNO.ENOENT, -ERRNO.ENOENT],
      'only TAPs that exist are attached',
    );
    await ip(`tuntap del dev vtep200 mode tap
      tuntap add dev vtep200 mode tap`);
    const another = await indexOf('vtep200');
    t.not(another, second);
    await offload.follow(all);
    t.same(seen(), [first, another], 'a new device of the same name is attached');
    t.equal(tapOf(200), another);
    offload.detach(100);
    offload.detach(100);
    t.same(
      [seen(), tapOf(100)],
      [[another], -ERRNO.ENOENT],
      'the TAP of a detached VNI is no longer attached',
    );
    let gone = 0;
    const following = offload.follow(() => all().filter(({ vni }) => vni !== gone));
    gone = 200;
    offload.detach(200);
    await following;
    t.same([seen(), tapOf(200)], [[first], -ERRNO.ENOENT], 'a TAP detached meanwhile stays detached');
    await offload.follow(() => []);
    t.same(seen(), []);
    await offload.close();
    await ip('tuntap del dev vtep200 mode tap');
  });
});

t.test('a TAP that cannot be attached is an error', async (t) => {
  for (const answers of [
    {
      flowAttach: (program: number, ifindex: number, egress: boolean) =>
        egress ? -ERRNO.EINVAL : shim.flowAttach(program, ifindex, egress),
    },
    { flowPut: () => -ERRNO.E2BIG },
  ])
    await assertLeavesNothing(t, async () => {
      const { offload, seen } = await watched(answers);
      const message = /^cannot attach a BPF program \(EINVAL\)|^cannot add a TAP to flow offload \(E2BIG\)/;
      await t.rejects(
        offload.follow(() => [tapNamed(100, TAP)]),
        { name: 'HostError', message },
      );
      await offload.close();
      t.same(seen(), []);
    });
});

t.test('packets pass only between on and off', async (t) => {
  const { offload, local } = await watched();
  t.equal(local(), 0);
  offload.on(PATH_TO_PEER);
  t.equal(local(), Buffer.from(PATH_TO_PEER.local).readInt32LE());
  offload.off();
  t.equal(local(), 0);
  await offload.close();
});

t.test('only IPv4 gets from the private namespace to the underlay', async (t) => {
  for (const device of ['eth0', 'eth1']) writeFileSync(`/proc/sys/net/ipv6/conf/${device}/disable_ipv6`, '1');
  const far = '02:00:00:00:50:02';
  await ip(`neighbour replace 192.0.2.2 lladdr ${far} dev eth0 nud permanent`);
  const dir = mkdtempSync(join(tmpdir(), 'vtepd-flow-'));
  const program = await compileTool(dir, 'raw-frame');
  const file = join(dir, 'wire.pcap');
  const tcpdump = start(`tcpdump -i eth1 -n -s 0 -U --immediate-mode -Z root -w ${file}`);
  await tcpdump.untilOutput(/listening on/);
  const wire = new Capture(tcpdump, file);
  t.teardown(async () => {
    await tcpdump.stop('SIGKILL');
    rmSync(dir, { recursive: true });
  });
  let namespace = -1;
  const offload = await FlowOffload.open(
    { ...shim, flowNamespace: () => (namespace = shim.flowNamespace()) },
    machine,
    SPEC,
    PATH_TO_PEER,
  );
  t.teardown(() => offload.close());
  const inside = ['nsenter', `--net=/proc/${process.pid}/fd/${namespace}`];
  t.equal(
    await command([...inside, 'ip', '-6', 'address', 'show']),
    '',
    'the namespace has no IPv6 address, not even on lo',
  );
  const { mac } = await getLink(REDIRECT);
  const send = (type: string, payload: Buffer) => {
    const frame = `${mac}02:00:00:00:50:01`.replaceAll(':', '') + type + payload.toString('hex');
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
    'only the plain packet reaches the underlay',
  );
});

/**
 * EtherTypes, each followed by an IPv4 packet that has a route. The addresses of the packet are at
 * the offset at which the program reads addresses.
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

/** Builds a packet to a neighbour on the underlay. @param mark first byte of the payload */
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
