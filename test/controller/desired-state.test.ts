/**
 * Capacity of the desired state, without workers.
 */
import t from 'tap';
import { MAX_PEERS, MAX_VNIS } from '../../src/abi/limits.js';
import { DesiredState, type NewVni } from '../../src/controller/desired-state.js';
import type { NewPeer } from '../../src/exchange/data-plane.js';
import { packAddress } from '../support/memory-plane.js';

const vni = (number: number) => ({ vni: number, tapFds: [], policy: {} }) as unknown as NewVni;

t.test('a VNI beyond the limit is refused with table_full and takes no row', async (t) => {
  const desired = new DesiredState();
  for (let i = 0; i < MAX_VNIS; i++) desired.add(vni(i), []);
  for (const attempt of [1, 2])
    t.throws(
      () => desired.add(vni(MAX_VNIS), []),
      { code: 'table_full', message: /^VNI 4096: / },
      `${attempt}`,
    );
  const first = desired.vni(0);
  desired.remove(first);
  desired.giveRows(first);
  desired.add(vni(MAX_VNIS), []);
});

t.test('peers beyond the limit are refused with table_full', async (t) => {
  const desired = new DesiredState();
  const record = desired.add(vni(1), []);
  const address = { ...packAddress('192.0.2.1', 4789), text: '192.0.2.1' };
  const many = { length: MAX_PEERS, [Symbol.iterator]: () => [].values() } as unknown as NewPeer[];
  t.throws(() => desired.addPeers(record, many), {
    code: 'table_full',
    message: /^1048576 peers of VNI 1: /,
  });
  desired.addPeers(record, [{ address, flood: true, name: '', pathMtu: 0 }]);
});
