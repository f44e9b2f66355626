import { type Clock, OffloadError } from '@cni-offload/sdk'

/** How to wait for something that the kernel does not announce. */
export interface Patience {
  /** Time. */
  readonly clock: Clock
  /** Ends the wait. */
  readonly signal: AbortSignal
  /** Pause between two looks, milliseconds. */
  readonly everyMs: number
  /** Longest wait, milliseconds. */
  readonly withinMs: number
}

/**
 * Looks until there is something to see: sysfs tells nobody when it changes. Looks once more when the time is over, so that a long pause
 * cannot hide what came during it.
 *
 * @returns what was seen, undefined when the time is over
 * @throws OffloadError CANCELLED or DEADLINE_EXCEEDED when the signal aborts; whatever `look` throws
 */
export async function pollUntil<T>(look: () => Promise<T | undefined>, patience: Patience, what: string): Promise<T | undefined> {
  const { clock, signal, everyMs, withinMs } = patience
  const end = clock.monotonic() + withinMs
  for (;;) {
    const over = clock.monotonic() >= end
    const seen = await look()
    if (seen !== undefined || over) return seen
    await clock.sleep(Math.min(everyMs, Math.max(end - clock.monotonic(), 1)), signal).catch((reason: unknown) => {
      throw OffloadError.from(reason, 'CANCELLED', `waiting for ${what}`)
    })
  }
}
