import t from 'tap';
import { chooseAddress } from '../../src/names/choice.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const V4 = ['198.51.100.1', '198.51.100.2'];
const V6 = ['2001:db8::1', '2001:db8::2'];

const rows: [string, string[], string | undefined, string[], string | undefined][] = [
  ['no address', [], '198.51.100.1', [], undefined],
  ['the first address', [...V6, ...V4], undefined, [], V6[0]],
  ['the address in use, when name servers rotate', [...V4].reverse(), V4[0], [], V4[0]],
  ['the first, when the one in use is gone', V4, '198.51.100.7', [], V4[0]],
  ['an address with a route', [...V6, ...V4], V6[0], V6, V4[0]],
  ['the other address of the family', V4, V4[0], [V4[0]], V4[1]],
  ['the family that the resolver prefers, when it is back', [...V6, ...V4], V4[0], [], V6[0]],
  ['without any route, the address in use', V4, V4[1], V4, V4[1]],
  ['without any route, the first', V4, undefined, V4, V4[0]],
];

for (const [what, addresses, inUse, unreachable, expected] of rows) {
  t.test(what, async (t) => {
    const parsed = addresses.map((text) => parseIpAddress(text)!);
    const chosen = chooseAddress(parsed, inUse, ({ text }) => !unreachable.includes(text));
    t.equal(chosen?.text, expected);
  });
}
