/**
 * The topologies. Figures are compared only within a topology.
 */
import type { Stage } from './site.js';

export type StageId = 'device' | 'device-whole' | 'vm' | 'vm-whole' | 'jumbo' | 'jumbo-whole';

export const STAGES: readonly (Stage & { readonly id: StageId })[] = [
  stage('device', 'addresses on the device', { tunnelOffload: false }),
  stage('device-whole', 'addresses on the device, superframes cross whole', { tunnelOffload: true }),
  stage('vm', 'VMs behind bridges', { vms: true, tunnelOffload: false }),
  stage('vm-whole', 'VMs behind bridges, superframes cross whole', { vms: true, tunnelOffload: true }),
  stage('jumbo', 'underlay MTU 9000', { underlayMtu: 9000, tunnelOffload: false }),
  stage('jumbo-whole', 'underlay MTU 9000, superframes cross whole', {
    underlayMtu: 9000,
    tunnelOffload: true,
  }),
];

function stage(
  id: StageId,
  title: string,
  { vms = false, tunnelOffload, underlayMtu = 1500 }: Omit<Partial<Stage>, 'id'> & { tunnelOffload: boolean },
): Stage & { readonly id: StageId } {
  return { id, title, vms, tunnelOffload, underlayMtu };
}
