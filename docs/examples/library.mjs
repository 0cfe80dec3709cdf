// A VTEP inside a program: VNI 100 with one peer. Prints each MAC that it learns.
// Needs CAP_NET_ADMIN and CAP_NET_RAW.
import { ConfigError, formatMac, Vtep } from 'vtepd';

try {
  const vtep = await Vtep.start({
    vnis: [{ vni: 100, address: '10.10.10.1/24', peers: ['192.168.80.11'] }],
  });
  process.once('SIGINT', () => vtep.stop());
  console.log(`VNI 100 is on ${vtep.dataPlane.vnis()[0].tap}`);
  await vtep.changeVni(100, { ageingS: 60 });

  const events = vtep.events.subscribe();
  // Earlier events are not replayed. The FDB has the entries learned before the subscription.
  const { items } = await vtep.dataPlane.listFdb(100, { type: 'dynamic', peer: '' }, 1000, 0);
  for (const { mac, peer } of items) console.log(`${formatMac(mac.high, mac.low)} is behind ${peer}`);
  for await (const { event } of events) {
    if (event.type === 'learned') console.log(`${event.mac} is behind ${event.peer}`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}
