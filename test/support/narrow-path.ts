/**
 * Two hosts with two routers between them, and a middle hop with a smaller MTU:
 *
 *     near eth0 ==== to-near  left  to-right ---- to-left  right  to-far ==== eth0 far
 *     10.1.0.1   1500                       1400                       1500   10.2.0.1
 *     fd01::1                                                                 fd02::1
 */
import type { Test } from 'tap';
import { createLab, type Lab } from './lab.js';
import { joinByVeth, type Namespace } from './netns.js';

export const NEAR = { ipv4: '10.1.0.1', ipv6: 'fd01::1' };
export const FAR = { ipv4: '10.2.0.1', ipv6: 'fd02::1' };

export interface NarrowPath {
  lab: Lab;
  near: Namespace;
  /** The router next to `near`. */
  left: Namespace;
  far: Namespace;
  /** Sets the MTU of the middle hop, bytes. */
  narrow(mtu: number): Promise<void>;
  /** Makes the routers drop forwarded ICMP, and their own errors for packets that are too big. */
  filterIcmp(): Promise<void>;
}

/** @param mtu MTU of the middle hop, bytes */
export async function narrowPath(t: Test, mtu: number): Promise<NarrowPath> {
  const lab = createLab(t);
  const near = await lab.namespace('near');
  const left = await lab.namespace('left');
  const right = await lab.namespace('right');
  const far = await lab.namespace('far');
  const end = (namespace: Namespace, device: string, ...addresses: string[]) => ({
    in: namespace,
    device,
    addresses,
  });
  await joinByVeth(
    end(near, 'eth0', `${NEAR.ipv4}/24`, `${NEAR.ipv6}/64`),
    end(left, 'to-near', '10.1.0.254/24', 'fd01::fe/64'),
  );
  await joinByVeth(
    end(left, 'to-right', '10.3.0.1/24', 'fd03::1/64'),
    end(right, 'to-left', '10.3.0.2/24', 'fd03::2/64'),
  );
  await joinByVeth(
    end(right, 'to-far', '10.2.0.254/24', 'fd02::fe/64'),
    end(far, 'eth0', `${FAR.ipv4}/24`, `${FAR.ipv6}/64`),
  );
  for (const router of [left, right])
    await router.run('sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1');
  await near.ip('route add default via 10.1.0.254\nroute add default via fd01::fe');
  await far.ip('route add default via 10.2.0.254\nroute add default via fd02::fe');
  await left.ip('route add 10.2.0.0/24 via 10.3.0.2\nroute add fd02::/64 via fd03::2');
  await right.ip('route add 10.1.0.0/24 via 10.3.0.1\nroute add fd01::/64 via fd03::1');

  const narrow = async (bytes: number) => {
    await left.ip(`link set to-right mtu ${bytes}`);
    await right.ip(`link set to-left mtu ${bytes}`);
  };
  const filterIcmp = async () => {
    for (const router of [left, right]) await router.run('nft -f -', { input: NO_ICMP });
  };
  await narrow(mtu);
  return { lab, near, left, far, narrow, filterIcmp };
}

/**
 * The output chain drops only two types of ICMP errors. It must pass other ICMPv6, because without
 * neighbour discovery, which is ICMPv6, no packet crosses a link.
 */
const NO_ICMP = `table inet filter {
  chain passing {
    type filter hook forward priority 0
    meta l4proto { icmp, icmpv6 } drop
  }
  chain leaving {
    type filter hook output priority 0
    icmp type destination-unreachable drop
    icmpv6 type packet-too-big drop
  }
}
`;
