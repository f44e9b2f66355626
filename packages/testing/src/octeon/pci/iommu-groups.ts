import type { PciFunction } from './function.ts'

/** First number that is given: those before belong to devices of the board. */
const FIRST = 10

/** IOMMU groups: what the IOMMU cannot keep apart. Each function has one of its own unless it was put together with others. */
export class IommuGroups {
  /** Whether there is an IOMMU. */
  readonly enabled: boolean
  readonly #together: readonly (readonly string[])[]
  readonly #numbers = new Map<string, number>()
  readonly #members = new Map<number, Set<PciFunction>>()

  constructor(enabled: boolean, together: readonly (readonly string[])[] = []) {
    this.enabled = enabled
    this.#together = together
  }

  /** Groups that have members, by number. */
  get all(): ReadonlyMap<number, ReadonlySet<PciFunction>> {
    return this.#members
  }

  /** A function appears. */
  add(fn: PciFunction): void {
    if (this.enabled) this.join(fn)
  }

  /** Gives a function a group, which is that of its address for good. */
  join(fn: PciFunction): number {
    const key = this.#together.find((addresses) => addresses.includes(fn.address))?.[0] ?? fn.address
    const number = this.#numbers.get(key) ?? FIRST + this.#numbers.size
    this.#numbers.set(key, number)
    fn.iommuGroup = number
    const members = this.#members.get(number) ?? new Set()
    this.#members.set(number, members.add(fn))
    return number
  }

  /** A function disappears, or leaves its group. */
  remove(fn: PciFunction): void {
    const { iommuGroup } = fn
    if (iommuGroup === undefined) return
    fn.iommuGroup = undefined
    const members = this.#members.get(iommuGroup)
    members?.delete(fn)
    if (members?.size === 0) this.#members.delete(iommuGroup)
  }
}
