import t from 'tap';
import type { Shim } from '../../src/abi/binding.js';
import { ReceiveGroup, type Source } from '../../src/host/receive-group.js';

const FDS = [{ ipv4: Array.from({ length: 9 }, (_, i) => i), ipv6: [] }];

function setUp(answer = 0) {
  const programs: Uint8Array[] = [];
  const shim = {
    udpSelect: (_fd: number, program: Uint8Array) => {
      programs.push(program);
      return answer;
    },
  } as unknown as Shim;
  return { group: new ReceiveGroup(shim, FDS), programs };
}

const source = (i: number, trains = false): Source => ({
  text: `10.0.${i >>> 8}.${i & 255}`,
  family: 4,
  bytes: Uint8Array.of(10, 0, i >>> 8, i & 255, ...new Uint8Array(12)),
  trains,
});

t.test('peers with and without trains are each distributed evenly, and keep their places', async (t) => {
  const { group } = setUp();
  const all = Array.from({ length: 16 }, (_, i) => source(i, i % 2 === 1));
  group.steer(all, false);
  const places = all.map(({ text }) => group.place(text)!);
  for (let place = 0; place < 8; place++)
    t.equal(places.filter((each) => each === place).length, 2, `place ${place} has two peers`);
  for (const [i, { trains }] of all.entries()) t.equal(places[i] >= 4, trains);
  group.steer([source(99), ...all.slice(3)], false);
  t.same(
    all.slice(3).map(({ text }) => group.place(text)),
    places.slice(3),
  );
  t.equal(group.place(all[0].text), undefined);
});

t.test('a proof moves a peer to the sockets for trains, and its expiry moves it back', async (t) => {
  const { group, programs } = setUp();
  group.steer([source(1)], false);
  t.ok(group.place('10.0.0.1')! < 4);
  group.steer([source(1, true)], false);
  t.ok(group.place('10.0.0.1')! >= 4);
  group.steer([source(1)], false);
  t.ok(group.place('10.0.0.1')! < 4);
  t.equal(programs.length, 3);
  group.steer([source(1)], false);
  t.equal(programs.length, 3, 'an unchanged program is not attached again');
});

t.test('no peer is treated as a stranger when a program has no room for all peers', async (t) => {
  const { group, programs } = setUp();
  const many = Array.from({ length: 4000 }, (_, i) => source(i, i < 1000));
  t.equal(group.steer(many, false), 0);
  const program = programs[0];
  const answers = new Set<number>();
  for (let pc = 0; pc < program.length / 8; pc++)
    if (program[pc * 8] === 0x06) answers.add(program[pc * 8 + 4]);
  t.same(
    [...answers].sort((a, b) => a - b),
    [0, 4, 5, 6, 7],
  );
});

t.test('after the kernel refused a program, the next call tries to attach it again', async (t) => {
  const { group, programs } = setUp(-1);
  t.equal(group.steer([source(1)], false), -1);
  t.equal(group.steer([source(1)], false), -1);
  t.equal(programs.length, 2);
});
