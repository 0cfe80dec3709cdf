/**
 * What stands in both unit files, and beside them, agrees. What systemd makes of them is tested in test/lab/systemd.test.ts.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';

const single = read('vtepd.service');
const instance = read('vtepd@.service');

t.test('an instance has the same lines, but for the names of files', (t) => {
  const asSingle = lines(instance)
    .map((line) => line.replace(' --state /var/lib/vtepd/%i.json', ''))
    .map((line) => line.replaceAll('/etc/vtepd/%i.yaml', '/etc/vtepd/vtepd.yaml'))
    .map((line) => line.replace('RuntimeDirectory=vtepd-%i', 'RuntimeDirectory=vtepd'))
    .map((line) => line.replace('daemon (%i)', 'daemon'));
  t.same(asSingle, lines(single));
  t.end();
});

t.test(
  'instances do not share a state file or a runtime directory, which goes with the first that stops',
  (t) => {
    t.match(instance, /^ExecStart=.*--state \/var\/lib\/vtepd\/%i\.json/m);
    t.match(instance, /^RuntimeDirectory=vtepd-%i$/m);
    t.end();
  },
);

t.test('what V8 or the set-up would not survive is not there', (t) => {
  const without = [
    'MemoryDenyWriteExecute',
    'PrivateDevices',
    'PrivateNetwork',
    'PrivateUsers',
    'DynamicUser',
  ];
  for (const name of without)
    t.notOk(
      lines(single).some((line) => line.startsWith(`${name}=`)),
      name,
    );
  t.end();
});

t.test('the user is the one that sysusers.d makes', (t) => {
  const user = /^User=(.*)$/m.exec(single)?.[1];
  t.match(read('sysusers.d/vtepd.conf'), new RegExp(`^u ${user} - `, 'm'));
  t.end();
});

t.test('docs/systemd.md speaks of every directive', (t) => {
  const docs = readFileSync(new URL('../docs/systemd.md', import.meta.url), 'utf8');
  const names = lines(single).flatMap((line) => /^([A-Z]\w+)=/.exec(line)?.[1] ?? []);
  const plain = ['Description', 'Documentation', 'After', 'Wants', 'WantedBy'];
  const missing = new Set(names.filter((name) => !plain.includes(name) && !docs.includes(`\`${name}`)));
  t.same([...missing], []);
  t.end();
});

function read(name: string): string {
  return readFileSync(new URL(`../systemd/${name}`, import.meta.url), 'utf8');
}

/** Without comments and empty lines. */
function lines(unit: string): string[] {
  return unit.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}
