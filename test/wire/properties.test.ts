/**
 * Properties for arbitrary bytes: no read outside a frame, lossless round trips, valid checksums.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { checksum16, sum16, updateChecksum } from '../../src/wire/checksum.js';
import * as ethernet from '../../src/wire/ethernet.js';
import { writeFragmentationNeeded } from '../../src/wire/icmp.js';
import { makeEcho, readEchoNews } from '../../src/wire/icmp-echo.js';
import { readQuote, readQuotedUdp } from '../../src/wire/icmp-quote.js';
import { writePacketTooBig } from '../../src/wire/icmpv6.js';
import { formatIpAddress, makeIpAddress, parseCidr, parseIpAddress } from '../../src/wire/ip-address.js';
import * as ip from '../../src/wire/ip-packet.js';
import * as ipv4 from '../../src/wire/ipv4.js';
import { copyLaterHeader, finishHeader } from '../../src/wire/ipv4-fragment.js';
import * as ipv6 from '../../src/wire/ipv6.js';
import { formatMac, macHigh, macLow, parseMac, writeMac } from '../../src/wire/mac.js';
import * as probe from '../../src/wire/probe.js';
import * as tcp from '../../src/wire/tcp.js';
import * as udp from '../../src/wire/udp.js';
import * as vxlan from '../../src/wire/vxlan.js';
import { guarded, holds } from '../support/properties.js';

const RUNS = 1500;
const OFF = 8;

/** A frame whose headers are likely to be valid, with some bytes overwritten, then truncated. */
const frames = fc
  .record({
    tags: fc.nat(3),
    isIpv4: fc.boolean(),
    options: fc.nat(10),
    protocol: fc.constantFrom(0, 1, 6, 17, 43, 44, 51, 58, 60),
    bytes: fc.uint8Array({ minLength: 120, maxLength: 200 }),
    total: fc.oneof(fc.constant(-1), fc.nat(0xffff)),
    pokes: fc.array(fc.tuple(fc.nat(119), fc.nat(255)), { maxLength: 3 }),
    cut: fc.oneof(fc.constant(0), fc.nat(110)),
  })
  .map(({ tags, isIpv4, options, protocol, bytes, total, pokes, cut }) => {
    const b = Uint8Array.from(bytes);
    let at = 12;
    for (let tag = 0; tag < tags; tag++, at += 4) b.set([0x81, 0x00, 0, tag], at);
    b.set(isIpv4 ? [0x08, 0x00] : [0x86, 0xdd], at);
    at += 2;
    const length = total < 0 ? b.length - at : total;
    if (isIpv4) b.set([0x45 + options, 0, length >>> 8, length, 0, 0, 0, 0, 64, protocol], at);
    else b.set([0x60, 0, 0, 0, (length - 40) >>> 8, length - 40, protocol, 64], at);
    for (const [where, value] of pokes) b[where] = value;
    return b.slice(0, b.length - cut);
  });

/** Places a frame behind OFF other bytes. A read outside the frame throws. */
function placed(frame: Uint8Array): { b: Uint8Array; end: number } {
  const whole = new Uint8Array(OFF + frame.length + 64).fill(0x45);
  whole.set(frame, OFF);
  return { b: guarded(whole, OFF, OFF + frame.length), end: OFF + frame.length };
}

