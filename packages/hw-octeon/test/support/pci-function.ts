import type { MemoryMachine } from './memory-machine.ts'

/** A PCI function of a test. */
export interface PciFunction {
  readonly device: string
  readonly vendor?: string
  readonly subsystem?: string
  readonly revision?: string
  readonly class?: string
  readonly driver?: string
  readonly override?: string
  readonly physfn?: string
  readonly group?: number
  readonly totalVfs?: number
  readonly numVfs?: number
  readonly autoprobe?: number
  /** Its interfaces; empty: they are elsewhere. */
  readonly net?: readonly string[]
}

const DEVICES = '/sys/bus/pci/devices'

/** Plugs a function in. */
export function plug(machine: MemoryMachine, address: string, fn: PciFunction): void {
  const folder = `${DEVICES}/${address}`
  const file = (name: string, text: string | number): void => void machine.files.set(`${folder}/${name}`, `${text}\n`)
  file('vendor', `0x${fn.vendor ?? '177d'}`)
  file('device', `0x${fn.device}`)
  file('subsystem_vendor', '0x177d')
  file('subsystem_device', `0x${fn.subsystem ?? 'b900'}`)
  file('class', fn.class ?? '0x020000')
  file('revision', fn.revision ?? '0x51')
  file('numa_node', 0)
  file('driver_override', fn.override ?? '(null)')
  if (fn.driver !== undefined) machine.links.set(`${folder}/driver`, `../../../bus/pci/drivers/${fn.driver}`)
  if (fn.group !== undefined) machine.links.set(`${folder}/iommu_group`, `../../../kernel/iommu_groups/${fn.group}`)
  if (fn.totalVfs !== undefined) {
    file('sriov_totalvfs', fn.totalVfs)
    file('sriov_numvfs', fn.numVfs ?? 0)
    file('sriov_drivers_autoprobe', fn.autoprobe ?? 1)
  }
  if (fn.physfn !== undefined) {
    machine.links.set(`${folder}/physfn`, `../${fn.physfn}`)
    const siblings = [...machine.links.keys()].filter((path) => path.startsWith(`${DEVICES}/${fn.physfn}/virtfn`)).length
    machine.links.set(`${DEVICES}/${fn.physfn}/virtfn${siblings}`, `../${address}`)
  }
  if (fn.net !== undefined) {
    machine.files.set(`${folder}/net/.`, '')
    for (const name of fn.net) machine.files.set(`${folder}/net/${name}/operstate`, 'up\n')
  }
}

/** Pulls a function out. */
export function unplug(machine: MemoryMachine, address: string): void {
  for (const map of [machine.files, machine.links])
    for (const path of map.keys()) if (path.startsWith(`${DEVICES}/${address}/`)) map.delete(path)
  for (const [path, target] of machine.links) if (target === `../${address}`) machine.links.delete(path)
}
