// A VTEP inside a program: VNI 100 toward one peer, told of each MAC that it learns. Needs CAP_NET_ADMIN and CAP_NET_RAW.
import { ConfigError, Vtep } from 'vtepd';

try {
  const vtep = await Vtep.start({
    vnis: [{ vni: 100, address: '10.10.10.1/24', peers: ['192.168.80.11'] }],
  });
  process.once('SIGINT', () => vtep.stop());
  console.log(`VNI 100 is on ${vtep.dataPlane.vnis()[0].tap}`);
  await vtep.changeVni(100, { ageingS: 60 });

  for await (const { event } of vtep.events.subscribe()) {
    if (event.type === 'learned') console.log(`${event.mac} is behind ${event.peer}`);
  }
} catch (error) {
  console.error(error.message);
  process.exitCode = error instanceof ConfigError ? 2 : 1;
}
