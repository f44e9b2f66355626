import type { Machine } from '@cni-offload/linux/machine'
import { type PciDevice, pciDevices } from '@cni-offload/linux/pci'
import { octeonFunction } from '../pci/ids.ts'

/** The driver of the kernel's crypto layer for virtual CPT functions. */
export const CPT_VF_DRIVER = 'rvu_cptvf'
/** The driver of the physical ones. */
export const CPT_PF_DRIVER = 'rvu_cptpf'

/** A physical CPT function and the virtual ones that are there. */
export interface CptFunction {
  /** The physical one. */
  readonly pf: PciDevice
  /** Its virtual ones. */
  readonly vfs: readonly PciDevice[]
}

/** All CPT functions of a card, by address; none where there is no CPT. @throws OffloadError HARDWARE_FAILURE */
export async function cptFunctions(machine: Machine): Promise<readonly CptFunction[]> {
  return cptFunctionsAmong(await pciDevices(machine, ({ vendor, device }) => octeonFunction(vendor, device)?.block === 'CPT'))
}

/** The CPT functions among others. */
export function cptFunctionsAmong(devices: readonly PciDevice[]): readonly CptFunction[] {
  const all = devices.filter(({ vendor, device }) => octeonFunction(vendor, device)?.block === 'CPT')
  const isPf = ({ vendor, device }: PciDevice): boolean => octeonFunction(vendor, device)?.kind === 'pf'
  return all.filter(isPf).map((pf) => ({ pf, vfs: all.filter(({ physfn }) => physfn === pf.address) }))
}

/** Virtual functions that the kernel's crypto layer has; the others are with user space, or with nobody. */
export function kernelVfs({ vfs }: CptFunction): readonly PciDevice[] {
  return vfs.filter(({ driver }) => driver === CPT_VF_DRIVER)
}
