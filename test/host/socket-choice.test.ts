import t from 'tap';
import { choiceProgram, type Placed, sourceKey } from '../../src/host/socket-choice.js';
import { random } from '../support/memory-plane.js';

const SEED = [0x9e37, 0x79b1, 0x85eb, 0xca6b, 0xc2b2, 0xae35, 0x27d4, 0xeb2f];
const OTHERS = 8;

/** Interprets classic BPF (linux/filter.h) on a packet that begins at its network header. */
function run(program: Uint8Array, packet: Uint8Array): number {
  const view = new DataView(program.buffer);
  const bytes = new DataView(packet.buffer);
  let [a, x] = [0, 0];
  const m = new Uint32Array(16);
  for (let pc = 0; pc < program.length / 8; pc++) {
    const code = view.getUint16(pc * 8, true);
    const jt = program[pc * 8 + 2];
    const jf = program[pc * 8 + 3];
    const k = view.getUint32(pc * 8 + 4, true);
    switch (code) {
      case 0x20:
        a = bytes.getUint32((k | 0) + 0x100000);
        break;
      case 0x28:
        a = bytes.getUint16((k | 0) + 0x100000);
        break;
      case 0x02:
        m[k] = a;
        break;
      case 0x04:
        a = (a + k) >>> 0;
        break;
      case 0x54:
        a = (a & k) >>> 0;
        break;
      case 0x2c:
        a = Math.imul(a, x) >>> 0;
        break;
      case 0x00:
        a = k;
        break;
      case 0x61:
        x = m[k];
        break;
      case 0x03:
        m[k] = x;
        break;
      case 0x0c:
        a = (a + x) >>> 0;
        break;
      case 0x24:
        a = Math.imul(a, k) >>> 0;
        break;
      case 0x94:
        a = a % k;
        break;
      case 0x74:
        a = a >>> k;
        break;
      case 0xac:
        a = (a ^ x) >>> 0;
        break;
      case 0x07:
        x = a;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += a === k ? jt : jf;
        break;
      case 0x35:
        pc += a >= k ? jt : jf;
        break;
      case 0x06:
        return k;
      case 0x16:
        return a;
      default:
        throw new Error(`no such instruction: ${code.toString(16)}`);
    }
  }
  throw new Error('the program ends without a return');
}

/** Builds the first bytes of a packet: IP header and ports. */
function packetFrom(family: 4 | 6, source: Uint8Array, port: number): Uint8Array {
  const packet = new Uint8Array(family === 4 ? 28 : 48);
  packet.set(source.slice(0, family === 4 ? 4 : 16), family === 4 ? 12 : 8);
  new DataView(packet.buffer).setUint16(family === 4 ? 20 : 40, port);
  return packet;
}

t.test(
  'each listed source is directed to its place, and all others to one place, with 1, 2 and 5 workers',
  async (t) => {
    const next = random(3);
    const address = (i: number) =>
      Uint8Array.of(10, 77, i >>> 8, i & 255, ...Array.from({ length: 12 }, (_, k) => (i * (k + 3)) & 255));
    for (const family of [4, 6] as const)
      for (const workers of [1, 2, 5])
        for (const count of [0, 1, 2, 5, 100, 600, 1300]) {
          const placed: Placed[] = Array.from({ length: count }, (_, i) => ({
            key: sourceKey(family, address(i), SEED),
            place: next(8),
          }));
          const choice = { family, workers, sockets: 9, others: OTHERS, sources: placed, seed: SEED };
          const program = choiceProgram(choice);
          if (program === undefined) {
            t.ok(count > (workers === 1 ? 1300 : 600), `${count} sources are too many for a program`);
            continue;
          }
          const seen = new Set<number>();
          for (let i = 0; i < count + 50; i++) {
            const port = next(65536);
            const answer = run(program, packetFrom(family, address(i), port));
            seen.add(Math.floor(answer / 9));
            const expected = i < count ? placed[i].place : OTHERS;
            if (answer % 9 !== expected || answer >= 9 * workers)
              t.fail(
                `IPv${family}, ${workers} workers, ${count} sources: source ${i} has the wrong result ${answer}`,
              );
            if (run(program, packetFrom(family, address(i), port)) !== answer)
              t.fail('a flow does not stay with one worker');
          }
          t.equal(
            seen.size,
            workers,
            `IPv${family}, ${workers} workers, ${count} sources: all workers are used`,
          );
        }
  },
);

t.test('there is no program when its sources need more than 4,096 instructions', async (t) => {
  const sources = Array.from({ length: 3000 }, (_, key) => ({ key, place: 1 }));
  const base = { family: 4, sockets: 9, others: 0, seed: SEED } as const;
  t.equal(choiceProgram({ ...base, workers: 1, sources }), undefined);
  t.ok(choiceProgram({ ...base, workers: 1, sources: sources.slice(0, 1300) }));
  t.ok(choiceProgram({ ...base, workers: 8, sources: sources.slice(0, 600) }));
});

t.test('two IPv6 addresses share a key for very few values of the secret words', async (t) => {
  const next = random(11);
  const base = Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
  // Each pair of addresses differs in the top bits of some bytes. With a sum of products of odd
  // secret words, the flipped bits of bytes 8 and 12 would cancel each other; with NH (RFC 4418
  // §5.2.2) they do not.
  for (const flips of [
    [8, 12],
    [10, 14],
    [8, 10],
    [0, 15],
    [7, 11, 14],
  ]) {
    const other = base.slice();
    for (const at of flips) other[at] ^= 0x80;
    let same = 0;
    for (let i = 0; i < 1000; i++) {
      const seed = Array.from({ length: 8 }, () => next(65536));
      if (sourceKey(6, base, seed) === sourceKey(6, other, seed)) same++;
    }
    t.ok(same < 5, `bytes ${flips}: the addresses share a key for ${same} of 1,000 seeds`);
  }
});
