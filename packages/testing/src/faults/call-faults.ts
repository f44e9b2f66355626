import type { OffloadApi } from '@cni-offload/protocol'

/** A method of `offload.v1`. */
export type ApiMethod = keyof OffloadApi

/**
 * What happens to one call on its way.
 *
 * - `request-lost`: it never arrives, `reply-lost`: it takes effect and nobody learns of it. The caller is told that the connection
 *   is lost, or, if `silent`, nothing until its time is over.
 * - `delayed`: it arrives after `ms` milliseconds. `overtaken`: it arrives after another call has ended.
 * - `duplicated`: it arrives twice at the same time. `repeated`: it arrives once more after another call has ended, when nobody
 *   waits for its answer any more.
 *
 * Of a resync, whose messages are a stream, a lost reply is all but its first event; it is never duplicated or repeated.
 */
export type CallFault =
  | { readonly kind: 'request-lost' | 'reply-lost'; readonly silent?: boolean }
  | { readonly kind: 'delayed'; readonly ms: number }
  | { readonly kind: 'overtaken' | 'duplicated' | 'repeated' }

/** A call that something may happen to. */
export interface FaultableCall {
  /** Its method. */
  readonly method: ApiMethod
  /** How many calls of this method there were, this one included. */
  readonly occurrence: number
}

/** Decides what happens to a call; undefined if nothing does. */
export type FaultPlan = (call: FaultableCall) => CallFault | undefined

/** What happens to the first, second, … call of each method; nothing to those for which nothing is written. */
export function scriptedFaults(script: Partial<Readonly<Record<ApiMethod, readonly (CallFault | undefined)[]>>>): FaultPlan {
  return ({ method, occurrence }) => script[method]?.[occurrence - 1]
}

/** How often what happens. */
export interface FaultRates {
  /** Of how many calls something happens to one, on average: 1 is every call. */
  readonly oneIn: number
  /** What happens, each as likely as the others. */
  readonly faults: readonly CallFault[]
  /** Methods that it happens to. @defaultValue `attach` and `detach` */
  readonly methods?: readonly ApiMethod[]
}

/**
 * Faults by chance.
 *
 * @param random - `seededRandom` makes it the same each time, as far as calls come in the same order
 */
export function randomFaults(random: () => number, { oneIn, faults, methods = ['attach', 'detach'] }: FaultRates): FaultPlan {
  return ({ method }) => {
    if (!methods.includes(method)) return undefined
    // Both are drawn for every call, so that one fault more or less does not change all that follow.
    const [strikes, which] = [random() * oneIn < 1, Math.floor(random() * faults.length)]
    return strikes ? faults[which] : undefined
  }
}
