/**
 * The shim's binding as called from TypeScript.
 *
 * Covers datagrams of both address families through typed arrays, waits across threads, polls of
 * the event loop, and every kind of invalid argument. Invalid descriptors are tested in C
 * (native-shims/test/bounds_test.c).
 */
import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { constants } from 'node:os';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { BATCH_LEN, Batch } from '../../src/abi/batch.js';
import { loadShim, type Shim } from '../../src/abi/binding.js';
import { BATCH_CAP, PEER_ROW_LEN, SEND_SOCKETS, SOURCE_SOCKETS } from '../../src/abi/limits.js';
import { PATH_ERRORS_LEN, PathErrors } from '../../src/abi/path-errors.js';
import { Tunnel } from '../../src/switch/superframes/tunnel.js';

const shim = loadShim();
const SHIM_FILE = new URL('../../native-shims/build/Release/vtepd_shim.node', import.meta.url).pathname;
const { EADDRINUSE, EBADF, EFAULT, EINVAL, ENODEV } = constants.errno;
const AF_INET = 2;
const AF_INET6 = 10;
const RECEIVE = 1;
const RECVERR = 2;

const LOOPBACK = [127, 0, 0, 1];
const LOOPBACK6 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/** One packed row, little-endian like every supported machine. */
function peerRow(family: number, address: number[], port: number): Uint8Array {
  const row = new Uint8Array(PEER_ROW_LEN);
  new Uint16Array(row.buffer, 0, 2).set([family, port]);
  row.set(address, 4);
  return row;
}

function portOf(row: Uint8Array, index = 0): number {
  return new DataView(row.buffer, row.byteOffset).getUint16(index * PEER_ROW_LEN + 2, true);
}

/** Opens a receiver on the first unused port. The search begins at a process-specific port. */
function openReceiver(family: number, address: number[]): { fd: number; row: Uint8Array } {
  for (let port = 20000 + (process.pid % 20000); ; port++) {
    const row = peerRow(family, address, port);
    const fd = shim.udpOpen(row, '', RECEIVE, 1 << 20, 0, 0);
    if (fd >= 0) return { fd, row };
    if (fd !== -EADDRINUSE) throw new Error(`udpOpen: ${fd}`);
  }
}

