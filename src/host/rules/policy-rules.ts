/**
 * Rules of policy routing (ip-rule(8)) that a shortcut would pass by.
 *
 * The kernel finds the route of a datagram by its addresses, protocol, ports, DSCP and mark, by the
 * user of its socket, and with `iif lo`. The lookup for a superframe or flow has only the addresses,
 * the protocol and the mark of `--fwmark` (`native-shims/tunnel_device.c`). A rule that selects by
 * anything else can therefore route small frames of a flow differently from its superframes.
 */
import type { PolicyRule, Prefix, Range } from '../netlink/rules.js';
import { contained, type Intervals, point } from './intervals.js';
import { addressKey, prefixInterval } from './operand.js';
import { addressesOf, type OuterTraffic } from './outer-traffic.js';
import { ANY_PORT, IPPROTO_UDP } from './packet.js';

export type { PolicyRule, Prefix } from '../netlink/rules.js';

/**
 * @param marks marks that rules of the host can set (`Obstacle.mark`) instead of that of the sockets
 * @returns the rules that stand against shortcuts, in the given order
 */
export function policyRulesAgainstShortcut(
  rules: readonly PolicyRule[],
  traffic: OuterTraffic,
  marks: readonly (number | 'any')[],
): PolicyRule[] {
  return rules.filter((rule) => {
    if (!traffic.families.includes(rule.family)) return false;
    if (!rule.isInverted && !concerns(rule, traffic)) return false;
    return isUnseen(rule, traffic) || marks.some((mark) => distinguishes(rule, mark, traffic.mark));
  });
}

/** @returns for example `ip rule 32765 (fwmark 0x7/0xff lookup 100)` */
export function describePolicyRule(rule: PolicyRule): string {
  const { priority, family, fwmark, fwmask, iif, oif, uidRange, protocol, tos, table } = rule;
  const words = [
    rule.isInverted && 'not',
    rule.source && `from ${prefixText(rule.source)}`,
    rule.destination && `to ${prefixText(rule.destination)}`,
    tos !== 0 && `tos ${hex(tos)}`,
    fwmask !== 0 && `fwmark ${hex(fwmark)}${fwmask === 0xffffffff ? '' : `/${hex(fwmask)}`}`,
    iif !== '' && `iif ${iif}`,
    oif !== '' && `oif ${oif}`,
    uidRange && `uidrange ${uidRange.min}-${uidRange.max}`,
    protocol !== 0 && `ipproto ${protocol === IPPROTO_UDP ? 'udp' : protocol}`,
    rule.sourcePorts && `sport ${rangeText(rule.sourcePorts)}`,
    rule.destinationPorts && `dport ${rangeText(rule.destinationPorts)}`,
    rule.selectsMore && 'more',
    `lookup ${table}`,
  ];
  return `ip ${family === 4 ? '' : '-6 '}rule ${priority} (${words.filter(Boolean).join(' ')})`;
}

/** @returns false if the selectors exclude all datagrams of the traffic */
function concerns(rule: PolicyRule, traffic: OuterTraffic): boolean {
  const { family, protocol, sourcePorts, destinationPorts } = rule;
  const { port, sourcePorts: pool } = traffic;
  return (
    (protocol === 0 || protocol === IPPROTO_UDP) &&
    overlaps(addressesOf(traffic.locals, family), rule.source) &&
    overlaps(addressesOf(traffic.peers, family), rule.destination) &&
    contained([point(port)], rangeOf(destinationPorts)) !== 'no' &&
    contained([{ lo: pool.min, hi: pool.max }], rangeOf(sourcePorts)) !== 'no'
  );
}

/**
 * The rule selects by what the lookup of a shortcut does not have, or has and the kernel's does
 * not: the redirect to a device looks up the neighbour's route with `oif`, and an unbound socket has
 * no source address while the kernel looks up its route.
 */
function isUnseen(rule: PolicyRule, { devices, isUnbound }: OuterTraffic): boolean {
  const { uidRange, iif, oif, tos, sourcePorts, destinationPorts, selectsMore } = rule;
  const isOurDevice = oif !== '' && (devices === 'any' || devices.includes(oif));
  const isBySource = isUnbound && rule.source !== undefined;
  const isByPorts = sourcePorts !== undefined || destinationPorts !== undefined;
  const selectors = [uidRange, iif !== '', tos !== 0, isByPorts, isOurDevice, isBySource, selectsMore];
  return selectors.some(Boolean);
}

/** @returns whether the rule selects either the mark or the mark of the lookup, but not both */
function distinguishes({ fwmark, fwmask }: PolicyRule, mark: number | 'any', lookup: number): boolean {
  if (mark === 'any') return fwmask !== 0;
  return (((mark ^ fwmark) & fwmask) === 0) !== (((lookup ^ fwmark) & fwmask) === 0);
}

function overlaps(addresses: Intervals, prefix: Prefix | undefined): boolean {
  if (prefix === undefined) return addresses.length > 0;
  return contained(addresses, [prefixInterval(addressKey(prefix.address), prefix.length)]) !== 'no';
}

function rangeOf(range: Range | undefined): Intervals {
  return range === undefined ? ANY_PORT : [{ lo: range.min, hi: range.max }];
}

function prefixText({ address, length }: Prefix): string {
  return `${address.text}/${length}`;
}

function rangeText({ min, max }: Range): string {
  return min === max ? `${min}` : `${min}-${max}`;
}

function hex(number: number): string {
  return `0x${number.toString(16)}`;
}
