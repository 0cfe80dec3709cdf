/** Status line for the service manager, as `systemctl status` shows it. */
import type { DataPlane } from '../exchange/data-plane.js';
import type { NotReadyReason } from '../exchange/report.js';

/** @param reasons reasons for which the VTEP is not ready; the line has the first */
export function statusLine(
  dataPlane: Pick<DataPlane, 'vnis' | 'totals'>,
  { port, engine }: { readonly port: number; readonly engine: string },
  [reason]: readonly NotReadyReason[],
): string {
  const vnis = dataPlane.vnis();
  const peers = vnis.reduce((count, { vni }) => count + dataPlane.totals(vni).peers, 0);
  const line = `${counted(vnis.length, 'VNI')}, ${counted(peers, 'peer')}, UDP port ${port} (${engine})`;
  return reason === undefined ? line : `${line}, not ready: ${reason.code}: ${reason.detail}`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}
