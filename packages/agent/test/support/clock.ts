import type { Clock } from '@cni-offload/sdk'

interface Sleeper {
  readonly ms: number
  readonly at: number
  wake(): void
}

/** A clock whose sleepers wake when the test says so. */
export class TestClock implements Clock {
  #now = 1_000_000
  readonly #sleepers = new Set<Sleeper>()
  #arrived = Promise.withResolvers<void>()

  now(): number {
    return ++this.#now
  }

  monotonic(): number {
    return this.#now
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason as Error)
      const sleeper: Sleeper = {
        ms,
        at: this.#now + ms,
        wake: () => {
          signal.removeEventListener('abort', abort)
          this.#sleepers.delete(sleeper)
          resolve()
        },
      }
      const abort = (): void => {
        this.#sleepers.delete(sleeper)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', abort, { once: true })
      this.#sleepers.add(sleeper)
      this.#arrived.resolve()
      this.#arrived = Promise.withResolvers()
    })
  }

  /** Pauses that are being slept, milliseconds. */
  get sleeping(): number[] {
    return [...this.#sleepers].map(({ ms }) => ms)
  }

  /** Moves on, and wakes whoever has slept long enough. */
  advance(ms: number): void {
    this.#now += ms
    for (const { at, wake } of this.#sleepers) if (at <= this.#now) wake()
  }

  /** Waits until somebody sleeps and wakes everybody. Returns how long they wanted to sleep. */
  async wake(): Promise<number[]> {
    while (this.#sleepers.size === 0) await this.#arrived.promise
    const sleepers = [...this.#sleepers]
    for (const { wake } of sleepers) wake()
    return sleepers.map(({ ms }) => ms)
  }
}