t.test('checks and accessors read no byte outside the frame', async () => {
  await holds(RUNS * 2, [frames], (frame) => {
    const { b, end } = placed(frame);
    if (frame.length < ethernet.ETHERNET_LEN) return;
    const network = ethernet.networkOffset(b, OFF, end);
    if (network < 0) return;
    if (network > end) throw new Error('the network header begins behind the frame');
    const packetEnd = ip.packetEnd(b, network, end);
    if (packetEnd < 0) return;
    if (packetEnd > end) throw new Error('the packet ends behind the frame');
    if (ip.isIpv4(b, network)) {
      if (network + ipv4.headerLen(b, network) > packetEnd)
        throw new Error('the header ends behind the packet');
      ipv4.isLaterFragment(b, network);
      ipv4.dontFragment(b, network);
      ipv4.isHostAddress(b, network + ipv4.SOURCE_OFF);
    }
    const found = ip.transport(b, network, packetEnd);
    if (found < 0) return;
    const l4 = network + ipv6.transportOffset(found);
    if (l4 > packetEnd) throw new Error('the transport header begins behind the packet');
    const protocol = ipv6.transportProtocol(found);
    if (protocol === ipv4.PROTOCOL_TCP && tcp.check(b, l4, packetEnd)) {
      const mss = tcp.mssOffset(b, l4);
      if (mss >= 0 && mss + 2 > l4 + tcp.headerLen(b, l4))
        throw new Error('the MSS option ends behind the header');
      tcp.checksum(b, l4);
    }
    if (protocol === ipv4.PROTOCOL_UDP && udp.check(b, l4, packetEnd)) {
      if (l4 + udp.length(b, l4) > packetEnd) throw new Error('the datagram ends behind the packet');
      udp.checksum(b, l4);
    }
  });
});

t.test('an extension chain is walked to its end or rejected', async () => {
  const kinds = fc.constantFrom(0, 43, 44, 51, 60, 6, 17, 59);
  await holds(RUNS, [fc.array(fc.tuple(kinds, fc.nat(3)), { maxLength: 12 }), fc.nat(60)], (chain, more) => {
    const bytes = [...Array(40).fill(0)];
    bytes[0] = 0x60;
    let last = 6;
    for (const [kind, units] of chain) {
      bytes[last] = kind;
      last = bytes.length;
      bytes.push(...Array(8 + 8 * units).fill(0));
      bytes[last + 1] = units;
    }
    bytes[last] = 17;
    const { b, end } = placed(Uint8Array.from([...bytes, ...Array(more).fill(0)]));
    const found = ipv6.transport(b, OFF, end);
    if (found >= 0 && OFF + ipv6.transportOffset(found) > end)
      throw new Error('the transport header begins behind the packet');
  });
});

t.test('a VXLAN header reads back as written', async () => {
  await holds(RUNS, [fc.nat(vxlan.MAX_VNI), fc.uint8Array({ minLength: 8, maxLength: 8 })], (vni, b) => {
    vxlan.writeVxlanHeader(b, 0, vni);
    assert.equal(vxlan.vni(b, 0), vni);
    assert.equal(vxlan.hasVni(b, 0) && !vxlan.hasReservedBits(b, 0), true);
  });
});

t.test('probe messages read back as written', async () => {
  const kinds = fc.constantFrom(probe.PROBE_REQUEST, probe.PROBE_REPLY);
  const halves = fc.integer();
  const lengths = fc.integer({ min: probe.PROBE_LEN, max: 65507 });
  await holds(RUNS, [kinds, fc.nat(vxlan.MAX_VNI), lengths, halves, halves], (kind, vni, len, high, low) => {
    const b = new Uint8Array(probe.PROBE_LEN);
    probe.writeProbe(b, 0, kind, vni, len, high, low);
    assert.equal(vxlan.hasVni(b, 0), false, 'a probe has no valid VNI');
    assert.equal(probe.isProbe(b, 0, kind === probe.PROBE_REPLY ? probe.PROBE_LEN : len), true);
    assert.equal(probe.isProbe(b, 0, probe.PROBE_LEN - 1), false);
    assert.deepEqual(
      [probe.probeKind(b, 0), probe.probeVni(b, 0), probe.probedLen(b, 0), probe.nonceHigh(b, 0)],
      [kind, vni, len, high],
    );
    assert.equal(probe.nonceLow(b, 0), low);
  });
  await holds(RUNS, [fc.uint8Array({ maxLength: 40 })], (bytes) => {
    const { b, end } = placed(bytes);
    probe.isProbe(b, OFF, end - OFF);
  });
});

