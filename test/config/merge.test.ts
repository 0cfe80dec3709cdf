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
