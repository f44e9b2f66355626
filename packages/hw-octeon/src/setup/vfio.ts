import { bindVfio, driverState, noFunction, readPciIds, restoreDriver, VFIO_DRIVER } from '@cni-offload/linux/pci'
import type { Machine } from '@cni-offload/linux/machine'
import type { VfioChange } from './change.ts'
import { type ChangeKind, reversed } from './kind.ts'

/** The changes that give functions to user space, none for those that are there. @throws OffloadError NOT_FOUND, INVALID_CONFIG */
export async function planVfio(machine: Machine, addresses: readonly string[]): Promise<VfioChange[]> {
  const changes: VfioChange[] = []
  for (const address of addresses) {
    if ((await readPciIds(machine, address)) === undefined) throw noFunction(address)
    const before = await driverState(machine, address)
    if (before.driver !== VFIO_DRIVER) changes.push({ kind: 'vfio', address, before })
  }
  return changes
}

const vfioEdits = ({ address, before }: VfioChange) => [
  { target: `/sys/bus/pci/devices/${address}/driver_override`, before: before.override ?? '(null)', after: VFIO_DRIVER },
  { target: `/sys/bus/pci/devices/${address}/driver`, before: before.driver ?? 'none', after: VFIO_DRIVER },
]

/** Giving a function to user space. */
export const vfioKind: ChangeKind<VfioChange> = {
  edits: vfioEdits,
  undoEdits: (change) => reversed(vfioEdits(change)),
  async apply({ address }, { machine }) {
    await bindVfio(machine, address)
  },
  async undo({ address, before }, { machine }) {
    if ((await readPciIds(machine, address)) === undefined) return { left: `${address}: the function is gone` }
    const now = await driverState(machine, address)
    if (now.driver === before.driver && now.override === before.override) return 'nothing'
    await restoreDriver(machine, address, before)
    return 'undone'
  },
}
