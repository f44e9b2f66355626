import type { PciDevice } from '@cni-offload/linux/pci'
import type { Machine } from '@cni-offload/linux/machine'
import { broken, doubtful, fine, type OcteonFinding, some } from './finding.ts'
import { netdevsOf } from './netdev.ts'

/** Addresses in the configuration that Marvell ships: the same on each card. */
const SHIPPED = /^00:00:00:[0-4][0-9a-f]:01:0[01]$/

const REMEDY =
  'Make a configuration of its own for each node (offload octeon cfg --node NAME), give it to octep_cp_agent on the DPU, restart that, ' +
  'and load octeon_ep and octeon_ep_vf of the host anew.'

/** Whether each function of a host has an address of its own, on this node and beyond. Functions in pods are not seen. */
export async function macFinding(machine: Machine, functions: readonly PciDevice[]): Promise<OcteonFinding> {
  const netdevs = (await Promise.all(functions.map((fn) => netdevsOf(machine, fn)))).flat()
  const byMac = Map.groupBy(netdevs, ({ mac }) => mac)
  const twice = [...byMac].filter(([, same]) => same.length > 1)
  const seen = `${byMac.size} addresses of ${netdevs.length} interfaces`
  if (twice.length > 0) {
    const shown = twice.map(([mac, same]) => `${mac} (${same.map(({ name }) => name).join(', ')})`)
    return broken(seen, `several have the same: ${some(shown)}`, REMEDY)
  }
  const shipped = netdevs.filter(({ mac }) => SHIPPED.test(mac))
  if (shipped.length === 0) return fine(seen)
  return doubtful(
    seen,
    `they are those that every card has as shipped, so that nodes have the same: ${some(shipped.map(({ name, mac }) => `${name} ${mac}`))}`,
    REMEDY,
  )
}
