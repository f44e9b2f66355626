import type { IommuGroups } from '../pci/iommu-groups.ts'
import type { PciBus } from '../pci/bus.ts'
import type { PciDriver } from '../pci/driver.ts'
import type { PciFunction } from '../pci/function.ts'
import { Refusal } from '../system-error.ts'
import { attribute, type Entries, readable } from '../tree/entry.ts'
import type { KernelModule } from './modules.ts'
import { parseYesNo } from './numbers.ts'

/** Why the device of a group could not be opened. */
export type VfioProblem = 'not-bound' | 'not-viable' | 'busy'

/** vfio-pci: functions for programs instead of drivers, by their IOMMU group. */
export class Vfio {
  /** Its driver. */
  readonly driver: PciDriver
  readonly #groups: IommuGroups
  readonly #opened = new Map<number, number>()
  #withoutIommu = false

  constructor(groups: IommuGroups) {
    this.#groups = groups
    this.driver = {
      name: 'vfio-pci',
      module: 'vfio_pci',
      ids: [],
      probe: (fn) => this.#probe(fn),
      remove: (fn) => {
        if (!this.#groups.enabled) this.#groups.remove(fn)
      },
    }
  }

  /** Its modules. */
  modules(): readonly KernelModule[] {
    return [
      {
        name: 'vfio',
        parameters: () => ({
          enable_unsafe_noiommu_mode: attribute(
            () => (this.#withoutIommu ? 'Y\n' : 'N\n'),
            (text) => void (this.#withoutIommu = parseYesNo(text)),
          ),
        }),
      },
      { name: 'vfio_iommu_type1', needs: ['vfio'] },
      { name: 'vfio_pci_core', needs: ['vfio'] },
      {
        name: 'vfio_pci',
        needs: ['vfio_pci_core', 'vfio_iommu_type1'],
        drivers: [this.driver],
        users: () => [...this.#opened.values()].reduce((sum, count) => sum + count, 0),
      },
    ]
  }

  /** `/dev/vfio`. */
  nodes(bus: PciBus): Entries {
    const groups = bus.functions.filter(({ driver }) => driver === this.driver).map((fn) => this.nodeName(fn))
    return Object.fromEntries(['vfio', ...groups].map((name) => [name, readable('')]))
  }

  /** Name of the node of a function's group. */
  nodeName({ iommuGroup }: PciFunction): string {
    return this.#groups.enabled ? `${iommuGroup}` : `noiommu-${iommuGroup}`
  }

  /** A program opens the group of a function. @returns what is in its way, or how to close it again */
  open(fn: PciFunction): VfioProblem | Disposable {
    const { iommuGroup: group } = fn
    if (group === undefined || fn.driver !== this.driver) return 'not-bound'
    const members = [...(this.#groups.all.get(group) ?? [])]
    if (members.some(({ driver }) => driver !== undefined && driver !== this.driver && driver.name !== 'pcieport')) return 'not-viable'
    if (this.#opened.has(group)) return 'busy'
    this.#opened.set(group, 1)
    return { [Symbol.dispose]: () => void this.#opened.delete(group) }
  }

  #probe(fn: PciFunction): void {
    if (this.#groups.enabled) return
    if (!this.#withoutIommu) throw new Refusal('EINVAL')
    this.#groups.join(fn)
  }
}
