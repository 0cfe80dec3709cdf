/** The list of the overlay's devices reaches each worker and each successor. */
import t from 'tap';
import { DesiredState } from '../../src/controller/desired-state.js';

t.test('a successor gets the list before it begins to forward', async (t) => {
  const desired = new DesiredState();
  desired.overlayDevices = { op: 'overlay.devices', indexes: Int32Array.of(7, 9) };
  desired.droppedBefore = [{ fromPeers: 0, fromStrangers: 0 }];
  const asked: string[] = [];
  await desired.configureWorker(async (change) => {
    asked.push(change.op);
    return {};
  }, 0);
  t.same(asked, ['overlay.devices', 'underlay.hold', 'underlay.own', 'fdb.adopt', 'forward']);
});
