/**
 * Forged ICMP "too big" from a host that is not on the path.
 *
 * A message that quotes no datagram of vtepd changes nothing. A message with a correct quote cannot
 * be distinguished from a genuine message; it lowers the path MTU for ten minutes, as SECURITY.md
 * documents. Topology of test/support/narrow-vms.ts; the first router sends the forged messages.
 */
import t from 'tap';
import { FAR, NEAR } from '../support/narrow-path.js';
import { FAMILIES, kernelEnd, narrowVms, nearVtepd, pathMtu, pathMtuIs, VMB } from '../support/narrow-vms.js';
import type { Namespace } from '../support/netns.js';
import { assertOffload } from '../support/offload.js';
import { assertPing } from '../support/traffic.js';
import { ENGINES } from '../support/vtepd.js';

const UNRELATED = { ipv4: '203.0.113.9', ipv6: 'fd09::9' };
const LEAST = { ipv4: 576, ipv6: 1280 };

const WITHOUT_FLOWS = FAMILIES.flatMap((family) =>
  ENGINES.map((engine) => ({ family, engine, flows: false }) as const),
);
const ROWS = [...WITHOUT_FLOWS, { family: 'ipv4', engine: 'batch', flows: true } as const];

for (const { family, engine, flows } of ROWS)
  t.test(
    `a forged ICMP with a wrong quote changes nothing (${family}, ${engine}${flows ? ', TCP flows in the kernel' : ''})`,
    async (t) => {
      const path = await narrowVms(t, 1500);
      const near = await nearVtepd(
        path,
        family,
        engine,
        family === 'ipv4' && !flows ? '--kernel-path off' : '',
      );
      await kernelEnd(path, 'far', family);
      await assertPing(t, path.vma, VMB.ipv4);
      const ports = await poolPorts(path.near);
      t.ok(ports.length >= 64);
      await assertOffload(t, near, 'TCX_FLOWS', flows, 'as the row says');
      // The kernel chooses the source port of a flow from the whole range.
      const free = flows ? [40_000, 40_001, 40_002] : [50_000, 50_001, 50_002];
      const unused = free.find((port) => !ports.includes(port));
      const forge = async (
        mtu: number,
        sourcePorts: number[],
        destination: string,
        destinationPort: number,
      ) => {
        const quote = [NEAR[family], sourcePorts.join(), destination, destinationPort];
        const forger = path.left.tool('forge.mjs', family, NEAR[family], mtu, ...quote);
        t.equal(await forger.exit(5_000), 0, forger.stderr);
      };
      await forge(LEAST[family], ports, UNRELATED[family], 4789);
      await forge(LEAST[family], ports, FAR[family], 53);
      await forge(LEAST[family], [unused!], FAR[family], 4789);
      await forge(LEAST[family], [4789], FAR[family], 4789);
      t.equal(await pathMtu(near), 1500);

      // Messages are processed in order. When this message has taken effect, vtepd has processed
      // all earlier messages.
      await forge(1400, ports, FAR[family], 4789);
      await pathMtuIs(near, 1400);
      await assertPing(t, path.vma, VMB.ipv4);
    },
  );

/** Source ports that vtepd has open. No other program runs in the namespace. */
async function poolPorts(host: Namespace): Promise<number[]> {
  const text = await host.run('ss -Huan');
  const ports = [...text.matchAll(/:(\d+)\s/g)].map(([, port]) => Number(port));
  return [...new Set(ports.filter((port) => port >= 49_152))];
}
