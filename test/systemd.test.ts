/**
 * Consistency of the two unit files, sysusers.d and docs/systemd.md.
 *
 * test/lab/systemd.test.ts runs the units with systemd.
 */
import { readFileSync } from 'node:fs';
import t from 'tap';

const single = read('vtepd.service');
const instance = read('vtepd@.service');

t.test('the instance unit has the lines of the single unit, except for file names', (t) => {
  const asSingle = lines(instance)
    .map((line) => line.replace(' --state /var/lib/vtepd/%i.json', ''))
    .map((line) => line.replaceAll('/etc/vtepd/%i.yaml', '/etc/vtepd/vtepd.yaml'))
    .map((line) => line.replace('RuntimeDirectory=vtepd-%i', 'RuntimeDirectory=vtepd'))
    .map((line) => line.replace('daemon (%i)', 'daemon'));
  t.same(asSingle, lines(single));
  t.end();
});

t.test(
  'each instance has its own state file and its own runtime directory, which systemd removes at stop',
  (t) => {
    t.match(instance, /^ExecStart=.*--state \/var\/lib\/vtepd\/%i\.json/m);
    t.match(instance, /^RuntimeDirectory=vtepd-%i$/m);
    t.end();
  },
);

t.test('the units have no directive that would break V8 or the set-up of devices', (t) => {
  const forbidden = [
    'MemoryDenyWriteExecute',
    'PrivateDevices',
    'PrivateNetwork',
    'PrivateUsers',
    'DynamicUser',
  ];
  for (const name of forbidden)
    t.notOk(
      lines(single).some((line) => line.startsWith(`${name}=`)),
      `${name} is absent`,
    );
  t.end();
});

t.test('sysusers.d creates the user of the unit', (t) => {
  const user = /^User=(.*)$/m.exec(single)?.[1];
  t.match(read('sysusers.d/vtepd.conf'), new RegExp(`^u ${user} - `, 'm'));
  t.end();
});

t.test('docs/systemd.md describes every directive', (t) => {
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

/** Returns the lines of a unit without comments and empty lines. */
function lines(unit: string): string[] {
  return unit.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}
