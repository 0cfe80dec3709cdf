/** Merged settings after the port in the file has changed: the daemon still uses the old port. */
import t from 'tap';
import { parseConfig } from '../../src/config/file.js';
import { isGiven, mergeSettings, withPort } from '../../src/config/merge.js';

const READ = `port: 4790
peers: [192.0.2.1, "192.0.2.2,port=4790"]
vnis: [{vni: 1, ageing: 10}, {vni: 2}]`;

t.test('peers without a port of their own keep the current port', async (t) => {
  const read = mergeSettings([parseConfig(READ, 'v.yaml')], false);
  t.equal(withPort(read, 4790), read.vnis, 'with the port of the file the list of VNIs is unchanged');
  const [one, two] = withPort(read, 4789);
  t.same(
    one.peers.map(({ host, port }) => [host, port]),
    [
      ['192.0.2.1', 4789],
      ['192.0.2.2', 4790],
    ],
  );
  t.equal(two.peers, one.peers, 'a shared list remains shared');
  t.equal(one.ageingS, 10);
  t.same([isGiven(one, 'ageing'), isGiven(two, 'ageing')], [true, false]);
});

t.test('--flow-offload of the previous version', async (t) => {
  const kernelPath = (...texts: string[]) =>
    mergeSettings(
      texts.map((text) => parseConfig(`${text}\nvnis: [{vni: 1}]`, 'v.yaml')),
      false,
    ).kernelPath;
  t.equal(kernelPath(''), 'auto');
  t.equal(kernelPath('flowOffload: on'), 'on');
  t.equal(kernelPath('flowOffload: off'), 'auto');
  t.equal(kernelPath('flowOffload: on\nkernelPath: off'), 'off', 'kernelPath wins');
  t.equal(kernelPath('flowOffload: on', 'kernelPath: auto'), 'auto', 'also that of another source');
});

t.test('dgram refuses shortcuts that are asked for', async (t) => {
  const merge = (text: string) =>
    mergeSettings([parseConfig(`io: dgram\n${text}\nvnis: [{vni: 1}]`, 'v.yaml')], false);
  t.equal(merge('').kernelPath, 'auto');
  t.equal(merge('kernelPath: off').kernelPath, 'off');
  const message = /: kernelPath on: --io dgram has no shortcuts/;
  t.throws(() => merge('kernelPath: on'), { message });
  t.throws(() => merge('flowOffload: on'), { message: /: flowOffload on: --io dgram has no shortcuts/ });
});
