import type { Machine } from '@cni-offload/linux/machine'
import { type PortTable, sdpPorts } from '../../map/ports.ts'
import { functionsOf, SDP_PORT } from '../../pci/functions.ts'
import type { OcteonInventory } from '../../pci/inventory.ts'
import { deferredDevices } from '../deferred.ts'
import { broken, doubtful, fine, type OcteonFinding, some, unseen } from '../finding.ts'

const PORT_DRIVER = 'rvu_nicvf'

/** Whether the ports are there, in a known order, enough for the host's VFs, and have their driver. */
export function portFinding(
  inventory: OcteonInventory,
  expected: { readonly vfs?: number | undefined; readonly ports?: PortTable | undefined },
): OcteonFinding {
  const { vfs, source } = sdpPorts(inventory, expected.ports)
  const ports = functionsOf(inventory, SDP_PORT)
  const from = { virtfn: 'in the order of their numbers', order: 'in the order of their addresses', table: 'as configured' }
  const seen = `${ports.length} functions 177d:${SDP_PORT} for the physical function and ${vfs.length} VFs of the host, ${from[source]}`
  if (vfs.length === 0)
    return broken(seen, 'the host can have no VF', 'Set the number of SDP functions in the firmware menu of the card: one more than VFs.')
  if (expected.vfs !== undefined && vfs.length < expected.vfs)
    return broken(
      seen,
      `${expected.vfs} VFs are wanted`,
      `Want ${vfs.length} at most, or set more SDP functions in the firmware menu of the card: one more than VFs.`,
    )
  const idle = ports.filter(({ driver }) => driver === undefined)
  if (idle.length > 0) return broken(seen, `no driver has ${some(idle.map(({ address }) => address))}`, `modprobe ${PORT_DRIVER}`)
  const others = ports.filter(({ driver }) => driver !== PORT_DRIVER)
  if (others.length > 0)
    return doubtful(
      seen,
      `${some(others.map(({ address, driver }) => `${address} (${driver})`))} are not with ${PORT_DRIVER}`,
      'Pods whose VFs they belong to get no network from the kernel; give them back if that is not wanted.',
    )
  return fine(seen)
}

/** Whether the PCI link is there for the control agent. */
export function pemFinding(inventory: OcteonInventory): OcteonFinding {
  const pems = functionsOf(inventory, 'a06c')
  if (pems.length > 0) return fine(some(pems.map(({ address }) => address)))
  if (inventory.chip?.family === 'CN9K') return unseen('CN9K does not show it')
  return broken(
    'no function 177d:a06c',
    'control agents from SDK 12.25.01 on work with it: this firmware is older',
    'Update the firmware of the card, or use the agent of SDK 12.24.11 with its module pcie_marvell_cnxk_ep.',
  )
}

/** Whether there are two packet interfaces for the control agent, or none. */
export function sdpRvuFinding(inventory: OcteonInventory): OcteonFinding {
  const found = functionsOf(inventory, 'a0ef')
  const seen = some(found.map(({ address }) => address))
  if (found.length === 0) return fine('none: firmware before SDK 12.25.03')
  if (found.length > 1) return fine(seen)
  return broken(
    `one function 177d:a0ef, ${seen}`,
    'agents for such firmware need both',
    `Look for the other: echo 1 > /sys/bus/pci/devices/${found[0]?.address ?? ''}/remove; echo 1 > /sys/bus/pci/rescan. Else update the firmware.`,
  )
}

/** Whether drivers of the card wait for each other. */
export async function deferredFinding(machine: Machine, { functions }: OcteonInventory): Promise<OcteonFinding> {
  const deferred = await deferredDevices(machine)
  if (deferred === undefined)
    return unseen('the kernel does not tell (debugfs)', 'mount -t debugfs none /sys/kernel/debug; run it as root.')
  const waiting = functions.filter(({ pci }) => deferred.has(pci.address))
  if (waiting.length === 0) return fine('none waits')
  const shown = waiting.map(
    ({ pci, what }) => `${what.block} ${pci.address}${deferred.get(pci.address) ? ` (${deferred.get(pci.address)})` : ''}`,
  )
  return broken(
    `${waiting.length} in devices_deferred`,
    `drivers wait for another: ${some(shown)}`,
    'Most wait for rvu_af: modprobe rvu_af, and see dmesg for 177d:a065.',
  )
}