t.test('MAC addresses convert between bytes, integers and text', async () => {
  await holds(RUNS, [fc.uint8Array({ minLength: 6, maxLength: 6 })], (bytes) => {
    const text = formatMac(macHigh(bytes, 0), macLow(bytes, 0));
    const parsed = parseMac(text)!;
    const written = new Uint8Array(6);
    writeMac(written, 0, parsed.high, parsed.low);
    assert.deepEqual(written, bytes);
    assert.deepEqual(parseMac(text.toUpperCase().replaceAll(':', '-')), parsed);
  });
  await holds(RUNS, [fc.string()], (text) => {
    const parsed = parseMac(text);
    if (parsed !== undefined)
      assert.equal(formatMac(parsed.high, parsed.low), text.toLowerCase().replaceAll('-', ':'));
  });
});

t.test('IP addresses convert between bytes and canonical text', async () => {
  await holds(RUNS, [fc.constantFrom(4, 6), fc.uint8Array({ minLength: 16, maxLength: 16 })], (family, b) => {
    const address = makeIpAddress(family as 4 | 6, b);
    const parsed = parseIpAddress(address.text);
    if (parsed === undefined || parsed.family !== family) {
      // The address is IPv4-compatible (deprecated) or IPv4-mapped (parsed as IPv4).
      assert.equal(family === 6 && b.subarray(0, 10).every((byte) => byte === 0), true, address.text);
      return;
    }
    assert.deepEqual(parsed.bytes, address.bytes);
    assert.equal(formatIpAddress(parsed.family, parsed.bytes), address.text);
  });
  const texts = fc.oneof(fc.ipV4(), fc.ipV6(), fc.ipV4Extended(), fc.string());
  await holds(RUNS, [texts, fc.oneof(fc.constant(''), fc.string({ maxLength: 4 }))], (text, tail) => {
    const parsed = parseIpAddress(text + tail);
    if (parsed !== undefined)
      assert.equal(
        parseIpAddress(parsed.text)?.text,
        parsed.text,
        'canonical text is parsed to the same text',
      );
    const cidr = parseCidr(`${text}/${tail}`);
    if (cidr !== undefined) assert.equal(`${cidr.length}`, tail);
  });
});

t.test('a stored checksum makes the sum 0xffff, also after an update', async () => {
  const bytes = fc.uint8Array({ minLength: 4, maxLength: 80 });
  await holds(RUNS, [bytes, fc.nat(0xffff), fc.nat(0xffff)], (b, initial, word) => {
    b[0] = b[1] = 0;
    const sum = checksum16(b, 0, b.length, initial);
    b.set([sum >>> 8, sum], 0);
    assert.equal(sum16(b, 0, b.length, initial), 0xffff);
    const before = (b[2] << 8) | b[3];
    b.set([word >>> 8, word], 2);
    updateChecksum(b, 0, before, word);
    assert.equal(sum16(b, 0, b.length, initial) % 0xffff, 0);
  });
});

t.test('"too big" messages have the correct length, checksums and destination', async () => {
  const packets = fc.record({
    options: fc.nat(10),
    len: fc.integer({ min: 60, max: 1600 }),
    mtu: fc.integer({ min: 68, max: 65535 }),
    bytes: fc.uint8Array({ minLength: 60, maxLength: 60 }),
  });
  await holds(RUNS / 5, [packets], ({ options, len, mtu, bytes }) => {
    const b = new Uint8Array(len).fill(0x5a);
    b.set(bytes.subarray(0, 60));
    b.set([0x45 + options, 0, len >>> 8, len], 0);
    const to = new Uint8Array(2000).fill(0xee);
    const written = writeFragmentationNeeded(to, 3, guarded(b, 0, len), 0, mtu);
    assert.equal(written, Math.min(576, 28 + len));
    assert.equal(
      to.subarray(3 + written).every((byte) => byte === 0xee) && to[2] === 0xee,
      true,
      'no byte beyond the message is written',
    );
    assert.equal(sum16(to, 3, 20, 0), 0xffff);
    assert.equal(sum16(to, 23, written - 20, 0), 0xffff);
    assert.deepEqual(to.subarray(3 + 16, 3 + 20), b.subarray(12, 16), 'the message goes to the sender');
    const quote = readQuote(4, to.slice(3, 3 + written));
    assert.equal(
      quote?.mtu,
      len - 20 - 4 * options < 8 ? undefined : mtu,
      'a quote with at least eight bytes of payload is readable',
    );
  });
  await holds(RUNS / 5, [packets], ({ len, mtu, bytes }) => {
    const b = new Uint8Array(len).fill(0x5a);
    b.set(bytes.subarray(0, 60));
    b.set([0x60, 0, 0, 0, (len - 40) >>> 8, len - 40], 0);
    const to = new Uint8Array(2000).fill(0xee);
    const written = writePacketTooBig(to, 3, guarded(b, 0, len), 0, mtu);
    assert.equal(written, Math.min(1280, 48 + len));
    assert.equal(
      to.subarray(3 + written).every((byte) => byte === 0xee) && to[2] === 0xee,
      true,
      'no byte beyond the message is written',
    );
    assert.equal(sum16(to, 3 + 8, 32 + written - 40, 58 + written - 40), 0xffff);
    assert.deepEqual(to.subarray(3 + 24, 3 + 40), b.subarray(8, 24), 'the message goes to the sender');
    assert.equal(readQuote(6, to.slice(3 + 40, 3 + written))?.mtu, mtu);
  });
});

