/**
 * Fields that conditions examine (the left side of `udp dport 4789`), as possible values.
 *
 * A payload expression for another protocol ends the rule without a match, whatever the operator
 * is: nft adds the condition on the protocol to the rule and does not print it.
 */
import { type Intervals, point, points } from './intervals.js';
import { ADDRESS, DEVICE, type Domain, flagsDomain, NUMBER, namesDomain } from './operand.js';
import {
  ANY_MARK,
  DIRECTION_ORIGINAL,
  DIRECTION_REPLY,
  IPPROTO_UDP,
  onlyNumber,
  type Packet,
  TYPE_LOCAL,
  TYPE_MULTICAST,
  TYPE_UNICAST,
} from './packet.js';
import { fieldsOf, listOf, textOf } from './ruleset.js';

/** Names that a condition on the field gives to a rule. */
export type Name = 'port' | 'address' | 'device';

export interface Field {
  readonly values: Intervals;
  readonly domain: Domain;
  readonly name?: Name;
}

const PROTOCOL = namesDomain({ udp: IPPROTO_UDP, tcp: 6, icmp: 1 });
/** NFPROTO_IPV4 and NFPROTO_IPV6 of linux/netfilter.h. */
const NFPROTO = namesDomain({ ipv4: 2, ipv6: 10 });
const ETHERTYPE = namesDomain({ ip: 0x0800, ip6: 0x86dd });
const DIRECTION = namesDomain({ original: DIRECTION_ORIGINAL, reply: DIRECTION_REPLY });
const ADDRESS_TYPE = namesDomain({ local: TYPE_LOCAL, unicast: TYPE_UNICAST, multicast: TYPE_MULTICAST });
/** IPS_SRC_NAT and IPS_DST_NAT of nf_conntrack_common.h. */
const STATUS = flagsDomain({ snat: 16, dnat: 32 });

/**
 * Protocols whose payload expressions a UDP datagram never matches. VXLAN and GENEVE are not among
 * them: nft matches what a datagram carries.
 */
const OTHER_PROTOCOLS = [
  'tcp',
  'sctp',
  'dccp',
  'udplite',
  'icmp',
  'icmpv6',
  'igmp',
  'esp',
  'ah',
  'comp',
  'gre',
  'gretap',
  'arp',
];

/** Fields with the same value in all packets of a family, made once. */
const UDP: Field = { values: [point(IPPROTO_UDP)], domain: PROTOCOL };
const NO_STATUS: Field = { values: [point(0)], domain: STATUS };
const UNKNOWN_NUMBER: Field = { values: ANY_MARK, domain: NUMBER };
const FAMILIES = {
  4: { values: points([2]), domain: NFPROTO },
  6: { values: points([10]), domain: NFPROTO },
  any: { values: points([2, 10]), domain: NFPROTO },
};
const ETHERTYPES = {
  4: { values: points([0x0800]), domain: ETHERTYPE },
  6: { values: points([0x86dd]), domain: ETHERTYPE },
  any: { values: points([0x0800, 0x86dd]), domain: ETHERTYPE },
};

/** @returns undefined if the field is unknown here; 'no' if the rule ends at this expression */
export function fieldOf(left: unknown, packet: Packet): Field | 'no' | undefined {
  const [kind] = Object.keys(fieldsOf(left));
  const body = fieldsOf(left)[kind];
  switch (kind) {
    case 'payload':
      return payloadField(body, packet);
    case 'meta':
      return metaField(textOf(fieldsOf(body).key), packet);
    case 'ct':
      return connectionField(textOf(fieldsOf(body).key), packet);
    case 'fib':
      return routeField(body, packet);
    default:
      return isOperator(kind) ? computedField(kind, listOf(body), packet) : undefined;
  }
}

/** @returns the value of an expression such as `meta mark & 0xff`; undefined: not known */
export function numberOf(expression: unknown, packet: Packet): number | undefined {
  if (typeof expression === 'number') return expression;
  const field = fieldOf(expression, packet);
  return field === undefined || field === 'no' ? undefined : onlyNumber(field.values);
}

