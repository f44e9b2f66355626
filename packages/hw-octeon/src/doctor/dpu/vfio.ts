import type { Machine } from '@cni-offload/linux/machine'
import { driverOf, VFIO_DRIVER, vfioPlace } from '@cni-offload/linux/pci'
import { OffloadError } from '@cni-offload/sdk'
import { broken, fine, type OcteonFinding, some } from '../finding.ts'

/** Whether vfio-pci has all of these functions, and a program can open them. */
export async function vfioFinding(machine: Machine, addresses: readonly string[]): Promise<OcteonFinding> {
  if (addresses.length === 0) return fine('this release needs none')
  const drivers = await Promise.all(addresses.map(async (address) => ({ address, driver: await driverOf(machine, address) })))
  const others = drivers.filter(({ driver }) => driver !== VFIO_DRIVER)
  if (others.length > 0)
    return broken(
      some(others.map(({ address, driver }) => `${address} has ${driver ?? 'no driver'}`)),
      `the control agent opens them through ${VFIO_DRIVER}`,
      `offload octeon setup binds them; by hand: modprobe ${VFIO_DRIVER}; write ${VFIO_DRIVER} to driver_override of each, and its address to /sys/bus/pci/drivers_probe.`,
    )
  const nodes: string[] = []
  for (const address of addresses) {
    try {
      nodes.push((await vfioPlace(machine, address)).node)
    } catch (error) {
      const { message, hint = '' } = OffloadError.from(error)
      return broken(`${address} has ${VFIO_DRIVER}`, message, hint)
    }
  }
  return fine(`${addresses.join(', ')}: ${nodes.join(', ')}`)
}
