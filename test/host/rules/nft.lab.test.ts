/**
 * Each small ruleset of `kinds.ts`, loaded by the nft of this host and judged as nft prints it.
 *
 *     near 10.1.0.1, fd00::1 (u0) ─── far 10.1.0.2, fd00::2
 *
 * Where no rule stands against superframes, none drops the datagrams that the host itself sends:
 * the kernel answers a send that a rule drops with EPERM. `RECORD_RULESETS=1` writes what nft
 * prints to `rulesets/kinds.jsonl`, which the unit test reads.
 */
import { writeFileSync } from 'node:fs';
import t from 'tap';
import { createNamespace, joinByVeth, type Namespace } from '../../support/netns.js';
import { judged, RULESETS } from './judge.js';
import { KINDS, type Kind } from './kinds.js';

t.test('rules stand against superframes and flows as nft prints them', async (t) => {
  const [near, far] = [await createNamespace('near'), await createNamespace('far')];
  t.teardown(() => Promise.all([near.remove(), far.remove()]));
  await joinByVeth(
    { in: near, device: 'u0', addresses: ['10.1.0.1/24', 'fd00::1/64'] },
    { in: far, device: 'u1', addresses: ['10.1.0.2/24', 'fd00::2/64'] },
  );
  await near.run(['sh', '-c', 'echo 49152 65535 > /proc/sys/net/ipv4/ip_local_port_range']);
  const recorded: string[] = [];
  for (const kind of KINDS) {
    const input = `flush ruleset\n${kind.nft}\n`;
    const listed = await near.run(['sh', '-c', 'nft -f - && nft -j list ruleset'], { input });
    const { nftables } = JSON.parse(listed) as { nftables: unknown[] };
    t.same(judged(nftables, kind), kind.obstacles, kind.name);
    if (isUnhindered(kind)) t.equal(await sends(near), '', `${kind.name}: datagrams are sent`);
    recorded.push(JSON.stringify({ name: kind.name, nftables }));
  }
  if (process.env.RECORD_RULESETS !== undefined)
    writeFileSync(new URL('kinds.jsonl', RULESETS), `${recorded.join('\n')}\n`);
});

/** @returns whether the kind says that nothing is done to the datagrams of both families */
function isUnhindered({ obstacles, shortcut, traffic }: Kind): boolean {
  return obstacles.length === 0 && shortcut === 'superframes' && Object.keys(traffic).length === 0;
}

/** Sends a datagram of each family. @returns the error; '' if both were sent */
async function sends(host: Namespace): Promise<string> {
  const script = 'echo x > /dev/udp/10.1.0.2/4789 && echo x > /dev/udp/fd00::2/4789';
  const { code, stderr } = await host.outcome(['bash', '-c', script]);
  return code === 0 ? '' : stderr;
}
