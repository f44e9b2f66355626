import type { Clock } from '@cni-offload/sdk'

/** Time that passes only when it is told to. */
export class ManualClock implements Clock {
  #now = 0
  readonly #sleepers = new Set<{ readonly ms: number; readonly until: number; readonly wake: () => void }>()

  now(): number {
    return this.#now
  }

  monotonic(): number {
    return this.#now
  }

  /** How long those sleep that sleep now, milliseconds from when each began, shortest first. */
  get pauses(): number[] {
    return [...this.#sleepers].map(({ ms }) => ms).toSorted((a, b) => a - b)
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      const abort = (): void => {
        this.#sleepers.delete(sleeper)
        reject(signal.reason as Error)
      }
      const sleeper = {
        ms,
        until: this.#now + ms,
        wake: (): void => {
          signal.removeEventListener('abort', abort)
          resolve()
        },
      }
      this.#sleepers.add(sleeper)
      signal.addEventListener('abort', abort, { once: true })
    })
  }

  advance(ms: number): void {
    this.#now += ms
    for (const sleeper of this.#sleepers)
      if (sleeper.until <= this.#now) {
        this.#sleepers.delete(sleeper)
        sleeper.wake()
      }
  }
}
