/** RFC 6040: every entry of figure 4, and the header bytes that change. */
import t from 'tap';
import { decapsulatedEcn, ECN_DROP, setIpv4Ecn, setIpv6Ecn } from '../../src/wire/ecn.js';
import { ipv4Frame, ipv6Frame, onesSum } from '../support/frames.js';

const FIELD = { 'not-ECT': 0b00, 'ECT(1)': 0b01, 'ECT(0)': 0b10, CE: 0b11 };
type Name = keyof typeof FIELD;
type Result = Name | 'drop';

/** Rows: inner field. Columns in the order of the RFC: outer not-ECT, ECT(0), ECT(1), CE. */
const FIGURE_4: [Name, Result, Result, Result, Result][] = [
  ['not-ECT', 'not-ECT', 'not-ECT', 'not-ECT', 'drop'],
  ['ECT(0)', 'ECT(0)', 'ECT(0)', 'ECT(1)', 'CE'],
  ['ECT(1)', 'ECT(1)', 'ECT(1)', 'ECT(1)', 'CE'],
  ['CE', 'CE', 'CE', 'CE', 'CE'],
];

t.test('decapsulation follows every entry of figure 4', async (t) => {
  for (const [inner, ...results] of FIGURE_4)
    for (const [column, outer] of (['not-ECT', 'ECT(0)', 'ECT(1)', 'CE'] as const).entries()) {
      const result = results[column];
      const expected = result === 'drop' ? ECN_DROP : FIELD[result];
      t.equal(decapsulatedEcn(FIELD[inner], FIELD[outer]), expected, `${inner} in ${outer}: ${result}`);
    }
});

t.test('an IPv4 header keeps its DSCP and a correct checksum', async (t) => {
  for (const tos of [0x00, 0x01, 0xb8, 0xbb, 0xfe])
    for (let ecn = 0; ecn < 4; ecn++)
      for (const id of [0, 1, 0x1234, 0xffff]) {
        const b = ipv4Frame('02:00:00:00:00:01', '02:00:00:00:00:02', { tos, id });
        setIpv4Ecn(b, 14, ecn);
        t.equal(b[15], (tos & 0xfc) | ecn);
        t.equal(onesSum(b.slice(14, 34)), 0xffff, `TOS ${tos}, ECN ${ecn}, id ${id}`);
      }
});

t.test('an IPv6 header keeps its DSCP and its flow label', async (t) => {
  const b = ipv6Frame('02:00:00:00:00:01', '02:00:00:00:00:02', { tos: 0xb9 });
  b.set([0xaf, 0xfe], 16);
  b[15] |= 0x0d;
  const rest = b.slice(16);
  setIpv6Ecn(b, 14, 0b10);
  t.same([b[14], b[15]], [0x6b, 0xad], 'version 6, DSCP 46, ECN 10, flow label');
  t.same(b.slice(16), rest);
});
