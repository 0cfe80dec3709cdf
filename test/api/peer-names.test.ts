import t from 'tap';
import type { StatusInfo } from '../../src/api/deps.js';
import { exposition } from '../../src/api/exposition.js';
import { NAME_FAMILIES, namesView } from '../../src/api/peer-names.js';
import { STATUS } from '../support/many-peers.js';

const names = [
  {
    name: 'a.example',
    addresses: [{ text: '192.0.2.1' }, { text: '2001:db8::1' }],
    error: '',
    failures: 3,
    lastSuccessMs: Date.UTC(2026, 0, 1) + 500,
  },
  { name: 'b.example', addresses: [], error: 'no such name', failures: 7, lastSuccessMs: 0 },
];

async function text(status: StatusInfo): Promise<string[]> {
  const pieces: string[] = [];
  const image = { vnis: [], globals: new Float64Array(0), status };
  for await (const piece of exposition(NAME_FAMILIES, image)) pieces.push(piece);
  return pieces
    .join('')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
}

t.test('each peer name has its metrics', async (t) => {
  t.same(await text({ ...STATUS, names }), [
    'vtepd_peer_resolve_failures_total{name="a.example"} 3',
    'vtepd_peer_resolve_failures_total{name="b.example"} 7',
    'vtepd_peer_resolve_last_success_timestamp_seconds{name="a.example"} 1767225600.5',
    'vtepd_peer_resolve_last_success_timestamp_seconds{name="b.example"} 0',
  ]);
  t.same(await text(STATUS), []);
});

t.test('each peer name is listed in the JSON counters', async (t) => {
  t.same(namesView({ ...STATUS, names }), [
    {
      name: 'a.example',
      addresses: ['192.0.2.1', '2001:db8::1'],
      failures: 3,
      lastSuccess: '2026-01-01T00:00:00.500Z',
      error: '',
    },
    { name: 'b.example', addresses: [], failures: 7, lastSuccess: null, error: 'no such name' },
  ]);
  t.same(namesView(STATUS), []);
});