for (const shared of [false, true]) {
  const buffer = (length: number) => (shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
  for (const [family, address] of [
    [AF_INET, LOOPBACK],
    [AF_INET6, LOOPBACK6],
  ] as const) {
    const network = family === AF_INET ? 'IPv4' : 'IPv6';
    t.test(`datagrams pass over ${network}, shared memory: ${shared}`, async (t) => {
      const receiver = openReceiver(family, [...address]);
      const sender = shim.udpOpen(peerRow(family, [...address], 0), '', RECVERR, 4096, 1 << 20, 0);
      t.teardown(() => [receiver.fd, sender].map((fd) => shim.close(fd)));
      const fds = new Int32Array(SEND_SOCKETS).fill(-1);
      fds[(family === AF_INET6 ? SOURCE_SOCKETS : 0) + 5] = sender;

      const arena = new Uint8Array(buffer(4 * 2048));
      const batch = new Batch(buffer(BATCH_LEN));
      const errors = new PathErrors();
      for (let i = 0; i < 3; i++) {
        batch.off[i] = i * 100;
        batch.len[i] = 40 + i;
        batch.srcPortIdx[i] = 5;
        arena.fill(i + 1, i * 100, i * 100 + 40 + i);
      }
      batch.off[1] = arena.length;
      const { bytes } = new Tunnel();
      t.equal(
        shim.udpSendBatch(
          fds,
          receiver.row,
          arena,
          batch.bytes,
          3,
          1,
          new Int32Array(2),
          bytes,
          errors.bytes,
        ),
        1,
      );
      t.same([...batch.status.subarray(0, 3)], [0, -EFAULT, 0]);

      const sources = new Uint8Array(buffer(BATCH_CAP * PEER_ROW_LEN));
      const receive = () => shim.udpReceiveBatch(receiver.fd, arena, batch.bytes, sources, 4, 2048);
      t.equal(receive(), 2);
      t.same([...batch.off.subarray(0, 2)], [0, 2048]);
      t.same([...batch.len.subarray(0, 2)], [40, 42]);
      t.same([...batch.gsoSize.subarray(0, 2)], [0, 0]);
      t.same([...batch.segCount.subarray(0, 2)], [1, 1]);
      t.same([...batch.ifindex.subarray(0, 2)], [1, 1], 'both arrived by lo');
      t.same([...arena.subarray(2048, 2048 + 42)], new Array(42).fill(3));
      t.same([...sources.subarray(4, 4 + address.length)], address);
      t.equal(portOf(sources, 0), portOf(sources, 1));
      t.equal(receive(), 0);
      t.equal(shim.udpDrops(receiver.fd), 0);
      t.equal(shim.udpReadErrors(sender, errors.bytes), 0);
      t.equal(errors.count, 0);
    });
  }
}

t.test('errors of the kernel are returned as negative errnos', async (t) => {
  const { fd, row } = openReceiver(AF_INET, LOOPBACK);
  t.equal(shim.udpOpen(row, '', RECEIVE, 0, 0, 0), -EADDRINUSE);
  t.equal(shim.udpOpen(peerRow(AF_INET, LOOPBACK, 0), 'no-such-device-', 0, 0, 0, 0), -ENODEV);
  t.equal(shim.tapOpen('a-name-that-is-too-long', false), -EINVAL);
  t.equal(shim.tapSetOffload(-1, 0), -EBADF);
  const copy = shim.dup(fd);
  t.ok(copy >= 0 && copy !== fd);
  t.equal(shim.close(fd), 0);
  t.equal(shim.close(fd), -EBADF);
  t.equal(shim.udpOpen(row, '', RECEIVE, 0, 0, 0), -EADDRINUSE, 'the copy keeps the port in use');
  t.equal(shim.close(copy), 0);
  t.equal(shim.dup(copy), -EBADF);
});

t.test('a wait reports tokens and times and is woken by another thread', async (t) => {
  const waitFd = shim.waitCreate();
  const event = shim.eventCreate();
  t.teardown(() => [waitFd, event].map((fd) => shim.close(fd)));
  const result = new ArrayBuffer(shim.layout['sizeof.waitResult']);
  const times = new Float64Array(result, 0, 2);
  const tokens = new Int32Array(result, shim.layout['offsetof.waitResult.tokens'], shim.layout.WAIT_CAP);
  const wait = (timeoutMs: number) => shim.waitFor(waitFd, timeoutMs, 0, new Uint8Array(result));

  t.equal(shim.waitAdd(waitFd, event, 77, true), 0);
  t.equal(wait(20), 0);
  t.ok(times[1] >= 19 && times[1] < 5000, `waited ${times[1]} ms`);
  t.ok(
    Math.abs(times[0] - Number(process.hrtime.bigint() / 1_000_000n)) < 5000,
    'the clock is that of process.hrtime()',
  );

  const worker = new Worker(
    `setTimeout(() => require(${JSON.stringify(SHIM_FILE)}).eventFire(${event}), 50)`,
    {
      eval: true,
    },
  );
  t.equal(wait(10_000), 1);
  t.equal(tokens[0], 77);
  t.equal(shim.eventClear(event), 0);
  t.equal(wait(0), 0);
  await new Promise((resolve) => worker.once('exit', resolve));
  t.equal(shim.waitRemove(waitFd, event), 0);
});

t.test('poll calls back from the loop until it is stopped', async (t) => {
  const event = shim.eventCreate();
  t.teardown(() => shim.close(event));
  let calls = 0;
  let handle: object | undefined;
  shim.eventFire(event);
  await new Promise<void>((resolve) => {
    handle = shim.pollStart(event, () => {
      calls++; // level-triggered: called twice, because the event is not cleared
      if (calls === 2) shim.eventClear(event);
      if (calls === 2) resolve();
    });
    t.throws(
      () => shim.pollStart(event, () => {}),
      { code: 'ERR_POLL' },
      'a second watcher of a descriptor is refused',
    );
  });
  shim.pollStop(handle!);
  shim.pollStop(handle!);
  shim.eventFire(event);
  await new Promise((resolve) => setTimeout(resolve, 30));
  t.equal(calls, 2);
  const again = shim.pollStart(event, () => {});
  shim.pollStop(again);
});

t.test('poll rejects a descriptor that it cannot watch and a foreign handle', async (t) => {
  const file = openSync(SHIM_FILE, fsConstants.O_RDONLY);
  t.teardown(() => closeSync(file));
  t.throws(() => shim.pollStart(file, () => {}), { message: `pollStart: cannot watch fd ${file}` });
  t.throws(() => shim.pollStart(-1, () => {}), { code: 'ERR_POLL' });
  for (const foreign of [{}, Object.create(null), new Map(), () => {}, undefined, 1]) {
    t.throws(() => shim.pollStop(foreign as object), { code: 'ERR_INVALID_ARG_VALUE' });
  }
});

t.test('an error thrown by a poll callback is an uncaught exception of its thread', async (t) => {
  const code = `const shim = require(${JSON.stringify(SHIM_FILE)});
    const event = shim.eventCreate();
    shim.eventFire(event);
    shim.pollStart(event, () => { throw new Error('from the callback'); });`;
  const worker = new Worker(code, { eval: true });
  const error = await new Promise<Error>((resolve) => worker.once('error', resolve));
  t.equal(error.message, 'from the callback');
});

t.test('a thread can be terminated while its poll runs', async (t) => {
  const event = shim.eventCreate();
  t.teardown(() => shim.close(event));
  const code = `const shim = require(${JSON.stringify(SHIM_FILE)});
    const { parentPort } = require('node:worker_threads');
    shim.pollStart(${event}, () => shim.eventClear(${event}));
    shim.pollStop(shim.pollStart(shim.eventCreate(), () => {}));
    parentPort.postMessage('started');`;
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(code, { eval: true });
    await new Promise((resolve) => worker.once('message', resolve));
    t.equal(await worker.terminate(), 1);
  }
});

