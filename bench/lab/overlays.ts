/**
 * Other userspace overlays from Debian packages, configured for speed: no cipher, fitting MTU.
 *
 * All of them write only to the scratch directory of the benchmark, and none touches an instance
 * that the system runs.
 */
import { appendFileSync, copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { outcome, type Running, run } from '../../test/support/command.js';
import { eventually, lastLines } from '../../test/support/wait.js';
import { scratchDirectory } from './scratch.js';
import { type Site, UNDERLAY_DEV } from './site.js';
import { VNI, type Vtep } from './vteps.js';

const READY_MS = 10_000;
/** Overlay MTU: fits into an underlay MTU of 1500 with the headers of each overlay. */
const MTU = 1400;
const ETHERNET_LEN = 14;

const PROGRAMS: Readonly<Record<string, string>> = {
  'open vswitch': 'ovs-vswitchd',
  fastd: 'fastd',
  tinc: 'tincd',
};

/** @returns true if a program, or the program of an overlay, is in PATH, /usr/sbin or /sbin */
export function isInstalled(name: string): boolean {
  const program = PROGRAMS[name] ?? name;
  return `${process.env.PATH}:/usr/sbin:/sbin`.split(':').some((folder) => existsSync(join(folder, program)));
}

/**
 * Open vSwitch with the userspace datapath.
 *
 * Open vSwitch routes the tunnel itself, so the underlay device belongs to it as well: br-phy has
 * eth0 and its address, br-int the tunnel and the overlay address.
 */
export const openVswitch: Vtep = async (site, peer) => {
  const { host } = site;
  const own = scratchDirectory('ovs');
  const database = `unix:${own}/db.sock`;
  const env = { OVS_RUNDIR: own, OVS_LOGDIR: own, OVS_DBDIR: own, OVS_SYSCONFDIR: own };
  await run(`ovsdb-tool create ${own}/conf.db /usr/share/openvswitch/vswitch.ovsschema`);
  const server = host.start(`ovsdb-server ${own}/conf.db --remote=p${database} --no-chdir`, { env });
  const vsctl = (command: string) =>
    host.run(`ovs-vsctl --db=${database} --timeout=10 --no-wait ${command}`, { env });
  await eventually(
    'ovsdb-server',
    () =>
      vsctl('init').then(
        () => true,
        () => false,
      ),
    READY_MS,
  );
  const [{ address: mac }] = await host.show<{ address: string }>(`link show ${UNDERLAY_DEV}`);
  await vsctl(`add-br br-phy -- set bridge br-phy datapath_type=netdev other-config:hwaddr=${mac}
    -- add-port br-phy ${UNDERLAY_DEV}
    -- add-br br-int -- set bridge br-int datapath_type=netdev
    -- add-port br-int vxlan0 -- set interface vxlan0 type=vxlan options:remote_ip=${peer.underlay} options:key=${VNI}`);
  const vswitchd = host.start(`ovs-vswitchd ${database} --no-chdir --unixctl=${own}/vswitchd.ctl`, { env });
  await appears(site, 'br-int', vswitchd);
  await appears(site, 'br-phy', vswitchd);
  await host.ip(`address del ${site.underlay}/24 dev ${UNDERLAY_DEV}
    address add ${site.underlay}/24 dev br-phy
    link set br-phy up
    link set br-int mtu ${MTU} up
    address add ${site.address}/24 dev br-int`);
  return { daemons: [vswitchd, server] };
};

/** fastd in TAP mode with the method `null`: neither encrypted nor authenticated. */
export const fastd: Vtep = async (site, peer) => {
  const [own, other] = [await fastdKeys(site), await fastdKeys(peer)];
  const file = join(scratchDirectory('fastd'), 'fastd.conf');
  writeFileSync(
    file,
    `mode tap; interface "overlay"; method "null"; mtu ${MTU}; secret "${own.secret}";
bind ${site.underlay}:10000;
peer "other" { key "${other.public}"; remote ${peer.underlay}:10000; }
`,
  );
  const daemon = site.host.start(`fastd --config ${file}`);
  await appears(site, 'overlay', daemon);
  await addressOverlay(site);
  return { daemons: [daemon] };
};

interface FastdKeys {
  secret: string;
  public: string;
}

const keysOfFastd = new Map<string, Promise<FastdKeys>>();

/** Keys of a site, generated on first use: each side needs the keys of both sides. */
function fastdKeys({ host }: Site): Promise<FastdKeys> {
  const known = keysOfFastd.get(host.name);
  if (known) return known;
  const made = outcome('fastd --generate-key').then(({ stdout }) => ({
    secret: /Secret: (\w+)/.exec(stdout)?.[1] ?? '',
    public: /Public: (\w+)/.exec(stdout)?.[1] ?? '',
  }));
  keysOfFastd.set(host.name, made);
  return made;
}

/** tinc in switch mode, without cipher and digest. */
export const tinc: Vtep = async (site, peer) => {
  const [own, other] = [await tincDirectory(site), await tincDirectory(peer)];
  copyFileSync(join(other.dir, 'hosts', other.name), join(own.dir, 'hosts', other.name));
  appendFileSync(join(own.dir, 'tinc.conf'), `ConnectTo = ${other.name}\n`);
  const daemon = site.host.start(`tincd -c ${own.dir} --pidfile=${own.dir}/pid -D`);
  await appears(site, 'overlay', daemon);
  await addressOverlay(site);
  return { daemons: [daemon] };
};

interface TincDirectory {
  dir: string;
  /** Name of the node. */
  name: string;
}

const directoriesOfTinc = new Map<string, Promise<TincDirectory>>();

function tincDirectory(site: Site): Promise<TincDirectory> {
  const known = directoriesOfTinc.get(site.host.name);
  if (known) return known;
  const made = makeTincDirectory(site);
  directoriesOfTinc.set(site.host.name, made);
  return made;
}

/** Creates the settings and keys of a node, without other nodes. */
async function makeTincDirectory(site: Site): Promise<TincDirectory> {
  const dir = scratchDirectory('tinc');
  const name = `site${site.underlay.split('.')[3]}`;
  mkdirSync(join(dir, 'hosts'));
  writeFileSync(join(dir, 'tinc.conf'), `Name = ${name}\nMode = switch\nInterface = overlay\n`);
  writeFileSync(
    join(dir, 'hosts', name),
    `Address = ${site.underlay}\nCipher = none\nDigest = none\nPMTU = ${MTU + ETHERNET_LEN}\n`,
  );
  await run(`tincd -c ${dir} -K2048`);
  return { dir, name };
}

function addressOverlay({ host, address }: Site): Promise<void> {
  return host.ip(`link set overlay mtu ${MTU} up
    address add ${address}/24 dev overlay`);
}

/** Waits for a device. @throws Error with the last output of the daemon when the daemon ends */
async function appears({ host }: Site, device: string, daemon: Running): Promise<void> {
  await eventually(
    `${daemon} to create ${device}`,
    async () => {
      if (!daemon.alive) throw new Error(`${daemon} ended: ${lastLines(daemon.stderr || daemon.stdout)}`);
      return (await host.devices()).includes(device);
    },
    READY_MS,
  );
}
