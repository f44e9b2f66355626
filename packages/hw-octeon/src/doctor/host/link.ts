import type { Machine } from '@cni-offload/linux/machine'
import type { PciDevice } from '@cni-offload/linux/pci'
import { broken, doubtful, fine, type OcteonFinding } from '../finding.ts'
import { netdevsOf } from '../netdev.ts'

/** Whether the interface of the physical function is there and up. Its carrier says whether the driver believes in the control agent. */
export async function linkFinding(machine: Machine, pf: PciDevice): Promise<OcteonFinding> {
  if (pf.netdevs === undefined)
    return broken(
      `${pf.address} has no interface`,
      'its driver has not brought it up: see octeon.host.firmware',
      'Start octep_cp_agent on the DPU.',
    )
  const [netdev] = await netdevsOf(machine, pf)
  if (netdev === undefined)
    return doubtful(
      `the interface of ${pf.address} lies in another namespace`,
      'the management link cannot be used from here',
      'Bring it back to the namespace of the host.',
    )
  const { name, mac, up, carrier } = netdev
  if (!up)
    return broken(
      `${name} is down`,
      'VFs need it: their driver asks over it; the driver of Linux switches it off when heartbeats are missed',
      `ip link set ${name} up`,
    )
  if (carrier !== true)
    return broken(
      `${name} is up without a carrier`,
      'the control agent has not answered, or heartbeats were missed',
      `See octeon.host.heartbeats; then: ip link set ${name} down; ip link set ${name} up`,
    )
  return fine(`${name}, ${mac}, up`)
}
