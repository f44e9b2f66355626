import type { Machine } from '@cni-offload/linux/machine'
import type { OcteonInventory } from '../pci/inventory.ts'
import { readInventory } from '../pci/inventory.ts'
import { type KernelLog, readKernelLog } from './kernel-log.ts'

/** What all checks of a machine share, read once. */
export interface DoctorContext {
  /** The machine. */
  readonly machine: Machine
  /** Its functions. */
  inventory(): Promise<OcteonInventory>
  /** The kernel's log; undefined where it cannot be read. */
  log(signal: AbortSignal): Promise<KernelLog | undefined>
}

/** Reads nothing before it is asked. */
export function doctorContext(machine: Machine): DoctorContext {
  let inventory: Promise<OcteonInventory> | undefined
  return {
    machine,
    inventory: () => (inventory ??= readInventory(machine)),
    log: (signal) => readKernelLog(machine, signal),
  }
}
