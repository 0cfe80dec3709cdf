import t from 'tap';
import { statusLine } from '../../src/daemon/status-line.js';
import { controlOverPlainDataPlane } from '../support/control.js';

t.test('has the numbers of VNIs and peers, and the first reason for which it is not ready', async (t) => {
  const { dataPlane, server } = await controlOverPlainDataPlane();
  t.teardown(() => server.close());
  const underlay = { port: 4789, engine: 'batch' };
  t.equal(statusLine(dataPlane, underlay, []), '1 VNI, 2 peers, UDP port 4789 (batch)');
  const reasons = [
    { code: 'device_missing', detail: 'vtep100 is down' },
    { code: 'local_address_missing', detail: '192.0.2.10 is on no device' },
  ];
  t.equal(
    statusLine(dataPlane, underlay, reasons),
    '1 VNI, 2 peers, UDP port 4789 (batch), not ready: device_missing: vtep100 is down',
  );
});
