/**
 * Link-local peers, tested in a separate network namespace:
 *
 *     here, fe80::a [left] ───veth─── [right] fe80::b, there
 *
 * Both ends have a link-local address, which is valid only together with its link. Requires root.
 */
import { networkInterfaces } from 'node:os';
import t from 'tap';
import { insideNamespace } from '../../support/inside-namespace.js';
import { ENGINES, portOf, UnderlayEnd } from '../../support/underlay-pair.js';

const SET_UP = `
  link add left type veth peer name right
  link set lo up
  link set left up
  link set right up
  addr add fe80::a/64 dev left nodad
  addr add fe80::b/64 dev right nodad`;

await insideNamespace(t, import.meta.url, SET_UP, async () => {
  const [left, right] = ['left', 'right'].map(
    (name) => networkInterfaces()[name]!.find(({ address }) => address.startsWith('fe80'))!.scopeid!,
  );

  for (const engine of ENGINES)
    await t.test(`${engine}: a link-local peer is reached and recognised by its link`, async (t) => {
      const here = new UnderlayEnd(t, engine, { ipv4: '', ipv6: '::' });
      const there = new UnderlayEnd(t, engine, { ipv4: '', ipv6: '::' });
      const port = await portOf(there.fds.ipv6[0]);
      here.setPeer(0, `fe80::b%${left}`, port);
      here.setPeer(1, 'fe80::b%4000', port);
      here.send([0, 1].map((peerIdx) => ({ peerIdx, srcPortIdx: 0, bytes: Uint8Array.of(peerIdx) })));
      await there.untilReceived(1);
      await here.untilDecided(2);
      const [{ bytes, source }] = there.received;
      t.same(bytes, Uint8Array.of(0));
      t.equal(
        new DataView(source.buffer).getUint32(20, true),
        right,
        'the source has the index of the receiving link',
      );
      t.equal(here.statuses.filter((status) => status < 0).length, 1, 'a send over a missing link fails');
    });
});
