import { systemClock } from '@cni-offload/sdk'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { type PciDevice, pciDevices, setVfCount } from '@cni-offload/linux/pci'

/** The virtual machine. */
export const machine: Machine = localMachine()

/** For what ends by itself; emulated, everything takes long. */
export const patience = (): AbortSignal => AbortSignal.timeout(300_000)

/** The card with SR-IOV: an Intel 82576. */
export async function physicalFunction(): Promise<PciDevice> {
  const [pf] = (await pciDevices(machine)).filter(({ sriov }) => sriov !== undefined)
  if (pf === undefined) throw new Error('the machine has no function with SR-IOV')
  return pf
}

/** Its interface. */
export async function physicalInterface(): Promise<string> {
  const { address, netdevs } = await physicalFunction()
  if (netdevs?.[0] === undefined) throw new Error(`${address} has no interface`)
  return netdevs[0]
}

/** Makes so many VFs anew, as their driver makes them. */
export async function freshVfs(count: number): Promise<readonly PciDevice[]> {
  const { address } = await physicalFunction()
  const options = { clock: systemClock, signal: patience(), inUse: async () => undefined }
  await setVfCount(machine, address, 0, options)
  return (await setVfCount(machine, address, count, options)).vfs
}
