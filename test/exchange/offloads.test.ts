import t from 'tap';
import { OFFLOADS, Offloads, refusalReport } from '../../src/exchange/offloads.js';

const EIO = -5;
const EINVAL = -22;

t.test('no offload is in use before it is granted', async (t) => {
  const offloads = new Offloads();
  t.same(offloads.names(), []);
  t.same(offloads.refused(), []);
  t.notOk(offloads.inUse('UDP_GRO'));
  offloads.grant('GSO_TCP');
  offloads.grant('UDP_GRO');
  t.same(offloads.names(), ['UDP_GRO', 'GSO_TCP'], 'names are in the order of the table');
});

t.test('a refusal applies to all threads, and exactly one thread is the first to mark it', async (t) => {
  const main = new Offloads();
  const workers = [new Offloads(main.buffer), new Offloads(main.buffer)];
  main.grant('UDP_SEGMENT');
  t.ok(workers.every((worker) => worker.inUse('UDP_SEGMENT')));
  t.ok(workers[0].refuse('UDP_SEGMENT', EIO), 'worker 0 is the first to mark it');
  t.notOk(workers[1].refuse('UDP_SEGMENT', EIO), 'worker 1 is not the first to mark it');
  t.notOk(main.inUse('UDP_SEGMENT') || workers[1].inUse('UDP_SEGMENT'));
  t.same(main.refused(), [{ names: ['UDP_SEGMENT'], error: EIO }]);
});

t.test('a withdrawn offload can be granted again, a refused offload cannot', async (t) => {
  const main = new Offloads();
  const worker = new Offloads(main.buffer);
  main.withdraw('UDP_TUNNEL_GSO');
  t.same(main.names(), [], 'an offload that was never granted is not in use');
  for (let round = 0; round < 2; round++) {
    main.grant('UDP_TUNNEL_GSO');
    t.ok(worker.inUse('UDP_TUNNEL_GSO'));
    main.withdraw('UDP_TUNNEL_GSO');
    t.notOk(worker.inUse('UDP_TUNNEL_GSO'));
    t.same(main.refused(), [], 'a withdrawn offload is not refused');
  }
  main.grant('UDP_TUNNEL_GSO');
  t.ok(worker.refuse('UDP_TUNNEL_GSO', EIO));
  main.withdraw('UDP_TUNNEL_GSO');
  main.grant('UDP_TUNNEL_GSO');
  t.notOk(worker.inUse('UDP_TUNNEL_GSO'));
  t.same(main.refused(), [{ names: ['UDP_TUNNEL_GSO'], error: EIO }]);
});

t.test('refusals with the same error and consequence are grouped', async (t) => {
  const offloads = new Offloads();
  offloads.grant('TUN_F_TSO4');
  offloads.refuse('TUN_F_TSO_ECN', EINVAL);
  offloads.refuse('TUN_F_USO4', EINVAL);
  offloads.refuse('TUN_F_USO6', EIO);
  offloads.refuse('GSO_UDP_L4', EIO);
  t.same(offloads.refused(), [
    { names: ['TUN_F_TSO_ECN', 'TUN_F_USO4'], error: EINVAL },
    { names: ['TUN_F_USO6'], error: EIO },
    { names: ['GSO_UDP_L4'], error: EIO },
  ]);
});

t.test('each line names the offload, the error and the consequence', async (t) => {
  for (const [name, without] of OFFLOADS)
    t.match(refusalReport([name], 'EIO'), {
      code: 'offload_refused',
      detail: `the kernel refuses ${name} (EIO)`,
      why: without,
      cure: /restart vtepd/,
    });
  t.match(
    refusalReport(['TUN_F_USO4', 'TUN_F_USO6'], 'EINVAL').detail,
    /^the kernel refuses TUN_F_USO4, TUN_F_USO6 \(/,
  );
});
