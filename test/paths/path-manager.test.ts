/** Searches on request through the path manager. */
import t from 'tap';
import { loadShim } from '../../src/abi/binding.js';
import { silentLogger } from '../../src/log/log.js';
import { PathManager } from '../../src/paths/path-manager.js';
import { Paths } from '../../src/paths/paths.js';
import { openMachine } from '../support/machine.js';
import { packAddress } from '../support/memory-plane.js';

t.test('a search fails when its VNI is removed meanwhile', async (t) => {
  const machine = await openMachine(t);
  const settings = { local: [], underlayDev: '', fwmark: 0, sourcePorts: { min: 49152, max: 65535 } };
  const manager = new PathManager({
    shim: loadShim(),
    machine,
    linkOf: () => undefined,
    held: () => ({ ipv4: false, ipv6: false }),
    settings,
    ttl: 64,
    paths: new Paths(settings, machine),
    log: silentLogger(),
    publish: () => {},
    signs: () => {},
  });
  t.teardown(() => manager.stop());
  const address = { ...packAddress('127.0.0.1', 4789), text: '127.0.0.1' };
  const peer = { address, flood: true, name: '', pathMtu: 0, peerIdx: 0 };
  await t.rejects(
    manager.probe(100, peer, () => {}),
    { code: 'vni_not_found', message: 'VNI 100 was removed during the search' },
  );
});
