import type { CiliumOperation } from './api-model.ts'

/** What goes wrong with a request. */
export type FaultEffect =
  /** It is answered like this and not worked on. */
  | { readonly kind: 'answer'; readonly status: number; readonly body?: unknown }
  /** The connection is cut, before it is worked on or after: the caller cannot tell which. */
  | { readonly kind: 'cut'; readonly when: 'before' | 'after' }
  /** It is worked on, but answered like this. */
  | { readonly kind: 'misreport'; readonly status: number; readonly body?: unknown }
  /** It is never answered. */
  | { readonly kind: 'hang' }

/** A fault that waits for its request. */
export interface Fault {
  /** Request that it befalls. */
  readonly operation: CiliumOperation
  /** How many of them, one by default. */
  readonly times?: number
  /** What happens. */
  readonly effect: FaultEffect
}

/** Faults that a test has ordered. */
export class Faults {
  readonly #waiting: { readonly fault: Fault; left: number }[] = []

  /** Orders a fault. Those for the same operation come in the order in which they were ordered. */
  add(fault: Fault): void {
    this.#waiting.push({ fault, left: fault.times ?? 1 })
  }

  /** Forgets all faults that have not come yet. */
  clear(): void {
    this.#waiting.length = 0
  }

  /** The fault that befalls a request, if one does. */
  take(operation: CiliumOperation): FaultEffect | undefined {
    const next = this.#waiting.find(({ fault, left }) => fault.operation === operation && left > 0)
    if (next === undefined) return undefined
    next.left -= 1
    return next.fault.effect
  }
}
