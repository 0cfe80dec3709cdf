/**
 * The two-host demo of `npm start`: vtepd on one host, the kernel's VXLAN device on the other.
 *
 * Each step prints the output of a standard tool as proof. The demo runs until SIGINT (Ctrl-C),
 * SIGTERM or SIGHUP, and then removes everything it created. It uses the daemon like any user: as
 * an executable and through its API.
 */
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { DemoNetwork, FAR, NEAR, VNI } from './network.mjs';

const READY_MS = 10_000;
const IPERF_S = 1;

const PICTURE = `
Two hosts, each a network namespace, share one VXLAN segment (VNI ${VNI}).
vtepd is the VTEP of "near"; the VXLAN device of the Linux kernel is the VTEP of "far".

   near                                         far

   ${NEAR.overlay}  vtep${VNI}, TAP of vtepd            ${FAR.overlay}  vxlan${VNI}, kernel VXLAN device
        |                                            |
   vtepd --vni ${VNI} --peer ${FAR.underlay}              |
        |                                            |
   eth0 ${NEAR.underlay} ======= veth pair ======= eth0 ${FAR.underlay}
                        VXLAN, UDP port 4789
`;

/**
 * @param {{vtepd: string, once: boolean}} options path of the built daemon; true to end after the
 *   last step instead of waiting for a signal
 * @returns {Promise<number>} exit code: 0 success or interrupted, 1 a step failed
 */
export async function runDemo({ vtepd, once }) {
  const interrupt = interruption();
  const network = new DemoNetwork(interrupt);
  let code = 0;
  try {
    await prove(network, vtepd);
    if (!once) await untilInterrupted(interrupt);
  } catch (error) {
    if (!interrupt.aborted) {
      complain(error, network);
      code = 1;
    }
  }
  console.log('\nRemoving the namespaces and everything in them.');
  await network.remove();
  return code;
}

async function prove(network, vtepd) {
  console.log(PICTURE);
  await network.build();
  const flags = `--vni ${VNI} --peer ${FAR.underlay} --address ${NEAR.overlay}/24 --api unix:${network.socket} --state off`;
  step('start vtepd on near', `vtepd ${flags}`);
  network.startDaemon(vtepd, flags.split(' '));
  await untilReady(network);

  step('ping from near to far', await ping(network, network.near, FAR.overlay));
  step('ping from far to near', await ping(network, network.far, NEAR.overlay));
  step('a ping between the hosts, decoded by tcpdump', await sniff(network));
  step('TCP throughput from near to far', await throughput(network, network.near, network.far, FAR.overlay));
  step('TCP throughput from far to near', await throughput(network, network.far, network.near, NEAR.overlay));

  const status = curl(network, '/v1/status');
  step('status of vtepd, from its REST API', `$ ${status}`, shorten(await network.run(status)));
  const metrics = curl(network, '/metrics');
  const peerFrames = /^vtepd_peer_[rt]x_frames_total\{.*$/gm;
  const samples = (await network.run(metrics)).match(peerFrames) ?? [];
  if (samples.length === 0) throw new Error('/metrics has no vtepd_peer_tx_frames_total');
  step('frames sent and received, from its Prometheus metrics', `$ ${metrics}`, ...samples);
  step(
    'commands to try in another shell, as root',
    `$ ip netns exec ${network.near} ping ${FAR.overlay}`,
    `$ ip netns exec ${network.far} tcpdump -n -i eth0 udp port 4789`,
    `$ ${curl(network, `/v1/vnis/${VNI}/fdb`)}`,
  );
}

async function untilReady(network) {
  const readiness = curl(network, '/readyz').replace('--silent', '--silent --fail');
  const deadline = performance.now() + READY_MS;
  while (performance.now() < deadline) {
    if (network.daemonEnd !== undefined) throw new Error(`vtepd ended with ${network.daemonEnd}`);
    const ready = await network.run(readiness).then(
      () => true,
      () => false,
    );
    if (ready) return;
    await delay(50, undefined, { signal: network.interrupt });
  }
  throw new Error(`vtepd was not ready within ${READY_MS / 1000} s (GET /readyz)`);
}

async function ping(network, from, to) {
  const output = await network.inside(from, `ping -n -c 3 -i 0.2 -W 2 ${to}`);
  return lines(output, /packets transmitted|^rtt/);
}

/** Lines of tcpdump on the underlay that show a ping in VXLAN. @throws Error when there is none */
async function sniff(network) {
  const signal = network.interrupt;
  const tcpdump = network.start(network.far, 'tcpdump -l -n -i eth0 --immediate-mode udp port 4789');
  let output = '';
  tcpdump.stdout?.on('data', (part) => (output += part));
  await once(tcpdump.stderr, 'data', { signal });
  await network.inside(network.near, `ping -n -q -c 2 -i 0.2 -W 2 ${FAR.overlay}`);
  const ended = once(tcpdump, 'close', { signal });
  tcpdump.kill('SIGINT');
  await ended;
  const seen = new RegExp(
    `^.*VXLAN, flags \\[I\\] \\(0x08\\), vni ${VNI}\\n.*ICMP echo request.*$`,
    'm',
  ).exec(output);
  if (seen === null) throw new Error(`tcpdump captured no ping in VXLAN with VNI ${VNI}:\n${output}`);
  return seen[0];
}

/** Throughput of one TCP connection, by iperf3. */
async function throughput(network, from, to, address) {
  const server = network.start(to, 'iperf3 --server --one-off --forceflush');
  await once(server.stdout, 'data', { signal: network.interrupt });
  const command = `iperf3 --client ${address} --time ${IPERF_S} --json`;
  const report = JSON.parse(await network.inside(from, command));
  const gbps = report.end.sum_received.bits_per_second / 1e9;
  return `iperf3 --client ${address}: ${gbps.toFixed(2)} Gb/s received`;
}

/** Command line for an API path. A unix socket is reachable from outside the network namespace. */
function curl(network, path) {
  return `curl --silent --unix-socket ${network.socket} http://localhost${path}`;
}

function step(title, ...proof) {
  console.log(`\n* ${title}\n${indent(proof.join('\n'))}`);
}

function lines(output, wanted) {
  return output
    .split('\n')
    .filter((line) => wanted.test(line))
    .join('\n');
}

function shorten(text) {
  const limit = 300;
  return text.length > limit ? `${text.slice(0, limit)} …` : text;
}

function indent(text) {
  return text.replace(/^/gm, '    ');
}

function complain(error, network) {
  console.error(`\n  FAILED: ${error instanceof Error ? error.message : error}`);
  console.error(`  Log of vtepd:\n${indent(network.daemonLog())}`);
}

/** Signal that Ctrl-C, SIGTERM or a closed terminal aborts. */
function interruption() {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(name, () => controller.abort());
  return controller.signal;
}

/** Waits on a timer, because signal handlers alone do not keep the process alive. */
async function untilInterrupted(interrupt) {
  console.log('\nThe demo keeps running. Press Ctrl-C to stop it and to remove everything it created.');
  const dayMs = 24 * 3600 * 1000;
  while (!interrupt.aborted) await delay(dayMs, undefined, { signal: interrupt }).catch(() => undefined);
}