t.test('a netlink request is answered by a promise', async (t) => {
  const getLo = Buffer.alloc(32);
  getLo.writeUInt32LE(getLo.length, 0);
  getLo.writeUInt16LE(18, 4); // RTM_GETLINK
  getLo.writeUInt16LE(5, 6); // request and ack
  getLo.writeInt32LE(1, 20);
  const answers = await Promise.all(Array.from({ length: 20 }, () => shim.netlinkRequest(0, getLo)));
  for (const answer of answers)
    t.ok(answer instanceof Uint8Array && answer.length > 100 && answer[4] === 16, 'RTM_NEWLINK');
  getLo.writeUInt32LE(33, 0);
  t.equal(await shim.netlinkRequest(0, getLo), -EINVAL);
  t.equal(await shim.netlinkRequest(0, Uint8Array.of(0)), -EINVAL);
  for (const [protocol, messages, argument] of [
    [-1, getLo, 'protocol'],
    [32, getLo, 'protocol'],
    [0, new Uint8Array(0), 'messages'],
    [0, 'x', 'messages'],
  ] as const)
    t.throws(() => shim.netlinkRequest(protocol, messages as Uint8Array), {
      code: 'ERR_INVALID_ARG_VALUE',
      message: new RegExp(`^netlinkRequest: ${argument}.* must be `),
    });
});

t.test('a thread can be terminated while a netlink request is under way', async (t) => {
  const code = `const shim = require(${JSON.stringify(SHIM_FILE)});
    const { parentPort } = require('node:worker_threads');
    const dump = Buffer.alloc(32);
    dump.writeUInt32LE(32, 0);
    dump.writeUInt16LE(18, 4);
    dump.writeUInt16LE(0x301, 6);
    const ask = () => shim.netlinkRequest(0, dump).then(ask);
    for (let i = 0; i < 8; i++) ask();
    parentPort.postMessage('started');`;
  for (let round = 0; round < 5; round++) {
    const worker = new Worker(code, { eval: true });
    await new Promise((resolve) => worker.once('message', resolve));
    t.equal(await worker.terminate(), 1);
  }
});

