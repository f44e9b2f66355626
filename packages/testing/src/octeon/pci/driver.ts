import type { Awaitable } from '../tree/entry.ts'
import type { PciFunction } from './function.ts'

/** A driver of PCI functions. */
export interface PciDriver {
  /** Name, as under `/sys/bus/pci/drivers`. */
  readonly name: string
  /** Module that it comes with; undefined if it is built in. */
  readonly module?: string
  /** Functions that it is for, `177d:b900`. */
  readonly ids: readonly string[]
  /** Takes a function. @throws Refusal if it cannot; ProbeDeferred if it may be able to later */
  probe(fn: PciFunction): Awaitable<void>
  /** Gives a function back. */
  remove(fn: PciFunction): Awaitable<void>
  /** Enables so many virtual functions, 0 for none. Without, sysfs cannot do that. @returns how many there are. @throws Refusal */
  readonly configureSriov?: (fn: PciFunction, count: number) => Awaitable<number>
}

/** What a driver throws that wants to be asked again when something else has appeared. */
export class ProbeDeferred extends Error {
  override readonly name = 'ProbeDeferred'
}
