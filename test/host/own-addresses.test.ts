import t from 'tap';
import type { Address, Changes, Observer } from '../../src/host/machine.js';
import { OwnAddresses } from '../../src/host/own-addresses.js';
import { parseIpAddress } from '../../src/wire/ip-address.js';

const NO_LINKS: Changes['links'] = new Map();

function makeMachine() {
  const addresses: Address[] = [];
  const observers = new Set<Observer>();
  const add = (text: string, index: number, usable = true) => {
    const family = text.includes(':') ? 6 : 4;
    addresses.push({ index, family, text, length: 24, usable, protocol: 0, temporary: false });
  };
  const machine = {
    get addresses() {
      return addresses.values();
    },
    scopeId: (name: string) => ({ eth0: 2, eth1: 3 })[name] ?? 0,
    subscribe: (observer: Observer) => {
      observers.add(observer);
      return () => void observers.delete(observer);
    },
  };
  const report = (changed = true) => {
    for (const observer of observers) observer({ links: NO_LINKS, addresses: changed });
  };
  return { machine, addresses, observers, add, report };
}

const has = (own: OwnAddresses, text: string) => own.has(parseIpAddress(text)!);

t.test('usable addresses and loopback addresses are own', async (t) => {
  const { machine, add } = makeMachine();
  add('192.0.2.1', 2);
  add('9.9.9.1', 1);
  add('2001:db8::1', 2);
  add('2001:db8::2', 2, false);
  add('fe80::1', 2);
  const own = new OwnAddresses(machine);
  for (const text of ['192.0.2.1', '9.9.9.1', '2001:db8::1', 'fe80::1%eth0', '127.0.0.1', '127.9.9.9', '::1'])
    t.ok(has(own, text), text);
  for (const text of ['192.0.2.2', '2001:db8::2', 'fe80::1%eth1', 'fe80::1%eth7', '126.0.0.1', '7f00::'])
    t.notOk(has(own, text), text);
  t.equal(own.rows().length, 4 * 8, 'the data plane gets the usable ones');
});

t.test('addresses are followed, and only changes of usable ones are reported', async (t) => {
  const { machine, addresses, observers, add, report } = makeMachine();
  let changes = 0;
  const own = new OwnAddresses(machine, () => void changes++);
  add('192.0.2.1', 2, false);
  report();
  t.equal(changes, 0, 'a tentative address');
  addresses.length = 0;
  add('192.0.2.1', 2);
  report(false);
  t.notOk(has(own, '192.0.2.1'), 'a change of links does not count');
  report();
  t.ok(has(own, '192.0.2.1'));
  addresses.length = 0;
  add('192.0.2.9', 2);
  report();
  t.notOk(has(own, '192.0.2.1'));
  t.equal(changes, 2);
  own.stop();
  t.equal(observers.size, 0);
});