function payloadField(body: unknown, packet: Packet): Field | 'no' | undefined {
  const { protocol, field, tunnel } = fieldsOf(body);
  if (typeof protocol !== 'string' || tunnel !== undefined) return undefined;
  if (OTHER_PROTOCOLS.includes(protocol)) return 'no';
  switch (protocol) {
    case 'ip':
    case 'ip6':
      if (packet.family === (protocol === 'ip' ? 6 : 4)) return 'no';
      return networkField(textOf(field), packet);
    case 'udp':
    case 'th':
      if (field === 'dport') return { values: packet.destinationPort, domain: NUMBER, name: 'port' };
      return field === 'sport' ? { values: packet.sourcePort, domain: NUMBER } : undefined;
    default:
      return undefined;
  }
}

function networkField(field: string, packet: Packet): Field | undefined {
  switch (field) {
    case 'saddr':
      return { values: packet.source, domain: ADDRESS, name: 'address' };
    case 'daddr':
      return { values: packet.destination, domain: ADDRESS, name: 'address' };
    case 'protocol':
    case 'nexthdr':
      return UDP;
    default:
      return undefined;
  }
}

function metaField(key: string, packet: Packet): Field | undefined {
  switch (key) {
    case 'l4proto':
      return UDP;
    case 'nfproto':
      return FAMILIES[packet.family ?? 'any'];
    case 'protocol':
      return ETHERTYPES[packet.family ?? 'any'];
    case 'iifname':
    case 'iif':
      return { values: packet.inputDevice, domain: DEVICE, name: 'device' };
    case 'oifname':
    case 'oif':
      return { values: packet.outputDevice, domain: DEVICE, name: 'device' };
    case 'mark':
      return { values: packet.mark, domain: NUMBER };
    default:
      return undefined;
  }
}

function connectionField(key: string, packet: Packet): Field | undefined {
  switch (key) {
    case 'state':
      return stateField(packet.states);
    case 'direction':
      return { values: packet.direction, domain: DIRECTION };
    // Address translation of a connection is the work of a rule that counts already.
    case 'status':
      return NO_STATUS;
    default:
      return undefined;
  }
}

/** `fib daddr type`; a lookup with a device, or for a device, is unknown here. */
function routeField(body: unknown, packet: Packet): Field | undefined {
  const { result, flags } = fieldsOf(body);
  const [only, ...others] = Array.isArray(flags) ? flags : [flags];
  if (result !== 'type' || others.length > 0) return undefined;
  if (only === 'saddr') return { values: packet.sourceType, domain: ADDRESS_TYPE };
  return only === 'daddr' ? { values: packet.destinationType, domain: ADDRESS_TYPE } : undefined;
}

const OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '&': (a, b) => (a & b) >>> 0,
  '|': (a, b) => (a | b) >>> 0,
  '^': (a, b) => (a ^ b) >>> 0,
  '<<': (a, b) => (a << b) >>> 0,
  '>>': (a, b) => a >>> b,
};

function isOperator(kind: string): boolean {
  return Object.hasOwn(OPERATORS, kind);
}

/** `meta mark & 0xff`: one value if it can be computed, otherwise any. */
function computedField(operator: string, operands: readonly unknown[], packet: Packet): Field | 'no' {
  if (operands.some((operand) => fieldOf(operand, packet) === 'no')) return 'no';
  const [value, ...others] = operands.map((operand) => numberOf(operand, packet));
  const result = others.reduce<number | undefined>(
    (a, b) => (a === undefined || b === undefined ? undefined : OPERATORS[operator](a, b)),
    value,
  );
  return result === undefined ? UNKNOWN_NUMBER : { values: [point(result)], domain: NUMBER };
}

const STATE_FIELDS = new Map<Packet['states'], Field>();

/** The states have no order: each name of the packet's state is one key, all others another. */
function stateField(states: Packet['states']): Field {
  let field = STATE_FIELDS.get(states);
  if (field === undefined) {
    const interval = (value: unknown) => {
      if ((typeof value !== 'string' && typeof value !== 'number') || value === '*') return undefined;
      return point(states.includes(value) ? 'its' : 'other');
    };
    field = { values: [point('its')], domain: { interval } };
    STATE_FIELDS.set(states, field);
  }
  return field;
}
