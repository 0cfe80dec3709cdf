import t from 'tap';
import * as limits from '../../src/abi/limits.js';
import { VXLAN_LEN } from '../../src/wire/vxlan.js';

t.test('related limits are consistent', async (t) => {
  const { SOURCE_SOCKETS, RECEIVE_SLOT_STRIDE, SLOT_MAX_LEN, VXLAN_HEADROOM } = limits;
  t.equal(
    SOURCE_SOCKETS & (SOURCE_SOCKETS - 1),
    0,
    'SOURCE_SOCKETS is a power of two, because the flow hash is masked',
  );
  t.equal(VXLAN_HEADROOM, VXLAN_LEN, 'the VXLAN header fits exactly in front of a frame');
  t.ok(RECEIVE_SLOT_STRIDE >= VXLAN_LEN + SLOT_MAX_LEN, 'a received superframe fits its slot');
  t.not(RECEIVE_SLOT_STRIDE % 4096, 0, 'adjacent slots map to different cache sets');
  t.equal(RECEIVE_SLOT_STRIDE % 4, 0, 'slots are aligned for 32-bit reads');
  t.ok(limits.OVERLAY_ROUND_LEN >= VXLAN_HEADROOM + SLOT_MAX_LEN, 'a round holds at least one superframe');
});