t.test('an invalid argument throws an error that names the function and the argument', async (t) => {
  const arena = new Uint8Array(4096);
  const batch = new Uint8Array(BATCH_LEN);
  const sources = new Uint8Array(BATCH_CAP * PEER_ROW_LEN);
  const fds = new Int32Array(SEND_SOCKETS).fill(-1);
  const errors = new Uint8Array(PATH_ERRORS_LEN);
  const tunnel = new Tunnel().bytes;
  const row = peerRow(AF_INET, LOOPBACK, 0);
  const result = new Uint8Array(shim.layout['sizeof.waitResult']);
  const misaligned = (length: number) => new Uint8Array(new ArrayBuffer(length + 8), 1, length);
  const fd = shim.eventCreate();
  t.teardown(() => shim.close(fd));

  const valid: { [name in keyof Shim]?: unknown[] } = {
    tapOpen: ['vtt%d', false],
    tapSteer: [-1],
    tapUnsteer: [-1],
    tapSetOffload: [-1, 0],
    tapReadBatch: [fd, arena, batch, 0, 0, 0, 4096, 8, 1600],
    tapWriteBatch: [fds, arena, batch, 0, 3, new Int32Array(2)],
    udpOpen: [row, 'no-such-device-', 0, 0, 0, 0],
    udpSetMark: [-1, 2 ** 32 - 1],
    udpSource: [row, 'no-such-device-', 2 ** 32 - 1, new Uint8Array(32)],
    udpReceiveBatch: [-1, arena, batch, sources, 2, 2048],
    udpSendBatch: [fds, row, arena, batch, 0, 1, new Int32Array(2), tunnel, errors],
    udpReadErrors: [-1, errors],
    udpDrops: [-1],
    udpPort: [-1],
    tunnelOpen: [''],
    tunnelAttach: [2 ** 31 - 1, 2 ** 32 - 1],
    tunnelSegmentation: ['no-such-device-'],
    policyCount: [],
    cgroupPrograms: ['/no-such-folder', 1],
    deviceTxDropped: [2 ** 31 - 1],
    netlinkOpen: [31, Int32Array.of(1)],
    netlinkReceive: [-1, new Uint8Array(1)],
    watchClear: [-1],
    waitAdd: [-1, -1, 0, true],
    waitRemove: [-1, -1],
    waitFor: [-1, 0, 0, result],
    eventFire: [-1],
    eventClear: [-1],
    dup: [-1],
    fileLock: [-1],
    close: [-1],
  };
  /** Function name, argument index, argument name in the message, rejected values. */
  const invalid: [keyof Shim, number, string, unknown[]][] = [
    ['tapOpen', 0, 'name', ['x'.repeat(64), 'vtep\0x', 7, null]],
    ['tapOpen', 1, 'multiQueue', [1, undefined]],
    ['tapSetOffload', 1, 'bits', [-1, 2 ** 31]],
    ['tapReadBatch', 0, 'fd', ['3', 1.5, Number.NaN, 2 ** 31, -(2 ** 31) - 1, undefined]],
    ['tapReadBatch', 1, 'arena', [new Uint8Array(0), [], new DataView(arena.buffer), arena.buffer]],
    [
      'tapReadBatch',
      2,
      'batch',
      [new Uint8Array(BATCH_LEN - 1), new Int32Array(BATCH_LEN), misaligned(BATCH_LEN), {}],
    ],
    ['tapReadBatch', 3, 'start', [-1, BATCH_CAP + 1]],
    ['tapReadBatch', 5, 'regionOff', [-1, 4097]],
    ['tapReadBatch', 6, 'regionEnd', [-1, 4097, 2 ** 31]],
    ['tapReadBatch', 7, 'headroom', [-1, 65536]],
    ['tapReadBatch', 8, 'slotLen', [-1, 0]],
    ['tapWriteBatch', 0, 'fds', [new Uint8Array(16), [1, 2]]],
    ['tapWriteBatch', 1, 'arena', [null]],
    ['tapWriteBatch', 2, 'batch', [new Uint8Array(BATCH_LEN - 1)]],
    ['tapWriteBatch', 3, 'count', [-1, BATCH_CAP + 1]],
    ['tapWriteBatch', 4, 'merge', [-1, 4, undefined]],
    ['tapWriteBatch', 5, 'result', [new Int32Array(1), undefined]],
    ['udpOpen', 0, 'local', [new Uint8Array(31), '127.0.0.1']],
    ['udpOpen', 1, 'device', ['x'.repeat(64), 7]],
    ['udpOpen', 2, 'options', [-1, 1024]],
    ['udpOpen', 3, 'receiveLen', [-1]],
    ['udpOpen', 4, 'sendLen', [-1]],
    ['udpOpen', 5, 'ttl', [-1, 256]],
    ['udpSource', 0, 'peer', [new Uint8Array(31), misaligned(32)]],
    ['udpSource', 1, 'device', ['x'.repeat(64), 7]],
    ['udpSource', 2, 'mark', [-1, 2 ** 32]],
    ['udpSource', 3, 'source', [new Uint8Array(31), misaligned(32)]],
    ['udpSetMark', 1, 'mark', [-1, 2 ** 32, 0.5, '7', undefined]],
    [
      'udpReceiveBatch',
      3,
      'sources',
      [new Uint8Array(BATCH_CAP * PEER_ROW_LEN - 1), misaligned(BATCH_CAP * PEER_ROW_LEN)],
    ],
    ['udpReceiveBatch', 4, 'slots', [-1, BATCH_CAP + 1]],
    ['udpReceiveBatch', 4, 'slots \\* slotStride', [3, BATCH_CAP]],
    ['udpReceiveBatch', 5, 'slotStride', [0, -1]],
    ['udpReceiveBatch', 5, 'slots \\* slotStride', [2049, 2 ** 31 - 1]],
    ['udpSendBatch', 0, 'fds', [new Int32Array(SEND_SOCKETS - 1)]],
    ['udpSendBatch', 1, 'peers', [misaligned(32), new Int32Array(8)]],
    ['udpSendBatch', 4, 'count', [-1, BATCH_CAP + 1]],
    ['udpSendBatch', 5, 'trainMax', [0, BATCH_CAP + 1, undefined]],
    ['udpSendBatch', 6, 'refused', [new Int32Array(1), undefined]],
    ['udpSendBatch', 7, 'tunnel', [new Uint8Array(4), misaligned(tunnel.length), undefined]],
    [
      'udpSendBatch',
      8,
      'errors',
      [new Uint8Array(PATH_ERRORS_LEN - 1), misaligned(PATH_ERRORS_LEN), undefined],
    ],
    [
      'udpReadErrors',
      1,
      'errors',
      [new Uint8Array(PATH_ERRORS_LEN - 1), misaligned(PATH_ERRORS_LEN), new Int32Array(PATH_ERRORS_LEN)],
    ],
    ['tunnelOpen', 0, 'name', ['x'.repeat(64), 7]],
    ['tunnelAttach', 0, 'ifindex', [0, -1, undefined]],
    ['tunnelAttach', 1, 'mark', [-1, 2 ** 32, 0.5, undefined]],
    ['tunnelSegmentation', 0, 'device', ['x'.repeat(64), undefined]],
    ['cgroupPrograms', 0, 'path', ['x'.repeat(4096), 'a\0b', undefined]],
    ['cgroupPrograms', 1, 'type', [-1, 1.5, '1']],
    ['deviceTxDropped', 0, 'index', ['lo', undefined]],
    ['netlinkOpen', 0, 'protocol', [-1, 32, undefined]],
    ['netlinkOpen', 1, 'groups', [[1], new Uint8Array(4), undefined]],
    ['netlinkReceive', 0, 'fd', [undefined]],
    ['netlinkReceive', 1, 'buffer', [new Uint8Array(0), new Int32Array(1), undefined]],
    ['watchClear', 0, 'fd', [undefined]],
    ['waitAdd', 2, 'token', [-1, 2 ** 30]],
    ['waitAdd', 3, 'readable', [1, undefined]],
    ['waitFor', 1, 'timeoutMs', [-2, 0.5]],
    ['waitFor', 2, 'spinUs', [-1, 1001, 0.5]],
    ['waitFor', 3, 'result', [new Uint8Array(result.length - 1), misaligned(result.length)]],
    ['eventFire', 0, 'fd', [{}]],
    ['close', 0, 'fd', [undefined, 1n]],
  ];

  const call = (name: keyof Shim, args: unknown[]) =>
    (shim[name] as (...args: unknown[]) => unknown)(...args);
  for (const [name, args] of Object.entries(valid)) {
    t.type(call(name as keyof Shim, args), 'number', `${name} accepts valid arguments`);
  }
  for (const [name, index, argument, values] of invalid) {
    for (const value of values) {
      const args = valid[name]!.map((original, k) => (k === index ? value : original));
      const wanted = {
        code: 'ERR_INVALID_ARG_VALUE',
        message: new RegExp(`^${name}: ${argument}.* must be `),
      };
      t.throws(
        () => call(name, args),
        wanted,
        `${name} refuses ${inspect(value).slice(0, 40)} as ${argument}`,
      );
    }
  }
  t.throws(
    () => call('udpSendBatch', []),
    { message: 'udpSendBatch: fds must be' },
    'a call without arguments is refused',
  );
});
