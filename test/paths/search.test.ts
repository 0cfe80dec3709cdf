import t from 'tap';
import { type Outcome, type Probe, searchPathMtu } from '../../src/paths/search.js';

/** A simulated path. */
interface Path {
  mtu: number;
  /**
   * Response to a packet that is too big: 'silent' when ICMP is filtered, or the MTU that the hop
   * reports.
   */
  refusal: 'silent' | number;
  /** Returns true for packets that are lost for another reason. Packets are numbered from 1. */
  lost?: (packet: number) => boolean;
}

function pathOf({ mtu, refusal, lost = () => false }: Path): { probe: Probe; sizes: number[] } {
  const sizes: number[] = [];
  const probe: Probe = async (packetLen) => {
    sizes.push(packetLen);
    if (lost(sizes.length)) return { kind: 'silent' };
    if (packetLen <= mtu) return { kind: 'arrived' };
    return refusal === 'silent' ? { kind: 'silent' } : { kind: 'too-big', mtu: refusal };
  };
  return { probe, sizes };
}

t.test('the result is unknown without replies', async (t) => {
  const { probe, sizes } = pathOf({ mtu: 0, refusal: 'silent' });
  t.same(await searchPathMtu(probe, 576, 1500), { kind: 'unknown', why: 'no answer', probes: 3 });
  t.same(sizes, [576, 576, 576], 'only the smallest size is probed, three times');
});

t.test('the result is unknown, not small, when replies stop during the search', async (t) => {
  for (let dark = 2; dark < 12; dark++) {
    const { probe } = pathOf({ mtu: 1400, refusal: 'silent', lost: (packet) => packet >= dark });
    const found = await searchPathMtu(probe, 576, 1500);
    t.same(
      { kind: found.kind },
      { kind: 'unknown' },
      `the result is unknown without replies from packet ${dark} on`,
    );
  }
});

t.test('an unusable means ends the search with its cause', async (t) => {
  const rows: [string, Outcome[]][] = [
    ['at once', [{ kind: 'unusable', why: 'no rights' }]],
    ['later', [{ kind: 'arrived' }, { kind: 'unusable', why: 'no rights' }]],
  ];
  for (const [name, outcomes] of rows) {
    const left = [...outcomes];
    const found = await searchPathMtu(async () => left.shift()!, 576, 1500);
    t.same(found, { kind: 'unknown', why: 'no rights', probes: outcomes.length }, name);
  }
});

t.test('the result for a path below the minimum is unknown, with this cause', async (t) => {
  const { probe } = pathOf({ mtu: 500, refusal: 500 });
  const found = await searchPathMtu(probe, 576, 1500);
  t.same(found, { kind: 'unknown', why: 'the path carries less than 576 bytes', probes: 1 });
});

t.test('a path as wide as the route takes two packets', async (t) => {
  const { probe, sizes } = pathOf({ mtu: 9000, refusal: 'silent' });
  t.same(await searchPathMtu(probe, 576, 1500), { kind: 'found', mtu: 1500, exact: true, probes: 2 });
  t.same(sizes, [576, 1500]);
});

t.test('finds every size without ICMP', async (t) => {
  let most = 0;
  for (const ceiling of [1500, 9000, 65535])
    for (let mtu = 576; mtu <= ceiling; mtu += ceiling > 1500 && mtu > 1600 ? 997 : 1) {
      const { probe, sizes } = pathOf({ mtu, refusal: 'silent' });
      const found = await searchPathMtu(probe, 576, ceiling);
      most = Math.max(most, sizes.length);
      if (found.kind !== 'found' || found.mtu > mtu) t.fail(`${mtu} of ${ceiling}: ${JSON.stringify(found)}`);
      else if (found.exact && found.mtu !== mtu)
        t.fail(`${mtu} of ${ceiling} is reported as exactly ${found.mtu}`);
    }
  t.ok(most <= 57, `a search takes at most ${most} packets`);
});

t.test('finds common sizes exactly, with few packets', async (t) => {
  for (const mtu of [1280, 1300, 1350, 1400, 1420, 1450, 1476, 1492]) {
    const { probe, sizes } = pathOf({ mtu, refusal: 'silent' });
    t.match(await searchPathMtu(probe, 576, 1500), { kind: 'found', mtu, exact: true }, `${mtu} is found`);
    t.ok(sizes.length <= 27, `the search for ${mtu} takes ${sizes.length} packets`);
  }
});

t.test('an MTU reported by a hop saves most packets', async (t) => {
  const { probe, sizes } = pathOf({ mtu: 1337, refusal: 1337 });
  t.same(await searchPathMtu(probe, 576, 1500), { kind: 'found', mtu: 1337, exact: true, probes: 3 });
  t.same(sizes, [576, 1500, 1337]);
});

t.test('a false or useless report of a hop never makes the result larger', async (t) => {
  for (const lie of [0, 1, 68, 576, 1399, 1499, 1500, 65535]) {
    const { probe } = pathOf({ mtu: 1400, refusal: lie });
    const found = await searchPathMtu(probe, 576, 1500);
    // A packet of a forged smaller MTU arrives and so confirms the report. This can make the result
    // smaller, never larger.
    const expected = lie === 1399 ? 1399 : 1400;
    t.match(found, { kind: 'found', mtu: expected }, `a report of ${lie} leads to ${expected}`);
  }
});

t.test('a single lost packet does not change the result', async (t) => {
  for (let number = 1; number < 20; number++) {
    const { probe } = pathOf({ mtu: 1420, refusal: 'silent', lost: (packet) => packet === number });
    t.match(
      await searchPathMtu(probe, 576, 1500),
      { kind: 'found', mtu: 1420 },
      `1420 is found although packet ${number} is lost`,
    );
  }
});

t.test('late replies are awaited before a size counts as too big', async (t) => {
  for (const mtu of [1400, 1500])
    for (let from = 577; from <= mtu; from += 13) {
      const path = pathOf({ mtu, refusal: 'silent' });
      let lates = 6;
      const busy: Probe = async (packetLen, patient) => {
        const isLate = packetLen >= from && !patient && lates-- > 0;
        return isLate ? { kind: 'silent' } : path.probe(packetLen, patient);
      };
      const found = await searchPathMtu(busy, 576, 1500);
      t.match(
        found,
        { kind: 'found', mtu, exact: true },
        `${mtu} is found although replies from ${from} bytes on are late`,
      );
    }
});

t.test('the result is the floor when the ceiling is at or below the floor', async (t) => {
  for (const ceiling of [0, 576]) {
    const { probe } = pathOf({ mtu: 9000, refusal: 'silent' });
    t.same(await searchPathMtu(probe, 576, ceiling), { kind: 'found', mtu: 576, exact: true, probes: 1 });
  }
});

t.test('progress is called for every packet', async (t) => {
  const { probe } = pathOf({ mtu: 1400, refusal: 1400 });
  const steps: string[] = [];
  await searchPathMtu(probe, 576, 1500, (size, outcome) => steps.push(`${size} ${outcome}`));
  t.same(steps, ['576 arrived', '1500 too-big', '1400 arrived']);
});
