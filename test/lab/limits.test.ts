/**
 * Default limits of the HTTP listeners (docs/interface.md), tested from another host.
 *
 * When one client opens silent connections or too many connections, the API must still answer, and
 * other clients must still receive answers.
 *
 *     near  vtepd, --metrics 192.168.80.10:9789 ====== far  192.168.80.11 (silent), .12 (a scraper)
 */
import t from 'tap';
import { FAR, NEAR, twoHosts } from '../support/two-hosts.js';
import { eventually } from '../support/wait.js';

const SCRAPER = '192.168.80.12';

const SILENT = `
import socket, time
def opened(text):
    s = socket.create_connection(('${NEAR}', 9789)); s.sendall(text); s.settimeout(30); return s
begun = time.time()
for name, text in (('nothing', b''), ('header', b'GET /healthz HTTP/1.1\\r\\nHost: a'),
                   ('body', b'POST /healthz HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9\\r\\n\\r\\n{')):
    s = opened(text); begun = time.time(); got = b''
    while True:
        part = s.recv(4096)
        if not part: break
        got += part
    print(name, round(time.time() - begun, 1), got.split(b' ')[1].decode(), flush=True)
`;

const CROWD = `
import socket, time
held = []
for n in range(300):
    held.append(socket.create_connection(('${NEAR}', 9789)))
print('open', flush=True)
time.sleep(30)
`;

t.test('a request times out after 10 s; 300 silent connections do not block other clients', async (t) => {
  const { far, vtepd } = await twoHosts(t, 'batch', `--metrics ${NEAR}:9789`);
  await far.ip(`address add ${SCRAPER}/24 dev eth0`);
  const { stdout } = await far.outcome(['python3', '-c', SILENT]);
  for (const line of stdout.trim().split('\n')) {
    const [name, seconds, status] = line.split(' ');
    t.comment(line);
    if (name === 'body') {
      t.equal(status, '405', 'the request is refused before its body arrives');
      continue;
    }
    t.equal(status, '408', `${name}: the request times out`);
    t.ok(Number(seconds) >= 9.9 && Number(seconds) < 12, `${name}: the answer comes after ${seconds} s`);
  }
  const crowd = far.start(['python3', '-c', CROWD]);
  t.teardown(() => crowd.stop('SIGKILL'));
  await eventually('300 connections to be open', () => crowd.stdout.includes('open'));
  const scrape = await far.outcome([
    'curl',
    '-s',
    '-m',
    '5',
    '--interface',
    SCRAPER,
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    `http://${NEAR}:9789/metrics`,
  ]);
  t.equal(scrape.stdout, '200', 'another client is answered');
  t.equal((await vtepd.call('GET', '/healthz')).status, 200, 'the API answers');
  const same = await far.outcome([
    'curl',
    '-s',
    '-m',
    '5',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    `http://${NEAR}:9789/healthz`,
  ]);
  t.equal(same.stdout, '200', `a new connection of ${FAR} is answered; its oldest connection is closed`);
});
