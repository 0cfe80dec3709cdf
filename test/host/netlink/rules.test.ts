/** Rules of policy routing from messages of Linux 6.18. */
import t from 'tap';
import { parseRule } from '../../../src/host/netlink/rules.js';
import { concat, hex, patched } from '../../support/hex.js';

const message = (body: Uint8Array) => ({ type: 32, flags: 0, sequence: 0, body });

const HEAD = hex(`
  02200800 fe000001 00000000              # AF_INET, to /32, from /8, TOS 0, table main, to table
`);
const RULE = hex(`
  08000100 0a010002                       # FRA_DST 10.1.0.2
  08000200 0a000000                       # FRA_SRC 10.0.0.0
  07000300 6c6f0000                       # FRA_IIFNAME lo
  08000600 64000000                       # FRA_PRIORITY 100
  08000a00 07000000                       # FRA_FWMARK 7
  08001000 ff000000                       # FRA_FWMASK 0xff
  08000f00 2c010000                       # FRA_TABLE 300
  07001100 75300000                       # FRA_OIFNAME u0
  0c001400 00000000 64000000              # FRA_UID_RANGE 0-100
  05001600 11000000                       # FRA_IP_PROTO UDP
  08001700 01000900                       # FRA_SPORT_RANGE 1-9
  08001800 b512b512                       # FRA_DPORT_RANGE 4789
  05001500 04000000                       # FRA_PROTOCOL static
`);

t.test('truncated messages and attributes of the wrong size', async (t) => {
  for (let length = 0; length < HEAD.length; length++)
    t.equal(parseRule(message(HEAD.subarray(0, length))), undefined, `${length} bytes`);
  t.equal(parseRule(message(patched(HEAD, 0, 128))), undefined, 'a rule of multicast routing');
  for (let length = HEAD.length; length < HEAD.length + RULE.length; length++)
    t.ok(parseRule(message(concat(HEAD, RULE).subarray(0, length))), `${length} bytes: a rule`);
  const short = concat(HEAD, hex('06000100 0a010000 06001400 00000000 06001700 01000000'));
  t.match(parseRule(message(short)), {
    destination: undefined,
    uidRange: undefined,
    sourcePorts: undefined,
  });
});

t.test('all selectors', async (t) => {
  t.match(parseRule(message(concat(HEAD, RULE))), {
    priority: 100,
    family: 4,
    isInverted: false,
    destination: { address: { text: '10.1.0.2' }, length: 32 },
    source: { address: { text: '10.0.0.0' }, length: 8 },
    fwmark: 7,
    fwmask: 0xff,
    iif: 'lo',
    oif: 'u0',
    uidRange: { min: 0, max: 100 },
    protocol: 17,
    sourcePorts: { min: 1, max: 9 },
    destinationPorts: { min: 4789, max: 4789 },
    tos: 0,
    table: 300,
  });
  t.notOk('selectsMore' in parseRule(message(concat(HEAD, RULE)))!);
});

t.test('defaults, inversion, TOS, and a selector that is unknown here', async (t) => {
  t.match(parseRule(message(patched(HEAD, 3, 0x10))), { tos: 0x10, table: 254, priority: 0, fwmask: 0 });
  t.match(parseRule(message(patched(HEAD, 8, 2))), { isInverted: true });
  t.match(parseRule(message(concat(HEAD, hex('08000a00 07000000')))), { fwmark: 7, fwmask: 0xffffffff });
  t.match(parseRule(message(concat(HEAD, hex('05001900 2e000000')))), { selectsMore: true }, 'FRA_DSCP');
  t.match(parseRule(message(concat(HEAD, hex('05007f00 01000000')))), { selectsMore: true }, 'a later Linux');
  const six = hex(`
    0a000000 fe000001 00000000
    08000600 fe7f0000                     # FRA_PRIORITY 32766
  `);
  t.match(parseRule(message(six)), { family: 6, priority: 32766, source: undefined });
});
