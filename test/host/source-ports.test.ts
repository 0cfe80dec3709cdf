import t from 'tap';
import { spreadOver } from '../../src/host/source-ports.js';

/** A kernel in which the fd of a port is its number; records the tried ports. */
function pool(min: number, max: number, count: number, busy: (port: number) => boolean = () => false) {
  const tried: number[] = [];
  const ports = spreadOver({ min, max }, count, (port) => {
    tried.push(port);
    return busy(port) ? undefined : port;
  });
  return { ports, tried };
}

t.test('a range with too many busy ports yields fewer sockets, and each port is tried once', async (t) => {
  const small = pool(50_000, 50_062, 64);
  t.equal(small.ports.length, 63);
  const busy = pool(50_000, 50_999, 64, (port) => port !== 50_500);
  t.strictSame(busy.ports, [50_500]);
  t.equal(busy.tried.length, 1000);
  t.equal(new Set(busy.tried).size, 1000);
  t.strictSame(pool(50_000, 50_999, 64, () => true).ports, []);
});

t.test('errors other than a busy port are rethrown', async (t) => {
  t.throws(
    () =>
      spreadOver({ min: 1, max: 100 }, 64, () => {
        throw new Error('EMFILE');
      }),
    /EMFILE/,
  );
});

t.test('ports are spread evenly, for the largest and the smallest allowed range', async (t) => {
  const { ports } = pool(49_152, 65_535, 64);
  t.strictSame(
    ports,
    Array.from({ length: 64 }, (_, i) => 49_152 + i * 256),
  );
  t.strictSame(
    pool(1, 64, 64).ports,
    Array.from({ length: 64 }, (_, i) => i + 1),
    'all ports of a range of exactly 64 ports are used',
  );
});

t.test('a busy port is replaced by the next one that is not busy, and no port is used twice', async (t) => {
  const { ports } = pool(49_152, 65_535, 64, (port) => port === 49_152 || port === 49_153);
  t.equal(ports[0], 49_154);
  t.equal(ports[1], 49_408);
  const tight = pool(1000, 1064, 64, (port) => port === 1064 - 1);
  t.equal(new Set(tight.ports).size, 64);
  t.notOk(tight.ports.includes(1063));
  const wrapped = pool(1000, 1009, 2, (port) => port >= 1005);
  t.strictSame(wrapped.ports, [1000, 1001], 'the search continues at the start of the range');
});
