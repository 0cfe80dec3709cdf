import t from 'tap';
import { loadShim } from '../../../src/abi/binding.js';
import { SOURCE_SOCKETS } from '../../../src/abi/limits.js';
import { Tunnel, type TunnelSetup } from '../../../src/switch/superframes/tunnel.js';

const { layout } = loadShim();
const WAY: TunnelSetup = {
  fd: 17,
  local: Uint8Array.of(192, 0, 2, 1),
  mtu: 1500,
  ttl: 64,
  df: true,
  udpChecksum: true,
  ports: Array.from({ length: SOURCE_SOCKETS }, (_, k) => 49_152 + k),
};

/** Returns the cell of the row by its field name in the shim. */
const word = ({ bytes }: Tunnel, name: string) =>
  new Int32Array(bytes.buffer)[layout[`offsetof.tunnel.${name}`] / 4];

t.test('a row has the length that the shim expects, and no device at first', async (t) => {
  const tunnel = new Tunnel();
  t.equal(tunnel.bytes.length, layout['sizeof.tunnel']);
  t.equal(word(tunnel, 'fd'), -1);
  tunnel.use(true);
  t.equal(word(tunnel, 'fd'), -1, 'the row has no device when the offload is enabled without one');
});

t.test('every field is at the offset that the shim reads', async (t) => {
  const tunnel = new Tunnel();
  tunnel.set(WAY);
  t.equal(word(tunnel, 'fd'), -1, 'the device is not used before `use`');
  tunnel.use(true);
  t.equal(word(tunnel, 'fd'), 17);
  const local = layout['offsetof.tunnel.local'];
  t.same([...tunnel.bytes.subarray(local, local + 4)], [192, 0, 2, 1]);
  t.equal(word(tunnel, 'mtu'), 1500);
  t.equal(word(tunnel, 'ttl'), 64);
  t.equal(word(tunnel, 'id'), 0);
  const ports = layout['offsetof.tunnel.ports'] / 4;
  t.same([...new Int32Array(tunnel.bytes.buffer, ports * 4)], WAY.ports);
});

t.test('the row has the options DF and UDP checksum', async (t) => {
  for (const [df, udpChecksum, options] of [
    [false, false, 0],
    [true, false, 1],
    [false, true, 2],
    [true, true, 3],
  ] as const) {
    const tunnel = new Tunnel();
    tunnel.set({ ...WAY, df, udpChecksum });
    t.equal(word(tunnel, 'options'), options);
  }
});

t.test(
  'a new device takes effect at once while the offload is enabled, and not while it is disabled',
  async (t) => {
    const tunnel = new Tunnel();
    tunnel.set(WAY);
    tunnel.use(true);
    tunnel.set({ ...WAY, fd: 18, mtu: 9000 });
    tunnel.use(true);
    t.same([word(tunnel, 'fd'), word(tunnel, 'mtu')], [18, 9000]);
    tunnel.use(false);
    t.equal(word(tunnel, 'fd'), -1);
  },
);

t.test('a refusal is reported once', async (t) => {
  const tunnel = new Tunnel();
  new Int32Array(tunnel.bytes.buffer)[layout['offsetof.tunnel.error'] / 4] = -5;
  t.equal(tunnel.takeError(), -5);
  t.equal(tunnel.takeError(), 0);
});