t.test('messages of raw sockets are parsed or rejected, whatever the bytes', async () => {
  const families = fc.constantFrom<(4 | 6)[]>(4, 6);
  const messages = fc
    .tuple(families, fc.uint8Array({ maxLength: 120 }), fc.boolean())
    .map(([family, b, likely]) => {
      const heads = family === 4 ? [[0x45, 0, 0, b.length], [3, 4], [0x45]] : [[2, 0], [2, 0], [0x60]];
      const places = family === 4 ? [0, 20, 28] : [0, 0, 8];
      if (likely)
        for (const [k, head] of heads.entries()) if (b.length >= places[k] + 4) b.set(head, places[k]);
      return { family, b };
    });
  await holds(RUNS, [messages], ({ family, b }) => {
    // Other bytes follow the message, as in a reused buffer.
    const whole = new Uint8Array(b.length + 100).fill(0x77);
    whole.set(b);
    const inBuffer = whole.subarray(0, b.length);
    assert.deepEqual(readQuote(family, inBuffer), readQuote(family, b));
    assert.deepEqual(readQuotedUdp(family, inBuffer), readQuotedUdp(family, b));
    assert.deepEqual(readEchoNews(family, inBuffer), readEchoNews(family, b));
  });
  await holds(
    RUNS,
    [fc.nat(0xffff), fc.nat(0xffff), fc.integer({ min: 8, max: 200 })],
    (id, sequence, len) => {
      const echo = makeEcho(4, id, sequence, len);
      assert.equal(sum16(echo, 0, len, 0), 0xffff);
      echo[0] = 129;
      assert.deepEqual(readEchoNews(6, echo), { tooBig: undefined, identifier: id, sequence });
    },
  );
});

t.test('fragment headers have the correct options, length and checksum', async () => {
  const options = fc.uint8Array({ maxLength: 40 }).map((b) => b.slice(0, b.length & ~3));
  await holds(
    RUNS,
    [options, fc.nat(180), fc.nat(0xffff), fc.nat(1000), fc.boolean()],
    (opts, units, field, at, last) => {
      const b = new Uint8Array(20 + opts.length);
      b[0] = 0x45 + opts.length / 4;
      b.set(opts, 20);
      const to = new Uint8Array(80).fill(0xee);
      const len = copyLaterHeader(to, 4, guarded(b, 0, b.length), 0);
      assert.equal(len >= 20 && len <= b.length && len % 4 === 0, true);
      assert.equal(
        to.subarray(4 + len).every((byte) => byte === 0xee),
        true,
        'no byte beyond the header is written',
      );
      finishHeader(to, 4, units * 8, field & 0x2fff, at * 8, last);
      assert.equal(ipv4.totalLen(to, 4), len + units * 8);
      assert.equal(sum16(to, 4, len, 0), 0xffff);
    },
  );
});
