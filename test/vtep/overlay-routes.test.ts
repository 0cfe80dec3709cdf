import t from 'tap';
import type { Link, Observer } from '../../src/host/machine.js';
import { OverlayRoutes } from '../../src/vtep/overlay-routes.js';

function makeRoutes() {
  const links: Link[] = [];
  const taps: number[] = [];
  let observer: Observer = () => {};
  const current = new Map<string, string>();
  const routes = new OverlayRoutes({
    machine: {
      get links() {
        return links.values();
      },
      subscribe: (added) => {
        observer = added;
        return () => {
          observer = () => {};
        };
      },
    },
    taps: () => taps,
    reports: {
      set: (code, subject, texts) => {
        t.equal(code, 'route_through_overlay');
        if (texts) current.set(subject, texts.detail);
        else current.delete(subject);
      },
    },
  });
  const add = (index: number, kind: string, master = 0) => {
    links.push({ index, kind, master, lower: 0 } as unknown as Link);
    observer({
      links: new Map([[index, { before: undefined, after: links.at(-1), isMoved: false }]]),
      addresses: false,
    });
  };
  return { routes, taps, add, current };
}

t.test('devices that lead into the overlay are found out again when devices change', async (t) => {
  const { routes, taps, add } = makeRoutes();
  t.notOk(routes.isOverlay(10));
  taps.push(10);
  routes.devicesChanged();
  t.ok(routes.isOverlay(10));
  t.notOk(routes.isOverlay(20));
  add(10, 'tun', 20);
  add(20, 'bridge');
  t.ok(routes.isOverlay(20));
  routes.stop();
});

t.test('each peer with such a route has a warning while the route lasts', async (t) => {
  const { routes, current } = makeRoutes();
  const devices = new Map([['192.0.2.1', 'vtep100']]);
  const report = () => routes.report(['192.0.2.1', '192.0.2.2', '192.0.2.1'], (peer) => devices.get(peer));
  report();
  t.same(
    [...current],
    [['192.0.2.1', 'the route to peer 192.0.2.1 leads into the overlay, by device vtep100']],
  );
  devices.clear();
  devices.set('192.0.2.2', 'br0');
  report();
  t.same([...current.keys()], ['192.0.2.2']);
  routes.report([], () => undefined);
  t.equal(current.size, 0, 'the warning ends with the peer');
});
