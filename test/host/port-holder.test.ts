import { createSocket } from 'node:dgram';
import t from 'tap';
import { explainPortInUse, inodesOf, vxlanHolder } from '../../src/host/port-holder.js';
import { makeLink } from '../support/machine.js';

const TABLE = [
  '   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops',
  // any:4789, held by the kernel or a process
  ' 5916: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8919 2 00000000f43b22c9 0',
  // 127.0.0.1:4789
  ' 5916: 0100007F:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8920 2 00000000f43b22c8 0',
  // another local port, remote port 4789
  ' 5917: 0100007F:12B6 0100007F:12B5 01 00000000:00000000 00:00000000 00000000     0        0 8921 2 00000000f43b22c7 0',
  '',
].join('\n');

t.test('sockets are found by their local port, not by their remote port', async (t) => {
  t.strictSame(inodesOf('', 4789), []);
  t.strictSame(inodesOf('   sl  local_address', 4789), []);
  t.strictSame(inodesOf(TABLE, 53), []);
  t.strictSame(inodesOf(TABLE, 4789), ['8919', '8920']);
  t.strictSame(inodesOf(TABLE, 4790), ['8921']);
});

t.test('a kernel vxlan device holds its port only while it is up', async (t) => {
  const vxlan = (name: string, up: boolean, vxlanPort: number) =>
    makeLink({ name, up, kind: 'vxlan', vxlanPort });
  const links = [vxlan('down', false, 4789), vxlan('flannel.1', true, 8472), vxlan('vxlan100', true, 4789)];
  t.equal(vxlanHolder(links, 4790), undefined);
  t.equal(vxlanHolder(links.slice(0, 2), 4789), undefined);
  t.equal(vxlanHolder(links, 4789)?.name, 'vxlan100');
});

t.test('the message about a port that a process holds has the id and name of the process', async (t) => {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  const line = await explainPortInUse(port);
  t.match(
    line,
    new RegExp(
      `^UDP port ${port} is taken: process ${process.pid} \\(.+\\) holds it; stop it or choose another --port`,
    ),
  );
  t.notMatch(line, '\n');
});

t.test('the message has a cure even when no holder is found', async (t) => {
  t.match(await explainPortInUse(1), /^UDP port 1 is taken: .*choose another --port$/);
});
