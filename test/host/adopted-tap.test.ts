import t from 'tap';
import { parseRecord } from '../../src/host/adopted-tap.js';

t.test('an alias set by an administrator and a damaged record are not records', async (t) => {
  const aliases = [
    '',
    'uplink to rack 7',
    'vtepd vni 100',
    'vtepd adopted ',
    'vtepd adopted {',
    'vtepd adopted null',
    'vtepd adopted 7',
    'vtepd adopted {"mtu":1500}',
    'vtepd adopted {"added":[]}',
    'vtepd adopted {"mtu":"1500","added":[]}',
    ' vtepd adopted {"mtu":1500,"added":[]}',
  ];
  for (const alias of aliases) t.equal(parseRecord(alias), undefined, JSON.stringify(alias));
});

t.test('a record is parsed', async (t) => {
  const record = {
    mtu: 1500,
    mac: '02:00:00:00:00:01',
    up: false,
    master: '',
    alias: '',
    addrGenMode: 'eui64',
    added: ['10.0.0.1/24'],
  };
  t.strictSame(parseRecord(`vtepd adopted ${JSON.stringify(record)}`), record);
});
